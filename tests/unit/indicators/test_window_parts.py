"""Windows that are measured in parts, and the advice about queries that are too large."""

from __future__ import annotations

from collections.abc import Callable, Container
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest

from airflow_slo_provider.exceptions import NoData, QueryError
from airflow_slo_provider.indicators.prometheus.answers import RangeSeries, Sample, to_milliseconds
from airflow_slo_provider.indicators.prometheus.large_windows.advice import with_advice
from airflow_slo_provider.indicators.prometheus.query_batches import Query
from airflow_slo_provider.indicators.prometheus.source import PrometheusSource
from airflow_slo_provider.slo.budget.indicator_source import Measurement, MeasureRequest
from airflow_slo_provider.slo.model import Indicator, RatioMetric
from airflow_slo_provider.slo.promql.additive_counts import why_not_additive
from tests.unit.indicators.prometheus_requests import ratio, threshold

END = datetime(2026, 11, 1, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
SUMMED = ratio(good="fine", total="rows", counter=False)
COUNTED = ratio(bad="sum(increase(bad_total[{{.window}}]))", total="sum(increase(all_total[{{.window}}]))")


class Server:
    """Answers instant queries by a function of the query and the time, and remembers them."""

    url = "http://server"
    gaps: Container[int] = ()

    def __init__(self, answer: Callable[[str, datetime], str | None]) -> None:
        self.answer, self.asked = answer, list[tuple[str, datetime]]()

    @property
    def connect(self) -> object:
        return None

    def instant(self, query: str, at: datetime) -> list[Sample]:
        if "resets(" in query:  # whether the samples are those of a counter
            return []
        self.asked.append((query, at))
        text = self.answer(query, at)
        return [] if text is None else [Sample({}, Fraction(text), text, to_milliseconds(at))]

    def range(self, query: str, start: datetime, end: datetime, step: timedelta) -> list[RangeSeries]:
        assert "present_over_time" in query, "each part is a query of its own"
        times = range(to_milliseconds(start), to_milliseconds(end) + 1, step // timedelta(milliseconds=1))
        return [RangeSeries({}, tuple((time, "1") for time in times if time not in self.gaps))]


def measure(
    answer: Callable[[str, datetime], str | None], indicator: Indicator, window: timedelta, split: timedelta | None
) -> tuple[object, Server]:
    server = Server(answer)
    source = PrometheusSource(server, parallel=1)  # type: ignore[arg-type]
    (found,) = source.measure([MeasureRequest(indicator, END - window, END, split_window=split)])
    return found, server


def test_parts_cover_the_window_without_overlap() -> None:
    found, server = measure(lambda *_: "5", SUMMED, 3 * DAY, DAY)
    times = {at for query, at in server.asked if "rows" in query}
    assert times == {END, END - DAY, END - 2 * DAY}
    assert all("[86399999ms]" in query for query, _ in server.asked)
    assert isinstance(found, Measurement)
    assert found.total == 15


def test_window_that_is_no_multiple_is_split_into_equal_parts() -> None:
    _, server = measure(lambda *_: "5", SUMMED, 2 * DAY + HOUR, DAY)
    times = sorted({at for _, at in server.asked})
    part = (2 * DAY + HOUR) / 3
    assert times == [END - 2 * part, END - part, END]


@pytest.mark.parametrize("split", [None, DAY, 2 * DAY])
def test_window_that_is_not_longer_is_measured_at_once(split: timedelta | None) -> None:
    found, server = measure(lambda *_: "5", SUMMED, DAY, split)
    assert {at for _, at in server.asked} == {END}
    assert isinstance(found, Measurement)
    assert found.note == ""


def test_part_without_series_adds_nothing() -> None:
    found, _ = measure(lambda _, at: "5" if at > END - 2 * DAY else None, SUMMED, 4 * DAY, DAY)
    assert isinstance(found, Measurement)
    assert found.total == 10


def test_window_without_series_in_any_part_is_no_data() -> None:
    found, _ = measure(lambda *_: None, SUMMED, 4 * DAY, DAY)
    assert isinstance(found, NoData)
    assert found.reason == "empty"


def test_one_failed_part_fails_the_window() -> None:
    def answer(_: str, at: datetime) -> str:
        if at == END - 2 * DAY:
            raise QueryError("no answer within the read timeout", reason="timeout", transient=True)
        return "5"

    found, _ = measure(answer, SUMMED, 4 * DAY, DAY)
    assert isinstance(found, QueryError)
    assert (found.reason, found.transient) == ("timeout", True)
    assert "airflow-slo/split-window" in found.message


def test_contradicting_part_of_a_sound_window_is_no_contradiction() -> None:
    """Jobs that are counted when they start and when they succeed: more succeed than start on the last day."""

    def answer(query: str, at: datetime) -> str:
        good = "fine" in query
        return ("12" if good else "10") if at == END else ("5" if good else "10")

    found, _ = measure(answer, SUMMED, 3 * DAY, DAY)
    assert isinstance(found, Measurement)
    assert (found.good, found.total) == (22, 30)


def test_failures_without_series_in_the_window_are_no_zero() -> None:
    found, server = measure(lambda query, _: None if "bad_total" in query else "5", COUNTED, 3 * DAY, DAY)
    assert isinstance(found, NoData)
    assert found.reason == "bad_series_missing"
    witnesses = {at for query, at in server.asked if "present_over_time(bad_total[1d])" in query}
    assert witnesses == {END, END - DAY, END - 2 * DAY}, "the proof is looked for in parts as well"


def test_worse_of_two_splits_counts_and_the_difference_is_noted() -> None:
    def answer(query: str, _: datetime) -> str:
        return "100" if "all_total" in query else "0" if "[1d]" in query else "1"

    found, _ = measure(answer, COUNTED, 2 * DAY, DAY)
    assert isinstance(found, Measurement)
    assert found.ratio == Fraction(99, 100)
    assert found.note == (
        "measured in 2 parts of 1d, whose sum is not exact; with shorter parts it differs (total by 60 %, bad events by 100 %), "
        "and the worse result counts"
    )


def test_window_with_a_gap_is_not_measured_in_parts() -> None:
    server = Server(lambda *_: "1")
    server.gaps = range(to_milliseconds(END - 12 * HOUR), to_milliseconds(END - 11 * HOUR))
    (found,) = PrometheusSource(server).measure([MeasureRequest(COUNTED, END - 2 * DAY, END, split_window=DAY)])  # type: ignore[arg-type]
    assert isinstance(found, NoData)
    assert found.reason == "gap"
    assert "only 97 % of the window since its first data has data" in found.message


@pytest.mark.parametrize(
    ("indicator", "reason"),
    [
        (SUMMED, ""),
        (COUNTED, ""),
        (threshold("latency"), ""),
        (ratio(bad="sum(increase(b[{{.window}}])) or vector(0)", total="sum(increase(a[{{.window}}]))"), ""),
        (ratio(raw="sum(rate(g[{{.window}}])) / sum(rate(a[{{.window}}]))", raw_type="success"), "measured as a ratio"),
        (ratio(good="sum(g:rate5m)", total="sum(a:rate5m)", counter=False), "measured as a ratio"),
        (
            ratio(bad="sum(increase(a[{{.window}}])) - sum(increase(g[{{.window}}]))", total="sum(increase(a[{{.window}}]))"),
            "bad: it reads several selectors",
        ),
        (ratio(good="sum(increase(g[{{.window}}]))", total="sum(increase(a[{{.window}}])) > 5"), "total: the filter"),
    ],
)
def test_only_counts_that_add_up_are_split(indicator: Indicator, reason: str) -> None:
    found_reason = why_not_additive(indicator.metric)
    assert reason in found_reason
    assert bool(found_reason) is bool(reason)
    if reason:
        found, server = measure(lambda *_: "5", indicator, 3 * DAY, DAY)
        assert isinstance(found, QueryError)
        assert (found.reason, found.transient, server.asked) == ("cannot_split", False, [])
        assert reason in found.message


def test_declared_queries_are_not_split() -> None:
    metric = ratio(good="sum(increase(g[{{.window}}] keep))", total="sum(increase(a[{{.window}}] keep))").metric
    assert isinstance(metric, RatioMetric)
    declared = RatioMetric(good=metric.good, total=metric.total, counter=True, declares_events=True)
    assert why_not_additive(declared) == "its queries cannot be read"


@pytest.mark.parametrize(
    ("message", "reason", "window", "advised"),
    [
        ("HTTP 422 from Prometheus: execution: query processing would load too many samples into memory in query execution",
         "query_failed", HOUR, True),
        ("HTTP 400 from Prometheus: bad_data: exceeded maximum resolution of 11,000 points", "bad_query", HOUR, True),
        ("HTTP 422: the query exceeded the maximum number of chunks (limit: 2000000 chunks) (err-mimir-max-chunks-per-query)",
         "query_failed", HOUR, True),
        ("HTTP 422: cannot select more than -search.maxSamplesPerQuery=1000000000 samples", "query_failed", HOUR, True),
        ("no answer within the read timeout", "timeout", 30 * DAY, True),
        ("no answer within the read timeout", "timeout", HOUR, False),
        ("HTTP 503 from Prometheus: timeout: query timed out in expression evaluation", "server_error", 3 * DAY, True),
        ("HTTP 400 from Prometheus: bad_data: parse error", "bad_query", 30 * DAY, False),
        ("HTTP 503 from Prometheus: no message", "server_error", 30 * DAY, False),
    ],
)  # fmt: skip
def test_errors_about_size_have_advice(message: str, reason: str, window: timedelta, advised: bool) -> None:
    query, error = Query("x"), QueryError(message, reason=reason, transient=reason == "timeout", query="x", source="s")
    reply = with_advice({query: error}, window // timedelta(milliseconds=1))[query]
    assert isinstance(reply, QueryError)
    assert (reply.reason, reply.transient, reply.query, reply.source) == (reason, error.transient, "x", "s")
    assert ("airflow-slo/split-window" in reply.message and "airflow slo rules" in reply.message) is advised
    assert reply.message.startswith(message)
