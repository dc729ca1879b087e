"""A small real server with counters, gauges and strange values, and short ways to ask its source."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from airflow_slo_provider.exceptions import MeasurementError
from airflow_slo_provider.indicators.prometheus.client import PrometheusClient
from airflow_slo_provider.indicators.prometheus.source import PrometheusSource
from airflow_slo_provider.slo.budget.indicator_source import Measurement
from airflow_slo_provider.slo.model import Indicator
from tests.services.prometheus_server import running_prometheus
from tests.unit.indicators.prometheus_requests import request_over

END = datetime(2026, 11, 1, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
SINCE = 180  # minutes of data


def data() -> Iterator[str]:
    """Three hours of data at one sample a minute; minute m ends m minutes before END, counted down to 0."""
    now = int(END.timestamp())

    def series(name: str, value: object, first: int = SINCE, last: int = 0) -> Iterator[str]:
        for ago in range(first, last - 1, -1):
            yield f"{name} {value(ago) if callable(value) else value} {now - ago * 60}\n"

    yield "# TYPE http_requests counter\n"
    for service in ("a", "b", "a.b", "axb", "x|y"):
        for code in ("200", "404", "500"):
            per_minute = len(service) * int(code)
            yield from series(
                f'http_requests_total{{service="{service}",code="{code}"}}', lambda ago, n=per_minute: n * (SINCE - ago)
            )
    yield from series('http_requests_total{service="fine",code="200"}', lambda ago: 7 * (SINCE - ago))
    yield "# TYPE failures counter\n"
    yield from series('failures_total{service="other",kind="crash"}', lambda ago: SINCE - ago, SINCE, 120)
    yield "# TYPE latency gauge\n"
    # One point in ten is slow; for ten minutes there is no traffic, so the quantile is NaN.
    yield from series('latency{service="a"}', lambda ago: "NaN" if 20 <= ago < 30 else 0.9 if ago % 10 == 0 else 0.1)
    yield from series('latency{service="b"}', 0.3, 30)
    yield "# TYPE rows gauge\n"
    yield from series('rows{state="ok"}', 95)
    yield from series('rows{state="broken"}', 5)
    yield "# TYPE strange gauge\n"
    yield from series('strange{kind="nan"}', "NaN")
    yield from series('strange{kind="inf"}', "+Inf")
    yield from series('strange{kind="negative"}', -3)
    yield "# EOF\n"


@pytest.fixture(scope="session")
def forms_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_prometheus(tmp_path_factory.mktemp("prometheus"), blocks=data()) as address:
        yield address


@pytest.fixture
def forms(forms_url: str) -> Iterator[PrometheusSource]:
    client = PrometheusClient(forms_url)
    yield PrometheusSource(client)
    client.close()


def one(
    source: PrometheusSource, indicator: Indicator, window: timedelta = HOUR, *limits: object
) -> Measurement | MeasurementError:
    (found,) = source.measure([request_over(indicator, END, window, *limits)])  # type: ignore[arg-type]
    return found


def measured(source: PrometheusSource, indicator: Indicator, *limits: object) -> Measurement:
    found = one(source, indicator, HOUR, *limits)
    assert isinstance(found, Measurement), found
    return found


def refused(source: PrometheusSource, indicator: Indicator, *limits: object) -> MeasurementError:
    found = one(source, indicator, HOUR, *limits)
    assert isinstance(found, MeasurementError), found
    return found
