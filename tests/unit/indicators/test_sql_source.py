"""A SQL source runs equal queries once, on one snapshot, without writes, and within a time limit."""

from __future__ import annotations

import sqlite3
from fractions import Fraction as F
from pathlib import Path
from typing import Any

import pytest

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.indicators.sql.source import SQLSource, dbapi_runner
from airflow_slo_provider.slo.budget.indicator_source import Measurement
from airflow_slo_provider.sql import runner as sql_runner
from tests.unit.indicators.sql_builders import (
    BOUNDS,
    DAY,
    LATENCIES,
    ONE_ROW,
    T0,
    FixedRunner,
    limit,
    measure,
    ratio,
    request_of,
    threshold,
)


def test_equal_queries_run_once() -> None:
    runner = FixedRunner(["good", "total"], (1, 2))
    answers = SQLSource(runner, name="x").measure(
        [request_of(ratio(ONE_ROW)), request_of(ratio(ONE_ROW)), request_of(ratio(ONE_ROW), T0, T0 + DAY)]
    )
    assert [isinstance(answer, Measurement) for answer in answers] == [True] * 3
    assert len(runner.calls) == 2


def test_invalid_query_does_not_affect_other_requests(sql: SQLSource) -> None:
    broken = ratio(ONE_ROW.replace("requests", "no_such_table"))
    first, second, third = sql.measure([request_of(ratio(ONE_ROW)), request_of(broken), request_of(ratio(ONE_ROW))])
    assert isinstance(first, Measurement)
    assert isinstance(third, Measurement)
    assert isinstance(second, QueryError)
    assert str(second).startswith("OperationalError: no such table: no_such_table; query: SELECT SUM(ok)")
    assert str(second).endswith("asked: requests.db")
    assert (second.reason, second.transient) == ("bad_query", False)


@pytest.mark.parametrize(
    "statement", ["SELECT ? AS good, 1 AS total", "SELECT nothing AS good, 1 AS total FROM requests", "SELECT ( AS good"]
)
def test_invalid_sql_is_not_transient(sql: SQLSource, statement: str) -> None:
    with pytest.raises(QueryError) as caught:
        measure(sql, request_of(ratio(f"{statement} WHERE :date_from < :date_to")))
    assert (caught.value.reason, caught.value.transient) == ("bad_query", False)


def test_writes_are_refused(sql: SQLSource, database: sqlite3.Connection) -> None:
    runner = dbapi_runner(database)
    with runner.session(), pytest.raises(sqlite3.OperationalError, match="attempt to write a readonly database"):
        database.execute("DELETE FROM requests")
    with pytest.raises(QueryError, match="begins with DELETE"):
        measure(sql, request_of(ratio(f"DELETE FROM requests WHERE {BOUNDS}")))
    assert database.execute("SELECT COUNT(*) FROM requests").fetchone() == (60,)


def test_queries_of_one_call_see_one_snapshot(database: sqlite3.Connection, tmp_path: Path) -> None:
    database.execute("PRAGMA journal_mode=WAL")
    runner, writer = dbapi_runner(database), sqlite3.connect(tmp_path / "requests.db", isolation_level=None)

    class Meddling:
        dialect = "sqlite"
        session = staticmethod(runner.session)

        def __call__(self, query: str, parameters: Any, /) -> Any:
            answer = runner(query, parameters)
            writer.execute("INSERT INTO requests SELECT ts, ok, latency FROM requests")
            return answer

    good = f"SELECT COUNT(*) AS good FROM requests WHERE ok AND {BOUNDS}"
    measured = measure(
        SQLSource(Meddling(), name="x"), request_of(ratio(good, f"SELECT COUNT(*) AS total FROM requests WHERE {BOUNDS}"))
    )
    assert (measured.good, measured.total) == (54, 60)
    writer.close()


def test_locked_database_is_transient(database: sqlite3.Connection, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "requests.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    database.execute("PRAGMA busy_timeout=50")
    with pytest.raises(QueryError, match="database is locked") as caught:
        measure(SQLSource(dbapi_runner(database), name="x"), request_of(ratio(ONE_ROW)))
    assert (caught.value.reason, caught.value.transient) == ("locked", True)
    other.close()


def test_slow_query_is_interrupted(database: sqlite3.Connection) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
    slow = f"{endless} SELECT COUNT(*) AS good, COUNT(*) AS total FROM n, requests WHERE {BOUNDS}"
    source = SQLSource(dbapi_runner(database, timeout=0.2), name="x")
    first, second = source.measure([request_of(ratio(slow)), request_of(ratio(ONE_ROW))])
    assert isinstance(first, QueryError)
    assert (first.reason, first.transient) == ("timeout", True)
    assert isinstance(second, Measurement)


def test_result_with_too_many_rows_is_refused(database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_runner, "MOST_ROWS", 59)
    with pytest.raises(QueryError, match="more than 59 rows; aggregate them in the query") as caught:
        measure(SQLSource(dbapi_runner(database), name="x"), request_of(threshold(LATENCIES), **limit("lt", "1")))
    assert caught.value.reason == "too_many_rows"


def test_closed_connection_fails_every_request(database: sqlite3.Connection) -> None:
    source = SQLSource(dbapi_runner(database), name="requests.db")
    database.close()
    answers = source.measure([request_of(ratio(ONE_ROW)), request_of(ratio(ONE_ROW), T0, T0 + DAY)])
    assert [type(answer) for answer in answers] == [QueryError] * 2


def test_dict_rows_are_read_in_column_order() -> None:
    connection = sqlite3.connect(":memory:")
    connection.row_factory = lambda cursor, row: {column[0]: cell for column, cell in zip(cursor.description, row, strict=True)}
    query = "SELECT 3 AS total, 2 AS good WHERE :date_from < :date_to"
    assert measure(SQLSource(dbapi_runner(connection), name="x"), request_of(ratio(query))).ratio == F(2, 3)
