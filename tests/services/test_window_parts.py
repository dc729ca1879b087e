"""Thirty days of counters that are scraped every 37 seconds, on a Prometheus that does not load them at once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import accumulate

import pytest

from airflow_slo_provider.documents.durations import parse_duration
from airflow_slo_provider.exceptions import NoData, QueryError
from airflow_slo_provider.indicators.prometheus.client import PrometheusClient
from airflow_slo_provider.indicators.prometheus.evaluator import PrometheusEvaluator
from airflow_slo_provider.indicators.prometheus.source import PrometheusSource
from airflow_slo_provider.slo.budget.indicator_source import Measurement, MeasureRequest
from airflow_slo_provider.slo.budget.reports import Status
from airflow_slo_provider.slo.catalog import SLOCatalog
from airflow_slo_provider.slo.model import SLO, BudgetingMethod, Indicator, Objective, Options, TimeWindow
from tests.services.prometheus_server import running_prometheus
from tests.unit.indicators.prometheus_requests import availability, ratio, threshold

END = datetime(2026, 11, 1, tzinfo=UTC)
SCRAPE = 37
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
MONTH = 30 * DAY
#: The last scrape is 11 seconds before the end, so that no boundary of a part is on a scrape.
SCRAPES = [int(END.timestamp()) - 11 - SCRAPE * number for number in range(30 * 86400 // SCRAPE, -1, -1)]
BORN = {"steady": 30, "busy": 30, "restarts": 30, "young": 6}
#: Scrapes that are missing around the end of a part of a day, ten days ago.
GAP = range(int((END - 10 * DAY - HOUR).timestamp()), int((END - 10 * DAY + HOUR).timestamp()))


def events(service: str, number: int) -> int:
    """Events of a service before a scrape."""
    hour = number * SCRAPE // 3600 % 24
    if service == "busy":  # four times as busy by day, in bursts
        return (40 if 8 <= hour < 20 else 10) * (number % 9 == 0)
    return 37


def failures(service: str, number: int) -> int:
    return int(number % (45 if service == "busy" else 25) == 0)


def history(service: str) -> list[tuple[int, int, int]]:
    """The scrape's time, all events and failures since the scrape before; from the birth of the service."""
    born = int((END - BORN[service] * DAY).timestamp())
    alive = [(number, at) for number, at in enumerate(SCRAPES) if at >= born]
    return [(at, events(service, number), failures(service, number)) for number, at in alive]


def truth(service: str) -> tuple[int, int]:
    """Return good and all events; nothing shows what happened before the first scrape."""
    rows = history(service)[1:]
    bad, total = sum(row[2] for row in rows), sum(row[1] for row in rows)
    return total - bad, total


def metrics() -> Iterator[str]:
    yield "# TYPE http_requests counter\n"
    for service in BORN:
        rows = history(service)
        for code in ("200", "500"):
            counts = [row[2] if code == "500" else row[1] - row[2] for row in rows]
            sums = list(accumulate(counts))
            for index, (at, *_) in enumerate(rows):
                since = index // 5000 * 5000 if service == "restarts" else 0
                value = sums[index] - (sums[since - 1] if since else 0)
                yield f'http_requests_total{{service="{service}",code="{code}"}} {value} {at}\n'
    failed = 0
    yield "# TYPE gap counter\n"
    for at in SCRAPES:  # it fails while it is not scraped
        failed += at in GAP
        if at not in GAP:
            yield f'gap_total{{code="200"}} {at - SCRAPES[0]} {at}\ngap_total{{code="500"}} {failed} {at}\n'
    yield "# TYPE latency gauge\n"
    for number, at in enumerate(SCRAPES):
        yield f"latency {0.9 if number % 100 == 0 else 0.1} {at}\n"
    yield "# TYPE rows gauge\n"
    for number, at in enumerate(SCRAPES):
        yield f"rows {number % 7} {at}\n"
    yield "# TYPE rare_failures counter\n"
    for index, at in enumerate(SCRAPES[-2000:]):  # the series begins a day before the end
        yield f'rare_failures_total{{service="steady"}} {index // 100} {at}\n'
    yield "# EOF\n"


@pytest.fixture(scope="module")
def large_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_prometheus(tmp_path_factory.mktemp("large"), blocks=metrics()) as url:
        yield url


