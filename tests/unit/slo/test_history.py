"""The recorded checks of an SLO become one row: how it is now, how low its budget was, and how often it froze."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_slo_provider.results import CheckResult, Verdict
from airflow_slo_provider.slo.budget.history import format_history_table, summarise_history

FIRST = datetime(2026, 11, 1, 12, 30, tzinfo=UTC)


def check(day: int, left: Any, *, name: str = "api", kind: str = "slo", **more: Any) -> CheckResult:
    evidence = {"status": "HEALTHY", "outcome": "allowed", "service": "shop", "remaining": left} | more
    labels = evidence.pop("labels", {})
    return CheckResult(
        kind=kind, name=name, verdict=Verdict.PASS, checked_at=FIRST + timedelta(days=day), evidence=evidence, labels=labels
    )


def test_history_shows_the_last_check_and_the_lowest_budget() -> None:
    (found,) = summarise_history([check(2, 0.7, status="WARNING"), check(0, 0.9), check(1, -0.5), check(3, 9, kind="drift")])
    assert (found.service, found.name, found.checks, found.status) == ("shop", "api", 3, "WARNING")
    assert (found.first, found.last) == (FIRST, FIRST + timedelta(days=2))
    assert (found.remaining, found.lowest, found.lowest_at) == (0.7, -0.5, FIRST + timedelta(days=1))
    assert found.statuses == {"HEALTHY": 2, "WARNING": 1}


@pytest.mark.parametrize("left", [None, True, "0.5"])
def test_check_without_a_measurement_keeps_the_last_measured_budget(left: Any) -> None:
    (found,) = summarise_history([check(0, 1), check(1, left)])
    assert (found.checks, found.remaining, found.lowest_at) == (2, 1.0, FIRST)
    (found,) = summarise_history([check(0, left)])
    assert (found.remaining, found.lowest, found.lowest_at) == (None, None, None)


@pytest.mark.parametrize(
    ("outcomes", "freezes"),
    [("", 0), ("a", 0), ("f", 1), ("ff", 1), ("afaf", 2), ("ffaaf", 2), ("uwa", 0)],
)
def test_freezes_are_counted_when_they_begin(outcomes: str, freezes: int) -> None:
    words = {"a": "allowed", "f": "frozen", "u": "unknown", "w": "warning"}
    checks = [check(day, 0.5, outcome=words[letter]) for day, letter in enumerate(outcomes)]
    assert sum(history.freezes for history in summarise_history(checks)) == freezes


def test_objectives_are_told_apart_by_name_service_and_labels() -> None:
    found = summarise_history(
        [
            check(0, 0.1, name="search"),
            check(0, 0.2, service="web"),
            check(0, 0.3),
            check(0, 0.4, name="login", labels={"version": "v2"}),
            check(0, 0.5, name="login", labels={"version": "v1"}),
        ]
    )
    assert [(one.service, one.name, one.remaining) for one in found] == [
        ("shop", "api", 0.3),
        ("web", "api", 0.2),
        ("shop", 'login{version="v1"}', 0.5),
        ("shop", 'login{version="v2"}', 0.4),
        ("shop", "search", 0.1),
    ]


def test_table_has_a_row_for_each_objective() -> None:
    failed = CheckResult(
        kind="slo", name="api", verdict=Verdict.UNKNOWN, checked_at=FIRST + timedelta(days=4), evidence={"service": "shop"}
    )
    checks = [
        check(0, 0.5, outcome="frozen"),
        check(1, 0.25),
        check(2, None, status="NO_DATA"),
        check(3, None, status="QUERY_ERROR"),
        failed,
        check(0, None, name="b|c", service="web", status="NO_DATA"),
    ]
    assert format_history_table(summarise_history(checks)).splitlines() == [
        "| SLO | now | budget left | lowest | when | checks | not known | freezes |",
        "|---|---|---|---|---|---|---|---|",
        "| api | unknown | 25.0 % | 25.0 % | 2026-11-02 12:30 | 5 | 3 | 1 |",
        "| b\\|c | NO_DATA | - | - | - | 1 | 1 | 0 |",
    ]
