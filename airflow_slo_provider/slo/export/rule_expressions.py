"""PromQL of the share of bad events over a window, from counts.

Bad and all events are counted over the whole window and divided once. The mean of many small ratios, which sloth records for
the SLO's period, weighs a quiet minute like a busy one and is another number as soon as traffic is uneven.

What has no data records nothing: an error series that does not exist counts as 0 only where the total exists, a total of 0
gives no ratio (never NaN, which no alert would see), and neither does good above total.
"""

from __future__ import annotations

import re
from datetime import timedelta

from airflow_slo_provider.documents.durations import as_duration
from airflow_slo_provider.slo.model import BudgetingMethod, Indicator, MissingSlices, Objective, RatioMetric, ThresholdMetric
from airflow_slo_provider.slo.promql.count_units import are_counts, empty_means_none, unit, window_fault
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
#: Distance between the points at which a threshold metric is read.
POINT_STEP = timedelta(minutes=1)


def error_ratio(indicator: Indicator, objective: Objective, window: str) -> str:
    """Write the share of bad events (or points) over a window.

    :param indicator: a Prometheus indicator
    :param objective: says what a threshold metric is held against
    :param window: PromQL duration
    :raises ValueError: when the query's form does not allow it; the message says what to write
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
        # No series of errors is no error; but of several that are added up, one that is missing says nothing of the others.
        none = f"\n  or\n{_indent(f'0 * {total}')}" if empty_means_none(metric.bad.query) else ""
        # A NaN among the errors fails the comparison and is dropped.
        return f"(\n{_indent(counts[role])}{none}\n)\n/\n({total} > 0)\n>= 0"
    good = counts[role]
    # Sums of floats may put good above total by a rounding error: that is 0. More than that is a contradiction: no number.
    ratio = f"(\n{_indent(total)}\n  -\n{_indent(good)}\n  or\n{_indent(total)}\n)\n/\n({total} > 0)"
    return f"clamp_min(\n{_indent(ratio)}\n  >= -1e-9,\n  0\n)"


def events_total(indicator: Indicator, window: str) -> str | None:
    """Write the number of all events over a window; None where the indicator does not say it.

    :raises ValueError: when the query's form does not allow it
    """
    metric = indicator.metric
    if isinstance(metric, ThresholdMetric) or metric.total is None or not are_counts(_queries(metric)):
        return None
    return _in_events(metric.total.query, window, counter=metric.counter)


def _queries(metric: RatioMetric) -> dict[str, str]:
    return {role: source.query for role in ("good", "bad", "total") if (source := getattr(metric, role)) is not None}


def _counts(metric: RatioMetric, window: str) -> dict[str, str]:
    """Write the counts of a ratio in one unit: as they are where they have the same, else in events.

    :raises ValueError: when a query's form does not allow it, or when they have no common unit
    """
    queries = _queries(metric)
    if "total" not in queries or len(queries) != 2:
        raise ValueError("a ratio metric needs total with good or bad, or raw")
    for query in queries.values():
        fault = window_fault(query)
        if fault:
            raise ValueError(f"{fault} ({shorten(query)})")
    if are_counts(queries) and len({unit(query).per_second for query in queries.values()}) > 1:
        return {role: _in_events(query, window, counter=metric.counter) for role, query in queries.items()}
    return {role: _summed(counts_over(query, window, counter=metric.counter)) for role, query in queries.items()}


def _in_events(query: str, window: str, *, counter: bool) -> str:
    count = _summed(counts_over(query, window, counter=counter))
    return f"{count} * {int(as_duration(window).timedelta.total_seconds())}" if unit(query).per_second else count


def slice_verdict(slice_error: str, method: BudgetingMethod, objective: Objective, missing: MissingSlices) -> str:
    """Write what one time slice counts as: its share of bad, or 1 (bad) and 0 (good) by ``timeSliceTarget``.

    A slice without data is judged as the document says, from the moment Prometheus evaluates the rules: earlier slices were not
    watched and do not count.

    :param slice_error: selector of the slice's recorded share of bad
    :param method: Timeslices or RatioTimeslices
    :param missing: what a slice without data counts as
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
    """Write the mean of the slices of a window: for Timeslices and RatioTimeslices it is the definition, not a shortcut.

    The step of the subquery is the slice's width, so each slice is read once however often the rules are evaluated. A window in
    which no slice holds data has no SLI, whatever missing slices count as.
    """
    span = grid(window, width)
    return f"avg_over_time({verdict}{span})\nand\ncount_over_time({slice_error}{span})"


def _threshold_error(metric: ThresholdMetric, objective: Objective, window: str) -> str:
    if objective.op is None or objective.value is None:
        raise ValueError("a threshold metric needs op and value in its objective")
    step = window_text(min(POINT_STEP, as_duration(window).timedelta))
    span = grid(window, step)
    # {{.window}} is what one point stands for. ">= -Inf" drops NaN: such a point keeps no promise, breaks none, and is no data.
    points = f"({close(with_window(metric.source.query.strip(), step))}) >= -Inf"
    bad = f"sum(sum_over_time((({points}) {OPPOSITES[objective.op]} bool {number(objective.value)}){span}))"
    return f"{bad}\n/\nsum(count_over_time(({points}){span}))"


def _raw_error(metric: RatioMetric, window: str) -> str:
    if metric.raw is None or not has_window(metric.raw.query):
        raise ValueError("a raw ratio must name its window as {{.window}}: without it, it cannot be asked for another window")
    if fault := window_fault(metric.raw.query):
        raise ValueError(f"{fault} ({shorten(metric.raw.query)})")
    raw = f"(\n{_indent(with_window(metric.raw.query.strip(), window))}\n)"
    inside = f"({raw} >= 0) <= 1"  # drops NaN and what is no share
    return inside if metric.raw_type == "failure" else f"1 - ({inside})"


def _summed(query: str) -> str:
    """Make one series without labels of it; counts of several series add up."""
    return query if _is_plain_sum(query) else f"sum(\n{_indent(query)}\n)"


def _is_plain_sum(query: str) -> bool:
    """Whether the whole text is one ``sum(...)`` without grouping."""
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
    # A backtick string may span lines; nothing is put into it.
    return text if "`" in text else "\n".join(f"  {line}" for line in text.split("\n"))
