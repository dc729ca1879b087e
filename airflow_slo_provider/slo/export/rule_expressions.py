"""Write PromQL for the share of bad events over a window.

Bad and all events are counted over the whole window and divided once. The mean of many small ratios, which sloth records for
the SLO's period, gives a quiet minute the same weight as a busy one and differs as soon as traffic is uneven.

Missing data gives no recorded value: a missing error series counts as 0 only if the total and the series that a gate asks for
exist, a total of 0 gives no ratio (never NaN, which no alert would detect), and neither does a good count above the total.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from airflow_slo_provider.documents.durations import as_duration
from airflow_slo_provider.slo.model import BudgetingMethod, Indicator, MissingSlices, Objective, RatioMetric, ThresholdMetric
from airflow_slo_provider.slo.promql.absence import denominator, without_filters
from airflow_slo_provider.slo.promql.lost_events import lost_events, lost_points
from airflow_slo_provider.slo.promql.query_roles import QueryReading, Reading, read_metric
from airflow_slo_provider.slo.promql.result_labels import check_grouping, dividing_labels
from airflow_slo_provider.slo.promql.selectors import Selector, selectors
from airflow_slo_provider.slo.promql.syntax_tree import parse, series_of
from airflow_slo_provider.slo.promql.text import (
    OPPOSITES,
    close,
    grid,
    number,
    window_text,
    with_window,
)
from airflow_slo_provider.slo.promql.threshold_queries import check_threshold_query
from airflow_slo_provider.slo.promql.tree_writer import write
from airflow_slo_provider.slo.promql.window_ranges import fill_window
from airflow_slo_provider.slo.promql.witnesses import NONE_NEEDED, witnesses_of_bad, witnesses_of_counts, witnesses_of_raw

_STRING = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`""")
#: Distance between the points of a threshold metric.
POINT_STEP = timedelta(minutes=1)
_UNPROVEN = (
    "a 0 (such as `or vector(0)`) stands in for series whose existence cannot be checked, because their selector has an offset "
    "or contradicts that of all events; remove the 0, or correct the selector"
)


def error_ratio(indicator: Indicator, objective: Objective, window: str, by: Sequence[str] = ()) -> str:
    """Write the share of bad events (or points) over a window.

    :param indicator: a Prometheus indicator
    :param objective: holds the threshold of a threshold metric
    :param window: PromQL duration
    :param by: labels that the SLO is evaluated by: the ratio has a series for each of their values
    :raises ValueError: when the query's form does not allow it; the message describes the required form
    """
    metric = indicator.metric
    if by:
        check_grouping(metric, by)
    if isinstance(metric, ThresholdMetric):
        return _threshold_error(metric, objective, window, by)
    reading = read_metric(metric)
    if metric.raw is not None:
        return _raw_error(metric, reading, window, by)
    if reading.declared:
        raise ValueError("the queries cannot be read (counts are only declared), and rules are only written for queries that can")
    needed = witnesses_of_counts(reading)
    if needed is None:
        raise ValueError(_UNPROVEN)
    ratio = _without_several(
        _ratio_of_counts(reading, window, by), (query.text for query in reading.queries.values()), window, by
    )
    return _guarded(_without_lost_events(ratio, reading, window, by), _presence(needed, reading, window, by), by)


def _ratio_of_counts(reading: Reading, window: str, by: Sequence[str]) -> str:
    counts = _counts(reading, window, by)
    total = counts["total"]
    if "bad" in counts:
        # The comparison drops a NaN among the errors.
        return f"(\n{_indent(_bad_events(reading, counts, window, by))}\n)\n/\n({total} > 0)\n>= 0"
    good = counts["good"]
    # Sums of floats may exceed the total by a rounding error: that counts as 0. A larger excess is a contradiction and gives no
    # value.
    ratio = f"(\n{_indent(total)}\n  -\n{_indent(good)}\n  or\n{_indent(total)}\n)\n/\n({total} > 0)"
    return f"clamp_min(\n{_indent(ratio)}\n  >= -1e-9,\n  0\n)"


def no_events(indicator: Indicator, window: str, by: Sequence[str] = ()) -> str | None:
    """Write an expression that has a value while the series of all events exist, but there are no events.

    :param indicator: a Prometheus indicator
    :param window: PromQL duration
    :param by: labels that the SLO is evaluated by
    :return: None if no query returns all events
    :raises ValueError: when the query's form does not allow it
    """
    metric = indicator.metric
    if isinstance(metric, ThresholdMetric):
        return None
    reading = read_metric(metric)
    if reading.declared:
        return None
    if metric.raw is not None:
        whole = denominator(parse(metric.raw.query))
        if whole is None:
            return None
        text = write(whole)
    else:
        whole, text = parse(reading.queries["total"].text), reading.queries["total"].text
    plain, total = without_filters(whole), _count_over(text, window, by)
    if plain == whole:
        return f"{total} == 0"
    return f"{_count_over(write(plain), window, by)}\nunless on ({', '.join(by)})\n({total} > 0)"


