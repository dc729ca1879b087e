"""What a gate does: rules, memory, cool-downs, overrides, and that nothing unknown opens it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_slo_provider.documents.durations import parse_duration
from airflow_slo_provider.exceptions import MeasurementError, NoData, QueryError
from airflow_slo_provider.slo.budget.monitor import SLOMonitor
from airflow_slo_provider.slo.budget.reports import Decision, GateOutcome, PolicyState, SLODecision, Status
from airflow_slo_provider.slo.policy.decisions import decide
from airflow_slo_provider.slo.policy.error_budget_policy import Action, ErrorBudgetPolicy, OnUnknown, Override, PolicyRule, Signal
from tests.unit.slo.monitor_builders import AT, DAY, HOUR, MINUTE, Events, MemorySource, catalog, slo, steady

FREEZE = PolicyRule("spent", Action.FREEZE, Signal.REMAINING_BUDGET, "lte", Fraction(0), Fraction(1, 5))
LOST = QueryError("no answer", reason="timeout", transient=True)
EMPTY = NoData("no events in the window", reason="no_events")


def events_with_left(share: Fraction, target: Fraction = Fraction(9, 10)) -> Events:
    """Events ten days ago of whose budget this share is left; nothing burns now."""
    bad = round((1 - share) * (1 - target) * 100_000)
    return [(10 * DAY, 100_000 - bad, bad)]


def decided(
    events: Any,
    *rules: PolicyRule,
    before: PolicyState | None = None,
    coverage: Fraction | MeasurementError | None = None,
    options: dict[str, Any] | None = None,
    **policy: Any,
) -> SLODecision:
    """Decide about one SLO of 90 % in 30 days."""
    one = slo(target="0.9", error_budget_policy="p", **(options or {}))
    documents = catalog(one, policies=[ErrorBudgetPolicy("p", rules, **policy)])
    source = MemorySource(api=events)
    if coverage is not None:
        source.coverages = {"api": coverage}
    reports = SLOMonitor(documents, source).evaluate(AT, covering=["api"] if before and before.holding else [])
    (found,) = decide(reports, documents, previous={"api": before} if before else None).slos
    return found


def test_default_policy_freezes_spent_and_warns_low_budget() -> None:
    one = slo(target="0.9")
    for left, outcome in [
        ("1/2", GateOutcome.ALLOWED),
        ("1/5", GateOutcome.WARNING),
        ("0", GateOutcome.FROZEN),
        ("-9", GateOutcome.FROZEN),
    ]:
        reports = SLOMonitor(catalog(one), MemorySource(api=events_with_left(Fraction(left)))).evaluate(AT)
        decision = decide(reports, catalog(one))
        assert decision.outcome is outcome, left
        assert decision.allowed is (outcome is not GateOutcome.FROZEN)
        assert decision.at == AT
        assert decision.reasons


def test_remaining_just_above_zero_is_not_spent() -> None:
    assert decided([(DAY, 9_000_000_001, 999_999_999)], FREEZE).action is Action.ALERT
    assert decided([(DAY, 9_000_000_000, 1_000_000_000)], FREEZE).action is Action.FREEZE


@pytest.mark.parametrize(("left", "frozen"), [("1/10", True), ("1/5", True), ("21/100", False)])
def test_rule_holds_until_exit_level_is_passed(left: str, frozen: bool) -> None:
    fresh = decided(events_with_left(Fraction(left)), FREEZE)
    assert fresh.outcome is not GateOutcome.FROZEN
    again = decided(events_with_left(Fraction(left)), FREEZE, before=PolicyState(("spent",), Action.FREEZE, AT - DAY))
    assert (again.outcome is GateOutcome.FROZEN) is frozen
    assert again.state.blocked_since == (AT - DAY if frozen else None)


def test_cool_down_keeps_block_after_recovery() -> None:
    def after(hours: int) -> SLODecision:
        state = PolicyState(("spent",), Action.FREEZE, AT - hours * HOUR)
        return decided(events_with_left(Fraction(1)), FREEZE, before=state, cool_down=6 * HOUR)

    kept = after(5)
    assert (kept.outcome, kept.state.blocked_since) == (GateOutcome.FROZEN, AT - 5 * HOUR)
    assert "cool-down" in kept.reasons[0]
    assert (after(6).outcome, after(6).state) == (GateOutcome.ALLOWED, PolicyState())


def test_strictest_rule_decides() -> None:
    alert = PolicyRule("low", Action.ALERT, Signal.REMAINING_BUDGET, "lt", Fraction(1), Fraction(1))
    degrade = PolicyRule("lower", Action.DEGRADE, Signal.REMAINING_BUDGET, "lt", Fraction(9, 10), Fraction(9, 10))
    found = decided(events_with_left(Fraction(1, 2)), alert, degrade, FREEZE)
    assert (found.action, found.outcome, found.state.holding) == (Action.DEGRADE, GateOutcome.WARNING, ("low", "lower"))
    assert found.reasons == ("rule lower: 50 % of the error budget is left",)


@pytest.mark.parametrize(
    ("action", "outcome"), [(a, GateOutcome.FROZEN if a.blocks else GateOutcome.WARNING) for a in list(Action)[1:]]
)
def test_action_determines_outcome(action: Action, outcome: GateOutcome) -> None:
    rule = PolicyRule("r", action, Signal.REMAINING_BUDGET, "lte", Fraction(3, 4), Fraction(3, 4))
    assert decided(events_with_left(Fraction(1, 2)), rule).outcome is outcome


def test_burn_rate_drop_and_exhaustion_rules() -> None:
    burning = [*events_with_left(Fraction(1, 2)), (MINUTE, 50, 50)]  # burn 5 over the last hour
    window = parse_duration("1h")

    def outcome(signal: Signal, op: str, level: Fraction, **fields: Any) -> GateOutcome:
        return decided(burning, PolicyRule("r", Action.FREEZE, signal, op, level, level, **fields)).outcome

    assert outcome(Signal.BURN_RATE, "gt", Fraction(49, 10), window=window) is GateOutcome.FROZEN
    assert outcome(Signal.BURN_RATE, "gt", Fraction(5), window=window) is not GateOutcome.FROZEN
    spent = Fraction(5, 720)  # of the budget, in that hour
    assert outcome(Signal.BUDGET_DROP, "gte", spent, window=window) is GateOutcome.FROZEN
    assert outcome(Signal.BUDGET_DROP, "gt", spent, window=window) is not GateOutcome.FROZEN
    left = int(timedelta(days=3).total_seconds())  # half of 30 days, at five times the rate
    assert outcome(Signal.TIME_TO_EXHAUSTION, "lt", Fraction(left + 3600)) is GateOutcome.FROZEN
    assert outcome(Signal.TIME_TO_EXHAUSTION, "lt", Fraction(left - 3600)) is not GateOutcome.FROZEN
    calm = PolicyRule("r", Action.FREEZE, Signal.TIME_TO_EXHAUSTION, "lt", Fraction(10**9), Fraction(10**9))
    assert decided([(MINUTE, 10, 0)], calm).outcome is GateOutcome.ALLOWED  # does not burn: lasts for ever


def test_burn_window_without_events_keeps_previous_state() -> None:
    rule = PolicyRule("r", Action.FREEZE, Signal.BURN_RATE, "gt", Fraction(1), Fraction(1), parse_duration("1h"))
    assert decided(events_with_left(Fraction(1)), rule).outcome is GateOutcome.ALLOWED
    before = PolicyState(("r",), Action.FREEZE, AT - HOUR)
    assert decided(events_with_left(Fraction(1)), rule, before=before).outcome is GateOutcome.FROZEN


def test_low_traffic_keeps_previous_state() -> None:
    few: Events = [(HOUR, 0, 5)]
    fresh = decided(few, FREEZE, options={"min_events": 10})
    assert (fresh.report.status, fresh.outcome) == (Status.LOW_TRAFFIC, GateOutcome.WARNING)
    before = PolicyState(("spent",), Action.FREEZE, AT - HOUR)
    kept = decided([(HOUR, 5, 0)], FREEZE, options={"min_events": 10}, before=before)
    assert (kept.outcome, kept.state) == (GateOutcome.FROZEN, before)
    strict = PolicyRule("quiet", Action.ESCALATE, Signal.LOW_TRAFFIC)
    assert decided(few, FREEZE, strict, options={"min_events": 10}).action is Action.ESCALATE


def test_low_coverage_neither_freezes_nor_allows() -> None:
    found = decided([(MINUTE, 0, 100)], FREEZE, coverage=Fraction(1, 1000))
    assert found.outcome is GateOutcome.UNKNOWN
    assert "only 0.1 % of the window holds data" in found.reasons[0]
    assert found.state.blocked_since is None
    assert decided([(MINUTE, 0, 100)], FREEZE, coverage=Fraction(1, 10)).outcome is GateOutcome.FROZEN
    # A burn rate over the last hour needs no month of history.
    fast = PolicyRule("fast", Action.FREEZE, Signal.BURN_RATE, "gt", Fraction(5), Fraction(5), parse_duration("1h"))
    assert decided([(MINUTE, 0, 100)], FREEZE, fast, coverage=Fraction(1, 1000)).outcome is GateOutcome.FROZEN


@pytest.mark.parametrize("left", ["-1", "0.1", "1"])
def test_freeze_with_lost_history_stays_frozen(left: str) -> None:
    before = PolicyState(("spent",), Action.FREEZE, AT - DAY)
    kept = decided(events_with_left(Fraction(left)), FREEZE, coverage=Fraction(1, 1000), before=before)
    assert (kept.outcome, kept.action, kept.state) == (GateOutcome.FROZEN, Action.FREEZE, before)
    assert "too little of the window holds data to clear it" in kept.reasons[0]
    later = decided(events_with_left(Fraction("0.1")), FREEZE, coverage=Fraction(1), before=kept.state)
    assert later.outcome is GateOutcome.FROZEN, "its exit level is a fifth"
    assert (
        decided(events_with_left(Fraction("0.3")), FREEZE, coverage=Fraction(1), before=kept.state).outcome is GateOutcome.ALLOWED
    )


@pytest.mark.parametrize("error", [LOST, EMPTY])
def test_unknown_status_blocks_unless_policy_allows(error: Any) -> None:
    assert decided(error, FREEZE).outcome is GateOutcome.UNKNOWN
    field = "on_no_data" if error is EMPTY else "on_error"
    assert decided(error, FREEZE, **{field: OnUnknown.WARN}).outcome is GateOutcome.WARNING
    assert decided(error, FREEZE, **{field: OnUnknown.ALLOW}).outcome is GateOutcome.ALLOWED
    other = "on_error" if error is EMPTY else "on_no_data"
    assert decided(error, FREEZE, **{other: OnUnknown.ALLOW}).outcome is GateOutcome.UNKNOWN


@pytest.mark.parametrize("error", [LOST, EMPTY])
def test_freeze_with_missing_data_stays_frozen(error: Any) -> None:
    before = PolicyState(("spent",), Action.FREEZE, AT - DAY)
    found = decided(error, FREEZE, before=before, on_no_data=OnUnknown.ALLOW, on_error=OnUnknown.ALLOW)
    assert (found.outcome, found.action, found.state) == (GateOutcome.FROZEN, Action.FREEZE, before)


def test_no_data_rule_applies_stricter_action() -> None:
    rule = PolicyRule("gone", Action.FREEZE, Signal.NO_DATA)
    assert decided(EMPTY, rule).outcome is GateOutcome.FROZEN
    assert decided(LOST, rule).outcome is GateOutcome.UNKNOWN
    assert decided(events_with_left(Fraction(1)), rule).outcome is GateOutcome.ALLOWED


def test_override_applies_until_its_end_with_reason() -> None:
    def with_override(until: timedelta, **fields: Any) -> SLODecision:
        override = Override(Action.ALERT, AT + until, "the fix itself must go out", "Ada", **fields)
        return decided(events_with_left(Fraction(-1)), FREEZE, overrides=(override,))

    held = with_override(MINUTE)
    assert (held.outcome, held.action) == (GateOutcome.WARNING, Action.ALERT)
    assert "override by Ada until 2026-11-01 00:01:00 UTC: the fix itself must go out" in held.reasons
    assert held.state.action is Action.FREEZE  # what comes after the override must know of the freeze
    assert with_override(timedelta(0)).outcome is GateOutcome.FROZEN
    assert with_override(MINUTE, slos=("another",)).outcome is GateOutcome.FROZEN
    unknown = decided(LOST, FREEZE, overrides=(Override(Action.ALLOW, AT + DAY, "why not"),))
    assert unknown.outcome is GateOutcome.UNKNOWN  # an override is about what is known


def test_worst_gating_objective_decides() -> None:
    documents = catalog(slo("good"), slo("spent"), slo("lost"), slo("noise", tier="informational"))
    source = MemorySource(good=steady(0), spent=steady(50), lost=LOST, noise=LOST)
    reports = {report.name: report for report in SLOMonitor(documents, source).evaluate(AT)}

    def outcome(*names: str) -> Decision:
        return decide([reports[name] for name in names], documents)

    assert outcome("good", "noise").outcome is GateOutcome.ALLOWED
    assert outcome("good", "lost").outcome is GateOutcome.UNKNOWN
    both = outcome("good", "lost", "spent", "noise")
    assert (both.outcome, both.action) == (GateOutcome.FROZEN, Action.FREEZE)
    assert both.reasons[0].startswith("spent: ")
    assert [one.gates for one in both.slos] == [True, True, True, False]


def test_decide_without_gating_reports_is_unknown() -> None:
    documents = catalog(slo("noise", tier="informational"))
    reports = SLOMonitor(documents, MemorySource(noise=steady(0))).evaluate(AT)
    for found in (decide(reports, documents), decide([], documents)):
        assert (found.outcome, found.allowed) == (GateOutcome.UNKNOWN, False)


rules = st.builds(
    PolicyRule,
    name=st.sampled_from(["a", "b", "c"]),
    action=st.sampled_from(list(Action)),
    signal=st.sampled_from([Signal.REMAINING_BUDGET, Signal.BURN_RATE, Signal.NO_DATA, Signal.LOW_TRAFFIC]),
    op=st.sampled_from(["lt", "lte", "gt", "gte"]),
    enter=st.fractions(-2, 2, max_denominator=20),
    exit=st.fractions(-2, 2, max_denominator=20),
    window=st.just(parse_duration("1h")),
)
states = st.builds(
    PolicyState,
    holding=st.lists(st.sampled_from([f"{letter}{number}" for letter in "abc" for number in range(4)]), unique=True).map(tuple),
    action=st.sampled_from(list(Action)),
    blocked_since=st.sampled_from([None, AT - HOUR]),
)


@given(
    policy=st.lists(rules, max_size=4),
    before=states,
    error=st.sampled_from([LOST, EMPTY]),
    override=st.sampled_from([(), (Override(Action.ALLOW, AT + DAY, "x"),)]),
)
def test_any_policy_with_defaults_blocks_unknown(
    policy: list[PolicyRule], before: PolicyState, error: Any, override: tuple[Override, ...]
) -> None:
    unique = [replace(rule, name=f"{rule.name}{number}") for number, rule in enumerate(policy)]
    found = decided(error, *unique, before=before, overrides=override)
    assert found.outcome in (GateOutcome.UNKNOWN, GateOutcome.FROZEN)


@given(policy=st.lists(rules, max_size=4), before=states, left=st.fractions(-2, 1, max_denominator=50))
def test_held_blocking_rule_always_freezes(policy: list[PolicyRule], before: PolicyState, left: Fraction) -> None:
    unique = [replace(rule, name=f"{rule.name}{number}") for number, rule in enumerate(policy)]
    found = decided(events_with_left(left), *unique, before=before)
    held = {rule.name: rule.action for rule in unique if rule.name in found.state.holding}
    if any(action.blocks for action in held.values()):
        assert found.outcome is GateOutcome.FROZEN
    if found.outcome is GateOutcome.ALLOWED:
        assert found.report.status is Status.HEALTHY


@pytest.mark.parametrize("events", [EMPTY, LOST])
def test_freeze_override_without_measurement_freezes(events: Any) -> None:
    ordered = Override(Action.FREEZE, AT + DAY, "the audit")
    found = decided(events, on_no_data=OnUnknown.ALLOW, on_error=OnUnknown.ALLOW, overrides=(ordered,))
    assert (found.outcome, found.action) == (GateOutcome.FROZEN, Action.FREEZE)
    assert any("the audit" in reason for reason in found.reasons)
    assert decided(events, on_no_data=OnUnknown.ALLOW, on_error=OnUnknown.ALLOW).outcome is GateOutcome.ALLOWED


@pytest.mark.parametrize("turned", [False, True])
def test_strictest_of_several_overrides_applies(turned: bool) -> None:
    both = (Override(Action.ALLOW, AT + DAY, "a waiver for all"), Override(Action.FREEZE, AT + DAY, "the audit", "", ("api",)))
    found = decided(steady(0), FREEZE, overrides=both[::-1] if turned else both)
    assert (found.outcome, found.reasons[0].endswith("the audit")) == (GateOutcome.FROZEN, True)


def test_failed_coverage_keeps_freeze() -> None:
    held = PolicyState(("spent",), Action.FREEZE, AT - 10 * DAY)
    assert decided(steady(0), FREEZE, before=held, coverage=Fraction(1)).outcome is GateOutcome.ALLOWED
    for answer in (Fraction(1, 100), LOST):
        found = decided(steady(0), FREEZE, before=held, coverage=answer)
        assert (found.outcome, found.state.holding) == (GateOutcome.FROZEN, ("spent",)), answer
    assert any("it is unknown whether enough of the window holds data" in reason for reason in found.reasons)
    no_answer = MeasurementError("an aggregate does not say", reason="coverage_unknown")
    assert decided(steady(0), FREEZE, before=held, coverage=no_answer).outcome is GateOutcome.ALLOWED
