"""Determine what a PromQL expression measures, from its syntax tree. This is an allow-list.

An expression counts events only if its tree proves it. Everything else is a value, and two values make a ratio only if the same
functions are applied to both, over the same window and at the same offset. What is not proven is refused with the reason.
"""

from __future__ import annotations

from dataclasses import replace

from airflow_slo_provider.slo.promql.reading.aggregation_rules import read_aggregation
from airflow_slo_provider.slo.promql.reading.function_rules import read_call
from airflow_slo_provider.slo.promql.reading.operator_rules import read_binary
from airflow_slo_provider.slo.promql.reading.quantities import Kind, Quantity, RefusedQuery
from airflow_slo_provider.slo.promql.reading.reading_level import Level, check_selector, recorded_operation
from airflow_slo_provider.slo.promql.syntax_tree import (
    WINDOW_TEXT,
    Aggregation,
    Binary,
    Call,
    Negation,
    Node,
    Number,
    Series,
    String,
    Subquery,
)


def read_quantity(node: Node) -> Quantity:
    """Determine what an expression returns.

    :param node: the expression
    :raises RefusedQuery: when that is not proven
    """
    return _read(node, _OVER_WINDOW)


def _read(node: Node, level: Level) -> Quantity:
    match node:
        case Number():
            return Quantity(Kind.NUMBER, number=node.value)
        case Negation():
            return _negation(node, level)
        case Series():
            return _instant(node)
        case Call():
            return read_call(level, node)
        case Aggregation():
            return read_aggregation(level, node)
        case Binary():
            return read_binary(level, node)
        case Subquery():
            raise RefusedQuery("a subquery stands outside of a function")
        case String():
            raise RefusedQuery("a text is not a number")


def _read_over_window(node: Node) -> Quantity:
    return _read(node, _OVER_WINDOW)


def _read_at_points(node: Node) -> Quantity:
    return _read(node, _AT_POINTS)


_OVER_WINDOW = Level(False, _read_over_window, _read_at_points)
_AT_POINTS = Level(True, _read_at_points, _read_at_points)


def _negation(node: Negation, level: Level) -> Quantity:
    inner = level.read(node.inner)
    if inner.kind is Kind.NUMBER and not inner.answers_alone:
        return replace(inner, number=-inner.number)
    raise RefusedQuery("a negative count is not a count; subtract it from another one")


def _instant(node: Series) -> Quantity:
    check_selector(node)
    if node.range is not None:
        raise RefusedQuery("a range stands outside of a function")
    if node.names_window:
        return _recorded_per_window(node)
    # A quantile of a summary is NaN where there were no events.
    unknown_as = "nan" if any(label == "quantile" for label, _, _ in node.matchers) else ""
    return Quantity(Kind.INSTANT, ("instant", node.offset, *recorded_operation(node.name)), unknown_as=unknown_as)


def _recorded_per_window(series: Series) -> Quantity:
    name = series.name.replace(WINDOW_TEXT, "")
    operation = recorded_operation(name)
    is_ratio = "ratio" in name.rpartition(":")[2]
    return Quantity(Kind.SHARE if is_ratio else Kind.VALUE, ("recorded per window", *operation, series.offset))
