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
from itertools import islice, pairwise
from typing import Any

import numpy as np

from airflow_slo_provider.core.text_lists import text_list
from airflow_slo_provider.drift.engines.sql_buckets import Edges, count_rows
from airflow_slo_provider.drift.engines.sql_columns import category_text, convert_number, find_columns
from airflow_slo_provider.drift.engines.sql_dialects import DIALECTS, Dialect
from airflow_slo_provider.drift.engines.sql_queries import (
    SQLColumn,
    SQLTable,
    distinct_query,
    quantile_query,
    rank_query,
    split_batches,
    summary_query,
)
from airflow_slo_provider.drift.profiles.columns import CATEGORICAL, MOST_CATEGORIES, NUMERIC, ColumnProfile
from airflow_slo_provider.drift.profiles.cuts import Cuts
from airflow_slo_provider.drift.profiles.dataset_profile import DatasetProfile
from airflow_slo_provider.drift.profiles.grid import EXACT, MOST_CELLS, Array, Grid, add_up, value_code, value_codes
from airflow_slo_provider.drift.profiles.quantile_ranks import ranks
from airflow_slo_provider.exceptions import InvalidMeasurement, QueryError
from airflow_slo_provider.sql.runner import TABLE_SECONDS, DbApiRunner, SQLRunner, dialect_of

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
        self._table = SQLTable(source, where)
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
        dialect = dialect or dialect_of(connection)
        if dialect is None:
            module = type(connection).__module__.partition(".")[0]
            raise QueryError(f"the SQL dialect of a connection of {module} is unknown; set `dialect`", reason="bad_dialect")
        name = options.get("name") or f"a {dialect} database"
        runner = DbApiRunner(connection, dialect=dialect, name=name, timeout=TABLE_SECONDS, windowed=False, limited=False)
        return cls(runner, source, dialect=dialect, **options)

    def session(self) -> AbstractContextManager[Any]:
        """Hold one snapshot, if the database supports it, because all counts must be of the same rows."""
        return self._run.session() if hasattr(self._run, "session") else nullcontext()

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
            found = self._find_columns(columns, frozenset(text_list(categorical)))
            rows, profiles = self._summarize(found)
            large = []
            for column in found:
                if column.kind in CATEGORICAL or rows <= MOST_CELLS:
                    profiles[column.name] = self._count_values(column, profiles[column.name])
                elif column.kind in NUMERIC:
                    large.append(column)
            edges = self._choose_edges(large, profiles, like)
            for column, counts in self._count_rows([column for column in large if column.name in edges], profiles, edges):
                profile = profiles[column.name]
                profiles[column.name] = replace(profile, distribution=Cuts(*edges[column.name], counts, profile.values))
        return DatasetProfile(columns=profiles, rows=rows, engine=self.dialect.name, source=self.name)

    def count_up_to(self, profile: ColumnProfile, kind: str, codes: Array) -> Array:
        """Count the finite rows of a column up to some values.

        :param profile: earlier profile of the column
        :param kind: ``float`` or ``int``: type of the codes
        :param codes: values to count up to, ascending (see :mod:`~airflow_slo_provider.drift.profiles.grid`)
        :return: one count per code
        :raises InvalidMeasurement: when the number of rows has changed since the profile
        """
        with self.session():
            columns = self._find_columns([profile.name])
            edges = {profile.name: (kind, codes, np.ones(len(codes), dtype=bool))}
            ((_, counts),) = self._count_rows(columns, {profile.name: profile}, edges)
        return counts

    def names(self) -> list[str]:
        """Return the names of the columns."""
        return list(self._query(f"SELECT * {self._table.text} LIMIT 1")[0])

    def _query(self, statement: str) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        return self._run(statement, {})

    def _find_columns(self, columns: Sequence[str] | None, categorical: frozenset[str] = frozenset()) -> list[SQLColumn]:
        options: dict[str, Any] = {"kinds": self._kinds, "categorical": categorical, "name": self.name}
        return find_columns(self._query, self._table, self.dialect, columns, **options)

    def _summarize(self, columns: Sequence[SQLColumn]) -> tuple[int, dict[str, ColumnProfile]]:
        totals, profiles = set(), {}
        for batch in split_batches(columns, [6] * len(columns)) or [[]]:
            comparable = [column for column in batch if column.kind not in ("other", "empty")]
            (row,) = self._query(summary_query(self._table, comparable, self.dialect))[1]
            answers = iter(row)
            rows = int(next(answers))
            totals.add(rows)
            for column in batch:
                if column in comparable:
                    profiles[column.name] = _read_summary(column, rows, answers)
                else:
                    nulls = rows if column.kind == "empty" else 0
                    profiles[column.name] = ColumnProfile(name=column.name, kind=column.kind, rows=rows, nulls=nulls)
        if len(totals) > 1:
            message = f"{self.name}: the number of rows changed between two statements: {sorted(totals)}"
            raise InvalidMeasurement(message, reason="no_snapshot")
        return totals.pop(), profiles

    def _count_values(self, column: SQLColumn, profile: ColumnProfile) -> ColumnProfile:
        if column.kind in ("other", "empty"):
            return profile
        rows = self._query(distinct_query(self._table, column, self.dialect))[1]
        if column.kind in CATEGORICAL:
            if len(rows) > MOST_CATEGORIES:
                return replace(profile, categories={}, overflow=True)
            categories: Counter[str] = Counter()
            for value, count in rows:  # 1 and 1.0 are one category
                categories[category_text(value)] += int(count)
            return replace(profile, categories=dict(categories))
        values = np.array([convert_number(value, column) for value, _ in rows], dtype=f"{column.form}64")
        counts = np.array([int(count) for _, count in rows], dtype=np.int64)
        return replace(profile, distribution=Grid(column.form, EXACT, *add_up(value_codes(values, column.form), counts)))

    def _choose_edges(
        self, columns: Sequence[SQLColumn], profiles: Mapping[str, ColumnProfile], like: DatasetProfile | None
    ) -> dict[str, Edges]:
        """Return the edges to count at: the reference's, or quantiles of these rows."""
        edges: dict[str, Edges] = {}
        for column in columns:
            other = None if like is None else like.columns.get(column.name)
            distribution = None if other is None else other.distribution
            if isinstance(distribution, Cuts):
                edges[column.name] = (distribution.kind, distribution.codes, distribution.closed)
            elif isinstance(distribution, Grid) and distribution.total:
                edges[column.name] = (distribution.kind, *grid_edges(distribution, SQL_BINS))
        own = [column for column in columns if column.name not in edges and profiles[column.name].values]
        for column, quantiles in self._quantiles(own, profiles).items():
            edges[column.name] = (column.form, *_quantile_edges([value_code(value, column.form) for value in quantiles]))
        return edges

    def _quantiles(self, columns: Sequence[SQLColumn], profiles: Mapping[str, ColumnProfile]) -> dict[SQLColumn, list[Any]]:
        found: dict[SQLColumn, list[Any]] = {}
        if self.dialect.quantiles == "rank":
            for column in columns:
                wanted = ranks(profiles[column.name].values, [Fraction(i, SQL_BINS) for i in range(1, SQL_BINS)])
                by_rank = {int(row[0]): row[1] for row in self._query(rank_query(self._table, column, self.dialect, wanted))[1]}
                found[column] = [convert_number(by_rank[rank], column) for rank in wanted]
            return found
        single = self.dialect.quantiles == "array"
        for batch in split_batches(columns, [1 if single else SQL_BINS - 1] * len(columns)):
            (row,) = self._query(quantile_query(self._table, batch, self.dialect, SQL_BINS))[1]
            answers = iter(row)
            for column in batch:
                values = next(answers) if single else islice(answers, SQL_BINS - 1)
                found[column] = [convert_number(value, column) for value in values]
        return found

    def _count_rows(
        self, columns: Sequence[SQLColumn], profiles: Mapping[str, ColumnProfile], edges: Mapping[str, Edges]
    ) -> Iterator[tuple[SQLColumn, Array]]:
        """Yield the finite rows of each column up to its edges, and check that the number of rows is that of its profile."""
        for column, total, counts in count_rows(self._query, self._table, self.dialect, columns, edges):
            profile = profiles[column.name]
            expected = profile.values if self.dialect.buckets == "width_bucket" else profile.rows
            if total != expected:
                message = f"{self.name}: {expected} rows became {total} between two statements"
                raise InvalidMeasurement(message, reason="no_snapshot")
            # -infinity is below every edge but belongs to none of the bins.
            yield column, counts - profile.negative_infinite if self.dialect.buckets == "sums" else counts


