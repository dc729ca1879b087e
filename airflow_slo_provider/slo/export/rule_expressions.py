"""Write PromQL for the share of bad events over a window.

Bad and all events are counted over the whole window and divided once. The mean of many small ratios, which sloth records for
the SLO's period, gives a quiet minute the same weight as a busy one and differs as soon as traffic is uneven.

Missing data gives no recorded value: a missing error series counts as 0 only if the total exists, a total of 0 gives no ratio
(never NaN, which no alert would detect), and neither does a good count above the total.
"""

from __future__ import annotations

import re
from datetime import timedelta

from airflow_slo_provider.documents.durations import as_duration
from airflow_slo_provider.slo.model import BudgetingMethod, Indicator, MissingSlices, Objective, RatioMetric, ThresholdMetric
from airflow_slo_provider.slo.promql.count_units import are_counts, empty_means_none, unit, window_error
from airflow_slo_provider.slo.promql.text import (
    OPPOSITES,
    close,
    counts_over,
    grid,
    has_window,
    number,
    shorten,
    window_text,
    with_window,
)

_STRING = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`""")
#: Distance between the points of a threshold metric.
POINT_STEP = timedelta(minutes=1)


def error_ratio(indicator: Indicator, objective: Objective, window: str) -> str:
    """Write the share of bad events (or points) over a window.

    :param indicator: a Prometheus indicator
    :param objective: holds the threshold of a threshold metric
    :param window: PromQL duration
    :raises ValueError: when the query's form does not allow it; the message describes the required form
    """
    metric = indicator.metric
    if isinstance(metric, ThresholdMetric):
        return _threshold_error(metric, objective, window)
    if metric.raw is not None:
        return _raw_error(metric, window)
    counts = _counts(metric, window)
    total, role = counts["total"], "bad" if "bad" in counts else "good"
    if role == "bad":
        assert metric.bad is not None
        # No series of errors means no errors; but if several are added up, a missing one does not mean that the others are 0.
        none = f"\n  or\n{_indent(f'0 * {total}')}" if empty_means_none(metric.bad.query) else ""
        # The comparison drops a NaN among the errors.
        return f"(\n{_indent(counts[role])}{none}\n)\n/\n({total} > 0)\n>= 0"
    good = counts[role]
    # Sums of floats may exceed the total by a rounding error: that counts as 0. A larger excess is a contradiction and gives no
    # value.
    ratio = f"(\n{_indent(total)}\n  -\n{_indent(good)}\n  or\n{_indent(total)}\n)\n/\n({total} > 0)"
    return f"clamp_min(\n{_indent(ratio)}\n  >= -1e-9,\n  0\n)"


def events_total(indicator: Indicator, window: str) -> str | None:
    """Write the number of all events over a window; None if the indicator does not have it.

    :param indicator: a Prometheus indicator
    :param window: PromQL duration
    :raises ValueError: when the query's form does not allow it
    """
    metric = indicator.metric
    if isinstance(metric, ThresholdMetric) or metric.total is None or not are_counts(_queries(metric)):
        return None
    return _in_events(metric.total.query, window, counter=metric.counter)


def _queries(metric: RatioMetric) -> dict[str, str]:
    return {role: source.query for role in ("good", "bad", "total") if (source := getattr(metric, role)) is not None}


def _counts(metric: RatioMetric, window: str) -> dict[str, str]:
    """Write the counts of a ratio in one unit: unchanged if they have the same unit, otherwise in events.

    :raises ValueError: when a query's form does not allow it, or when they have no common unit
    """
    queries = _queries(metric)
    if "total" not in queries or len(queries) != 2:
        raise ValueError("a ratio metric needs total with good or bad, or raw")
    for query in queries.values():
        if problem := window_error(query):
            raise ValueError(f"{problem} ({shorten(query)})")
    if are_counts(queries) and len({unit(query).per_second for query in queries.values()}) > 1:
        return {role: _in_events(query, window, counter=metric.counter) for role, query in queries.items()}
    return {role: _summed(counts_over(query, window, counter=metric.counter)) for role, query in queries.items()}


def _in_events(query: str, window: str, *, counter: bool) -> str:
    count = _summed(counts_over(query, window, counter=counter))
    return f"{count} * {int(as_duration(window).timedelta.total_seconds())}" if unit(query).per_second else count


def slice_verdict(slice_error: str, method: BudgetingMethod, objective: Objective, missing: MissingSlices) -> str:
    """Write the value of one time slice: its share of bad events, or 1 (bad) and 0 (good) by ``timeSliceTarget``.

    A slice without data counts as the document defines, from the time Prometheus evaluates the rules: earlier slices were not
    recorded and do not count.

    :param slice_error: selector of the slice's recorded share of bad events
    :param method: Timeslices or RatioTimeslices
    :param missing: how a slice without data counts
    :param objective: holds ``timeSliceTarget``
    :raises ValueError: for Timeslices without a ``timeSliceTarget``
    """
    verdict = slice_error
    if method is BudgetingMethod.TIMESLICES:
        if objective.time_slice_target is None:
            raise ValueError("Timeslices needs a timeSliceTarget")
        verdict = f"{slice_error} > bool {number(1 - objective.time_slice_target)}"
    if missing is MissingSlices.IGNORE:
        return verdict
    return f"({verdict})\nor on ()\nvector({1 if missing is MissingSlices.BAD else 0})"


def mean_of_slices(verdict: str, slice_error: str, window: str, width: str) -> str:
    """Write the mean of the slices of a window: the definition of Timeslices and RatioTimeslices, not an approximation.

    The step of the subquery is the slice's width, so each slice is read once however often the rules are evaluated. A window
    without any slice with data has no SLI, however missing slices count.
    """
    span = grid(window, width)
    return f"avg_over_time({verdict}{span})\nand\ncount_over_time({slice_error}{span})"


def _threshold_error(metric: ThresholdMetric, objective: Objective, window: str) -> str:
    if objective.op is None or objective.value is None:
        raise ValueError("a threshold metric needs op and value in its objective")
    step = window_text(min(POINT_STEP, as_duration(window).timedelta))
    span = grid(window, step)
    # {{.window}} is the width of one point. ">= -Inf" drops NaN: such a point is neither good nor bad, it is missing.
    points = f"({close(with_window(metric.source.query.strip(), step))}) >= -Inf"
    bad = f"sum(sum_over_time((({points}) {OPPOSITES[objective.op]} bool {number(objective.value)}){span}))"
    return f"{bad}\n/\nsum(count_over_time(({points}){span}))"


def _raw_error(metric: RatioMetric, window: str) -> str:
    if metric.raw is None or not has_window(metric.raw.query):
        raise ValueError("a raw ratio must name its window as {{.window}}: without it, it cannot be queried for another window")
    if problem := window_error(metric.raw.query):
        raise ValueError(f"{problem} ({shorten(metric.raw.query)})")
    raw = f"(\n{_indent(with_window(metric.raw.query.strip(), window))}\n)"
    inside = f"({raw} >= 0) <= 1"  # drops NaN and values that are not a share
    return inside if metric.raw_type == "failure" else f"1 - ({inside})"


def _summed(query: str) -> str:
    """Write one series without labels; counts of several series add up."""
    return query if _is_plain_sum(query) else f"sum(\n{_indent(query)}\n)"


def _is_plain_sum(query: str) -> bool:
    """Return whether the whole text is one ``sum(...)`` without grouping."""
    text = _STRING.sub("", query)
    if not text.startswith("sum(") or "#" in text:
        return False
    depth = 0
    for position, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0 and character == ")":
            return position == len(text) - 1
    return False


def _indent(text: str) -> str:
    # A backtick string may span lines, and must not be changed.
    return text if "`" in text else "\n".join(f"  {line}" for line in text.split("\n"))
