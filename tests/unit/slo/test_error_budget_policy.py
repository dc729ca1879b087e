"""Our kind ErrorBudgetPolicy: its form, and what is refused of it."""

from __future__ import annotations

import textwrap
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction

import pytest

from airflow_slo_provider.documents.durations import parse_duration
from airflow_slo_provider.slo.documents import policy_reader as openslo_policies
from airflow_slo_provider.slo.policy.error_budget_policy import Action, ErrorBudgetPolicy, OnUnknown, Override, PolicyRule, Signal
from tests.unit.slo.documents import POLICY_TEXT, SERVICE_TEXT, SLO_TEXT, catalog_of, changed, faults, joined, warnings


def documented() -> str:
    """The example of the module's documentation."""
    text = openslo_policies.__doc__ or ""
    return textwrap.dedent(text[text.index("    apiVersion") : text.index("``op`` is")])


def policy_of(text: str) -> ErrorBudgetPolicy:
    (policy,) = catalog_of(text).policies.values()
    return policy


def test_documented_policy_is_read_field_by_field() -> None:
    assert policy_of(documented()) == ErrorBudgetPolicy(
        "gate-promotion",
        (
            PolicyRule("budget-spent", Action.FREEZE, Signal.REMAINING_BUDGET, "lte", Fraction(0), Fraction(1, 10)),
            PolicyRule("burns-fast", Action.ALERT, Signal.BURN_RATE, "gt", Fraction(144, 10), Fraction(10), parse_duration("1h")),
            PolicyRule("soon-spent", Action.ESCALATE, Signal.TIME_TO_EXHAUSTION, "lte", Fraction(2 * 86400), Fraction(4 * 86400)),
            PolicyRule(
                "dropped",
                Action.REDUCE_EXPERIMENTATION,
                Signal.BUDGET_DROP,
                "gte",
                Fraction(1, 5),
                Fraction(1, 5),
                parse_duration("1d"),
            ),
            PolicyRule("too-little-to-judge", Action.ALERT, Signal.LOW_TRAFFIC),
        ),
        warning_level=Fraction(1, 4),
        cool_down=timedelta(hours=1),
        on_no_data=OnUnknown.BLOCK,
        on_error=OnUnknown.BLOCK,
        overrides=(
            Override(
                Action.ALLOW,
                datetime(2026, 12, 1, 18, tzinfo=timezone(timedelta(hours=1))),
                "The fix for the outage must go out.",
                "on-call",
                ("checkout-availability",),
            ),
        ),
        description="Nothing is promoted on a spent budget.",
    )


def test_policy_defaults_block() -> None:
    policy = policy_of(POLICY_TEXT)
    assert (policy.on_no_data, policy.on_error) == (OnUnknown.BLOCK, OnUnknown.BLOCK)
    assert (policy.warning_level, policy.cool_down, policy.overrides) == (Fraction(1, 4), timedelta(0), ())
    assert policy.location.line == 1


@pytest.mark.parametrize("word", ["block", "warn", "allow"])
@pytest.mark.parametrize(("key", "field"), [("onNoData", "on_no_data"), ("onError", "on_error")])
def test_on_no_data_and_on_error_are_read(key: str, field: str, word: str) -> None:
    assert getattr(policy_of(changed(POLICY_TEXT, "spec:\n", f"spec:\n  {key}: {word}\n")), field) == word


@pytest.mark.parametrize("action", list(Action))
def test_every_action_is_read(action: Action) -> None:
    assert policy_of(changed(POLICY_TEXT, "freeze", action.value)).rules[0].action is action


def when(body: str) -> str:
    return changed(POLICY_TEXT, "      when:\n        signal: remainingBudget\n        enter: 0\n", f"      when: {body}\n")


