"""A history of checks as an indicator."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from fractions import Fraction as F
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from airflow_slo_provider.exceptions import InvalidMeasurement, MeasurementError, NoData, QueryError
from airflow_slo_provider.indicators import ledger as indicator
from airflow_slo_provider.indicators.ledger import LedgerSource
from airflow_slo_provider.ledger import Ledger, open_ledger
from airflow_slo_provider.slo.budget.indicator_source import IndicatorSource, Measurement, MeasureRequest
from airflow_slo_provider.slo.model import Indicator, MetricSource, RatioMetric, ThresholdMetric
from tests.unit.ledger.builders import MINUTE, T0, check, key

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as opened:
        yield opened


@pytest.fixture
def source(ledger: Ledger) -> LedgerSource:
    return LedgerSource(ledger)


def fill(ledger: Ledger, verdicts: str, name: str = "golden", *, kind: str = "golden_set", **more: Any) -> None:
    """Record one check a minute from T0 on; p, w, f, u are the verdicts."""
    words = {"p": "pass", "w": "warn", "f": "fail", "u": "unknown"}
    for number, letter in enumerate(verdicts):
        ledger.record([check(name, kind=kind, at=T0 + number * MINUTE, verdict=words[letter], **more)], key(f"{name}{number}"))


def metric(name: str = "golden", **spec: Any) -> MetricSource:
    return MetricSource("Ledger", None, name, spec)


def ratio(name: str = "golden", **spec: Any) -> Indicator:
    return Indicator("i", RatioMetric(good=metric(name, **spec), total=metric(name, **spec)))


def request_of(indicator: Indicator, start: datetime = T0, end: datetime = T0 + HOUR, **more: Any) -> MeasureRequest:
    return MeasureRequest(indicator, start, end, **more)


def measure(source: LedgerSource, request: MeasureRequest) -> Measurement:
    (answer,) = source.measure([request])
    if isinstance(answer, MeasurementError):
        raise answer
    return answer


def test_ratio_counts_passed_and_warned_checks_as_good(ledger: Ledger, source: LedgerSource) -> None:
    fill(ledger, "ppwfuppppp")
    protocol: IndicatorSource = source
    assert protocol.measure([request_of(ratio())]) == [Measurement(F(8, 10), F(8), F(10), "ledger: */golden")]
    assert measure(source, request_of(ratio(unknown="ignore"))) == Measurement(F(8, 9), F(8), F(9), "ledger: */golden")
    assert measure(source, request_of(ratio(kind="golden_set"))).query == "ledger: golden_set/golden"
    bad = Indicator("i", RatioMetric(bad=metric(), total=metric()))
    assert measure(source, request_of(bad)).ratio == F(8, 10)
    assert measure(source, request_of(Indicator("i", RatioMetric(raw=metric(), raw_type="success")))).ratio == F(8, 10)


def test_measure_excludes_the_end_of_the_window(ledger: Ledger, source: LedgerSource) -> None:
    fill(ledger, "pfpf")
    assert measure(source, request_of(ratio(), T0 + MINUTE, T0 + 3 * MINUTE)).good == 1
    assert measure(source, request_of(ratio(), T0, T0 + MINUTE)).total == 1


def test_measure_retried_check_counts_once(ledger: Ledger, source: LedgerSource) -> None:
    fill(ledger, "fff")
    ledger.record([check("golden", kind="golden_set", at=T0 + 5 * MINUTE, verdict="pass")], key("golden0", try_number=2))
    assert measure(source, request_of(ratio())) == Measurement(F(1, 3), F(1), F(3), "ledger: */golden")


def test_measure_without_checks_is_no_data(ledger: Ledger, source: LedgerSource) -> None:
    with pytest.raises(NoData, match="no check named 'golden' was ever recorded"):
        measure(source, request_of(ratio()))
    fill(ledger, "p")
    with pytest.raises(NoData, match="no checks in the window"):
        measure(source, request_of(ratio(), T0 + DAY, T0 + 2 * DAY))
    with pytest.raises(NoData):
        measure(source, request_of(ratio(kind="drift")))
    fill(ledger, "u", "mute")
    with pytest.raises(NoData):
        measure(source, request_of(ratio("mute", unknown="ignore")))
    assert measure(source, request_of(ratio("mute"))).ratio == 0


@pytest.mark.parametrize(("op", "good"), [("gte", 2), ("gt", 1), ("lte", 2), ("lt", 1)])
def test_threshold_metric_compares_values(ledger: Ledger, source: LedgerSource, op: str, good: int) -> None:
    values = [0.8, 0.9, 1.0]
    for number, value in enumerate(values):
        ledger.record([check("acc", kind="golden_set", at=T0 + number * MINUTE, verdict="fail", value=value)], key(f"r{number}"))
    ledger.record([check("acc", kind="golden_set", at=T0 + 5 * MINUTE, verdict="unknown")], key("without a value"))
    ledger.record([check("acc", kind="golden_set", at=T0 + 6 * MINUTE, verdict="unknown", value=0.9)], key("a stale value"))
    held = Indicator("i", ThresholdMetric(metric("acc")))
    assert measure(source, request_of(held, op=op, value=F(9, 10))).good == good
    assert measure(source, request_of(held, op=op, value=F(9, 10))).total == 5
    ignoring = Indicator("i", ThresholdMetric(metric("acc", unknown="ignore")))
    assert measure(source, request_of(ignoring, op=op, value=F(9, 10))).total == 3
    with pytest.raises(InvalidMeasurement, match="needs an objective with op"):
        measure(source, request_of(held))


def test_events_option_adds_up_counted_events(ledger: Ledger, source: LedgerSource) -> None:
    fill(ledger, "pp", good=95.0, total=100.0)
    fill(ledger, "u", "golden unknown")
    assert measure(source, request_of(ratio(events=True))) == Measurement(F(190, 200), F(190), F(200), "ledger: */golden")
    ledger.record([check("golden", kind="golden_set", at=T0 + 5 * MINUTE, verdict="unknown")], key("could not count"))
    blind = measure(source, request_of(ratio(events=True)))
    assert (blind.good, blind.total) == (190, 300), "as many as the others on average, all of them bad"
    assert measure(source, request_of(ratio(events=True, unknown="ignore"))).total == 200
    ledger.record([check("golden", kind="golden_set", at=T0 + 6 * MINUTE, verdict="pass")], key("did not count"))
    with pytest.raises(InvalidMeasurement, match="counted no events; remove events: true") as caught:
        measure(source, request_of(ratio(events=True)))
    assert caught.value.reason == "no_counts"
    with pytest.raises(NoData):
        measure(source, request_of(ratio("golden unknown", events=True)))


def test_own_kinds_are_read_only_when_named(ledger: Ledger, source: LedgerSource) -> None:
    fill(ledger, "pp")
    fill(ledger, "fff", kind="slo")
    fill(ledger, "ffff", kind="decision")
    assert measure(source, request_of(ratio())).total == 2
    assert measure(source, request_of(ratio(kind="slo"))).total == 3
    fill(ledger, "p", kind="drift")
    with pytest.raises(QueryError, match=r"checks of kinds drift, golden_set are named 'golden'; set metricSource\.spec\.kind"):
        measure(source, request_of(ratio()))


def test_slo_of_several_services_needs_a_service(ledger: Ledger, source: LedgerSource) -> None:
    for number, (service, verdict) in enumerate([("a", "fail"), ("b", "pass"), ("b", "pass")]):
        moment = T0 + number * MINUTE
        ledger.record([check("av", kind="slo", at=moment, verdict=verdict, evidence={"service": service})], key(f"av{number}"))
    assert measure(source, request_of(ratio("av", kind="slo", service="a"))).ratio == 0
    of_b = measure(source, request_of(ratio("av", kind="slo", service="b")))
    assert (of_b.ratio, of_b.total, of_b.query) == (1, 2, "ledger: slo/av of b")
    assert measure(source, request_of(ratio("av", kind="slo"), end=T0 + MINUTE)).total == 1, "only one service in that window"
    with pytest.raises(QueryError, match=r"services a, b have an SLO named 'av'; set metricSource\.spec\.service"):
        measure(source, request_of(ratio("av", kind="slo")))
    with pytest.raises(QueryError, match="service 'a' belongs to kind: slo"):
        measure(source, request_of(ratio("av", service="a")))


@pytest.mark.parametrize(
    ("indicator", "message"),
    [
        (Indicator("i", RatioMetric(good=metric("a"), total=metric("b"))), "good and total name different checks"),
        (
            Indicator("i", RatioMetric(good=metric("a", unknown="ignore"), total=metric("a"))),
            "good and total name different checks",
        ),
        (ratio(" "), "the query is empty"),
        (ratio(unknown="good"), "unknown 'good' is neither bad nor ignore"),
        (ratio(events="yes"), "events 'yes' is neither true nor false"),
        (Indicator("i", RatioMetric(raw=metric(), raw_type="failure")), "raw ratio of type failure"),
        (Indicator("i", ThresholdMetric(metric(events=True))), "events belongs to a ratio metric"),
    ],
)
def test_invalid_indicator_does_not_affect_other_requests(
    ledger: Ledger, source: LedgerSource, indicator: Indicator, message: str
) -> None:
    fill(ledger, "pf")
    first, second = source.measure([request_of(indicator), request_of(ratio())])
    assert isinstance(first, QueryError)
    assert message in str(first)
    assert (first.reason, first.transient, first.source) == ("bad_query", False, ledger.where)
    assert isinstance(second, Measurement)


def test_slices_and_coverage_follow_the_checks(ledger: Ledger, source: LedgerSource) -> None:
    fill(ledger, "pf" * 10)
    (slices,) = source.slices([request_of(ratio(), T0, T0 + 40 * MINUTE)], 10 * MINUTE)
    assert not isinstance(slices, MeasurementError)
    assert (slices.start, slices.width, slices.query) == (T0, 10 * MINUTE, "ledger: */golden")
    assert [value and value.ratio for value in slices.values] == [F(1, 2), F(1, 2), None, None]
    assert source.coverage([request_of(ratio(), T0, T0 + 100 * MINUTE), request_of(ratio(), T0 + DAY, T0 + 2 * DAY)]) == [
        F(20, 100),
        0,
    ]
    (none,) = source.slices([request_of(ratio(), T0, T0 + MINUTE)], HOUR)
    assert isinstance(none, InvalidMeasurement)


def test_windows_over_the_same_checks_share_one_read(ledger: Ledger, source: LedgerSource) -> None:
    fill(ledger, "ppfpp")
    reads: list[str] = []
    event.listen(ledger._engine, "before_cursor_execute", lambda c, cu, statement, *rest: reads.append(statement))
    windows = [request_of(ratio(kind="golden_set"), T0 + n * MINUTE, T0 + HOUR) for n in range(5)]
    assert [answer.total for answer in source.measure(windows)] == [5, 4, 3, 2, 1]  # type: ignore[union-attr]
    assert sum("FROM checks" in statement for statement in reads) == 1


def test_failing_ledger_is_a_query_error(ledger: Ledger, source: LedgerSource, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(ledger, "pp")
    monkeypatch.setattr(indicator, "MOST_POINTS", 1)
    with pytest.raises(QueryError, match="more than 1 checks; use a shorter window"):
        measure(source, request_of(ratio()))
    ledger.close()
    with pytest.raises(QueryError, match="is closed") as caught:
        measure(source, request_of(ratio()))
    assert (caught.value.reason, caught.value.transient) == ("closed", False)
