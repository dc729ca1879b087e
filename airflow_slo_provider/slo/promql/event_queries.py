"""Write queries that find every group with events, whatever the queries of an indicator do with them.

The query of all events may leave a group out: ``good + bad`` has no value for a group without a series of good events, and a
filter or condition removes one. Whether a group has events is therefore read from each selector by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from airflow_slo_provider.slo.model import RatioMetric, ThresholdMetric
from airflow_slo_provider.slo.promql.query_roles import read_metric
from airflow_slo_provider.slo.promql.syntax_tree import (
    WINDOW,
    Aggregation,
    Binary,
    Call,
    Negation,
    Node,
    Series,
    Subquery,
    parse,
    walk,
)
from airflow_slo_provider.slo.promql.tree_writer import write

#: Functions of counters: a series has events if it grew.
_GROWTH = frozenset({"increase", "irate", "rate"})
#: Functions that write labels themselves: a selector does not have the labels of the result.
_RELABEL = frozenset({"label_join", "label_replace"})


def event_queries(metric: RatioMetric | ThresholdMetric, labels: Sequence[str]) -> tuple[str, ...]:
    """Write a query for each selector, with a value above 0 for each group that has events or samples in the window.

    :param metric: the metric; its queries can be read
    :param labels: the labels that divide the SLO
    :return: PromQL with {{.window}}, each text once; none for queries whose labels are not those of their series
    :raises RefusedQuery: when the queries cannot be read
    """
    if isinstance(metric, RatioMetric):
        reading = read_metric(metric)
        trees = [] if reading.declared else [parse(query.text) for query in reading.queries.values()]
    else:
        trees = [parse(metric.source.query)]
    if any(isinstance(node, Call) and node.function in _RELABEL for tree in trees for node in walk(tree)):
        return ()
    found = (_count(series, function, labels) for tree in trees for series, function in _events(tree, ""))
    return tuple(dict.fromkeys(found))


def _count(series: Series, function: str, labels: Sequence[str]) -> str:
    grows = function in _GROWTH
    counted = Call("increase" if grows else "present_over_time", (replace(series, range=WINDOW),))
    return write(Aggregation("sum" if grows else "count", counted, grouping="by", labels=tuple(labels)))


def _events(node: Node, function: str) -> Iterator[tuple[Series, str]]:
    """Yield the selectors of events, each with the function that reads it; not those of conditions and joins."""
    match node:
        case Series():
            if function and not node.names_window:
                yield node, function
        case Call():
            for argument in node.arguments:
                yield from _events(argument, node.function if isinstance(argument, Series | Subquery) else function)
        case Subquery() | Negation() | Aggregation():
            yield from _events(node.inner, function)
        case Binary():
            yield from _events(node.left, function)
            if node.operator not in ("and", "unless"):
                yield from _events(node.right, function)