@pytest.mark.parametrize(
    ("body", "op", "enter", "leave", "window"),
    [
        ("{signal: remainingBudget, value: 0.1}", "lte", "1/10", "1/10", None),
        ("{signal: remainingBudget, op: lt, enter: -0.5, exit: 0}", "lt", "-1/2", "0", None),
        ("{signal: remainingBudget, enter: 0, exit: 0}", "lte", "0", "0", None),
        ("{signal: burnRate, enter: 1, window: 6h}", "gt", "1", "1", "6h"),
        ("{signal: burnRate, op: gte, enter: 14.4, exit: 1, window: 5m}", "gte", "72/5", "1", "5m"),
        ("{signal: burnRate, enter: 0, window: 1h}", "gt", "0", "0", "1h"),
        ("{signal: timeToExhaustion, enter: 1d}", "lte", "86400", "86400", None),
        ("{signal: timeToExhaustion, op: lt, enter: 90m, exit: 2h}", "lt", "5400", "7200", None),
        ("{signal: budgetDrop, enter: 0.2, exit: 0.1, window: 1d}", "gte", "1/5", "1/10", "1d"),
        ("{signal: budgetDrop, op: gt, enter: 1.5, window: 1w}", "gt", "3/2", "3/2", "1w"),
        ("{signal: noData}", None, None, None, None),
        ("{signal: lowTraffic}", None, None, None, None),
    ],
)
def test_rule_levels_are_read(body: str, op: str | None, enter: str | None, leave: str | None, window: str | None) -> None:
    (rule,) = policy_of(when(body)).rules
    assert rule.op == op
    assert rule.enter == (None if enter is None else Fraction(enter))
    assert rule.exit == (None if leave is None else Fraction(leave))
    assert rule.window == (None if window is None else parse_duration(window))


@pytest.mark.parametrize(
    ("body", "path", "words"),
    [
        ("{signal: remainingBudget}", "enter", "is required"),
        ("{signal: remainingBudgt, enter: 0}", "signal", "did you mean 'remainingBudget'?"),
        ("{enter: 0}", "signal", "is required"),
        ("{signal: remainingBudget, enter: 0, value: 0}", "value", "another name for enter"),
        ("{signal: remainingBudget, enter: 0, exit: -0.1}", "exit", "must be enter or lie above it; otherwise the rule"),
        ("{signal: remainingBudget, value: 0, exit: -0.1}", "exit", "must be value or lie above it"),
        ("{signal: remainingBudget, enter: 0, exit: 1}", "exit", "is never reached"),
        ("{signal: remainingBudget, enter: 1}", "enter", "always holds"),
        ("{signal: remainingBudget, op: lt, enter: 1.5}", "enter", "always holds"),
        ("{signal: remainingBudget, enter: 10%}", "enter", "must be a finite decimal number"),
        ("{signal: remainingBudget, enter: .nan}", "enter", "must be a finite decimal number"),
        ("{signal: remainingBudget, op: gt, enter: 0}", "op", "must be lte or lt for remainingBudget: gt would hold"),
        ("{signal: remainingBudget, op: '<=', enter: 0}", "op", "'<=' is none of lt, lte, gt, gte"),
        ("{signal: remainingBudget, enter: 0, window: 1h}", "window", "has no meaning for remainingBudget"),
        ("{signal: burnRate, enter: 2}", "window", "is required"),
        ("{signal: burnRate, enter: 2, window: 1M}", "window", "has no fixed length"),
        ("{signal: burnRate, enter: 2, window: 1h, exit: 3}", "exit", "must be enter or lie below it"),
        ("{signal: burnRate, op: gte, enter: 0, window: 1h}", "enter", "always holds: write a burnRate above 0"),
        ("{signal: burnRate, enter: -1, window: 1h}", "enter", "always holds"),
        ("{signal: burnRate, op: gte, enter: 2, exit: 0, window: 1h}", "exit", "is never reached: a burn rate is never below 0"),
        ("{signal: burnRate, op: lte, enter: 2, window: 1h}", "op", "must be gt or gte for burnRate"),
        ("{signal: budgetDrop, enter: 0.1}", "window", "is required"),
        ("{signal: budgetDrop, enter: 0, window: 1d}", "enter", "always holds: write a budgetDrop above 0"),
        ("{signal: timeToExhaustion, enter: 3600}", "enter", "'3600' is not a duration"),
        ("{signal: timeToExhaustion, enter: 1M}", "enter", "has no fixed length"),
        ("{signal: timeToExhaustion, enter: 2d, exit: 1d}", "exit", "must be enter or lie above it"),
        ("{signal: noData, enter: 0}", "enter", "has no meaning for noData, which has no levels"),
        ("{signal: lowTraffic, window: 1h}", "window", "has no meaning for lowTraffic"),
        ("{signal: burnRate, enter: 2, windw: 1h}", "windw", "unknown field; did you mean 'window'?"),
    ],
)  # fmt: skip
def test_invalid_rule_levels_are_errors(body: str, path: str, words: str) -> None:
    found = faults(when(body))
    expected = f"ErrorBudgetPolicy/gate spec.rules[0].when.{path}: "
    assert any(expected in fault and words in fault for fault in found), found


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("  rules:", "  warningLevel: 25\n  rules:", "spec.warningLevel: must be a share of the budget between 0 and 1"),
        ("  rules:", "  coolDown: 1M\n  rules:", "spec.coolDown: 1M has no fixed length"),
        ("  rules:", "  onNoData: pass\n  rules:", "spec.onNoData: 'pass' is none of block, warn, allow"),
        ("  rules:", "  onnodata: warn\n  rules:", "spec.onnodata: unknown field; did you mean 'onNoData'?"),
        ("action: freeze", "action: stop", "spec.rules[0].action: 'stop' is none of allow, alert, reduce_experimentation"),
        ("      action: freeze\n", "", "spec.rules[0].action: is required"),
        ("    - name: spent\n", "    - nam: spent\n", "spec.rules[0].name: is required"),
        ("      when:\n        signal: remainingBudget\n        enter: 0\n", "", "spec.rules[0].when: is required"),
        ("openslo", "openslo", ""),
    ],
)
def test_invalid_policy_fields_are_errors(old: str, new: str, expected: str) -> None:
    if not expected:
        text = POLICY_TEXT[: POLICY_TEXT.index("  rules:")] + "  rules: []\n"
        expected = "spec.rules: is required, and it is empty"
    else:
        text = changed(POLICY_TEXT, old, new)
    assert any(expected in fault for fault in faults(text)), faults(text)


