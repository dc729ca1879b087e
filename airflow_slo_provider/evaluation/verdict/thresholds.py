"""Judge an estimate against a threshold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_slo_provider.evaluation.intervals.estimates import MIN_ROWS, Estimate, too_few
from airflow_slo_provider.evaluation.metrics.metric_names import Metric, check_direction
from airflow_slo_provider.evaluation.verdict.outcomes import INTERVAL, VALUE, ModelVerdict


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
    name = f"threshold of {metric.name}"
    levels = value
    if isinstance(value, Threshold):
        levels = {"fail": value.fail, "warn": value.warn}
    elif not isinstance(value, Mapping):
        levels = {"fail": value}
    elif set(value) - {"fail", "warn"} or "fail" not in value:
        raise ValueError(f"{name}: {dict(value)}; write a number, or {{'fail': ..., 'warn': ...}}")
    fail = _to_finite(levels["fail"], name)
    warn = None if levels.get("warn") is None else _to_finite(levels["warn"], name)
    for level in (fail, warn):
        if metric.bounded and level is not None and not 0 <= level <= 1:
            raise ValueError(f"{name} is {level:g}; write a number from 0 to 1")
    if warn is not None and (warn < fail if metric.higher_is_better else warn > fail):
        raise ValueError(f"{name}: warn {warn:g} must lie {'above' if metric.higher_is_better else 'below'} fail {fail:g}")
    return Threshold(fail, warn)


def read_margin(value: Any) -> float | dict[str, float]:
    """Read a margin: a number, or one per metric.

    :raises ValueError: when it is not a number
    """
    if isinstance(value, Mapping):
        return {str(name): _to_finite(margin, f"margin of {name}") for name, margin in value.items()}
    return _to_finite(value, "margin")


def _to_finite(value: Any, what: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        raise ValueError(f"{what} is {value!r}, not a number")
    return number


def judge(
    estimate: Estimate, threshold: Threshold, *, decide_on: str = INTERVAL, min_rows: int = MIN_ROWS
) -> tuple[ModelVerdict, str]:
    """Judge an estimate against a threshold.

    With ``decide_on="interval"`` the whole interval must reach the threshold to pass, and miss it to fail; an interval that
    contains the threshold is ``inconclusive``. With ``"value"`` only the estimate is compared. ``warn`` always depends on the
    value.

    :param min_rows: with fewer units a bootstrap or DeLong interval is ``inconclusive``
    :return: the verdict and its reason
    """
    value = estimate.value
    if value is None or not math.isfinite(value):
        return ModelVerdict.UNKNOWN, estimate.reason or "there is no value"
    sign = 1 if estimate.higher_is_better else -1
    least = most = value
    suffix = ""
    if decide_on != VALUE:
        if estimate.low is None or estimate.high is None:
            return ModelVerdict.INCONCLUSIVE, f"{value:.6g} has no interval: {estimate.reason or 'too few rows'}"
        few = too_few(estimate.n, estimate.rarer, min_rows)
        if few and estimate.method not in ("wilson", "exact"):
            return ModelVerdict.INCONCLUSIVE, few
        least, most = (estimate.low, estimate.high)[::sign]
        suffix = f" with its whole interval [{estimate.low:.6g}, {estimate.high:.6g}]"
    if sign * (most - threshold.fail) < 0:
        return ModelVerdict.FAIL, f"{value:.6g} is {'below' if sign > 0 else 'above'} {threshold.fail:g}{suffix}"
    if not sign * (least - threshold.fail) >= 0:  # also for NaN, which must not pass
        interval = f"the {estimate.confidence:.4g} interval [{estimate.low:.6g}, {estimate.high:.6g}]"
        return ModelVerdict.INCONCLUSIVE, f"{value:.6g}, but {interval} holds {threshold.fail:g}: more rows are needed"
    why = f"{value:.6g} {'reaches' if sign > 0 else 'stays within'} {threshold.fail:g}{suffix}"
    if threshold.warn is not None and sign * (value - threshold.warn) < 0:
        return ModelVerdict.WARN, f"{why}, and misses the warning level {threshold.warn:g}"
    return ModelVerdict.PASS, why
