"""Burn windows in which more events are good than there are events: jobs finish that were started before the window."""

from __future__ import annotations

from fractions import Fraction

import pytest

from airflow_slo_provider.documents.durations import parse_duration
from airflow_slo_provider.exceptions import InvalidMeasurement, MeasurementError, NoData, QueryError
from airflow_slo_provider.results import Verdict
from airflow_slo_provider.slo.budget.indicator_source import Measurement
from airflow_slo_provider.slo.budget.ledger_records import slo_checks, summary
from airflow_slo_provider.slo.budget.reports import GateOutcome, PolicyState, Status
from airflow_slo_provider.slo.budget.text_table import table
from airflow_slo_provider.slo.policy.decisions import decide
from airflow_slo_provider.slo.policy.error_budget_policy import Action, ErrorBudgetPolicy, OnUnknown, Override, PolicyRule, Signal
from tests.unit.slo.monitor_builders import AT, DAY, HOUR, MINUTE, catalog
from tests.unit.slo.window_builders import FIVE, burns, decided, reported


def test_contradicting_burn_window_is_unknown_and_budget_is_judged() -> None:
    found = reported({FIVE: (6, 4), 30 * DAY: (999, 1000)})
    assert (found.status, found.error) == (Status.WARNING, None)
    assert found.remaining == Fraction(9, 10)
    rate = found.burn_rate(FIVE)
    assert rate is not None
    assert (rate.value, rate.is_unknown) == (None, True)
    assert found.unknown_rates == (rate,)
    assert found.message == (
        "90 % of the error budget is left; unknown burn rate over 5m: more good events than events: good 6, total 4; "
        "check that both queries select the same events"
    )


def test_contradiction_is_warning_without_a_rule_on_the_window() -> None:
    for found in (decided({FIVE: (6, 4)}), decided({FIVE: (6, 4)}, burns("1h"), on_no_data=OnUnknown.ALLOW)):
        assert (found.outcome, found.action) == (GateOutcome.WARNING, Action.ALERT)
        assert found.reasons == (found.report.message,)


@pytest.mark.parametrize(
    ("on_no_data", "outcome"),
    [
        (OnUnknown.BLOCK, GateOutcome.UNKNOWN),
        (OnUnknown.WARN, GateOutcome.WARNING),
        (OnUnknown.ALLOW, GateOutcome.ALLOWED),
    ],
)
@pytest.mark.parametrize("signal", [Signal.BURN_RATE, Signal.BUDGET_DROP])
def test_rule_on_contradicting_window_follows_on_no_data(signal: Signal, on_no_data: OnUnknown, outcome: GateOutcome) -> None:
    rule = PolicyRule("burns", Action.FREEZE, signal, "gt", Fraction(1, 2), Fraction(1, 2), parse_duration("5m"))
    found = decided({FIVE: (6, 4)}, rule, on_no_data=on_no_data)
    assert found.outcome is outcome
    assert "unknown burn rate over 5m" in found.reasons[0]
    assert decided({}, rule, on_no_data=on_no_data).outcome is GateOutcome.ALLOWED


def test_rule_that_only_warns_blocks_nothing_when_it_is_unknown() -> None:
    assert decided({FIVE: (6, 4)}, burns("5m", Action.ALERT)).outcome is GateOutcome.WARNING
    assert decided({FIVE: (6, 4)}, burns("5m", Action.ESCALATE)).outcome is GateOutcome.UNKNOWN


def test_unknown_rate_does_not_lift_a_freeze() -> None:
    before = PolicyState(("burns",), Action.FREEZE, AT - HOUR)
    for on_no_data in OnUnknown:
        found = decided({FIVE: (6, 4)}, burns("5m"), before=before, on_no_data=on_no_data)
        assert (found.outcome, found.state) == (GateOutcome.FROZEN, before)
        assert "the burn rate that would clear it is unknown" in found.reasons[0]


def test_spent_budget_freezes_beside_an_unknown_rate() -> None:
    spent = PolicyRule("spent", Action.FREEZE, Signal.REMAINING_BUDGET, "lte", Fraction(0), Fraction(0))
    found = decided({FIVE: (6, 4), 30 * DAY: (98, 100)}, spent, burns("5m"))
    assert (found.outcome, found.report.status) == (GateOutcome.FROZEN, Status.EXHAUSTED)
    assert "unknown burn rate over 5m" in found.report.message


def test_time_to_exhaustion_is_unknown_with_the_current_rate() -> None:
    rule = PolicyRule("soon", Action.FREEZE, Signal.TIME_TO_EXHAUSTION, "lt", Fraction(86400), Fraction(86400))
    assert decided({FIVE: (6, 4)}, rule).outcome is GateOutcome.WARNING
    assert decided({HOUR: (6, 4)}, rule).outcome is GateOutcome.UNKNOWN
    assert decided({HOUR: (6, 4), 30 * DAY: (98, 100)}, rule).outcome is GateOutcome.FROZEN, "a spent budget lasts at no rate"


