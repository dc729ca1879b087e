"""Determine what PromQL aggregations return."""

from __future__ import annotations

from dataclasses import replace
from itertools import takewhile

from airflow_slo_provider.slo.promql.reading.quantities import Kind, MadeUpNumber, Quantity, RefusedQuery
from airflow_slo_provider.slo.promql.reading.reading_level import Level
from airflow_slo_provider.slo.promql.result_labels import result_labels
from airflow_slo_provider.slo.promql.syntax_tree import Aggregation, Binary, Call, walk

#: Labels that tell collectors of the same series apart.
_COLLECTOR_LABELS = frozenset(
    {"__replica__", "prometheus", "prometheus_replica", "receive_replica", "replica", "rule_replica", "thanos_replica"}
)


def read_aggregation(level: Level, node: Aggregation) -> Quantity:
    """Determine what an aggregation returns.

    :raises RefusedQuery: when the result is not known to be a count or a share
    """
    inner, operator = level.read(node.inner), node.operator
    if inner.kind is Kind.NUMBER:
        raise RefusedQuery("a number has no series to aggregate")
    if operator == "count":
        return _count_of_series(level, inner)
    if operator == "sum":
        return _sum_of_series(level, inner)
    if operator in ("avg", "min", "max"):
        return _choice_of_series(level, operator, node, inner)
    if level.at_points and not inner.answers_alone:
        if operator == "group":
            return Quantity(Kind.FLAG, ("flag",), is_filtered=True)  # never 0: an average must not leave out where it is missing
        if operator in ("quantile", "stddev", "stdvar"):
            return Quantity(Kind.VALUE, (operator, *inner.unit), is_filtered=inner.is_filtered, unknown_as=inner.unknown_as)
    raise RefusedQuery(f"{operator}() does not return a count of events")


def _count_of_series(level: Level, inner: Quantity) -> Quantity:
    if inner.answers_alone:
        raise MadeUpNumber("count() counts a made-up zero as a series")
    if level.at_points:
        return Quantity(Kind.INSTANT, ("series",), is_filtered=inner.is_filtered)
    return Quantity(Kind.VALUE, ("series", *inner.unit), is_filtered=inner.is_filtered)


def _sum_of_series(level: Level, inner: Quantity) -> Quantity:
    if level.at_points:
        return replace(inner, kind=Kind.INSTANT, unit=("series",)) if inner.kind in (Kind.SHARE, Kind.FLAG) else inner
    if inner.has_minimum:
        raise RefusedQuery("a filter removes series from the sum")
    if inner.conditions:  # they remove single series here, and only a condition of both sides leaves a share of what remains
        inner = replace(inner, unit=(*inner.unit, "where", inner.conditions))
    if inner.kind is Kind.FLAG:
        return replace(inner, kind=Kind.VALUE)
    if inner.kind is Kind.SHARE:
        raise RefusedQuery("a sum of shares is not a share; divide the sums")
    return inner


def _choice_of_series(level: Level, operator: str, node: Aggregation, inner: Quantity) -> Quantity:
    if inner.kind is Kind.SHARE:
        inner = _choice_of_shares(operator, node, inner)
    if operator != "avg" and inner.kind is not Kind.SHARE and (level.at_points or inner.unit[:1] == ("avg_over_time",)):
        if inner.chosen not in ("", operator):
            raise RefusedQuery(f"{operator}() of {inner.chosen}() is neither the best nor the worst series; write one of them")
        inner = replace(inner, chosen=operator)
    if level.at_points and inner.kind in (Kind.INSTANT, Kind.FLAG, Kind.SHARE):
        return inner
    if inner.is_filtered:
        raise RefusedQuery(f"a filter removes series, which {operator}() then leaves out; remove the filter, or divide the sums")
    if inner.kind is Kind.SHARE:
        return inner
    if operator == "max" and node.grouping == "without" and _COLLECTOR_LABELS.issuperset(node.labels):
        operator = "max of collectors"  # of the same series, as highly available pairs of Prometheus have them
    unit = (operator, node.grouping, node.labels, inner.kind, inner.per_second, *inner.unit)
    return replace(inner, kind=Kind.VALUE, unit=unit)


def _choice_of_shares(operator: str, node: Aggregation, inner: Quantity) -> Quantity:
    """Determine whether an aggregation of shares is at most, or at least, the share of all events.

    A quotient of single series leaves out the series without a numerator, whose share is 0: it is at least the share of all.
    """
    chosen = {inner.chosen, operator} - {"", "avg"}
    parts = [part for part in walk(node.inner) if result_labels(part) != frozenset()]
    if operator == "avg" and (
        any(isinstance(part, Call) and part.function == "histogram_fraction" for part in parts)
        or inner.unit[:1] == ("recorded per window",)
    ):
        raise RefusedQuery("an average of shares gives a small series the weight of a large one; divide the sums")
    if any(isinstance(part, Binary) and part.operator == "/" for part in parts):
        flips = list(takewhile(lambda word: word == "1 -", inner.unit))
        chosen.add("min" if len(flips) % 2 else "max")
    if len(chosen) > 1:
        raise RefusedQuery(f"{operator}() of these shares leaves out series, or shows the best of them; divide the sums")
    return replace(inner, chosen=next(iter(chosen), ""))
