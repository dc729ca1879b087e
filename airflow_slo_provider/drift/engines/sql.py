"""Count rows in a database; only counts are transferred.

For a small table the database returns every distinct value, which gives the same profile as the local engine. For a large table
it returns counts below the reference's edges.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import datetime
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from airflow_slo_provider.core.text_lists import text_list
from airflow_slo_provider.drift.engines.sql_buckets import BucketCounter
from airflow_slo_provider.drift.engines.sql_columns import ColumnFinder, category_of, number_of
from airflow_slo_provider.drift.engines.sql_dialects import DIALECTS, Dialect
from airflow_slo_provider.drift.engines.sql_queries import (
    Column,
    Table,
    batches,
    distinct_values,
    quantile_query,
    rank_query,
    summary,
)
from airflow_slo_provider.drift.profiles.columns import CATEGORICAL, MOST_CATEGORIES, NUMERIC, ColumnProfile
from airflow_slo_provider.drift.profiles.cuts import Cuts
from airflow_slo_provider.drift.profiles.dataset_profile import DatasetProfile
from airflow_slo_provider.drift.profiles.grid import EXACT, MOST_CELLS, Grid, add_up, cell_ends, float_codes, value_code
from airflow_slo_provider.drift.profiles.quantile_ranks import ranks
from airflow_slo_provider.exceptions import InvalidMeasurement, QueryError
from airflow_slo_provider.sql.runner import TABLE_SECONDS, DbApiRunner, SQLRunner, dialect_of

Array = npt.NDArray[Any]
#: Number of bins whose edges a database counts at; an even multiple of ten, so that the index has its deciles.
SQL_BINS = 20


class SQLData:
    """Rows of a table or a SELECT in a database.

    :param run: called as ``run(statement, {})``, returns (column names, rows); its ``session()``, if it has one, holds one
        snapshot
    :param source: a table's name (quoted as the database needs it), or a SELECT
    :param dialect: ``postgresql``, ``duckdb``, ``sqlite``, ``snowflake``, ``bigquery``, ``redshift`` or ``mysql``
    :param where: SQL condition on the rows
    :param within: (column, start, end): select rows with start <= column < end
    :param kinds: kind of columns whose type does not show it, e.g. ``{"created_at": "time", "active": "bool"}`` in SQLite
    :param name: name of the source in a profile
    """

    def __init__(
        self,
        run: SQLRunner,
        source: str,
        *,
        dialect: str,
        where: str = "",
        within: tuple[str, datetime, datetime] | None = None,
        kinds: Mapping[str, str] | None = None,
        name: str | None = None,
    ) -> None:
        if dialect not in DIALECTS:
            raise QueryError(f"no SQL dialect {dialect!r}; there are {', '.join(sorted(DIALECTS))}", reason="bad_dialect")
        for kind in (kinds or {}).values():
            if kind not in NUMERIC | CATEGORICAL:
                raise ValueError(f"kind {kind!r}; there are {', '.join(sorted(NUMERIC | CATEGORICAL))}")
        self._run = run
        self.dialect: Dialect = DIALECTS[dialect]
        if within is not None:
            where = f"({where}\n) AND {self.dialect.between(*within)}" if where else self.dialect.between(*within)
        self._table = Table(source, where)
        self._kinds = dict(kinds or {})
        self.name = name or f"{dialect}: {' '.join(source.split())[:200]}"

    @classmethod
    def of(cls, connection: Any, source: str, *, dialect: str | None = None, **options: Any) -> SQLData:
        """Read from a DB-API connection (sqlite3, DuckDB, psycopg ...).

        :param connection: the open connection
        :param source: a table's name, or a SELECT
        :param dialect: SQL dialect; detected from the connection's module for the common drivers
        :param options: further parameters of the class
        :raises QueryError: when the dialect cannot be detected
        """
        spoken = dialect or dialect_of(connection)
        if spoken is None:
            module = type(connection).__module__.partition(".")[0]
            raise QueryError(f"which SQL dialect does a connection of {module} speak? Give `dialect`", reason="bad_dialect")
        name = options.get("name") or f"a {spoken} database"
        runner = DbApiRunner(connection, dialect=spoken, name=name, timeout=TABLE_SECONDS, windowed=False, limited=False)
        return cls(runner, source, dialect=spoken, **options)

    def session(self) -> AbstractContextManager[Any]:
        """Hold one snapshot, if the database supports it, because all counts must be of the same rows."""
        made: AbstractContextManager[Any] = self._run.session() if hasattr(self._run, "session") else nullcontext()
        return made

    def profile(
        self, columns: Sequence[str] | None = None, *, like: DatasetProfile | None = None, categorical: Iterable[str] = ()
    ) -> DatasetProfile:
        """Profile the rows.

        :param columns: columns to profile; default: all
        :param like: reference whose edges are used for the counts; if None, the edges are quantiles of these rows
        :param categorical: numeric columns that hold codes, to be counted value by value
        :raises QueryError: when the database rejects a query or does not answer
        :raises InvalidMeasurement: when counts contradict each other
        """
        with self.session():
            held = self._columns(columns, frozenset(text_list(categorical)))
            rows, made = self._summaries(held)
            for index, column in enumerate(held):
                if column.kind in CATEGORICAL or rows <= MOST_CELLS:
                    made[column.name] = self._distinct(column, made[column.name])
                    held[index] = replace(column, kind="empty")
            left = [column for column in held if column.kind in NUMERIC]
            made |= self._cuts(left, made, self._places(left, made, like))
        order = [column.name for column in held]
        return DatasetProfile(columns={name: made[name] for name in order}, rows=rows, engine=self.dialect.name, source=self.name)

    def upto(self, profile: ColumnProfile, kind: str, codes: Array) -> Array:
        """Count the finite rows of a column up to some values.

        :param profile: earlier profile of the column
        :param kind: ``float`` or ``int``: type of the codes
        :param codes: values to count up to, ascending (see :mod:`~airflow_slo_provider.drift.profiles.grid`)
        :return: one count per code
        :raises InvalidMeasurement: when the number of rows has changed since the profile
        """
        with self.session():
            (column,) = self._columns([profile.name])
            counter = BucketCounter(self._ask, self._table, self.dialect)
            places = {column.name: (kind, codes, np.ones(len(codes), dtype=bool))}
            ((_, total, counts),) = counter.count([column], places)
        expected = profile.values if self.dialect.buckets == "width_bucket" else profile.rows
        if total != expected:
            raise InvalidMeasurement(
                f"{self.name}: {expected} rows became {total} while it was asked again", reason="no_snapshot"
            )
        return counts - profile.negative_infinite if self.dialect.buckets == "sums" else counts

    def names(self) -> list[str]:
        """Return the names of the columns."""
        return list(self._ask(f"SELECT * {self._table.text} LIMIT 1")[0])

    def _ask(self, statement: str) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        return self._run(statement, {})

    def _columns(self, columns: Sequence[str] | None, categorical: frozenset[str] = frozenset()) -> list[Column]:
        finder = ColumnFinder(self._ask, self._table, self.dialect, kinds=self._kinds, categorical=categorical, name=self.name)
        return finder.find(columns)

    def _summaries(self, columns: Sequence[Column]) -> tuple[int, dict[str, ColumnProfile]]:
        totals, made = set(), {}
        for batch in batches(columns, [6] * len(columns)) or [[]]:
            asked = [column for column in batch if column.kind not in ("other", "empty")]
            (row,) = self._ask(summary(self._table, asked, self.dialect))[1]
            answers = iter(row)
            rows = int(next(answers))
            totals.add(rows)
            for column in batch:
                if column not in asked:
                    nulls = rows if column.kind == "empty" else 0
                    made[column.name] = ColumnProfile(name=column.name, kind=column.kind, rows=rows, nulls=nulls)
                    continue
                made[column.name] = _summed(column, rows, answers)
        if len(totals) > 1:
            raise InvalidMeasurement(
                f"{self.name}: the number of rows changed between two statements: {sorted(totals)}", reason="no_snapshot"
            )
        return totals.pop(), made

    def _distinct(self, column: Column, held: ColumnProfile) -> ColumnProfile:
        if column.kind in ("other", "empty"):
            return held
        rows = self._ask(distinct_values(self._table, column, self.dialect))[1]
        if column.kind in CATEGORICAL:
            if len(rows) > MOST_CATEGORIES:
                return replace(held, categories={}, overflow=True)
            categories: Counter[str] = Counter()
            for value, count in rows:  # 1 and 1.0 are one category
                categories[category_of(value)] += int(count)
            return replace(held, categories=dict(categories))
        values = [number_of(value, column) for value, _ in rows]
        counts = np.array([int(count) for _, count in rows], dtype=np.int64)
        codes = np.array(values, dtype=np.int64) if column.form == "int" else float_codes(np.array(values, dtype=np.float64))
        return replace(held, distribution=Grid(column.form, EXACT, *add_up(codes, counts)))

    def _places(
        self, columns: Sequence[Column], made: Mapping[str, ColumnProfile], like: DatasetProfile | None
    ) -> dict[str, tuple[str, Array, Array]]:
        """Return the values to count at: the reference's edges, or quantiles of these rows."""
        places: dict[str, tuple[str, Array, Array]] = {}
        own = []
        for column in columns:
            other = None if like is None else like.columns.get(column.name)
            held = None if other is None else other.distribution
            if isinstance(held, Cuts):
                places[column.name] = (held.kind, held.codes, held.closed)
            elif isinstance(held, Grid) and held.total:
                places[column.name] = (held.kind, *grid_places(held, SQL_BINS))
            else:
                own.append(column)
        for column, edges in self._quantiles(own, made).items():
            places[column.name] = (column.form, *_edge_places([value_code(edge, column.form) for edge in edges]))
        return places

    def _quantiles(self, columns: Sequence[Column], made: Mapping[str, ColumnProfile]) -> dict[Column, list[Any]]:
        found: dict[Column, list[Any]] = {}
        columns = [column for column in columns if made[column.name].values]
        if self.dialect.quantiles == "rank":
            for column in columns:
                wanted = ranks(made[column.name].values, [Fraction(i, SQL_BINS) for i in range(1, SQL_BINS)])
                by_rank = {int(row[0]): row[1] for row in self._ask(rank_query(self._table, column, self.dialect, wanted))[1]}
                found[column] = [number_of(by_rank[rank], column) for rank in wanted]
            return found
        single = self.dialect.quantiles == "array"
        for batch in batches(columns, [1 if single else SQL_BINS - 1] * len(columns)):
            (row,) = self._ask(quantile_query(self._table, batch, self.dialect, SQL_BINS))[1]
            answers = list(row)
            for column in batch:
                edges, answers = (answers[0], answers[1:]) if single else (answers[: SQL_BINS - 1], answers[SQL_BINS - 1 :])
                found[column] = [number_of(edge, column) for edge in edges]
        return found

    def _cuts(
        self, columns: Sequence[Column], made: Mapping[str, ColumnProfile], places: Mapping[str, tuple[str, Array, Array]]
    ) -> dict[str, ColumnProfile]:
        out: dict[str, ColumnProfile] = {}
        counter = BucketCounter(self._ask, self._table, self.dialect)
        asked = [column for column in columns if column.name in places]
        for column, total, counts in counter.count(asked, places):
            held = made[column.name]
            if total != (held.rows if self.dialect.buckets != "width_bucket" else held.values):
                raise InvalidMeasurement(
                    f"{self.name}: {held.rows} rows became {total} between two statements", reason="no_snapshot"
                )
            kind, codes, closed = places[column.name]
            if self.dialect.buckets == "sums":
                # -infinity is below every edge but belongs to none of the bins.
                counts = counts - held.negative_infinite
            out[column.name] = replace(held, distribution=Cuts(kind, codes, closed, counts, held.values))
        return out


