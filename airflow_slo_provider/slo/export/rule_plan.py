"""Choose the windows and alerts of an objective, and note what is left out of its rules, with the reason."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction

from airflow_slo_provider.slo.budget.error_budgets import BurnRateRule, burn_rates_of
from airflow_slo_provider.slo.budget.time_slices import slice_width
from airflow_slo_provider.slo.budget.windows import nominal_length
from airflow_slo_provider.slo.model import SLO, AlertCondition, AlertPolicy, BudgetingMethod, Objective
from airflow_slo_provider.slo.promql.text import number, window_text

#: The shortest window, used for the current burn rate and the alert for missing data.
BASE_WINDOW = timedelta(minutes=5)
#: Time that a restart may take before missing data is worth an alert (pyrra waits as long).
_RESTART = timedelta(minutes=2)
_NO_DATA_WITHOUT_PAGE = timedelta(minutes=10)


@dataclass(frozen=True)
class PolicyAlert:
    """One condition of one of the document's alert policies."""

    policy: AlertPolicy
    condition: AlertCondition


@dataclass(frozen=True)
class RulePlan:
    """The rules to write for one objective.

    :param period: the SLO's window if it is rolling and has a fixed length
    :param slice_width: width of a time slice; None for Occurrences
    :param base: the shortest window
    :param burn: multi-window burn-rate rules
    :param policy_alerts: alerts that the document defines
    :param notes: what was left out, with reasons
    :param budget: 1 - target
    """

    period: timedelta | None
    slice_width: timedelta | None
    base: timedelta
    burn: tuple[BurnRateRule, ...]
    policy_alerts: tuple[PolicyAlert, ...]
    notes: tuple[str, ...]
    budget: Fraction

    @property
    def windows(self) -> list[timedelta]:
        """All windows to record, shortest first."""
        found = {self.base} | {window for rule in self.burn for window in (rule.short, rule.long)}
        found |= {alert.condition.lookback_window.timedelta for alert in self.policy_alerts}
        return sorted(found | ({self.period} if self.period else set()))

    @property
    def no_data_after(self) -> timedelta:
        """Time that data must be missing before the alert: an outage's time to fire the fastest alert, plus a restart's.

        round(f0 * (1 - target) * long0 + 2 min) to whole minutes, with f0 in whole units [pyrra, ``absent`` alert].
        """
        if not self.burn:
            return _NO_DATA_WITHOUT_PAGE
        fastest = self.burn[0]
        outage = fastest.long * float(math.floor(fastest.factor) * self.budget)
        return timedelta(minutes=round((outage + _RESTART) / timedelta(minutes=1)))


def plan_rules(slo: SLO, objective: Objective) -> RulePlan:
    """Plan the rules of one objective.

    :param slo: the SLO
    :param objective: one of its objectives
    :raises ValueError: when its time slices have no valid width
    """
    budget = 1 - objective.target
    width = slice_width(slo, objective)
    if width is None and slo.method is not BudgetingMethod.OCCURRENCES:
        raise ValueError(f"{slo.method} needs a timeSliceWindow")
    base = max(BASE_WINDOW, width or BASE_WINDOW)
    burn = burn_rates_of(slo, objective)
    notes = list(burn.dropped)
    duration, period = slo.window.duration, None
    if duration.is_calendar:
        notes.append(f"burn-rate alerts take {window_text(nominal_length(slo.window))} as the length of the window {duration}")
    if duration.is_calendar or not slo.window.rolling:
        notes.append("no period records: a calendar window begins at a date, which a range in PromQL cannot")
    elif width is not None and duration.timedelta < width:
        notes.append(f"no period records: the window {window_text(duration)} is shorter than a time slice")
    else:
        period = duration.timedelta
    alerts = _policy_alerts(slo, budget, width, notes)
    if slo.options.min_events or slo.options.min_failures:
        notes.append("min-events and min-failures hold for gates only: these alerts use ratios, not counts")
    if slo.options.max_silence:
        notes.append("max-silence holds for gates only: for these rules a service without events is a quiet one")
    if slo.options.maturity_lag:
        notes.append("maturity-lag holds for gates only: the windows of these rules end now")
    if slo.options.split_window:
        notes.append("split-window holds for gates only: each window is recorded at once")
    return RulePlan(period, width, base, burn.rules, tuple(alerts), tuple(notes), budget)


def _policy_alerts(slo: SLO, budget: Fraction, width: timedelta | None, notes: list[str]) -> list[PolicyAlert]:
    kept = []
    for policy in slo.alert_policies:
        if not policy.alert_when_breaching:
            notes.append(f"no alerts of policy {policy.name}: its alertWhenBreaching is not true")
            continue
        for condition in policy.conditions:
            if problem := _unusable_reason(condition, budget, width):
                notes.append(f"no alert {condition.name} of policy {policy.name}: {problem}")
            else:
                kept.append(PolicyAlert(policy, condition))
    return kept


def _unusable_reason(condition: AlertCondition, budget: Fraction, width: timedelta | None) -> str:
    if condition.lookback_window.is_calendar:
        return f"its lookbackWindow {condition.lookback_window} has no fixed length"
    if width is not None and condition.lookback_window.timedelta < width:
        return f"its lookbackWindow is shorter than a time slice ({window_text(width)})"
    if condition.alert_after is not None and condition.alert_after.is_calendar:
        return f"its alertAfter {condition.alert_after} has no fixed length"
    level = condition.threshold * budget  # as a share of bad events, within [0, 1]
    never = {"gt": level >= 1, "gte": level > 1, "lt": level <= 0, "lte": level < 0}[condition.op]
    if not never:
        return ""
    return f"it could never fire (threshold {number(condition.threshold)}, and a burn rate is {number(1 / budget)} at most)"
