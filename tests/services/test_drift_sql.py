"""Compare counts of this process with those of PostgreSQL, DuckDB and SQLite."""

from __future__ import annotations

import datetime as dt
import sqlite3
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from airflow_slo_provider import drift
from airflow_slo_provider.drift import SQLData
from airflow_slo_provider.exceptions import InvalidMeasurement, QueryError

EPOCH = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
TYPES = {
    "real": "DOUBLE PRECISION",
    "whole": "BIGINT",
    "exact": "NUMERIC(20, 3)",
    "flag": "BOOLEAN",
    "word": "VARCHAR",
    "day": "DATE",
    "moment": "TIMESTAMP WITH TIME ZONE",
    "nothing": "INTEGER",
}


def rows_of(n: int, seed: int = 0, shift: float = 0.0) -> list[tuple]:
    rng = np.random.default_rng(seed)
    out = []
    zone = dt.timezone(dt.timedelta(hours=5, minutes=30))
    for i in range(n):
        real = float(rng.normal(shift)) if i % 3 else 0.0
        real = {5: float("nan"), 6: float("inf"), 7: float("-inf")}.get(i % 50, real)
        out.append(
            (
                None if i % 11 == 0 else real,
                None if i % 13 == 0 else int(2**60 + rng.integers(-(10**6), 10**6)),
                Decimal(int(rng.integers(-(10**6), 10**6))) / 1000,
                bool(rng.random() < 0.3),
                None if i % 7 == 0 else str(rng.choice(["a", "Ünïcödé 漢字", "it's", 'quo"te', "", " a"])),
                (EPOCH + dt.timedelta(days=int(rng.integers(-400, 400)))).date(),
                (EPOCH + dt.timedelta(milliseconds=int(rng.integers(-(10**10), 10**10)))).astimezone(zone),
                None,
            )
        )
    return out


def frame(rows: list[tuple]) -> pd.DataFrame:
    import pyarrow as pa

    types = [
        pa.float64(),
        pa.int64(),
        pa.decimal128(20, 3),
        pa.bool_(),
        pa.string(),
        pa.date32(),
        pa.timestamp("us", "Asia/Kolkata"),
        pa.null(),
    ]
    return pa.table({name: pa.array([row[i] for row in rows], type=types[i]) for i, name in enumerate(TYPES)})


def create(connection, rows, name="facts", mark="?", kind=None) -> None:
    cursor = connection.cursor()
    columns = ", ".join(f'"{column}" {type_ if kind is None else kind}' for column, type_ in TYPES.items())
    cursor.execute(f"CREATE TABLE {name} ({columns})")
    cursor.executemany(f"INSERT INTO {name} VALUES ({', '.join([mark] * len(TYPES))})", rows)
    connection.commit()


def sqlite_rows(rows):
    return [
        (
            row[0] if row[0] is None or row[0] == row[0] else None,
            row[1],
            float(row[2]),
            row[3],
            row[4],
            row[5].isoformat(),
            row[6].isoformat(sep=" ", timespec="milliseconds"),
            None,
        )
        for row in rows
    ]


def duckdb_connection():
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'America/New_York'")
    return connection


SQLITE_KINDS = {"flag": "bool", "day": "time", "moment": "time"}


@pytest.fixture(params=["postgresql", "duckdb", "sqlite"])
def database(request):
    """Return a function that loads rows into a table and returns it as :class:`SQLData`."""
    if request.param == "postgresql":
        server, name = request.getfixturevalue("postgres"), request.getfixturevalue("postgres_database")
        connection = server.connect(name)
    elif request.param == "duckdb":
        connection = duckdb_connection()
    else:
        connection = sqlite3.connect(":memory:")

    def load(rows, name="facts", **options):
        if request.param == "postgresql":
            create(connection, rows, name, mark="%s")
        elif request.param == "duckdb":
            create(connection, rows, name)
        else:
            create(connection, sqlite_rows(rows), name, kind="")
            options = {"kinds": SQLITE_KINDS, **options}
        return SQLData.of(connection, name, **options)

    load.dialect = request.param
    yield load
    connection.close()


def test_database_profile_equals_local_profile(database) -> None:
    rows = rows_of(3000)
    local, counted = drift.profile(frame(rows)), database(rows).profile()
    if database.dialect == "sqlite":  # SQLite stores NaN as NULL
        rows = [(None if row[0] is not None and row[0] != row[0] else row[0], *row[1:]) for row in rows]
        local = drift.profile(frame(rows))
    for name, column in local.columns.items():
        assert counted[name] == column, name
    assert counted == local
    assert counted.hash == local.hash
    assert drift.compare(local, counted).verdict in ("ok", "insufficient_data")


def test_database_large_table_is_counted_at_reference_edges(database, monkeypatch) -> None:
    """Tables too large for GROUP BY are counted below edges."""
    from airflow_slo_provider.drift.engines import sql

    monkeypatch.setattr(sql, "MOST_CELLS", 100)
    rows = rows_of(4000, seed=1)
    data = database(rows)
    reference = data.profile()
    local = drift.profile(frame(rows))
    from airflow_slo_provider.drift.profiles.cuts import Cuts, count_at

    for name in ("real", "whole", "exact", "day", "moment"):
        cuts = reference[name].distribution
        assert isinstance(cuts, Cuts)
        if database.dialect == "sqlite" and name == "real":
            continue  # NaN are nulls there, so the quantiles are equal but the total is not
        again, certain = count_at(local[name].distribution, cuts.codes, cuts.closed)
        assert certain.all()
        assert again == cuts, name
        values = np.repeat(local[name].distribution.codes, local[name].distribution.counts)
        edges = drift.quantiles(values, [Fraction(part, 20) for part in range(1, 20)])
        assert sorted(set(edges)) == np.unique(cuts.codes[cuts.closed]).tolist(), name
    assert drift.load_profile(reference.save("memory://reference.json")) == reference
    other = database(rows_of(4000, seed=2, shift=1.0), name="later")
    for before in (reference, local):
        report = drift.compare(before, other, ignore=["nothing"])
        truth = drift.compare(frame(rows), frame(rows_of(4000, seed=2, shift=1.0)), ignore=["nothing"])
        assert report["real"].verdict == "drift"
        for name in ("whole", "exact", "day", "moment"):
            assert report[name].verdict == "ok", report[name].message
            assert report[name].ks.lower - 1e-12 <= truth[name].ks.statistic <= report[name].ks.upper + 1e-12
        assert report["word"].psi == truth["word"].psi


