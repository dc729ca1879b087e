"""Documents that are read without an error and would let everything through: percent for shares, overrides of nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from airflow_slo_provider.slo.code_first import SLIDefinition, SLOConfig
from airflow_slo_provider.slo.policy.error_budget_policy import Action, ErrorBudgetPolicy, Override, PolicyRule, Signal
from tests.unit.slo.documents import POLICY_TEXT, SERVICE_TEXT, SLO_TEXT, changed, faults, joined, warnings
from tests.unit.slo.test_slo_generator import TEXT as SLO_GENERATOR
from tests.unit.slo.test_sloth import KUBERNETES
from tests.unit.slo.test_sloth import TEXT as SLOTH

NOW = datetime.now(UTC)
FOLLOWS = changed(SLO_TEXT, "  name: checkout\n", "  name: checkout\n  annotations: {airflow-slo/error-budget-policy: gate}\n")


def overridden(action: str = "freeze", until: datetime = NOW + timedelta(days=1), more: str = "") -> str:
    text = f"  overrides:\n    - action: {action}\n      until: '{until.isoformat()}'\n      reason: A reason.\n{more}"
    return POLICY_TEXT + text


@pytest.mark.parametrize(
    ("old", "written", "message"),
    [
        ("target: 0.999", "targetPercent: 0.99", "is in percent: 0.99 allows 99.01 % failures; if the share 0.99 is meant, write "
         "targetPercent: 99 or target: 0.99"),
        ("target: 0.999", "targetPercent: 0.999", "write targetPercent: 99.9 or target: 0.999"),
        ("target: 0.999", "targetPercent: 1", "is in percent: 1 allows 99 % failures; write e.g. targetPercent: 99.9"),
        ("target: 0.999", "target: 99", "strictly between 0 and 1; for 99 % write target: 0.99 or targetPercent: 99"),
        ("enter: 0", "enter: 10", "always holds: at most the whole budget, 1, is left; a tenth of the budget is 0.1"),
        ("enter: 0", "enter: -10", "is 10 whole budgets: a share is expected; a tenth of the budget is 0.1, not 10"),
        ("remainingBudget\n        enter: 0", "budgetDrop\n        window: 1d\n        enter: 20", "is 20 whole budgets"),
    ],
)  # fmt: skip
def test_share_and_percent_confused_is_an_error_with_remedy(old: str, written: str, message: str) -> None:
    (fault,) = faults(changed(joined(FOLLOWS, SERVICE_TEXT, POLICY_TEXT), old, written))
    assert message in fault


@pytest.mark.parametrize("text", [SLOTH, KUBERNETES], ids=["file", "kubernetes"])
def test_sloth_objective_written_as_share_is_an_error(text: str) -> None:
    (fault,) = faults(text.replace("objective: 99.9", "objective: 0.999"))
    assert "objective: is in percent: 0.999 allows 99.001 % failures; if the share 0.999 is meant, write objective: 99.9" in fault


def test_slo_generator_goal_in_percent_is_an_error() -> None:
    (fault,) = faults(SLO_GENERATOR.replace("goal: 0.999", "goal: 99.5"))
    assert "goal: 99.5 must be a share of good strictly between 0 and 1; for 99.5 % write goal: 0.995" in fault


@pytest.mark.parametrize("written", ["target: 0.01", "targetPercent: 1.5", "target: 0.4"])
def test_target_below_half_is_a_warning(written: str) -> None:
    (warning,) = warnings(joined(changed(SLO_TEXT, "target: 0.999", written), SERVICE_TEXT))
    assert "failures: a target is the share of good, not of failures" in warning


def test_target_of_half_has_no_warning() -> None:
    assert warnings(joined(changed(SLO_TEXT, "target: 0.999", "targetPercent: 50"), SERVICE_TEXT)) == []


@pytest.mark.parametrize("action", ["freeze", "escalate", "degrade", "reduce_experimentation", "alert"])
def test_blocking_override_of_unknown_slo_is_an_error(action: str) -> None:
    (fault,) = faults(joined(FOLLOWS, SERVICE_TEXT, overridden(action, more="      slos: [chekout]\n")))
    assert (
        f"names the SLO 'chekout', which is not among these documents; did you mean 'checkout'?: for it this override ({action})"
        in fault
    )


@pytest.mark.parametrize("more", ["", "      slos: [checkout]\n"])
def test_override_of_unused_policy_is_an_error(more: str) -> None:
    (fault,) = faults(joined(SLO_TEXT, SERVICE_TEXT, overridden(more=more)))
    assert "and none of these names it" in fault or "names no policy (airflow-slo/error-budget-policy)" in fault


@pytest.mark.parametrize(
    "policy",
    [
        overridden("allow", more="      slos: [chekout]\n"),
        overridden("freeze", NOW - timedelta(days=1), "      slos: [chekout]\n"),
    ],
    ids=["allow", "ended"],
)
def test_harmless_override_without_effect_is_a_warning(policy: str) -> None:
    (warning,) = warnings(joined(FOLLOWS, SERVICE_TEXT, policy))
    assert "names the SLO 'chekout'" in warning


def test_file_with_policies_only_is_read() -> None:
    assert warnings(overridden(more="      slos: [checkout]\n")) == []


@pytest.mark.parametrize("action", ["allow", "freeze"])
def test_override_longer_than_ninety_days_is_an_error(action: str) -> None:
    (fault,) = faults(joined(FOLLOWS, SERVICE_TEXT, overridden(action, NOW + timedelta(days=91))))
    assert "spec.overrides[0].until: " in fault
    assert "is more than 90 days ahead: write an earlier end, or change" in fault
    assert warnings(joined(FOLLOWS, SERVICE_TEXT, overridden(action, NOW + timedelta(days=89)))) == []


@pytest.mark.parametrize("key", ["error-budget-policy", "min-events", "tier"])
@pytest.mark.parametrize("value", ["", "''", "' '", "~"])
def test_empty_option_is_an_error(key: str, value: str) -> None:
    text = changed(SLO_TEXT, "  name: checkout\n", f"  name: checkout\n  annotations:\n    airflow-slo/{key}: {value}\n")
    (fault,) = faults(joined(text, SERVICE_TEXT))
    assert f"metadata.annotations.airflow-slo/{key}: is empty; write a value, or remove it" in fault


def test_empty_option_of_sloth_object_is_an_error() -> None:
    (fault,) = faults(changed(KUBERNETES, 'airflow-slo/min-events: "100"', 'airflow-slo/min-events: ""'))
    assert "metadata.annotations.airflow-slo/min-events: is empty" in fault


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (Override(Action.FREEZE, NOW + timedelta(days=1), "r", slos=("latncy",)), "names the SLO 'latncy'"),
        (Override(Action.ALLOW, NOW + timedelta(days=91), "r"), "is more than 90 days ahead"),
    ],
    ids=["names-no-sli", "too-long"],
)
def test_config_with_override_without_effect_raises_value_error(override: Override, message: str) -> None:
    policy = ErrorBudgetPolicy("p", (PolicyRule("spent", Action.FREEZE, Signal.REMAINING_BUDGET, "lte"),), overrides=(override,))
    with pytest.raises(ValueError, match=message):
        SLOConfig("shop", [SLIDefinition("latency", "a", "0.99")], policy)
