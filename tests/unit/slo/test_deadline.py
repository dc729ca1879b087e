"""One evaluation has one deadline, and a source that did not answer in time is queried once."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import pytest

from airflow_slo_provider.documents.durations import parse_duration
from airflow_slo_provider.exceptions import MeasurementError, QueryError
from airflow_slo_provider.slo.budget.deadline import Deadline
from airflow_slo_provider.slo.budget.indicator_source import IndicatorSource, Measurement, MeasureRequest
from airflow_slo_provider.slo.budget.monitor import SLOMonitor
from airflow_slo_provider.slo.budget.reports import Status
from airflow_slo_provider.slo.model import SLO, BudgetingMethod
from tests.unit.slo.monitor_builders import AT, MemorySource, catalog, slo, steady


class Clock:
    """A clock that the test advances."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def late(source: str = "connection warehouse") -> QueryError:
    return QueryError("statement timeout", reason="timeout", transient=True, source=source)


def sliced(name: str) -> SLO:
    hour, share = parse_duration("1h"), Fraction("0.9")
    return slo(name, method=BudgetingMethod.TIMESLICES, time_slice_window=hour, time_slice_target=share)


def test_deadline_passed_refuses_queries() -> None:
    clock = Clock()
    deadline, source = Deadline(30, clock=clock), object()
    assert (deadline.left(), deadline.refusal(source)) == (30, None)
    clock.now += 29
    assert deadline.left() == 1
    clock.now += 2
    refusal = deadline.refusal(source)
    assert deadline.left() == 0
    assert refusal is not None
    assert (refusal.reason, refusal.transient) == ("deadline", True)
    assert "deadline of 30 s" in refusal.message


def test_deadline_may_be_a_part_of_a_second() -> None:
    clock = Clock()
    deadline = Deadline(0.5, clock=clock)
    clock.now += 0.25
    assert (deadline.left(), deadline.refusal(object())) == (0.25, None)
    clock.now += 0.25
    assert deadline.refusal(object()) is not None


@pytest.mark.parametrize("seconds", [0, -1, 1e9, float("nan"), float("inf")])
def test_deadline_not_positive_raises_value_error(seconds: float) -> None:
    with pytest.raises(ValueError, match="positive number of seconds"):
        SLOMonitor(catalog(slo()), MemorySource(), deadline=seconds)


@pytest.mark.parametrize(
    ("error", "given_up"),
    [
        (late(), True),
        (QueryError("gateway timeout", reason="server_error", http_status=504), True),
        (QueryError("query timed out", reason="server_error", http_status=503), True),
        (QueryError("request timeout", reason="server_error", http_status=408), True),
        (QueryError("internal error", reason="server_error", http_status=500), False),
        (QueryError("no such column", reason="bad_query"), False),
        (QueryError("refused", reason="connection_refused", transient=True), False),
    ],
)
def test_deadline_excludes_source_only_after_timeout(error: QueryError, given_up: bool) -> None:
    deadline, source = Deadline(), object()
    deadline.note(source, [error])
    assert (deadline.refusal(source) is not None) is given_up
    assert deadline.refusal(object()) is None, "another source is queried"


def test_monitor_source_after_timeout_is_not_queried_again() -> None:
    """Its slices and its coverage are other calls; the second evaluation asks it anew."""
    slow, fine = MemorySource(a=late(), b=late()), MemorySource(c=steady(0))
    sources: dict[str, IndicatorSource] = {"SQL": slow, "Ledger": fine}
    slos = (slo("a"), sliced("b"), slo("c", kind="Ledger"))
    monitor = SLOMonitor(catalog(*slos), sources)
    reports = {report.name: report for report in monitor.evaluate(AT)}
    assert [kind for kind, _ in slow.calls] == ["measure"]
    assert {reports["a"].status, reports["b"].status} == {Status.QUERY_ERROR}
    assert reports["b"].error is not None
    assert (reports["b"].error.reason, reports["b"].error.transient) == ("not_asked", True)
    assert "not queried: connection warehouse did not answer in time earlier" in reports["b"].message
    assert reports["c"].status is Status.HEALTHY, "a source that answers is queried"
    monitor.evaluate(AT)
    assert [kind for kind, _ in slow.calls] == ["measure", "measure"]


def test_monitor_objectives_after_deadline_are_query_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(Deadline.__init__, "__kwdefaults__", {"clock": clock})

    class Slow(MemorySource):
        def measure(self, requests: Sequence[MeasureRequest]) -> list[Measurement | MeasurementError]:
            clock.now += 70
            return super().measure(requests)

    kinds = ("SQL", "Ledger", "Prometheus")
    sources: dict[str, IndicatorSource] = {kind: Slow(a=steady(0), b=steady(0), c=steady(0)) for kind in kinds}
    slos = [slo(name, kind=kind) for name, kind in (("a", "SQL"), ("b", "Ledger"), ("c", "Prometheus"))]
    reports = SLOMonitor(catalog(*slos), sources, deadline=100).evaluate(AT)
    assert [report.status for report in reports] == [Status.HEALTHY, Status.HEALTHY, Status.QUERY_ERROR]
    assert reports[2].error is not None
    assert reports[2].error.reason == "deadline"


def test_monitor_requests_share_one_deadline() -> None:
    seen: list[MeasureRequest] = []

    class Watched(MemorySource):
        def measure(self, requests: Sequence[MeasureRequest]) -> list[Measurement | MeasurementError]:
            seen.extend(requests)
            return super().measure(requests)

    monitor = SLOMonitor(catalog(slo("a"), slo("b")), Watched(a=steady(0), b=steady(0)), deadline=77)
    monitor.evaluate(AT)
    deadlines = {id(request.deadline) for request in seen}
    assert len(deadlines) == 1
    assert seen[0].deadline is not None
    assert seen[0].deadline.seconds == 77