def grid_edges(grid: Grid, bins: int) -> tuple[Array, Array]:
    """Return the values at which a database must count to be compared with a grid.

    They are ends of the grid's cells, so that the grid's counts are exact.
    """
    low, high = grid.cell_ends()
    heavy = np.flatnonzero(grid.counts * bins >= grid.total)
    closed = np.unique(np.concatenate([high[grid.quantile_cells(bins)], high[heavy]]))
    return _sort_edges(closed, np.unique(low[heavy]))


def _quantile_edges(codes: Sequence[int]) -> tuple[Array, Array]:
    """Count up to each edge, and also below an edge that several quantiles share: that value gets a bin of its own."""
    heavy = [code for code, following in pairwise(codes) if code == following]
    return _sort_edges(np.unique(np.array(codes, dtype=np.int64)), np.unique(np.array(heavy, dtype=np.int64)))


def _sort_edges(closed: Array, opened: Array) -> tuple[Array, Array]:
    codes = np.concatenate([opened, closed]).astype(np.int64)
    flags = np.arange(len(codes)) >= len(opened)
    order = np.lexsort((flags, codes))
    return codes[order], flags[order]


def _read_summary(column: SQLColumn, rows: int, answers: Iterator[Any]) -> ColumnProfile:
    present = int(next(answers))
    profile = ColumnProfile(name=column.name, kind=column.kind, rows=rows, nulls=rows - present)
    if column.kind in CATEGORICAL:
        return replace(profile, categories={})
    finite, above, below = (int(next(answers) or 0) for _ in range(3))
    low, high = (convert_number(next(answers), column) for _ in range(2))
    return replace(
        profile,
        nan=present - finite - above - below,
        positive_infinite=above,
        negative_infinite=below,
        minimum=low,
        maximum=high,
        distribution=Grid(column.form, EXACT, np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)),
    )