def test_compare_two_tables_of_a_database(database) -> None:
    before, after = database(rows_of(1500, seed=3)), database(rows_of(1500, seed=4), name="after_", where="flag")
    report = drift.compare(before, after, ignore=["nothing", "flag"], min_rows=100)
    assert report.reference_rows == 1500
    assert 300 < report.current_rows < 600
    assert report["flag" if "flag" in report.columns else "real"].verdict == "ok"


def test_database_select_is_read_and_wrong_names_raise(database) -> None:
    data = database(rows_of(600))
    run = data._run
    chosen = SQLData(run, "SELECT whole, word FROM facts WHERE whole IS NOT NULL;", dialect=database.dialect)
    profile = chosen.profile()
    assert list(profile.columns) == ["whole", "word"]
    assert profile["whole"].nulls == 0
    with pytest.raises(QueryError, match="nowhere"):
        SQLData(run, "nowhere", dialect=database.dialect).profile()
    with pytest.raises(InvalidMeasurement, match="no column hole"):
        chosen.profile(["hole"])
    with pytest.raises(QueryError, match="no SQL dialect"):
        SQLData(run, "facts", dialect="cobol")


def test_postgres_rows_changed_between_statements_raise_without_snapshot(postgres, postgres_database, monkeypatch) -> None:
    """Within a snapshot later rows are not seen; without one the difference is an error."""
    from airflow_slo_provider.drift.engines import sql

    monkeypatch.setattr(sql, "MOST_CELLS", 100)
    with postgres.connect(postgres_database) as connection, postgres.connect(postgres_database, autocommit=True) as writer:
        create(connection, rows_of(500), mark="%s")
        data = SQLData.of(connection, "facts")
        run = data._run

        class WritingRunner:
            def __init__(self, session):
                if session:
                    self.session = run.session

            def __call__(self, statement, parameters):
                answer = run(statement, parameters)
                writer.execute("INSERT INTO facts (real) VALUES (1)")
                return answer

        assert SQLData(WritingRunner(True), "facts", dialect="postgresql").profile().rows == 500
        with pytest.raises(InvalidMeasurement, match="between two statements"):
            SQLData(WritingRunner(False), "facts", dialect="postgresql").profile()


def test_database_threshold_inside_interval_is_queried_again(database, monkeypatch) -> None:
    """If D is close to the threshold, the database is queried for more edges there."""
    from airflow_slo_provider.drift.engines import sql

    monkeypatch.setattr(sql, "MOST_CELLS", 100)
    rows = {shift: rows_of(2500, seed=5, shift=shift) for shift in (0.0, 0.25, 0.4)}
    data = {shift: database(held, name=f"t{round(100 * shift)}") for shift, held in rows.items()}
    for shift in (0.25, 0.4):
        truth = drift.compare(frame(rows[0.0]), frame(rows[shift]), columns=["real"])["real"].ks.statistic
        for reference in (data[0.0], drift.profile(frame(rows[0.0]))):
            found = drift.compare(reference, data[shift], columns=["real"])["real"].ks
            if database.dialect != "sqlite":  # SQLite stores NaN as NULL, so the rows differ
                assert found.lower - 1e-12 <= truth <= found.upper + 1e-12
            assert found.upper - found.lower < 0.06
            assert not found.lower < 0.1 <= found.upper


class ServerCursorConnection:
    """A PostgreSQL connection that fetches from a server-side cursor, and is terminated after the first rows."""

    def __init__(self, connection, end) -> None:
        self._connection, self._end = connection, end
        self.rollback = connection.rollback

    def cursor(self):
        return self

    def execute(self, statement, parameters=None) -> None:
        self._cursor = self._connection.cursor("rows" if statement.startswith("SELECT") else "")
        self._cursor.execute(statement, parameters)

    def close(self) -> None:
        self._cursor.close()

    @property
    def description(self):
        return self._cursor.description

    def fetchall(self):
        first = self._cursor.fetchmany(10)
        self._end()
        return [*first, *self._cursor.fetchall()]


def test_postgres_connection_lost_while_fetching_raises_transient_error(postgres, postgres_database) -> None:
    """The error is transient, and neither the driver's own class nor that of the ROLLBACK after it."""
    with postgres.connect(postgres_database) as connection, postgres.connect(postgres_database, autocommit=True) as admin:
        create(connection, rows_of(300), mark="%s")

        def end() -> None:
            admin.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))

        data = SQLData.of(ServerCursorConnection(connection, end), "facts", dialect="postgresql", name="the warehouse")
        for _ in range(2):  # the second time the connection is closed before the first query
            with pytest.raises(QueryError, match="asked: the warehouse") as caught:
                data.profile()
            assert (caught.value.reason, caught.value.transient) == ("connection", True)
