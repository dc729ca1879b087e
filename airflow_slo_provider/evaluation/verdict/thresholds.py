"""Judge an estimate against a threshold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_slo_provider.evaluation.intervals.estimates import MIN_ROWS, Estimate, too_few
from airflow_slo_provider.evaluation.metrics.metric_names import Metric, check_direction
from airflow_slo_provider.evaluation.verdict.outcomes import INTERVAL, VALUE, Outcome


@dataclass(frozen=True)
class Threshold:
    """Threshold of a metric: a minimum, or for an error metric a maximum.

    :param fail: a worse value is a ``fail``
    :param warn: a value between ``fail`` and this is a ``warn``; None for no warning level
    """

    fail: float
    warn: float | None = None


def read_threshold(value: Any, metric: Metric) -> Threshold:
    """Read a threshold: a number, a mapping with ``fail`` and ``warn``, or a :class:`Threshold`.

    :raises ValueError: when it is not a threshold, is outside the metric's range, or ``warn`` is easier to reach than ``fail``;
        and when the metric does not define whether higher is better
    """
    check_direction(metric)
    if isinstance(value, Threshold):
        made = value
    elif isinstance(value, Mapping):
        unknown = set(value) - {"fail", "warn"}
        if unknown or "fail" not in value:
            raise ValueError(f"threshold of {metric.name}: {dict(value)}; write a number, or {{'fail': ..., 'warn': ...}}")
        made = Threshold(_number(value["fail"], metric), None if value.get("warn") is None else _number(value["warn"], metric))
    else:
        made = Threshold(_number(value, metric))
    for level in (made.fail, made.warn):
        if metric.bounded and level is not None and not 0 <= level <= 1:
            raise ValueError(f"threshold of {metric.name} is {level:g}; write a number from 0 to 1")
    if made.warn is not None and (made.warn < made.fail if metric.higher_is_better else made.warn > made.fail):
        better = "above" if metric.higher_is_better else "below"
        raise ValueError(f"threshold of {metric.name}: warn {made.warn:g} must lie {better} fail {made.fail:g}")
    return made


def read_margin(value: Any) -> float | dict[str, float]:
    """Read a margin: a number, or one per metric.

    :raises ValueError: when it is not a number
    """
    if isinstance(value, Mapping):
        return {str(name): _finite(one, f"margin of {name}") for name, one in value.items()}
    return _finite(value, "margin")


def _number(value: Any, metric: Metric) -> float:
    return _finite(value, f"threshold of {metric.name}")


def _finite(value: Any, what: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        raise ValueError(f"{what} is {value!r}, not a number")
    return number


def judge(
    estimate: Estimate, threshold: Threshold, *, decide_on: str = INTERVAL, min_rows: int = MIN_ROWS
) -> tuple[Outcome, str]:
    """Judge an estimate against a threshold.

    With ``decide_on="interval"`` the whole interval must reach the threshold to pass, and miss it to fail; an interval that
    contains the threshold is ``inconclusive``. With ``"value"`` only the estimate is compared. ``warn`` always depends on the
    value.

    :param min_rows: with fewer units a bootstrap or DeLong interval is ``inconclusive``
    :return: the verdict and its reason
    """
    value = estimate.value
    if value is None or not math.isfinite(value):
        return Outcome.UNKNOWN, estimate.reason or "there is no value"
    sign = 1 if estimate.higher_is_better else -1
    word = "reaches" if sign > 0 else "stays within"
    missed = "is below" if sign > 0 else "is above"
    gain = sign * (value - threshold.fail)
    if decide_on == VALUE:
        outcome, why = (Outcome.PASS, f"{value:.6g} {word} {threshold.fail:g}") if gain >= 0 else (
            Outcome.FAIL, f"{value:.6g} {missed} {threshold.fail:g}")  # fmt: skip
    elif estimate.low is None or estimate.high is None:
        return Outcome.INCONCLUSIVE, f"{value:.6g} has no interval: {estimate.reason or 'too few rows'}"
    else:
        span = f"[{estimate.low:.6g}, {estimate.high:.6g}]"
        least = estimate.low if sign > 0 else estimate.high
        most = estimate.high if sign > 0 else estimate.low
        few = too_few(estimate.n, estimate.rarer, min_rows)
        if few and estimate.method not in ("wilson", "exact"):
            return Outcome.INCONCLUSIVE, few
        if sign * (least - threshold.fail) >= 0:
            outcome, why = Outcome.PASS, f"{value:.6g} {word} {threshold.fail:g} with its whole interval {span}"
        elif sign * (most - threshold.fail) < 0:
            outcome, why = Outcome.FAIL, f"{value:.6g} {missed} {threshold.fail:g} with its whole interval {span}"
        else:
            share = f"{estimate.confidence:.4g}"
            return (
                Outcome.INCONCLUSIVE,
                f"{value:.6g}, but the {share} interval {span} holds {threshold.fail:g}: more rows are needed",
            )
    if outcome is Outcome.PASS and threshold.warn is not None and sign * (value - threshold.warn) < 0:
        return Outcome.WARN, f"{why}, and misses the warning level {threshold.warn:g}"
    return outcome, why
