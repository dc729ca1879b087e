"""Count rows below edges with the fastest query of each database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from airflow_slo_provider.drift.engines.sql_dialects import Dialect
from airflow_slo_provider.drift.engines.sql_queries import (
    Column,
    Table,
    batches,
    bucket_query,
    closed_codes,
    cut_sums,
    histogram,
)
from airflow_slo_provider.drift.profiles.grid import code_value

Array = npt.NDArray[Any]
#: Kind, codes and closed flags of the values to count at.
Places = tuple[str, Array, Array]


class BucketCounter:
    """Count rows below edges.

    :param ask: runs one statement
    """

    def __init__(
        self, ask: Callable[[str], tuple[Sequence[str], Sequence[Sequence[Any]]]], table: Table, dialect: Dialect
    ) -> None:
        self._ask, self._table, self._dialect = ask, table, dialect

    def count(self, columns: Sequence[Column], places: Mapping[str, Places]) -> Iterator[tuple[Column, int, Array]]:
        """Yield, for each column, the rows counted (``width_bucket``: finite values only) and the rows up to each value."""
        if self._dialect.buckets == "width_bucket":
            for column in columns:
                yield column, *self._buckets(column, places[column.name])
            return
        single = self._dialect.buckets == "histogram"
        for batch in batches(columns, [1 if single else len(places[column.name][1]) for column in columns]):
            parts = [part for column in batch for part in self._parts(column, places[column.name], single)]
            (row,) = self._ask(f"SELECT COUNT(*), {', '.join(parts)} {self._table.text}")[1]
            answers = iter(row)
            total = int(next(answers))
            for column in batch:
                kind, codes, closed = places[column.name]
                if single:
                    yield column, total, _upto(next(answers), kind, closed_codes(codes.tolist(), closed.tolist()))
                else:
                    yield column, total, np.array([int(next(answers) or 0) for _ in codes], dtype=np.int64)

    def _parts(self, column: Column, places: Places, single: bool) -> list[str]:
        kind, codes, closed = places[0], places[1].tolist(), places[2].tolist()
        if single:
            return [histogram(column, self._dialect, kind, closed_codes(codes, closed))]
        return cut_sums(column, self._dialect, kind, codes, closed)

    def _buckets(self, column: Column, places: Places) -> tuple[int, Array]:
        kind, codes = places[0], closed_codes(places[1].tolist(), places[2].tolist())
        counts = np.zeros(len(codes) + 1, dtype=np.int64)
        for bucket, rows in self._ask(bucket_query(self._table, column, self._dialect, kind, codes))[1]:
            counts[int(bucket)] = int(rows)
        return int(counts.sum()), np.cumsum(counts)[:-1]


def _upto(bins: Mapping[Any, int] | None, kind: str, codes: Sequence[int]) -> Array:
    """Sum up DuckDB's bins, which are keyed by their upper ends."""
    held = bins or {}
    return np.cumsum([int(held.get(code_value(code, kind), 0)) for code in codes], dtype=np.int64)