def test_override_lifts_an_unknown_rate() -> None:
    override = Override(Action.ALLOW, AT + HOUR, "known")
    assert decided({FIVE: (6, 4)}, burns("5m"), overrides=(override,)).outcome is GateOutcome.ALLOWED


@pytest.mark.parametrize(
    ("short", "long", "fires", "uncertain"),
    [
        ((6, 4), (90, 100), False, False),  # the long window is below 14.4
        ((6, 4), (80, 100), False, True),
        ((90, 100), (6, 4), False, False),
        ((80, 100), (6, 4), False, True),
        ((6, 4), (6, 4), False, True),
        ((0, 0), (6, 4), False, False),  # nothing happened in the short window
        ((6, 4), (0, 0), False, False),
        ((80, 100), (80, 100), True, False),
    ],
)
def test_alert_rule_is_uncertain_unless_a_known_rate_rules_it_out(
    short: tuple[int, int], long: tuple[int, int], fires: bool, uncertain: bool
) -> None:
    found = reported({FIVE: short, HOUR: long})
    assert ([rule.long for rule in found.firing] == [HOUR], [rule.long for rule in found.uncertain] == [HOUR]) == (
        fires,
        uncertain,
    )
    assert ("it is unknown whether the page alert over 1h and 5m fires" in found.message) is uncertain


def test_uncertain_alert_is_no_pass_although_no_data_is_allowed() -> None:
    assert decided({FIVE: (6, 4)}, burns("5m"), on_no_data=OnUnknown.ALLOW).outcome is GateOutcome.ALLOWED
    found = decided({FIVE: (6, 4), HOUR: (80, 100)}, burns("5m"), on_no_data=OnUnknown.ALLOW)
    assert (found.outcome, found.report.status) == (GateOutcome.WARNING, Status.WARNING)


def test_few_events_neither_freeze_nor_pass_beside_an_unknown_rate() -> None:
    allows = PolicyRule("few", Action.ALLOW, Signal.LOW_TRAFFIC)
    for rules in ((), (burns("5m"),), (allows,)):
        found = decided({FIVE: (6, 4)}, *rules, min_events=1000)
        assert (found.report.status, found.outcome) == (Status.LOW_TRAFFIC, GateOutcome.WARNING)


@pytest.mark.parametrize(
    "error",
    [
        QueryError("no answer", reason="timeout", transient=True),
        QueryError("HTTP 500", reason="server_error", transient=True),
        InvalidMeasurement("good is NaN, not a number", reason="not_a_number"),
        InvalidMeasurement("negative count", reason="invalid_measurement"),
        InvalidMeasurement("more bad events than events", reason="bad_exceeds_total"),
        InvalidMeasurement("a ratio must lie in [0, 1], not -1", reason="ratio_out_of_range"),
    ],
)
def test_other_errors_of_a_burn_window_stay_errors(error: MeasurementError) -> None:
    found = decided({FIVE: error})
    assert (found.report.status, found.report.error, found.outcome) == (Status.QUERY_ERROR, error, GateOutcome.UNKNOWN)


def test_contradiction_of_the_whole_window_is_an_error() -> None:
    found = decided({30 * DAY: (6, 4)})
    assert (found.report.status, found.outcome) == (Status.QUERY_ERROR, GateOutcome.UNKNOWN)
    assert found.report.error is not None
    assert found.report.error.reason == "good_exceeds_total"


@pytest.mark.parametrize(("ratio", "reason"), [("1.01", "good_exceeds_total"), ("-0.01", "ratio_out_of_range")])
def test_ratio_above_one_contradicts_itself(ratio: str, reason: str) -> None:
    with pytest.raises(InvalidMeasurement) as caught:
        Measurement.of_ratio(Fraction(ratio))
    assert caught.value.reason == reason


def test_contradiction_shows_that_the_log_is_written() -> None:
    found = reported({6 * HOUR: (6, 4)}, max_silence=6 * HOUR)
    assert found.status is Status.WARNING
    silent = reported({6 * HOUR: NoData("no events", reason="no_events")}, max_silence=6 * HOUR)
    assert silent.status is Status.NO_DATA


def test_unknown_rates_are_in_table_ledger_and_xcom() -> None:
    found = decided({FIVE: (6, 4), 30 * MINUTE: (7, 4)})
    assert "unknown over" in table([found.report])
    assert "5m, 30m" in table([found.report])
    assert "unknown over" not in table([reported({})])
    decision = decide([found.report], catalog(found.report.slo, policies=[ErrorBudgetPolicy("p", ())]))
    (check,) = slo_checks(decision)
    assert check.verdict is Verdict.WARN
    assert check.evidence["unknown_burn_rates"] == summary(decision)["slos"][0]["unknown_burn_rates"] == ["5m", "30m"]
    assert check.evidence["burn_rates"]["5m"] is None
    assert "unknown burn rate over 5m, 30m" in check.message