def test_two_rules_with_same_name_are_an_error() -> None:
    text = POLICY_TEXT + POLICY_TEXT[POLICY_TEXT.index("    - name") :]
    (fault,) = faults(text)
    assert "spec.rules: two rules are named 'spent'; the rules that held before are identified by name" in fault


OVERRIDE = "  overrides:\n    - action: allow\n      until: 2026-12-01T18:00:00Z\n      reason: The fix must go out.\n"


def test_override_is_read_field_by_field() -> None:
    (override,) = policy_of(POLICY_TEXT + OVERRIDE).overrides
    assert override == Override(Action.ALLOW, datetime(2026, 12, 1, 18, tzinfo=UTC), "The fix must go out.")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("      reason: The fix must go out.\n", "", "overrides[0].reason: is required"),
        ("The fix must go out.", "'  '", "overrides[0].reason: is required, and it is empty"),
        ("      until: 2026-12-01T18:00:00Z\n", "", "overrides[0].until: is required"),
        ("2026-12-01T18:00:00Z", "2026-12-01T18:00:00", "overrides[0].until: '2026-12-01T18:00:00' has no time zone"),
        ("2026-12-01T18:00:00Z", "2026-12-01", "has no time zone"),
        ("2026-12-01T18:00:00Z", "tomorrow", "overrides[0].until: 'tomorrow' is not a time such as"),
        ("2026-12-01T18:00:00Z", "2026-13-01T18:00:00Z", "is not a time such as"),
        ("action: allow", "action: open", "overrides[0].action: 'open' is none of"),
        ("      reason:", "      slos: []\n      reason:", "overrides[0].slos: is empty"),
        ("      reason:", "      aproved: me\n      reason:", "overrides[0].aproved: unknown field; did you mean 'approvedBy'?"),
    ],
)
def test_invalid_overrides_are_errors(old: str, new: str, expected: str) -> None:
    found = faults(POLICY_TEXT + changed(OVERRIDE, old, new))
    assert any(expected in fault for fault in found), found


def test_override_of_unknown_slo_is_a_warning() -> None:
    text = joined(SLO_TEXT, SERVICE_TEXT, POLICY_TEXT + OVERRIDE + "      slos: [chekout]\n")
    (warning,) = warnings(text)
    assert "ErrorBudgetPolicy/gate spec.overrides[0]: names the SLO 'chekout', which is not among these documents" in warning
    assert "did you mean 'checkout'?" in warning


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        ("", "names no policy (airflow-slo/error-budget-policy)"),
        ("  annotations: {airflow-slo/error-budget-policy: other}\n", "follows the policy 'other'"),
    ],
)
def test_override_of_slo_with_other_policy_is_a_warning(annotation: str, message: str) -> None:
    text = joined(
        changed(SLO_TEXT, "  name: checkout\n", "  name: checkout\n" + annotation), SERVICE_TEXT,
        POLICY_TEXT + OVERRIDE + "      slos: [checkout]\n", changed(POLICY_TEXT, "name: gate", "name: other"),
    )  # fmt: skip
    (warning,) = warnings(text)
    assert f"names the SLO 'checkout', which {message}: for it this override does nothing" in warning


