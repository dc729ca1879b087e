"""Count rows below edges with the fastest query of each database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from airflow_slo_provider.drift.engines.sql_dialects import Dialect
from airflow_slo_provider.drift.engines.sql_queries import (
    RunQuery,
    SQLColumn,
    SQLTable,
    bucket_query,
    closed_codes,
    cut_sums,
    histogram_expression,
    split_batches,
)
from airflow_slo_provider.drift.profiles.grid import Array, code_value
from airflow_slo_provider.exceptions import InvalidMeasurement

#: Kind, codes and closed flags of the edges to count at.
Edges = tuple[str, Array, Array]


def count_rows(
    query: RunQuery, table: SQLTable, dialect: Dialect, columns: Sequence[SQLColumn], edges: Mapping[str, Edges]
) -> Iterator[tuple[SQLColumn, int, Array]]:
    """Count rows up to edges.

    :param edges: by the name of the column
    :return: for each column, the rows counted (``width_bucket``: finite values only) and the rows up to each edge
    """
    edge_lists = {name: (kind, codes.tolist(), closed.tolist()) for name, (kind, codes, closed) in edges.items()}
    if dialect.buckets == "width_bucket":
        for column in columns:
            kind, codes, closed = edge_lists[column.name]
            counts = np.zeros(len(codes) + 1, dtype=np.int64)
            for bucket, rows in query(bucket_query(table, column, dialect, kind, closed_codes(codes, closed)))[1]:
                counts[int(bucket)] = int(rows)
            yield column, int(counts.sum()), np.cumsum(counts)[:-1]
        return
    single = dialect.buckets == "histogram"
    for batch in split_batches(columns, [1 if single else len(edge_lists[column.name][1]) for column in columns]):
        sums: list[str] = []
        for column in batch:
            kind, codes, closed = edge_lists[column.name]
            if single:
                sums.append(histogram_expression(column, dialect, kind, closed_codes(codes, closed)))
            else:
                sums += cut_sums(column, dialect, kind, codes, closed)
        (row,) = query(f"SELECT COUNT(*), {', '.join(sums)} {table.text}")[1]
        total, *answers = row
        if len(answers) != len(sums):
            raise InvalidMeasurement(f"the database returned {len(answers)} counts where {len(sums)} were requested")
        for column in batch:
            kind, codes, closed = edge_lists[column.name]
            if single:  # DuckDB's bins are keyed by their upper ends
                bins = answers.pop(0) or {}
                ends = [code_value(code, kind) for code in closed_codes(codes, closed)]
                yield column, int(total), np.cumsum([int(bins.get(end, 0)) for end in ends], dtype=np.int64)
            else:
                sums_up_to, answers = answers[: len(codes)], answers[len(codes) :]
                yield column, int(total), np.array([int(rows or 0) for rows in sums_up_to], dtype=np.int64)
