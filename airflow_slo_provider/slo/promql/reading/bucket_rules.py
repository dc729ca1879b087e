"""Refuse buckets of a histogram that leave events out, or count them twice.

A bucket holds the events up to its bound: what is above the bound is in no finite bucket. It may therefore count good events, or
be subtracted from all events, and is neither the number of all events nor of bad ones.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

from airflow_slo_provider.slo.promql.reading.quantities import Quantity, RefusedQuery
from airflow_slo_provider.slo.promql.syntax_tree import Binary, Call, Node, Number, Series, children

_INFINITE = frozenset({"+Inf", "Inf", "+inf", "inf"})
_REMEDY = 'what is above its bound is in no finite bucket; write the _count, or the bucket with le="+Inf"'


def check_all_events(tree: Node) -> None:
    """Check that a query of all events counts those above every bound too.

    :param tree: the query
    :raises RefusedQuery: when it adds a finite bucket
    """
    for bound in _added_bounds(tree):
        raise RefusedQuery(f"the bucket up to {bound} does not hold all events: {_REMEDY}")


def check_bad_events(tree: Node) -> None:
    """Check that a query of bad events counts those above every bound too.

    :param tree: the query
    :raises RefusedQuery: when it adds a finite bucket
    """
    for bound in _added_bounds(tree):
        raise RefusedQuery(
            f"the bucket up to {bound} does not hold the slowest events; subtract the good ones from all: {_REMEDY}"
        )


def check_good_events(tree: Node, quantity: Quantity) -> None:
    """Check that no event is counted in two buckets with its full weight.

    :param tree: the query
    :param quantity: what it returns
    :raises RefusedQuery: when buckets of one histogram are added and not divided by their number
    """
    for bound in _fraction_bounds(tree):
        raise RefusedQuery(f"the events up to {bound} that are subtracted are not all bad ones; write +Inf as the upper bound")
    for name, number in _overlapping(tree).items():
        if number * quantity.weights[1] > 1:
            raise RefusedQuery(f"an event is in {number} of the added buckets of {name[0]}; divide their sum by {number}")


def check_ratio(tree: Node, *, failure: bool) -> None:
    """Check the buckets of a raw ratio.

    :param tree: the query
    :param failure: whether it returns the share of bad events
    :raises RefusedQuery: as the other checks do
    """
    if isinstance(tree, Call) and tree.function == "histogram_fraction":
        if failure:
            check_bad_events(tree)
    elif isinstance(tree, Binary) and tree.operator == "/":
        check_all_events(tree.right)
        if failure:
            check_bad_events(tree.left)
    elif isinstance(tree, Binary) and tree.operator == "-":
        check_ratio(tree.left, failure=failure)
        check_ratio(tree.right, failure=not failure)
    else:
        for inner in children(tree):
            check_ratio(inner, failure=failure)


def _added_bounds(node: Node, *, added: bool = True) -> Iterator[str]:
    """Yield the finite bounds of the buckets that are added."""
    if isinstance(node, Series):
        if added and (bound := _finite_bound(node)):
            yield bound
    elif isinstance(node, Call) and node.function == "histogram_fraction":
        upper = node.arguments[1]
        if added and isinstance(upper, Number) and math.isfinite(upper.value):
            yield f"{upper.value:g}"
    elif isinstance(node, Binary):
        yield from _added_bounds(node.left, added=added)
        if node.operator not in ("and", "unless"):
            yield from _added_bounds(node.right, added=added != (node.operator == "-"))
    else:
        for inner in children(node):
            yield from _added_bounds(inner, added=added)


def _fraction_bounds(node: Node, *, subtracted: bool = False) -> Iterator[str]:
    """Yield the finite upper bounds of the shares of native histograms that are subtracted."""
    if isinstance(node, Call) and node.function == "histogram_fraction":
        if subtracted:
            yield from _added_bounds(node)
    elif isinstance(node, Binary):
        yield from _fraction_bounds(node.left, subtracted=subtracted)
        yield from _fraction_bounds(node.right, subtracted=subtracted != (node.operator == "-"))
    else:
        for inner in children(node):
            yield from _fraction_bounds(inner, subtracted=subtracted)


def _finite_bound(series: Series) -> str:
    bounds = [value for label, operator, value in series.matchers if label == "le" and operator in ("=", "=~")]
    return bounds[0] if bounds and bounds[0] not in _INFINITE else ""


def _overlapping(node: Node) -> Counter[tuple[str, frozenset[tuple[str, str, str]]]]:
    """Return how many finite buckets of the same series are added, by the name and the other matchers."""
    if isinstance(node, Series):
        others = frozenset(matcher for matcher in node.matchers if matcher[0] != "le")
        return Counter({(node.name, others): 1}) if _finite_bound(node) else Counter()
    if isinstance(node, Binary):
        left, right = _overlapping(node.left), _overlapping(node.right)
        return {"+": left + right, "or": left | right}.get(node.operator, left)
    found: Counter[tuple[str, frozenset[tuple[str, str, str]]]] = Counter()
    for inner in children(node):
        found += _overlapping(inner)
    return found
