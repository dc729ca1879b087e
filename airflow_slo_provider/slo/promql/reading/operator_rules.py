"""Determine what PromQL operators return."""

from __future__ import annotations

import math
from dataclasses import replace

from airflow_slo_provider.slo.promql.absence import is_zero, same_shape
from airflow_slo_provider.slo.promql.reading.comparison_rules import read_comparison
from airflow_slo_provider.slo.promql.reading.quantities import (
    OPPOSITE_CHOICES,
    Kind,
    MadeUpNumber,
    Quantity,
    RefusedQuery,
    check_share,
    share_of_unknown,
)
from airflow_slo_provider.slo.promql.reading.reading_level import Level
from airflow_slo_provider.slo.promql.syntax_tree import Binary, Call, is_aggregated, series_of


def read_binary(level: Level, node: Binary) -> Quantity:
    """Determine what a binary operation returns.

    :raises RefusedQuery: when the result is not known to be a count or a share
    """
    if node.fills is not None:
        raise MadeUpNumber("fill modifiers return numbers where no series exists")
    if node.operator == "or":
        return _alternative(level, node)
    if node.operator in ("and", "unless"):
        found = level.read(node.left)
        return replace(found, is_filtered=True, conditions=found.conditions | {(node.operator, node.right)})
    mean = _mean_over_time(node)
    if mean is not None:
        return level.read(mean)
    left, right = level.read(node.left), level.read(node.right)
    if node.is_comparison:
        return read_comparison(level, node, left, right)
    if left.kind is right.kind is Kind.NUMBER:
        number = _calculate(node.operator, left.number, right.number)
        return Quantity(Kind.NUMBER, number=number, answers_alone=left.answers_alone or right.answers_alone)
    if node.operator in ("+", "-"):
        return _sum(level, node, left, right)
    if node.operator == "*":
        return _product(level, node, left, right)
    if node.operator == "/":
        return _quotient(level, node, left, right)
    raise RefusedQuery(f"`{node.operator}` does not return a count of events")


def _alternative(level: Level, node: Binary) -> Quantity:
    left, right = level.read(node.left), level.read(node.right)
    if left.made_up:
        raise MadeUpNumber("a made-up zero stands on the left of `or` and always answers; write it on the right")
    if right.made_up and not is_zero(node.right):
        raise MadeUpNumber("the number behind `or` is returned where no series exists")
    if right.made_up:
        if left.has_minimum:
            raise MadeUpNumber("a filter removes small numbers, and the 0 behind `or` replaces them")
        alone = left.answers_alone or right.answers_alone
        return replace(left, zero_if_missing=True, answers_alone=alone, is_filtered=False)
    if not level.at_points and left.kind is Kind.SHARE:
        raise RefusedQuery("`or` replaces a missing ratio by another one; write `or` in its numerator and denominator")
    of_events = not level.at_points or left.kind is Kind.EVENTS
    if not (left.measures_the_same(right) if of_events else same_shape(node.left, node.right)):
        raise RefusedQuery(f"both sides of `or` must measure the same, not {left.kind} and {right.kind}")
    found = left.add(right)
    return replace(
        found,
        alternatives=found.alternatives | set(series_of(node)),
        is_filtered=left.is_filtered and right.is_filtered,
        answers_alone=left.answers_alone or right.answers_alone,
    )


def _sum(level: Level, node: Binary, left: Quantity, right: Quantity) -> Quantity:
    if Kind.NUMBER in (left.kind, right.kind):
        return _sum_with_number(level, node, left, right)
    if node.operator == "-" and node.left == node.right:
        raise RefusedQuery("an expression is subtracted from itself, which is always 0")
    if left.measures_the_same(right) and left.kind in (Kind.EVENTS, Kind.VALUE):
        if not (level.at_points or (is_aggregated(node.left) and is_aggregated(node.right))):
            raise RefusedQuery(f"`{node.operator}` drops the series that one side does not have; write sum(...) on both sides")
        return left.add(right) if node.operator == "+" else left.subtract(right)
    if level.at_points and left.kind is right.kind:
        filtered = left.is_filtered or right.is_filtered
        alone = left.answers_alone and right.answers_alone
        return replace(left, is_filtered=filtered, answers_alone=alone, unknown_as=left.unknown_as or right.unknown_as)
    raise RefusedQuery(f"{left.kind} and {right.kind} are added that use other functions, windows or offsets")