def grid_places(grid: Grid, bins: int) -> tuple[Array, Array]:
    """Return the values at which a database must count to be compared with a grid.

    They are ends of the grid's cells, so that the grid's counts are exact.
    """
    low, high = cell_ends(grid.codes, grid.kind, grid.bits)
    wanted = ranks(grid.total, [Fraction(i, bins) for i in range(1, bins)])
    ends = np.searchsorted(np.cumsum(grid.counts), wanted, side="left")
    heavy = np.flatnonzero(grid.counts * bins >= grid.total)
    closed = np.unique(np.concatenate([high[ends], high[heavy]]))
    opened = np.unique(low[heavy])
    return _ordered(closed, opened)


def _edge_places(codes: Sequence[int]) -> tuple[Array, Array]:
    """Count up to each edge, and also below an edge that several quantiles share: that value gets a bin of its own."""
    heavy = [code for code, following in pairwise(codes) if code == following]
    return _ordered(np.unique(np.array(codes, dtype=np.int64)), np.unique(np.array(heavy, dtype=np.int64)))


def _ordered(closed: Array, opened: Array) -> tuple[Array, Array]:
    codes = np.concatenate([opened, closed]).astype(np.int64)
    flags = np.concatenate([np.zeros(len(opened), dtype=bool), np.ones(len(closed), dtype=bool)])
    order = np.lexsort((flags, codes))
    return codes[order], flags[order]


def _summed(column: Column, rows: int, answers: Iterator[Any]) -> ColumnProfile:
    present = int(next(answers))
    if column.kind in CATEGORICAL:
        return ColumnProfile(name=column.name, kind=column.kind, rows=rows, nulls=rows - present, categories={})
    finite, above, below = (int(next(answers) or 0) for _ in range(3))
    low, high = (number_of(next(answers), column) for _ in range(2))
    return ColumnProfile(
        name=column.name,
        kind=column.kind,
        rows=rows,
        nulls=rows - present,
        nan=present - finite - above - below,
        positive_infinite=above,
        negative_infinite=below,
        minimum=low,
        maximum=high,
        distribution=Grid(column.form, EXACT, np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)),
    )