def test_policy_with_openslo_version_is_an_error_with_remedy() -> None:
    (fault,) = faults(changed(POLICY_TEXT, "airflow-slo/v1", "openslo/v1"))
    assert "'ErrorBudgetPolicy' is a kind of apiVersion airflow-slo/v1, not of openslo/v1" in fault


BURNS = """\
    - name: burns
      action: freeze
      when: {signal: burnRate, window: 1h, enter: 14.4}
"""


@pytest.mark.parametrize(
    ("action", "when", "doubted"),
    [
        ("freeze", "{signal: remainingBudget, enter: 0}", False),
        ("escalate", "{signal: remainingBudget, enter: 0.1}", False),
        ("freeze", "{signal: timeToExhaustion, enter: 1h}", False),
        ("alert", "{signal: remainingBudget, enter: 0}", True),
        ("freeze", "{signal: remainingBudget, enter: -0.5}", True),
        ("freeze", "{signal: burnRate, window: 1h, enter: 2}", True),
    ],
)
def test_policy_that_never_blocks_spent_budget_is_a_warning(action: str, when: str, doubted: bool) -> None:
    text = POLICY_TEXT[: POLICY_TEXT.index("    - name")] + f"    - name: r\n      action: {action}\n      when: {when}\n"
    assert any("no rule freezes or escalates once the budget is spent" in one for one in warnings(text)) is doubted


@pytest.mark.parametrize(
    ("target", "rule", "why"),
    [
        ("0.999", "{signal: burnRate, window: 1h, enter: 14.4}", ""),
        ("0.9", "{signal: burnRate, window: 1h, enter: 14.4}", "a burn rate is 10 at most"),
        ("0.9", "{signal: burnRate, window: 1h, enter: 10}", "a burn rate is 10 at most"),
        ("0.9", "{signal: burnRate, op: gte, window: 1h, enter: 10}", ""),
        ("0.99", "{signal: budgetDrop, window: 1d, enter: 1}", ""),
        ("0.9", "{signal: budgetDrop, window: 1d, enter: 0.5}", "the share of its budget that 1d can spend is 0.3333 at most"),
    ],
)
def test_rule_that_can_never_hold_is_a_warning(target: str, rule: str, why: str) -> None:
    policy = POLICY_TEXT + f"    - name: burns\n      action: freeze\n      when: {rule}\n"
    slo = changed(SLO_TEXT, "target: 0.999", f"target: {target}")
    slo = changed(slo, "  name: checkout\n", "  name: checkout\n  annotations: {airflow-slo/error-budget-policy: gate}\n")
    found = [one for one in warnings(joined(slo, SERVICE_TEXT, policy)) if "can never hold" in one]
    assert [f"rule burns can never hold for the SLO checkout: {why}" in one for one in found] == ([True] if why else [])


def test_burn_window_shorter_than_time_slice_is_a_warning() -> None:
    slo = changed(SLO_TEXT, "target: 0.999", "target: 0.999\n      timeSliceTarget: 0.9\n      timeSliceWindow: 2h")
    slo = changed(slo, "budgetingMethod: Occurrences", "budgetingMethod: Timeslices")
    slo = changed(slo, "  name: checkout\n", "  name: checkout\n  annotations: {airflow-slo/error-budget-policy: gate}\n")
    (found,) = warnings(joined(slo, SERVICE_TEXT, POLICY_TEXT + BURNS))
    assert "rule burns can never hold for the SLO checkout: its window 1h is shorter than a time slice (2h)" in found


def test_budget_drop_exit_never_reached_is_an_error() -> None:
    found = faults(when("{signal: budgetDrop, enter: 0.2, exit: 0, window: 1h}"))
    assert any("spec.rules[0].when.exit: is never reached: a budget drop is never below 0" in fault for fault in found), found