@pytest.fixture(scope="module")
def limited_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Base URL of a server that loads at most 10,000 samples: of one series, four days."""
    with running_prometheus(tmp_path_factory.mktemp("limited"), blocks=metrics(), flags=["--query.max-samples=10000"]) as url:
        yield url


def measured(url: str, indicator: Indicator, split: timedelta | None, **limits: object) -> Measurement:
    found = measure(url, indicator, split, **limits)
    assert isinstance(found, Measurement), found
    return found


def measure(url: str, indicator: Indicator, split: timedelta | None, **limits: object) -> object:
    client = PrometheusClient(url)
    request = MeasureRequest(indicator, END - MONTH, END, split_window=split, **limits)  # type: ignore[arg-type]
    (found,) = PrometheusSource(client).measure([request])
    client.close()
    return found


@pytest.mark.parametrize("split", [7 * DAY, DAY, 6 * HOUR], ids=["7d", "1d", "6h"])
@pytest.mark.parametrize("service", BORN)
@pytest.mark.parametrize("bad", [False, True], ids=["good", "bad"])
def test_sum_of_parts_deviates_by_one_percent_at_most(large_url: str, service: str, split: timedelta, bad: bool) -> None:
    indicator = availability(service, bad=bad)
    parts, whole = measured(large_url, indicator, split), measured(large_url, indicator, None)
    good, total = truth(service)
    for found, known in ((parts.total, total), (parts.good, good), (parts.total - parts.good, total - good)):  # type: ignore[operator]
        assert float(found or 0) == pytest.approx(known, rel=0.01)
    assert float(parts.total or 0) == pytest.approx(float(whole.total or 0), rel=0.01)
    count = 5 if split == 7 * DAY else MONTH // split
    assert parts.note.startswith(f"measured in {count} parts of ")
    assert "whose sum is not exact; with shorter parts it differs (total by 0.0" in parts.note
    assert whole.note == ""


def test_events_in_a_gap_of_the_scrapes_are_in_the_deviation(large_url: str) -> None:
    indicator = ratio(bad='gap_total{code="500"}', total="gap_total")
    parts, whole = measured(large_url, indicator, DAY), measured(large_url, indicator, None)
    missed = len([at for at in SCRAPES if at in GAP])
    assert float((whole.total or 0) - (whole.good or 0)) == pytest.approx(missed, rel=0.01)
    assert float((parts.total or 0) - (parts.good or 0)) == pytest.approx(missed, rel=0.01)
    assert "bad events by 100 %" in parts.note, "with parts of a day none of these events is seen"


def test_split_window_answers_where_the_whole_does_not(limited_url: str) -> None:
    refused = measure(limited_url, availability("steady"), None)
    assert isinstance(refused, QueryError)
    assert (refused.reason, refused.transient, refused.http_status) == ("query_failed", False, 422)
    assert "too many samples" in refused.message
    assert "airflow-slo/split-window" in refused.message
    assert "airflow slo rules" in refused.message
    found = measured(limited_url, availability("steady"), DAY)
    assert float(found.ratio) == pytest.approx(1 - 1 / (25 * 37), abs=1e-5)


def test_split_window_of_an_slo_is_in_its_report(limited_url: str) -> None:
    one = SLO(
        "api", "shop", availability("steady"), TimeWindow(parse_duration("30d")), BudgetingMethod.OCCURRENCES,
        (Objective(Fraction("0.99")),), options=Options(split_window=DAY),
    )  # fmt: skip
    (report,) = PrometheusEvaluator(SLOCatalog((one,)), limited_url).evaluate(END)
    assert report.status is Status.HEALTHY
    assert "measured in 30 parts of 1d" in report.message
    assert all(rate.value is not None for rate in report.burn_rates)


def test_points_of_a_subquery_add_up_exactly(large_url: str, limited_url: str) -> None:
    slow = {"op": "lt", "value": Fraction(1, 2)}
    whole, parts = (
        measured(large_url, threshold("latency"), None, **slow),
        measured(limited_url, threshold("latency"), DAY, **slow),
    )
    assert (parts.good, parts.total) == (whole.good, whole.total)
    assert parts.note == "measured in 30 parts of 1d, whose counts add up exactly"
    refused = measure(limited_url, threshold("latency"), None, **slow)
    assert isinstance(refused, QueryError)
    assert refused.http_status == 422


def test_range_query_over_the_parts_loads_a_subquery_at_once(limited_url: str) -> None:
    """Which is why each part is a query of its own."""
    client = PrometheusClient(limited_url)
    query = "count_over_time((latency >= -Inf)[86399999ms:1m])"
    assert client.instant(query, END)
    with pytest.raises(QueryError, match="too many samples"):
        client.range(query, END - 29 * DAY, END, DAY)
    client.close()


def test_samples_that_are_counts_add_up_exactly(large_url: str, limited_url: str) -> None:
    rows = ratio(good="rows", total="rows", counter=False)
    whole, parts = measured(large_url, rows, None), measured(limited_url, rows, DAY)
    assert (parts.total, parts.note) == (whole.total, "measured in 30 parts of 1d, whose counts add up exactly")


def test_failures_that_begin_late_count_where_their_series_exist(large_url: str) -> None:
    total = 'sum(increase(http_requests_total{service="steady"}[{{.window}}]))'
    rare = ratio(bad='sum(increase(rare_failures_total{service="steady"}[{{.window}}]))', total=total)
    parts, whole = measured(large_url, rare, DAY), measured(large_url, rare, None)
    failed = [float((found.total or 0) - (found.good or 0)) for found in (parts, whole)]
    assert failed[0] == pytest.approx(failed[1], rel=0.01)
    misspelt = ratio(bad='sum(increase(rare_failurs_total{service="steady"}[{{.window}}]))', total=total)
    error = measure(large_url, misspelt, DAY)
    assert isinstance(error, NoData)
    assert error.reason == "bad_series_missing"


def test_service_without_series_in_any_part_is_no_data(large_url: str) -> None:
    error = measure(large_url, availability("ghost"), DAY)
    assert isinstance(error, NoData)
    assert error.reason == "empty"


def test_coverage_tells_how_much_of_the_window_has_data(large_url: str) -> None:
    client = PrometheusClient(large_url)
    request = MeasureRequest(availability("young"), END - MONTH, END, split_window=DAY)
    (share,) = PrometheusSource(client).coverage([request])
    client.close()
    assert isinstance(share, Fraction)
    assert abs(share - Fraction(6, 30)) < Fraction(2, 100)
