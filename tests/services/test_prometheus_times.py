"""A real Prometheus answers with exactly the times that it is asked about, so that any other time is a reason to doubt."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest

from airflow_slo_provider.indicators.prometheus.answers import to_milliseconds
from airflow_slo_provider.indicators.prometheus.async_client import AsyncPrometheusClient
from airflow_slo_provider.indicators.prometheus.client import PrometheusClient
from tests.services.histories import END

QUERIES = (
    "vector(1)",
    "scalar(vector(1))",
    'sum(http_requests_total{service="steady"})',
    'sum(http_requests_total{service="steady"} offset 1h)',
    f'sum(http_requests_total{{service="steady"}} @ {int(END.timestamp()) - 7200})',
    'sum(increase(http_requests_total{service="steady"}[1h:1m] @ end()))',
    'sum(increase(http_requests_total{service="steady"}[1h]))',
)
INSTANTS = [END - timedelta(microseconds=offset) for offset in (0, 1, 999, 1000, 1234, 500_000, 999_999, 1_000_001)]


@pytest.mark.parametrize("query", QUERIES)
def test_a_sample_has_the_time_of_its_query(query: str, prometheus_history: str) -> None:
    client = PrometheusClient(prometheus_history)
    for at in INSTANTS:
        found = client.instant(query, at)
        assert [sample.at for sample in found] == [to_milliseconds(at)], (query, at)


def test_sample_of_the_async_client_has_the_time_of_its_query(prometheus_history: str) -> None:
    async def ask(at: datetime) -> list[int]:
        async with AsyncPrometheusClient(prometheus_history) as client:
            return [sample.at for sample in await client.instant("vector(1)", at)]

    for at in INSTANTS:
        assert asyncio.run(ask(at)) == [to_milliseconds(at)]


@pytest.mark.parametrize("step", ["60s", "7.5s", "0.333s"])
def test_points_lie_on_the_grid_of_their_query(step: str, prometheus_history: str) -> None:
    width, start = timedelta(seconds=float(step[:-1])), END - timedelta(minutes=10, milliseconds=123)
    (series,) = PrometheusClient(prometheus_history).range("vector(1)", start, END, width)
    first, every = to_milliseconds(start), width // timedelta(milliseconds=1)
    assert [moment for moment, _ in series.points] == list(range(first, to_milliseconds(END) + 1, every))
