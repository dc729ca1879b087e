"""An SLO that is evaluated by a label is one SLO for each of its values, and for each value that must exist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from airflow_slo_provider.core.slo_key import SLOKey
from airflow_slo_provider.exceptions import MeasurementError, NoData, QueryError
from airflow_slo_provider.slo.budget.indicator_source import MeasureRequest
from airflow_slo_provider.slo.budget.ledger_records import report_dict, slo_checks
from airflow_slo_provider.slo.budget.monitor import SLOMonitor
from airflow_slo_provider.slo.budget.reports import GateOutcome, SLOReport, Status
from airflow_slo_provider.slo.policy.decisions import decide
from tests.unit.slo.monitor_builders import AT, HOUR, Events, MemorySource, catalog, slo, steady

LOST = QueryError("no answer", reason="timeout", transient=True)
GONE = NoData("no series", reason="empty")


class Versions(MemorySource):
    """Holds the events of each model version, and names the versions with events."""

    def __init__(self, found: Sequence[str] | MeasurementError = (), **events: Events | MeasurementError) -> None:
        super().__init__(**events)
        self.found = found
        self.asked: list[tuple[str, ...]] = []

    def groups(
        self, requests: Sequence[MeasureRequest], labels: Sequence[str]
    ) -> list[list[Mapping[str, str]] | MeasurementError]:
        self.asked.append(tuple(labels))
        if isinstance(self.found, MeasurementError):
            return [self.found for _ in requests]
        return [[{"version": value} for value in self.found] for _ in requests]


def monitor(source: object, **options: Any) -> SLOMonitor:
    return SLOMonitor(catalog(slo(group_by=("version",), **options)), source)


def evaluate(source: object, *, group: Mapping[str, str] | None = None, **options: Any) -> list[SLOReport]:
    return monitor(source, **options).evaluate(AT, group=group)


def shown(reports: Sequence[SLOReport]) -> list[tuple[str, Status]]:
    return [(report.slo.group["version"], report.status) for report in reports]


def test_each_group_has_a_report_the_worst_first() -> None:
    source = Versions(["v1", "v2", "v3", "v4"], v1=steady(0), v2=steady(2), v3=steady(3), v4=LOST)
    reports = evaluate(source)
    assert shown(reports) == [
        ("v3", Status.EXHAUSTED), ("v2", Status.EXHAUSTED), ("v4", Status.QUERY_ERROR), ("v1", Status.HEALTHY)
    ]  # fmt: skip
    assert source.asked == [("version",)]
    assert (reports[0].name, reports[0].recorded_name) == ('api{version="v3"}', "api")


def test_slos_keep_their_order_and_those_without_labels_are_evaluated_as_a_whole() -> None:
    slos = catalog(slo("first"), slo("api", group_by=("version",)), slo("last"))
    source = Versions(["v1", "v2"], first=steady(0), last=steady(2), v1=steady(0), v2=steady(2))
    assert [report.name for report in SLOMonitor(slos, source).evaluate(AT)] == [
        "first", 'api{version="v2"}', 'api{version="v1"}', "last"
    ]  # fmt: skip


def test_expected_group_without_events_is_unknown_and_gates() -> None:
    source = Versions(["v1"], v1=steady(0), v2=GONE)
    (missing, found) = evaluate(source, expected_groups=(("v1",), ("v2",)))
    assert (missing.slo.group, missing.status, missing.retired) == ({"version": "v2"}, Status.NO_DATA, False)
    assert found.status is Status.HEALTHY


@pytest.mark.parametrize(
    ("expected", "error", "retired"),
    [
        ([("v1",)], GONE, True),
        ([("v1",)], NoData("no series of failures", reason="bad_series_missing"), True),
        ([("v1",)], LOST, False),
        ([("v1",), ("v2",)], GONE, False),
        ([], GONE, False),
    ],
    ids=["gone", "failures gone", "error", "expected", "nothing expected"],
)
def test_only_a_vanished_group_that_need_not_exist_is_retired(
    expected: list[tuple[str]], error: MeasurementError, retired: bool
) -> None:
    """Its last hour is empty, its window is not: it had events, and has none any more."""
    source = _Vanishing(["v1", "v2"], error, v1=steady(0), v2=steady(0))
    reports = evaluate(source, expected_groups=tuple(expected), kind="Prometheus")
    gone = reports[-1 if retired else 0]  # behind the others if it does not gate
    assert (gone.slo.group, gone.retired) == ({"version": "v2"}, retired)
    assert ("retired: " in gone.message, report_dict(gone).get("retired", False)) == (retired, retired)
    assert decide(reports, catalog(gone.slo)).allowed is retired


def test_silent_group_is_not_retired() -> None:
    """Its log may have stopped."""
    source = Versions(["v1", "v2"], v1=steady(0), v2=steady(0, until=5 * HOUR))
    found, _ = evaluate(source, expected_groups=(("v1",),), max_silence=2 * HOUR)
    assert found.error is not None
    assert (found.slo.group["version"], found.error.reason, found.retired) == ("v2", "silent", False)


class _Vanishing(Versions):
    """Answers with an error about the last hour of v2."""

    def __init__(self, found: Sequence[str], error: MeasurementError, **events: Events | MeasurementError) -> None:
        super().__init__(found, **events)
        self.error = error

    def measure(self, requests: Sequence[MeasureRequest]) -> list[Any]:
        return [
            self.error if one.group["version"] == "v2" and one.end - one.start == HOUR else answer
            for one, answer in zip(requests, super().measure(requests), strict=True)
        ]


def test_retired_groups_alone_open_no_gate() -> None:
    source = _Vanishing(["v2"], GONE, v2=steady(0), v1=LOST)
    reports = [one for one in evaluate(source, expected_groups=(("v1",),), kind="Prometheus") if one.retired]
    decision = decide(reports, catalog(reports[0].slo))
    assert decision.outcome is GateOutcome.UNKNOWN
    assert "no SLO that gates" in decision.reasons[0]


def test_chosen_group_must_exist_and_is_measured_alone() -> None:
    source = Versions(["v1"], v1=steady(0), v2=GONE)
    (report,) = evaluate(source, group={"version": "v2"}, expected_groups=(("v1",),))
    assert (report.slo.group, report.status, report.retired) == ({"version": "v2"}, Status.NO_DATA, False)
    assert source.asked == []


def test_part_of_a_group_chooses_the_groups_that_have_it() -> None:
    class Two(Versions):
        def groups(self, requests: Sequence[MeasureRequest], labels: Sequence[str]) -> list[Any]:
            return [[dict(zip(labels, each, strict=True)) for each in (("v1", "a"), ("v1", "b"), ("v2", "a"))] for _ in requests]

    slos = catalog(slo(group_by=("version", "region"), expected_groups=(("v1", "c"), ("v2", "c"))))
    reports = SLOMonitor(slos, Two(v1=steady(0), v2=steady(0))).evaluate(AT, group={"version": "v1"})
    assert [dict(report.slo.group) for report in reports] == [{"version": "v1", "region": region} for region in "abc"]


@pytest.mark.parametrize(
    ("group", "message"),
    [
        (["version"], "group is .*; write values of labels"),
        ({"version": 2}, "group 'version': 2 must be a text"),
        ({2: "version"}, "group 2: 'version' must be a text"),
        ({"version": " "}, "the value of version in the group is empty"),
        ({"region": "eu"}, "evaluated only by version, not by region; write airflow-slo/group-by: region"),
    ],
    ids=["list", "number", "label", "empty", "other label"],
)
def test_impossible_group_is_refused(group: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(Versions(["v1"], v1=steady(0)), group=group)
    with pytest.raises(ValueError, match="by no label, not by version"):
        SLOMonitor(catalog(slo()), MemorySource(api=steady(0))).evaluate(AT, group={"version": "v1"})


@pytest.mark.parametrize(
    ("found", "status", "reason"),
    [
        ([], Status.NO_DATA, "empty"),
        (["v1", "v2"], Status.HEALTHY, None),
        (["v1", "v2", "v3"], Status.QUERY_ERROR, "too_many_groups"),
        (["v" * 500], Status.QUERY_ERROR, "too_many_groups"),
        (LOST, Status.QUERY_ERROR, "timeout"),
    ],
    ids=["none", "as many as allowed", "one more", "long", "error"],
)
def test_slo_whose_groups_are_not_known_is_reported_as_a_whole(found: Any, status: Status, reason: str | None) -> None:
    first, *others = evaluate(Versions(found, v1=steady(0), v2=steady(0)), max_groups=2)
    assert first.status is status
    assert (first.error.reason if first.error else None) == reason
    if reason:
        assert (first.name, others) == ("api", [])


def test_source_that_cannot_divide_is_an_error_of_its_slos() -> None:
    (report,) = evaluate(MemorySource(api=steady(0)))
    assert report.error is not None
    assert (report.status, report.error.reason) == (Status.QUERY_ERROR, "group_by_unsupported")


def test_error_budget_of_several_groups_is_asked_for_one() -> None:
    one, two = (Versions(names, v1=steady(0), v2=steady(0)) for names in (["v1"], ["v1", "v2"]))
    for source in (one, two):
        with pytest.raises(ValueError, match=r'has several groups; name one of api\{version="v1"\}'):
            monitor(source).compute_error_budget("api", AT)


def test_record_of_a_group_has_the_name_of_the_slo_and_its_labels() -> None:
    reports = evaluate(Versions(["v1"], v1=steady(0)))
    (check,) = slo_checks(decide(reports, catalog(reports[0].slo)))
    assert (check.name, check.labels, check.evidence["group"]) == ("api", {"version": "v1"}, {"version": "v1"})
    assert reports[0].key == SLOKey("shop", 'api{version="v1"}')
