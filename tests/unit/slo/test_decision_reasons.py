"""What a decision says of the rules that hold: the number that was compared, or why the rule is not judged anew."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from airflow_slo_provider.documents.durations import parse_duration
from airflow_slo_provider.exceptions import MeasurementError, QueryError
from airflow_slo_provider.slo.budget.monitor import SLOMonitor
from airflow_slo_provider.slo.budget.reports import GateOutcome, PolicyState
from airflow_slo_provider.slo.model import Indicator, RatioMetric
from airflow_slo_provider.slo.policy.decisions import decide
from airflow_slo_provider.slo.policy.error_budget_policy import Action, OnUnknown, Override, PolicyRule, Signal
from tests.unit.slo.monitor_builders import AT, HOUR, MINUTE, MemorySource, catalog, slo, steady
from tests.unit.slo.rules_builders import prometheus
from tests.unit.slo.test_decisions import EMPTY, FREEZE, LOST, decided, events_with_left
from tests.unit.slo.window_builders import FIVE, burns
from tests.unit.slo.window_builders import decided as decided_over

BURNING = [*events_with_left(Fraction(1, 2)), (MINUTE, 50, 50)]  # burn 5 over the last hour
HELD = PolicyState(("r",), Action.FREEZE, AT - HOUR)


def rule(signal: Signal, op: str | None = None, enter: str | None = None, window: str = "", leave: str = "") -> PolicyRule:
    level = None if enter is None else Fraction(enter)
    return PolicyRule(
        "r", Action.FREEZE, signal, op, level, Fraction(leave) if leave else level, parse_duration(window) if window else None
    )


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        (rule(Signal.REMAINING_BUDGET, "lt", "3/4"), "49.5 % of the error budget is left"),
        (rule(Signal.TIME_TO_EXHAUSTION, "lt", "1000000"), "the error budget lasts 2 days, 23:21:09 at the current rate"),
        (rule(Signal.BURN_RATE, "gt", "2", "1h"), "burn rate 5 over 1h"),
        (rule(Signal.BUDGET_DROP, "gt", "1/1000", "1h"), "0.7 % of the error budget was spent in 1h"),
    ],
    ids=lambda value: value.signal.value if isinstance(value, PolicyRule) else None,
)
def test_reason_of_a_held_rule_is_its_number(held: PolicyRule, reason: str) -> None:
    found = decided(BURNING, held)
    assert (found.outcome, found.reasons) == (GateOutcome.FROZEN, (f"rule r: {reason}",))


@pytest.mark.parametrize(("op", "holds"), [("lt", False), ("lte", True), ("gt", False), ("gte", True)])
def test_level_itself_is_compared_as_the_operator_says(op: str, holds: bool) -> None:
    found = decided(events_with_left(Fraction(1, 2)), rule(Signal.REMAINING_BUDGET, op, "1/2"))
    assert (found.outcome is GateOutcome.FROZEN) is holds


def test_exhaustion_is_judged_with_the_coverage_of_the_window() -> None:
    soon = rule(Signal.TIME_TO_EXHAUSTION, "lt", "10000000")
    assert decided(BURNING, soon, coverage=Fraction(1, 20)).outcome is GateOutcome.UNKNOWN


@pytest.mark.parametrize(
    ("events", "held", "options", "coverage", "reason"),
    [
        (
            [(MINUTE, 3, 0)],
            rule(Signal.REMAINING_BUDGET, "lt", "1/2"),
            {"min_events": 4},
            None,
            "held before, and too few events to clear it (3 events, fewer than the 4 of min-events)",
        ),
        (
            events_with_left(Fraction(1)),
            rule(Signal.BURN_RATE, "gt", "1", "1h"),
            {},
            None,
            "held before, and too few events to clear it (100 % of the error budget is left)",
        ),
        (
            events_with_left(Fraction(1)),
            rule(Signal.REMAINING_BUDGET, "lt", "1/2"),
            {},
            Fraction(1, 20),
            "held before, and too little of the window holds data to clear it (100 % of the error budget is left; only 5 % of "
            "the window holds data; its budget may freeze deployments from 10 %)",
        ),
        (
            events_with_left(Fraction(1)),
            rule(Signal.REMAINING_BUDGET, "lt", "1/2"),
            {},
            LOST,
            "held before, and it is unknown whether enough of the window holds data to clear it (100 % of the error budget is "
            "left; the share of the window that holds data could not be measured: no answer)",
        ),
        (
            events_with_left(Fraction(3, 10)),
            rule(Signal.REMAINING_BUDGET, "lt", "1/2"),
            {},
            LOST,
            "30 % of the error budget is left",
        ),
        (
            events_with_left(Fraction(11, 20)),
            rule(Signal.REMAINING_BUDGET, "lt", "1/2", leave="3/5"),
            {},
            None,
            "55 % of the error budget is left",
        ),
    ],
    ids=["few events", "no events", "little coverage", "unknown coverage", "judged without coverage", "exit level"],
)
def test_reason_of_a_rule_that_still_holds(
    events: Any, held: PolicyRule, options: dict[str, Any], coverage: Fraction | MeasurementError | None, reason: str
) -> None:
    before = PolicyState(("r", "api"), Action.FREEZE, AT - HOUR)
    found = decided(events, held, before=before, options=options, coverage=coverage)
    assert (found.outcome, found.reasons) == (GateOutcome.FROZEN, (f"rule r: {reason}",))
    assert found.state == PolicyState(("r",), Action.FREEZE, AT - HOUR)


def test_reason_of_a_rule_with_an_unknown_rate() -> None:
    found = decided_over({FIVE: (11, 10)}, burns("5m"), before=PolicyState(("burns",), Action.FREEZE, AT - HOUR))
    assert found.outcome is GateOutcome.FROZEN
    assert found.reasons[0].startswith("rule burns: held before, and the burn rate that would clear it is unknown (100 % of")


def test_low_traffic_rule_gives_the_number_of_events() -> None:
    found = decided([(MINUTE, 3, 0)], rule(Signal.LOW_TRAFFIC), options={"min_events": 4})
    assert found.reasons == ("rule r: 3 events, fewer than the 4 of min-events",)
    assert decided([(MINUTE, 4, 0)], rule(Signal.LOW_TRAFFIC), options={"min_events": 4}).outcome is GateOutcome.ALLOWED


def test_little_coverage_is_the_reason_why_a_new_rule_is_not_judged() -> None:
    found = decided(events_with_left(Fraction(0)), FREEZE, coverage=Fraction(1, 20))
    assert (found.outcome, found.action) == (GateOutcome.UNKNOWN, Action.FREEZE)
    assert found.reasons[0].startswith("rule spent cannot be judged yet: the error budget is spent")
    assert found.state.holding == ()


def test_cool_down_is_a_reason_until_its_end() -> None:
    fine, cool_down = events_with_left(Fraction(1)), 2 * HOUR
    before = PolicyState((), Action.ESCALATE, AT - HOUR)
    found = decided(fine, FREEZE, before=before, cool_down=cool_down)
    assert (found.outcome, found.action) == (GateOutcome.FROZEN, Action.ESCALATE)
    assert found.reasons == ("cool-down: blocked since 2026-10-31 23:00:00 UTC, until 2026-11-01 01:00:00 UTC",)
    assert found.state.blocked_since == AT - HOUR
    ended = decided(fine, FREEZE, before=PolicyState((), Action.FREEZE, AT - cool_down), cool_down=cool_down)
    assert (ended.outcome, ended.state.blocked_since) == (GateOutcome.ALLOWED, None)


@pytest.mark.parametrize(
    ("error", "reasons"),
    [
        (EMPTY, ("NO_DATA: no events in the window", "rule r of policy p: freeze")),
        (
            QueryError("no answer", reason="timeout"),
            ("QUERY_ERROR: no answer", "blocked since 2026-10-31 23:00:00 UTC, and missing data does not lift the block"),
        ),
    ],
    ids=["no data", "error"],
)
def test_reasons_without_a_measurement(error: MeasurementError, reasons: tuple[str, ...]) -> None:
    found = decided(error, rule(Signal.NO_DATA), before=HELD)
    assert (found.outcome, found.action, found.reasons) == (GateOutcome.FROZEN, Action.FREEZE, reasons)
    assert found.state == HELD


def test_strictest_no_data_rule_gives_the_action() -> None:
    rules = [PolicyRule(action.value, action, Signal.NO_DATA) for action in (Action.ALERT, Action.DEGRADE, Action.ALLOW)]
    found = decided(EMPTY, *rules, on_no_data=OnUnknown.ALLOW)
    assert (found.outcome, found.action) == (GateOutcome.WARNING, Action.DEGRADE)
    assert found.reasons[1] == "rule degrade of policy p: degrade"
    assert decided(EMPTY, rules[0]).outcome is GateOutcome.UNKNOWN, "a mild rule does not lift the block of missing data"


@pytest.mark.parametrize(("bad", "outcome"), [(0, GateOutcome.ALLOWED), (9, GateOutcome.WARNING), (50, GateOutcome.FROZEN)])
def test_every_decision_on_declared_counts_says_so_once(bad: int, outcome: GateOutcome) -> None:
    query = "sum(increase_pure(x[{{.window}}]))"
    metric = RatioMetric(bad=prometheus(query), total=prometheus(query), declares_events=True)
    documents = catalog(slo(target="0.9", indicator=Indicator("api", metric)))
    reports = SLOMonitor(documents, MemorySource(**{query: steady(bad)})).evaluate(AT)
    decision = decide(reports, documents)
    assert decision.outcome is outcome
    assert "; ".join(decision.reasons).count("counts declared by the author (airflow-slo/counts), not proven") == 1


@pytest.mark.parametrize(("approver", "by"), [("Ada", " by Ada"), ("", "")])
def test_override_names_its_approver_if_it_has_one(approver: str, by: str) -> None:
    override = Override(Action.ALERT, AT + MINUTE, "the fix", approver)
    found = decided(events_with_left(Fraction(-1)), FREEZE, overrides=(override,))
    assert found.reasons == (found.report.message, f"override{by} until 2026-11-01 00:01:00 UTC: the fix")


def test_block_without_a_time_is_kept_without_a_measurement() -> None:
    found = decided(LOST, before=PolicyState((), Action.FREEZE), on_error=OnUnknown.ALLOW)
    assert found.reasons[1] == "blocked, and missing data does not lift the block"
