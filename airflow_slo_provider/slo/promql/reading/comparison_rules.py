"""Determine what PromQL comparisons return: filters, and 0 or 1 with ``bool``."""

from __future__ import annotations

import math
from dataclasses import replace

from airflow_slo_provider.slo.promql.reading.quantities import OPPOSITE_CHOICES, Kind, MadeUpNumber, Quantity, RefusedQuery
from airflow_slo_provider.slo.promql.reading.reading_level import Level
from airflow_slo_provider.slo.promql.syntax_tree import Binary, Node

_MIRRORED = {">": "<", "<": ">", ">=": "<=", "<=": ">=", "==": "==", "!=": "!="}


def read_comparison(level: Level, node: Binary, left: Quantity, right: Quantity) -> Quantity:
    """Determine what a comparison returns.

    :param left: what its left side returns
    :param right: what its right side returns
    :raises RefusedQuery: when the result is not known to be a count or a share
    """
    operator = node.operator
    if left.kind is Kind.NUMBER:
        left, right, operator = right, left, _MIRRORED[operator]
    if left.kind is Kind.NUMBER:
        raise MadeUpNumber("a comparison of numbers returns a number where no series exists")
    if level.at_points and operator in ("==", "!=") and right.kind is Kind.NUMBER and not right.number.is_integer():
        raise RefusedQuery(f"`{operator}` compares exactly, and {right.number:g} is hardly ever measured; write >= or <=")
    if node.returns_bool:
        return _flag(level, operator, left, right)
    if level.at_points:
        return _filter_at_points(node, operator, left, right)
    if right.kind is not Kind.NUMBER or right.answers_alone:
        raise RefusedQuery("a count is compared with another expression, which may remove it")
    if left.answers_alone:
        raise MadeUpNumber("a made-up zero is filtered")
    harmless = (operator in (">", "!=") and right.number == 0) or (operator == ">=" and right.number <= 0)
    if not harmless and operator not in (">", ">="):
        raise RefusedQuery(f"`{operator} {right.number:g}` is a filter that removes large counts")
    return replace(left, is_filtered=True, has_minimum=left.has_minimum or not harmless)


def _filter_at_points(node: Binary, operator: str, left: Quantity, right: Quantity) -> Quantity:
    if left.answers_alone and _may_hold(operator, right):
        raise MadeUpNumber("the made-up zero passes the filter")
    if _is_range(node.left, node.operator):
        raise RefusedQuery("two filters leave the points between two limits, and those beyond are lost; write one of them")
    keeps_all = operator == ">=" and right.kind is Kind.NUMBER and right.number <= 0
    return replace(
        left,
        is_filtered=left.is_filtered or not keeps_all,
        answers_alone=False,
        zero_if_missing=False,
        chosen=_choice(operator, left, right),
        unknown_as=_unknown(operator, left, right),
    )


def _flag(level: Level, operator: str, left: Quantity, right: Quantity) -> Quantity:
    if left.answers_alone and _may_hold(operator, right):
        raise MadeUpNumber("the made-up zero fulfils the comparison")
    if level.at_points:
        choice, unknown = _choice(operator, left, right), _unknown(operator, left, right)
        return Quantity(Kind.FLAG, ("flag",), is_filtered=left.is_filtered, chosen=choice, unknown_as=unknown).with_zero_of(left)
    if right.kind is not Kind.NUMBER or left.answers_alone:
        raise RefusedQuery("bool compares two expressions")
    return Quantity(Kind.FLAG, ("series", *left.unit))


def _is_range(inner: Node, operator: str) -> bool:
    """Return whether a filter and the one inside of it leave the values between two limits."""
    directions = (">", ">="), ("<", "<=")
    if not (isinstance(inner, Binary) and inner.is_comparison and not inner.returns_bool):
        return False
    return any(inner.operator in one and operator in other for one, other in (directions, directions[::-1]))


def _choice(operator: str, left: Quantity, right: Quantity) -> str:
    """Return whether the result of a comparison is the lowest or the highest of several series."""
    if left.chosen == "max" and right.kind is Kind.NUMBER and right.number in (0, 1):
        return ""  # as max(up): at least one
    turns = operator in ("<", "<=") or (operator == "==" and right.number == 0)
    return OPPOSITE_CHOICES[left.chosen] if turns else left.chosen


def _unknown(operator: str, left: Quantity, right: Quantity) -> str:
    """Return what a comparison makes of a point without a value. NaN fulfils ``!=`` only."""
    if "nan" in (left.unknown_as, right.unknown_as):
        return "1" if operator == "!=" else "0"
    return str(int(_holds(float(left.unknown_as), operator, right.number))) if left.unknown_as else ""


def _may_hold(operator: str, right: Quantity) -> bool:
    """Return whether 0 may fulfil a comparison with a quantity."""
    return right.kind is not Kind.NUMBER or math.isnan(right.number) or _holds(0, operator, right.number)


def _holds(value: float, operator: str, other: float) -> bool:
    return {
        "==": value == other, "!=": value != other, ">": value > other, "<": value < other, ">=": value >= other,
        "<=": value <= other,
    }[operator]  # fmt: skip