def _bad_events(reading: Reading, counts: Mapping[str, str], window: str, by: Sequence[str]) -> str:
    """Write the bad events, where missing ones count as 0 only if the series exist that a gate asks for."""
    total, bad = counts["total"], counts["bad"]
    always, if_zero, if_empty = (
        witnesses_of_bad(reading, has_failures=failures, is_empty=empty)
        for failures, empty in ((True, False), (False, False), (False, True))
    )
    if always is None:
        raise ValueError(_UNPROVEN)
    if always:
        bad = _guarded(bad, _presence(always, reading, window, by), by)
    elif if_zero != NONE_NEEDED:
        bad, if_empty = f"{bad} > 0", if_zero
    if if_empty is None:
        return bad
    first, *others = _presence(if_empty, reading, window, by) or [total]
    return f"{bad}\nor\n{_guarded(f'0 * {first}', others, by)}"


def _presence(needed: Iterable[Selector], reading: Reading, window: str, by: Sequence[str]) -> list[str]:
    """Write what has a value while a selector has series in the window; the total proves its own."""
    whole = selectors(series_of(parse(reading.queries["total"].text))) if "total" in reading.queries else None
    proven = whole[0] if whole and len(whole) == 1 else None
    unproven = [item for item in sorted(needed, key=str) if proven is None or not proven.narrows(item)]
    return [f"{_aggregation('count', by)}(present_over_time({item}[{window}]))" for item in unproven]


def _guarded(value: str, conditions: Iterable[str], by: Sequence[str]) -> str:
    return f"\nand on ({', '.join(by)})\n".join([value, *conditions])


def _aggregation(operator: str, by: Sequence[str]) -> str:
    return f"{operator} by ({', '.join(by)}) " if by else operator


def _counts(reading: Reading, window: str, by: Sequence[str]) -> dict[str, str]:
    """Write the counts of a ratio in one unit: unchanged if they have the same unit, otherwise in events."""
    queries = reading.queries
    if reading.counts and len({query.per_second for query in queries.values()}) > 1:
        return {role: _in_events(query, window, by) for role, query in queries.items()}
    return {role: _count_over(query.text, window, by) for role, query in queries.items()}


def _in_events(query: QueryReading, window: str, by: Sequence[str]) -> str:
    count = _count_over(query.text, window, by)
    return f"{count} * {int(as_duration(window).timedelta.total_seconds())}" if query.per_second else count


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


def _threshold_error(metric: ThresholdMetric, objective: Objective, window: str, by: Sequence[str]) -> str:
    if objective.op is None or objective.value is None:
        raise ValueError("a threshold metric needs op and value in its objective")
    check_threshold_query(metric.source.query, objective.op)
    step = window_text(min(POINT_STEP, as_duration(window).timedelta))
    span = grid(window, step)
    # {{.window}} is the width of one point. ">= -Inf" drops NaN: such a point is neither good nor bad, it is missing.
    points = f"({close(with_window(metric.source.query.strip(), step))}) >= -Inf"
    total = _aggregation("sum", by)
    bad = f"{total}(sum_over_time((({points}) {OPPOSITES[objective.op]} bool {number(objective.value)}){span}))"
    ratio = f"{bad}\n/\n{total}(count_over_time(({points}){span}))"
    for lost in lost_points(with_window(metric.source.query, step), span):
        ratio = f"{ratio}\nunless on ()\n({lost.query})"
    return ratio


def _raw_error(metric: RatioMetric, reading: Reading, window: str, by: Sequence[str]) -> str:
    assert metric.raw is not None
    needed = witnesses_of_raw(reading)
    if needed is None:
        raise ValueError(_UNPROVEN)
    raw = f"(\n{_indent(_filled(metric.raw.query, window))}\n)"
    inside = f"({raw} >= 0) <= 1"  # drops NaN and values that are not a share
    ratio = inside if metric.raw_type == "failure" else f"1 - ({inside})"
    return _guarded(_without_lost_events(ratio, reading, window, by), _presence(needed, reading, window, by), by)


def _filled(query: str, window: str) -> str:
    return fill_window(query.strip(), as_duration(window).timedelta)


def _count_over(query: str, window: str, by: Sequence[str]) -> str:
    """Write one series without labels, or one for each value of the labels; several of them add up."""
    text = _filled(query, window)
    return text if not by and _is_plain_sum(text) else f"{_aggregation('sum', by)}(\n{_indent(text)}\n)"


def _without_several(ratio: str, queries: Iterable[str], window: str, by: Sequence[str]) -> str:
    """Write a ratio that has no value where a query has several series, as at a gate."""
    for query in queries:
        if dividing_labels(query) != frozenset(by):
            several = f"{_aggregation('count', by)}(\n{_indent(_filled(query, window))}\n) > 1"
            ratio = f"{ratio}\nunless on ({', '.join(by)})\n({several})"
    return ratio


def _without_lost_events(ratio: str, reading: Reading, window: str, by: Sequence[str]) -> str:
    """Write a ratio that has no value where events of the window are lost, as at a gate."""
    for lost in lost_events(reading, by):
        ratio = f"{ratio}\nunless on ({', '.join(lost.by)})\n({_filled(lost.query, window)})"
    return ratio


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
