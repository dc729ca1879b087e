"""Choose the windows and alerts of an objective, and note what is left out of its rules, with the reason."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction

from airflow_slo_provider.slo.budget.error_budgets import DEFAULT_ALERTS, BurnRateRule, burn_rate_rules
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
        return timedelta(minutes=round((self._outage(fastest) + _RESTART) / timedelta(minutes=1)))

    def _outage(self, rule: BurnRateRule) -> timedelta:
        whole = Fraction(math.floor(rule.factor)) or rule.factor
        return rule.long * float(whole * self.budget)


def plan_rules(slo: SLO, objective: Objective) -> RulePlan:
    """Plan the rules of one objective.

    :param slo: the SLO
    :param objective: one of its objectives
    :raises ValueError: when its time slices have no valid width
    """
    budget = 1 - objective.target
    width = _slice_width(slo, objective)
    base = max(BASE_WINDOW, width or BASE_WINDOW)
    notes: list[str] = []
    duration, burn, period = slo.window.duration, list[BurnRateRule](), None
    if duration.is_calendar:
        notes.append(f"no burn-rate alerts: the window {duration} has no fixed length")
    else:
        burn = _burn_rules(duration.timedelta, budget, width, notes)
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
    return RulePlan(period, width, base, tuple(burn), tuple(alerts), tuple(notes), budget)


def _slice_width(slo: SLO, objective: Objective) -> timedelta | None:
    if slo.method is BudgetingMethod.OCCURRENCES:
        return None
    if objective.time_slice_window is None:
        raise ValueError(f"{slo.method} needs a timeSliceWindow")
    return objective.time_slice_window.timedelta


def _burn_rules(window: timedelta, budget: Fraction, width: timedelta | None, notes: list[str]) -> list[BurnRateRule]:
    for severity, _, long in DEFAULT_ALERTS:
        if long >= window:
            notes.append(f"no {severity} alert over {window_text(long)}: it is not shorter than the window {window_text(window)}")
    kept, possible = [], burn_rate_rules(window, target=1 - budget)
    for rule in burn_rate_rules(window):
        name = f"{rule.severity} alert over {window_text(rule.long)} and {window_text(rule.short)}"
        if rule not in possible:
            notes.append(f"no {name}: {_never_fires(f'factor {number(rule.factor)}', budget)}")
        elif width is not None and rule.short < width:
            notes.append(f"no {name}: the short window is shorter than a time slice ({window_text(width)})")
        else:
            kept.append(rule)
    return kept


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
    return _never_fires(f"threshold {number(condition.threshold)}", budget) if never else ""


def _never_fires(level: str, budget: Fraction) -> str:
    return f"it could never fire ({level}, and a burn rate is {number(1 / budget)} at most)"
