"""Compute error budgets and burn rates in exact arithmetic.

Targets are read as exact rationals and never rounded before they are compared: with floats,
``(2592 / 2592000) / (1 - 0.999)`` is 0.9999999999999991, and an exactly exhausted budget would look as if some of it were left.

References
----------
- Beyer, Murphy, Rensin, Kawahara, Thorne (eds.): *The Site Reliability Workbook*, chapter 5, "Alerting on SLOs".
- OpenSLO specification v1, ``SLO.spec.objectives`` and ``budgetingMethod``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from functools import lru_cache

from airflow_slo_provider.core.exact_numbers import Number, exact
from airflow_slo_provider.documents.durations import Duration, as_duration, format_seconds
from airflow_slo_provider.exceptions import InvalidMeasurement
from airflow_slo_provider.slo.budget.indicator_source import Measurement
from airflow_slo_provider.slo.budget.time_slices import slice_width
from airflow_slo_provider.slo.budget.windows import nominal_length
from airflow_slo_provider.slo.model import SLO, Objective

#: Share of the budget and long window of each default alert [SRE Workbook ch. 5, table 5-8, plus the 1d pair sloth uses].
DEFAULT_ALERTS: tuple[tuple[str, Fraction, timedelta], ...] = (
    ("page", Fraction(2, 100), timedelta(hours=1)),
    ("page", Fraction(5, 100), timedelta(hours=6)),
    ("ticket", Fraction(10, 100), timedelta(days=1)),
    ("ticket", Fraction(10, 100), timedelta(days=3)),
)


@dataclass(frozen=True)
class ErrorBudget:
    """The state of an error budget.

    :param sli: share of good events
    :param budget: share of events that may be bad: 1 - target
    :param consumed: share of the budget that is spent; above 1 when overspent
    :param remaining: 1 - consumed; negative when overspent
    :param allowed_events: number of events that may be bad; None if only a ratio is measured
    :param remaining_events: number of events that may still be bad; negative when overspent
    :param remaining_time: the remaining budget as time of complete outage within the window; negative when overspent
    """

    sli: Fraction
    budget: Fraction
    consumed: Fraction
    remaining: Fraction
    allowed_events: Fraction | None
    remaining_events: Fraction | None
    remaining_time: timedelta


@dataclass(frozen=True)
class BurnRate:
    """The burn rate over one window.

    :param window: length of the window
    :param value: at 1 the budget lasts exactly the SLO's window; None when no measurement is available
    :param good: good events in the window, if events were counted
    :param total: all events in the window, if events were counted
    :param problem: reason why there is no value
    :param is_unknown: whether the numbers of the window contradict each other; otherwise no value means that there was no event
    """

    window: timedelta
    value: Fraction | None
    good: Fraction | None = None
    total: Fraction | None = None
    problem: str = ""
    is_unknown: bool = False


@dataclass(frozen=True)
class BurnRateRule:
    """A multi-window alert rule: it fires while the burn rate over both windows is above ``factor``.

    :param severity: ``page`` or ``ticket``
    :param short: the short window, a twelfth of the long one; ends the alert soon after the budget stops burning
    :param long: the long window; keeps short spikes from firing the alert
    :param factor: burn rate that spends ``fraction`` of the budget in the long window; at least 1
    :param fraction: share of the budget that is spent when it fires
    """

    severity: str
    short: timedelta
    long: timedelta
    factor: Fraction
    fraction: Fraction

    def fires(self, short: Fraction | None, long: Fraction | None) -> bool:
        """Return whether both burn rates are known and above the factor (strictly, as in the workbook's alerts).

        :param short: burn rate over the short window; None if unknown
        :param long: burn rate over the long window; None if unknown
        """
        return short is not None and long is not None and short > self.factor and long > self.factor


@dataclass(frozen=True)
class BurnRatePlan:
    """The multi-window alert rules of an objective, and the alerts for which it has no rule.

    :param rules: the rules, fastest first
    :param dropped: one note for each alert without a rule, with the reason
    """

    rules: tuple[BurnRateRule, ...]
    dropped: tuple[str, ...]


def budget_share(target: Number) -> Fraction:
    """Return the error budget, 1 - target, as an exact share.

    :param target: target share of good events, in (0, 1)
    :raises ValueError: when the target is not in (0, 1): a target of 1 has no budget to divide by
    """
    try:
        goal = exact(target, what="target")
    except InvalidMeasurement as error:
        raise ValueError(error.message) from error
    if not 0 < goal < 1:
        raise ValueError(
            f"target {target} must lie strictly between 0 and 1 (write 0.999 for 99.9 %); "
            "a target of 1 leaves no error budget: any single failure would break it"
        )
    return 1 - goal


def budget_of_sli(
    budget: Fraction, sli: Fraction, window: timedelta, total: Fraction | None = None, *, scale: Fraction = Fraction(1)
) -> ErrorBudget:
    """Compute the error budget from an SLI.

    :param budget: 1 - target
    :param sli: share of good events
    :param window: the SLO's window
    :param total: number of events (or slices) behind the SLI
    :param scale: ratio of the events of the whole window to ``total``; above 1 for a calendar window that has not ended
    """
    consumed = (1 - sli) / (budget * scale)
    remaining = 1 - consumed
    allowed = None if total is None else budget * total * scale
    left = None if allowed is None else allowed * remaining
    microseconds = remaining * budget * int(window.total_seconds() * 1_000_000)
    # Rounded down, so that the remaining time is never overstated.
    return ErrorBudget(sli, budget, consumed, remaining, allowed, left, timedelta(microseconds=math.floor(microseconds)))


def error_budget(target: Number, good: Number, total: Number, window: str | timedelta | Duration) -> ErrorBudget:
    """Compute the state of an error budget exactly.

    consumed = (1 - good / total) / (1 - target) and remaining = 1 - consumed [SRE Workbook ch. 5].

    :param target: target share of good events, in (0, 1); a str, Decimal or Fraction keeps it exact
    :param good: good events in the window
    :param total: all events in the window
    :param window: the SLO's window, e.g. ``"30d"``
    :raises NoData: when ``total`` is 0
    :raises InvalidMeasurement: when ``good`` exceeds ``total``, or a number is negative or not finite
    :raises ValueError: when the target is not in (0, 1)
    """
    measured = Measurement.of_counts(exact(good, what="good"), exact(total, what="total"))
    return budget_of_sli(budget_share(target), measured.ratio, as_duration(window).timedelta, measured.total)


def burn_rate(target: Number, good: Number, total: Number) -> Fraction:
    """Compute the burn rate: (1 - good / total) / (1 - target). At 1 the budget lasts exactly one SLO window.

    :param target: target share of good events, in (0, 1)
    :param good: good events in the measured window
    :param total: all events in that window
    :raises NoData: when ``total`` is 0
    :raises InvalidMeasurement: when ``good`` exceeds ``total``, or a number is negative or not finite
    :raises ValueError: when the target is not in (0, 1)
    """
    measured = Measurement.of_counts(exact(good, what="good"), exact(total, what="total"))
    return (1 - measured.ratio) / budget_share(target)


def burn_rate_rules(
    window: str | timedelta | Duration,
    *,
    alerts: Sequence[tuple[str, Number, str | timedelta | Duration]] = DEFAULT_ALERTS,
    target: Number | None = None,
) -> list[BurnRateRule]:
    """Compute the multi-window, multi-burn-rate alert rules of an SLO window.

    factor = max(1, fraction * window / long), short = long / 12 [SRE Workbook ch. 5]. The factors are recomputed for every
    window: 14.4 is for 30 days; for a window of 7 days it would spend 8.6 % of the budget per hour. A factor is never below 1:
    at a burn rate of 1 the budget lasts as long as the window. Alerts whose long window is not shorter than ``window`` are left
    out.

    :param window: the SLO's window, e.g. ``"30d"``
    :param alerts: ``(severity, fraction of the budget, long window)`` of each alert
    :param target: if set, rules that can never fire (factor * (1 - target) >= 1) are left out
    :raises ValueError: for a calendar duration, or a fraction outside (0, 1]
    """
    return list(plan_burn_rates(window, alerts=alerts, target=target).rules)


def plan_burn_rates(
    window: str | timedelta | Duration,
    *,
    alerts: Sequence[tuple[str, Number, str | timedelta | Duration]] = DEFAULT_ALERTS,
    target: Number | None = None,
    width: timedelta | None = None,
) -> BurnRatePlan:
    """Compute the rules of :func:`burn_rate_rules`, and a note for each alert that is left out.

    Gates, triggers, exported rules and the SLO pages all take their rules from here, so that they fire together.

    :param window: the SLO's window, e.g. ``"30d"``
    :param alerts: ``(severity, fraction of the budget, long window)`` of each alert
    :param target: if set, rules that can never fire (factor * (1 - target) >= 1) are left out
    :param width: width of a time slice; rules whose short window is shorter are left out
    :raises ValueError: for a calendar duration, or a fraction outside (0, 1]
    """
    length = as_duration(window).timedelta
    rules, dropped = [], []
    for severity, share, long_window in alerts:
        fraction, long = exact(share, what="fraction"), as_duration(long_window).timedelta
        if not 0 < fraction <= 1:
            raise ValueError(f"{severity} alert: fraction {share} of the budget must lie in (0, 1]")
        if long >= length:
            dropped.append(f"no {severity} alert over {_format(long)}: it is not shorter than the window {_format(length)}")
            continue
        part = Fraction(int(long.total_seconds()), int(length.total_seconds()))
        # A burn rate of 1 or less never exhausts the budget, so it is no reason for an alert.
        factor = max(Fraction(1), fraction / part)
        rule = BurnRateRule(severity, long / 12, long, factor, factor * part)
        if reason := _unusable_reason(rule, target, width):
            dropped.append(f"no {severity} alert over {_format(long)} and {_format(rule.short)}: {reason}")
        else:
            rules.append(rule)
    return BurnRatePlan(tuple(rules), tuple(dropped))


def _unusable_reason(rule: BurnRateRule, target: Number | None, width: timedelta | None) -> str:
    if width is not None and rule.short < width:
        return f"the short window is shorter than a time slice ({_format(width)})"
    if target is None:
        return ""
    most = 1 / budget_share(target)  # every event fails
    if most > rule.factor:
        return ""
    return f"it could never fire (factor {float(rule.factor):g}, and a burn rate is {float(most):g} at most)"


def _format(length: timedelta) -> str:
    return format_seconds(int(length.total_seconds()))


def burn_rates_of(slo: SLO, objective: Objective) -> BurnRatePlan:
    """Compute the rules of one objective: from the nominal length of its window, its target and its time slices.

    :param slo: the SLO
    :param objective: one of its objectives
    """
    return default_burn_rates(nominal_length(slo.window), objective.target, slice_width(slo, objective))


@lru_cache(maxsize=256)  # a catalog has few different windows and targets
def default_burn_rates(length: timedelta, target: Fraction, width: timedelta | None = None) -> BurnRatePlan:
    """Compute the rules of the default alerts, see :func:`plan_burn_rates`.

    :param length: length of the SLO's window
    :param target: its target
    :param width: width of its time slices, if it has any
    """
    return plan_burn_rates(length, target=target, width=width)


def time_to_exhaustion(remaining: Number, burn_rate: Number, window: str | timedelta | Duration) -> timedelta | None:
    """Compute the time until the budget is exhausted at the current rate: remaining * window / burn rate.

    :param remaining: remaining share of the budget
    :param burn_rate: current burn rate
    :param window: the SLO's window
    :return: the time; None when the budget does not burn (rate 0), zero when it is already spent
    """
    left, rate = exact(remaining, what="remaining"), exact(burn_rate, what="burn rate")
    if left <= 0:
        return timedelta(0)
    if rate <= 0:
        return None
    seconds = left * int(as_duration(window).timedelta.total_seconds()) / rate
    try:
        return timedelta(seconds=math.floor(seconds))
    except OverflowError:
        return timedelta.max
