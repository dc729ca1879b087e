"""A source that hangs costs an evaluation one time limit, not one for each window: seen by what the servers were asked."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from airflow_slo_provider.documents.durations import parse_duration
from airflow_slo_provider.indicators.prometheus.client import PrometheusClient
from airflow_slo_provider.indicators.prometheus.source import PrometheusSource
from airflow_slo_provider.indicators.sql.source import SQLSource, dbapi_runner
from airflow_slo_provider.slo.budget.monitor import SLOMonitor
from airflow_slo_provider.slo.budget.reports import Status
from airflow_slo_provider.slo.catalog import SLOCatalog
from airflow_slo_provider.slo.model import SLO, BudgetingMethod, Indicator, MetricSource, Objective, RatioMetric, TimeWindow
from airflow_slo_provider.slo.policy.decisions import decide
from tests.services.faulty_prometheus import FaultyPrometheus
from tests.services.postgres import PostgresServer
from tests.unit.indicators.prometheus_requests import availability

SLOW = "SELECT 1 AS good, 1 AS total FROM (SELECT pg_sleep(60)) s WHERE :date_from < :date_to"
FAST = "SELECT 99 AS good, 100 AS total WHERE :date_from < :date_to"


class Counting:
    """A cursor's connection that writes down what is executed."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.executed: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def cursor(self) -> Any:
        cursor, executed = self._connection.cursor(), self.executed

        class Cursor:
            def __getattr__(self, name: str) -> Any:
                return getattr(cursor, name)

            def execute(self, text: str, *values: Any) -> Any:
                executed.append(text)
                return cursor.execute(text, *values)

        return Cursor()


@pytest.fixture
def counting(postgres: PostgresServer, postgres_database: str) -> Iterator[Counting]:
    connection = postgres.connect(postgres_database)
    yield Counting(connection)
    connection.close()


def sql_slo(name: str, query: str, window: str = "30d") -> SLO:
    source = MetricSource("SQL", None, query)
    return SLO(
        name=name, service="shop", indicator=Indicator(name, RatioMetric(good=source, total=source)),
        window=TimeWindow(parse_duration(window)), method=BudgetingMethod.OCCURRENCES, objectives=(Objective(Fraction("0.9")),),
    )  # fmt: skip


def test_hanging_database_gets_one_statement(counting: Counting) -> None:
    """Five windows and a limit of a second: five seconds before, one since."""
    source = SQLSource(dbapi_runner(counting, dialect="postgresql", timeout=1), name="connection warehouse")
    reports = SLOMonitor(SLOCatalog((sql_slo("slow", SLOW), sql_slo("fine", FAST))), source).evaluate()
    assert len([text for text in counting.executed if "pg_sleep" in text]) == 1
    assert not any("99 AS good" in text for text in counting.executed), "the database is not asked for the next objective either"
    assert [report.status for report in reports] == [Status.QUERY_ERROR, Status.QUERY_ERROR]
    assert reports[0].error is not None
    assert reports[0].error.reason == "timeout"
    assert reports[1].error is not None
    assert (reports[1].error.reason, reports[1].error.transient) == ("not_asked", True)
    assert "not queried: connection warehouse did not answer in time earlier" in reports[1].message


def test_statement_timeout_is_the_rest_of_the_deadline(counting: Counting) -> None:
    source = SQLSource(dbapi_runner(counting, dialect="postgresql", timeout=60), name="connection warehouse")
    (report,) = SLOMonitor(SLOCatalog((sql_slo("slow", SLOW),)), source, deadline=1).evaluate()
    limits = [int(text.rpartition(" ")[2]) for text in counting.executed if "statement_timeout" in text]
    before = counting.executed[: next(n for n, text in enumerate(counting.executed) if "pg_sleep" in text)]
    assert "statement_timeout" in before[-1]
    assert 0 < int(before[-1].rpartition(" ")[2]) <= 1000
    assert max(limits) == 60_000, "the limit of the connection, before the evaluation had its say"
    assert report.status is Status.QUERY_ERROR


def test_limit_of_one_evaluation_does_not_apply_to_the_next(counting: Counting) -> None:
    source = SQLSource(dbapi_runner(counting, dialect="postgresql", timeout=60), name="connection warehouse")
    catalog = SLOCatalog((sql_slo("fine", FAST),))
    assert SLOMonitor(catalog, source, deadline=2).evaluate()[0].budget is not None
    counting.executed.clear()
    assert SLOMonitor(catalog, source, deadline=300).evaluate()[0].budget is not None
    limits = [int(text.rpartition(" ")[2]) for text in counting.executed if "statement_timeout" in text]
    assert min(limits) == 60_000


