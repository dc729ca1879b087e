"""Find out whether the counts of the parts of a window add up to the count of the window."""

from __future__ import annotations

from airflow_slo_provider.slo.model import RatioMetric, ThresholdMetric
from airflow_slo_provider.slo.promql.query_roles import read_metric
from airflow_slo_provider.slo.promql.selectors import recognise
from airflow_slo_provider.slo.promql.syntax_tree import parse, series_of


def why_not_additive(metric: RatioMetric | ThresholdMetric) -> str:
    """Return the reason why the counts of a window's parts do not add up; empty if they do.

    :param metric: the metric of an indicator
    :raises RefusedQuery: when its queries are not proven to measure a share of events
    """
    if isinstance(metric, ThresholdMetric):
        return ""  # its points are counted
    reading = read_metric(metric)
    if reading.declared:
        return "its queries cannot be read"
    if not reading.counts:
        return "it is measured as a ratio, and ratios do not add up; write good or bad, and total, as counts over {{.window}}"
    for role, query in reading.queries.items():
        if query.quantity is not None and query.quantity.has_minimum:
            return f"{role}: the filter removes small counts, and the counts of the parts are smaller"
        if len(series_of(parse(query.text))) > 1:
            return f"{role}: it reads several selectors, and a part in which one of them has no series would be left out"
    return ""


def adds_up_exactly(metric: RatioMetric | ThresholdMetric) -> bool:
    """Return whether each sample is counted in exactly one part. The growth of a counter is extrapolated in each part."""
    if isinstance(metric, ThresholdMetric):
        return True
    counts = [recognise(query.text) for query in read_metric(metric).queries.values()]
    return all(count is not None and count.function == "sum_over_time" for count in counts)
