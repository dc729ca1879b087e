"""``max-silence`` on a real Prometheus and a real PostgreSQL: the same question about the last hours, whatever the query."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from fractions import Fraction
from typing import Any

import pytest

from airflow_slo_provider.documents.durations import parse_duration
from airflow_slo_provider.indicators.prometheus.evaluator import PrometheusEvaluator
from airflow_slo_provider.indicators.sql.source import SQLSource, dbapi_runner
from airflow_slo_provider.slo.budget.monitor import SLOMonitor
from airflow_slo_provider.slo.budget.reports import SLOReport, Status
from airflow_slo_provider.slo.catalog import SLOCatalog
from airflow_slo_provider.slo.model import (
    SLO,
    BudgetingMethod,
    Indicator,
    MetricSource,
    Objective,
    Options,
    RatioMetric,
    TimeWindow,
)
from tests.services.histories import END, METRIC
from tests.services.postgres import PostgresServer

HOUR = timedelta(hours=1)
COUNTED = "SELECT COUNT(*) FILTER (WHERE ok) AS good, COUNT(*) AS total FROM log WHERE ts >= :date_from AND ts < :date_to"
LISTED = "SELECT ts AS timestamp, ok::int AS good, 1 AS total FROM log WHERE ts >= :date_from AND ts < :date_to"


def slo(kind: str, query: str, silence: timedelta | None) -> SLO:
    source = MetricSource(kind, None, query)
    return SLO(
        "api", "shop", Indicator("api", RatioMetric(good=source, total=source)), TimeWindow(parse_duration("30d")),
        BudgetingMethod.OCCURRENCES, (Objective(Fraction(9, 10)),), options=Options(max_silence=silence),
    )  # fmt: skip


def test_prometheus_counter_without_increase_is_silent(prometheus_history: str) -> None:
    """Its series is there all the time; its only event of the month happened half an hour before the end."""
    query = f'sum(increase({METRIC}{{service="low_traffic",code="500"}}[{{{{.window}}}}]))'

    def report(silence: timedelta | None) -> SLOReport:
        (found,) = PrometheusEvaluator(SLOCatalog((slo("Prometheus", query, silence),)), prometheus_history).evaluate(END)
        return found

    assert report(None).status is Status.HEALTHY
    assert report(HOUR).status is Status.HEALTHY
    silent = report(HOUR / 6)
    assert silent.error is not None
    assert (silent.status, silent.error.reason) == (Status.NO_DATA, "silent")


@pytest.fixture
def connection(postgres: PostgresServer, postgres_database: str) -> Iterator[Any]:
    with postgres.connect(postgres_database) as made:
        made.execute("CREATE TABLE log (ts timestamptz, ok boolean)")
        made.execute(
            "INSERT INTO log SELECT timestamptz '2026-10-12 00:00:00Z' - n * interval '1 hour', true "
            "FROM generate_series(0, 99) n"
        )
    with postgres.connect(postgres_database) as opened:
        yield opened


@pytest.mark.parametrize(
    ("query", "said"), [(COUNTED, "no event in the last 3d"), (LISTED, "no event since 2026-10-12 00:00 UTC")]
)
def test_sql_log_without_recent_events_is_silent(connection: Any, query: str, said: str) -> None:
    source = SQLSource(dbapi_runner(connection), name="log")

    def report(silence: timedelta | None) -> SLOReport:
        (found,) = SLOMonitor(SLOCatalog((slo("SQL", query, silence),)), source).evaluate(END)
        return found

    silent = report(6 * HOUR)
    assert (silent.status, said in silent.message) == (Status.NO_DATA, True), silent.message
    assert report(timedelta(days=21)).status is Status.HEALTHY
    unlimited = report(None)
    assert unlimited.status is Status.HEALTHY
    assert unlimited.silence is not None
    assert unlimited.silence >= timedelta(days=3)