def _sum_with_number(level: Level, node: Binary, left: Quantity, right: Quantity) -> Quantity:
    number, other = (left, right) if left.kind is Kind.NUMBER else (right, left)
    if number.number == 0:  # also ``x + vector(0)``, which is empty without series of x
        return other
    complement = node.operator == "-" and number is left and number.number == 1 and not number.answers_alone
    if complement and other.kind in (Kind.SHARE, Kind.FLAG, Kind.VALUE):
        if other.answers_alone:
            raise MadeUpNumber("1 minus a made-up zero is 1 where no series exists")
        unknown_as = {"0": "1", "1": "0"}.get(other.unknown_as, other.unknown_as)
        return replace(other, unit=("1 -", *other.unit), chosen=OPPOSITE_CHOICES[other.chosen], unknown_as=unknown_as)
    if level.at_points and not number.answers_alone and not other.answers_alone:
        unit = (node.operator, number.number, *other.unit)
        return Quantity(Kind.VALUE, unit, is_filtered=other.is_filtered, unknown_as=other.unknown_as)
    raise RefusedQuery("a number is added to a count, or taken from it")


def _product(level: Level, node: Binary, left: Quantity, right: Quantity) -> Quantity:
    if Kind.NUMBER in (left.kind, right.kind):
        number, other = (left, right) if left.kind is Kind.NUMBER else (right, left)
        if number.answers_alone:
            raise MadeUpNumber("a count is multiplied by a made-up number")
        return other.scale(number.number)
    for one, other, operand in ((left, right, node.right), (right, left, node.left)):
        if one.histogram is not None and other.kind is Kind.EVENTS:
            if not one.histogram.measures_the_same(other):
                raise RefusedQuery("histogram_fraction() and histogram_count() read different ranges")
            return other
        if one.kind is Kind.EVENTS and node.matching and (other.kind is Kind.INSTANT or "last_over_time" in other.unit):
            return replace(one, joins=one.joins | {operand})
    filtered = left.is_filtered or right.is_filtered
    if left.kind is right.kind is Kind.SHARE and not (left.answers_alone or right.answers_alone):
        if "max" in (left.chosen, right.chosen):
            raise RefusedQuery("a product of the best shares is not the share of all events; divide the sums")
        return Quantity(Kind.SHARE, ("product", *left.unit, *right.unit), is_filtered=filtered, chosen="min")
    if level.at_points and not (left.answers_alone and right.answers_alone):
        unit = ("product", *left.unit, *right.unit)
        return Quantity(Kind.VALUE, unit, is_filtered=filtered, unknown_as=left.unknown_as or right.unknown_as)
    raise RefusedQuery("a product of two counts is not a count")


def _quotient(level: Level, node: Binary, left: Quantity, right: Quantity) -> Quantity:
    if right.kind is Kind.NUMBER:
        if right.number == 0:
            raise RefusedQuery("a count is divided by 0")
        return left.scale(1 / right.number)
    if left.kind is Kind.NUMBER:
        raise RefusedQuery("a number is divided by a count")
    share = Quantity(
        Kind.SHARE,
        ("quotient", *right.unit),
        is_filtered=left.is_filtered or (right.is_filtered and right.has_minimum),
        zero_if_missing=left.zero_if_missing,
        answers_alone=left.answers_alone and right.answers_alone,
    )
    if level.at_points:
        kind = Kind.SHARE if _is_share(node, left, right) else Kind.VALUE
        return replace(share, unit=("quotient",), kind=kind, unknown_as="nan")  # 0 / 0 where there were no events
    if left.per_second != right.per_second:
        raise RefusedQuery("one side of the ratio is per second, and the other is not; write increase() in both")
    check_share(left, right, good_series=series_of(node.left), all_series=series_of(node.right))
    unknown_as = share_of_unknown(left, right, part_series=series_of(node.left), all_series=series_of(node.right))
    return replace(share, chosen=left.chosen, unknown_as=unknown_as)


def _mean_over_time(node: Binary) -> Call | None:
    """Return ``avg_over_time(x)`` for ``sum_over_time(x) / count_over_time(x)``; None for every other operation."""
    if node.operator != "/" or not (isinstance(node.left, Call) and isinstance(node.right, Call)):
        return None
    functions = node.left.function, node.right.function
    same = functions == ("sum_over_time", "count_over_time") and node.left.arguments == node.right.arguments
    return Call("avg_over_time", node.left.arguments) if same else None


def _is_share(node: Binary, left: Quantity, right: Quantity) -> bool:
    """Return whether a quotient at points is a share; if not, it may still be compared with a limit."""
    if left.kind is right.kind is Kind.INSTANT:
        return True
    try:
        check_share(left, right, good_series=series_of(node.left), all_series=series_of(node.right))
    except RefusedQuery:
        return False
    return left.per_second == right.per_second


def _calculate(operator: str, left: float, right: float) -> float:
    try:
        if operator == "+":
            return left + right
        if operator == "-":
            return left - right
        if operator == "*":
            return left * right
        return left / right if operator == "/" else float(left**right) if operator == "^" else math.nan
    except (ZeroDivisionError, OverflowError, TypeError):
        return math.nan