def test_endless_sqlite_query_runs_once(tmp_path: Path) -> None:
    import sqlite3

    endless = (
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) "
        "SELECT count(*) AS good, count(*) AS total FROM n WHERE :date_from < :date_to"
    )
    asked: list[str] = []
    connection = sqlite3.connect(tmp_path / "x.db")
    connection.set_trace_callback(asked.append)
    source = SQLSource(dbapi_runner(connection, timeout=60), name="file")
    reports = SLOMonitor(SLOCatalog((sql_slo("slow", endless), sql_slo("fine", FAST))), source, deadline=0.5).evaluate()
    connection.close()
    assert len([text for text in asked if "RECURSIVE" in text]) == 1
    assert {report.status for report in reports} == {Status.QUERY_ERROR}


def prometheus_slos(*names: str) -> SLOCatalog:
    made = sql_slo("x", FAST)
    return SLOCatalog(tuple(replace(made, name=name, indicator=availability(name)) for name in names))


def test_hanging_prometheus_is_queried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one query at a time there is one request; what is already under way beside it may come too."""
    catalog = prometheus_slos("a", "b", "c")
    with FaultyPrometheus("ok") as server:
        source = PrometheusSource(PrometheusClient(server.url), parallel=1)
        SLOMonitor(catalog, source).evaluate()
        usual = len(server.requests)
    for parallel in (1, 2):
        with FaultyPrometheus("hang") as server:
            source = PrometheusSource(PrometheusClient(server.url, timeout=(1.0, 0.4), retries=2), parallel=parallel)
            reports = SLOMonitor(catalog, source).evaluate()
            decision = decide(reports, catalog)
            assert usual > parallel
            assert len(server.requests) <= parallel
        assert {report.status for report in reports} == {Status.QUERY_ERROR}
        assert decision.allowed is False
        assert any("not queried:" in report.message for report in reports) or all(
            "no answer within" in r.message for r in reports
        )


def test_request_timeout_is_the_rest_of_the_deadline() -> None:
    with FaultyPrometheus("hang") as server:
        source = PrometheusSource(PrometheusClient(server.url, timeout=(30.0, 60.0)), parallel=1)
        reports = SLOMonitor(prometheus_slos("a"), source, deadline=0.5).evaluate()
        assert len(server.requests) == 1
        assert server.requests[0].form["timeout"] == "1s", "the server need not compute any longer"
    assert {report.status for report in reports} == {Status.QUERY_ERROR}


def test_retry_after_is_limited_by_the_deadline(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with FaultyPrometheus("503", retry_after="9") as server:
        source = PrometheusSource(PrometheusClient(server.url, retries=5), parallel=1)
        reports = SLOMonitor(prometheus_slos("a"), source, deadline=0.5).evaluate()
        assert len(server.requests) <= 2, "one repetition, when the deadline has just passed"
    assert {report.status for report in reports} == {Status.QUERY_ERROR}


def test_dripping_answer_is_read_until_the_deadline() -> None:
    with FaultyPrometheus("drip") as server:
        source = PrometheusSource(PrometheusClient(server.url, max_seconds=120), parallel=1)
        reports = SLOMonitor(prometheus_slos("a"), source, deadline=0.5).evaluate()
        assert len(server.requests) == 1
    assert "not complete after 0." in reports[0].message


def test_server_limit_is_the_timeout_if_the_deadline_is_later() -> None:
    with FaultyPrometheus("ok") as server:
        SLOMonitor(prometheus_slos("a"), PrometheusSource(PrometheusClient(server.url))).evaluate()
        assert {request.form["timeout"] for request in server.requests} == {"60s"}


def test_database_without_connection_is_tried_once() -> None:
    tries: list[int] = []

    class Gone:
        dialect = "postgresql"

        def session(self) -> Any:
            tries.append(1)
            raise ConnectionError("no route to host")

        def __call__(self, *_: Any) -> Any:
            raise AssertionError("not without a session")

    sliced = replace(
        sql_slo("b", FAST), method=BudgetingMethod.TIMESLICES,
        objectives=(Objective(Fraction("0.9"), time_slice_window=parse_duration("1h"), time_slice_target=Fraction("0.9")),),
    )  # fmt: skip
    reports = SLOMonitor(SLOCatalog((sql_slo("a", FAST), sliced)), SQLSource(Gone(), name="connection gone")).evaluate()
    assert tries == [1]
    assert {report.status for report in reports} == {Status.QUERY_ERROR}
