"""Warn about policy rules that never block anything, although they contain no error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

from airflow_slo_provider.core.slo_key import display_names
from airflow_slo_provider.exceptions import Fault
from airflow_slo_provider.slo.budget.error_budgets import budget_share
from airflow_slo_provider.slo.budget.windows import nominal_length
from airflow_slo_provider.slo.documents.policy_reader import KIND
from airflow_slo_provider.slo.model import SLO
from airflow_slo_provider.slo.policy.error_budget_policy import ErrorBudgetPolicy, PolicyRule, Signal


def find_policy_warnings(policies: Iterable[ErrorBudgetPolicy], slos: Iterable[SLO]) -> Iterator[Fault]:
    """Yield a warning for each policy that allows a spent budget, and for each rule that can never hold for an SLO.

    :param policies: all policies
    :param slos: all SLOs
    """
    gating = [slo for slo in slos if slo.options.gates]
    names = display_names(slo.key for slo in gating)
    for policy in policies:
        if not any(_blocks_when_spent(rule) for rule in policy.rules):
            yield policy_fault(policy, "no rule freezes or escalates once the budget is spent: it blocks nothing", "spec.rules")
        for number, rule in enumerate(policy.rules):
            for slo in gating:
                if slo.options.error_budget_policy == policy.name and (reason := _impossible_reason(rule, slo)):
                    message = f"rule {rule.name} can never hold for the SLO {names[slo.key]}: {reason}"
                    yield policy_fault(policy, message, f"spec.rules[{number}]")


def _blocks_when_spent(rule: PolicyRule) -> bool:
    """Return whether a rule blocks when the budget is spent; the time to exhaustion is then 0."""
    if not rule.action.blocks or rule.signal not in (Signal.REMAINING_BUDGET, Signal.TIME_TO_EXHAUSTION) or rule.enter is None:
        return False
    return rule.enter > 0 or (rule.enter == 0 and rule.op != "lt")


def _impossible_reason(rule: PolicyRule, slo: SLO) -> str:
    """Return why a rule can never hold; an empty text if it can.

    If every event fails, the burn rate is 1 / (1 - target) [SRE Workbook ch. 5].
    """
    if rule.window is None or rule.enter is None or rule.signal not in (Signal.BURN_RATE, Signal.BUDGET_DROP):
        return ""
    widths = [width for objective in slo.objectives if (width := objective.time_slice_window) is not None]
    if widths and all(rule.window.timedelta < width.timedelta for width in widths):
        return f"its window {rule.window} is shorter than a time slice ({widths[0]})"
    most = max(1 / budget_share(objective.target) for objective in slo.objectives)
    what = "a burn rate"
    if rule.signal is Signal.BUDGET_DROP:
        most *= Fraction(int(rule.window.timedelta.total_seconds()), int(nominal_length(slo.window).total_seconds()))
        what = f"the share of its budget that {rule.window} can spend"
    reached = most >= rule.enter if rule.op == "gte" else most > rule.enter
    return "" if reached else f"{what} is {float(most):.4g} at most"


def policy_fault(policy: ErrorBudgetPolicy, message: str, path: str) -> Fault:
    """Create an error or a warning about a policy document."""
    return Fault(message, path, f"{KIND}/{policy.name}", policy.location.file, policy.location.line)
