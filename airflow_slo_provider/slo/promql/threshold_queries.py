"""Check the query of a value that an objective compares with a threshold, point by point."""

from __future__ import annotations

from collections.abc import Iterator

from airflow_slo_provider.slo.promql.absence import answers_alone, same_shape
from airflow_slo_provider.slo.promql.reading.bucket_rules import check_bad_events
from airflow_slo_provider.slo.promql.reading.quantities import MadeUpNumber, RefusedQuery, UnreadableQuery, WrongWindow
from airflow_slo_provider.slo.promql.syntax_tree import (
    Aggregation,
    Binary,
    Call,
    Node,
    Number,
    PromQLSyntaxError,
    Series,
    Subquery,
    children,
    parse,
    walk,
)

#: What shows the best series, the best moment or a value that is never worse, if small values are good, and if large ones are.
_BEST_OF_SMALL = frozenset({"min", "bottomk", "min_over_time", "clamp_max", "clamp"})
_BEST_OF_LARGE = frozenset({"max", "topk", "max_over_time", "clamp_min", "clamp"})
#: Operators and functions whose result is not the value that the threshold is about.
_OTHER_VALUES = frozenset({"%", "^", "atan2", "ceil", "floor", "round", "sgn"})
_MIRRORED = {_BEST_OF_SMALL: _BEST_OF_LARGE, _BEST_OF_LARGE: _BEST_OF_SMALL}


def refuse_made_up(query: str) -> Node:
    """Refuse the query of a value that may be returned although none of its series exists, or that is of another time.

    :return: its tree
    :raises RefusedQuery: when it may be, or when the query cannot be read
    """
    try:
        tree = parse(query)
    except PromQLSyntaxError as error:
        raise UnreadableQuery(f"the query cannot be read: {error}") from None
    if answers_alone(tree):
        raise MadeUpNumber(
            "the query may return a number where there is no series, so that a missing server would look healthy; remove "
            "vector(), absent() and what else makes numbers up"
        )
    for node in walk(tree):
        if isinstance(node, Binary) and node.operator == "or" and not same_shape(node.left, node.right):
            raise MadeUpNumber(
                "both sides of `or` must be the same expression of another metric, so that a missing series is not replaced by "
                "another number"
            )
        if isinstance(node, Series | Subquery) and node.at:
            raise WrongWindow(f"@ {node.at} fixes the query to one time; remove it")
        if isinstance(node, Binary) and node.operator == "-" and node.left == node.right:
            raise RefusedQuery("an expression is subtracted from itself, which is always 0")
    return tree


def check_threshold_query(query: str, operator: str | None) -> None:
    """Check the query of a threshold metric: every point is judged, and none by its best series only.

    :param query: PromQL
    :param operator: ``lt``, ``lte``, ``gt`` or ``gte``, how the objective compares its points; None if that is not known
    :raises RefusedQuery: when a filter removes points, when the best of several series or moments is compared, or as
        :func:`refuse_made_up` does
    """
    tree = refuse_made_up(query)
    for node in _filters(tree):
        raise RefusedQuery(
            f"`{node.operator}` removes points, and what is removed is not judged; remove it, and compare with op and value of "
            "the objective"
        )
    _check_values(tree)
    if operator is not None:
        _check_best(tree, _BEST_OF_SMALL if operator in ("lt", "lte") else _BEST_OF_LARGE)


def _filters(node: Node) -> Iterator[Binary]:
    """Yield what removes points; not the filters of a divisor, without which the quotient has no value either."""
    if isinstance(node, Binary):
        if (node.is_comparison and not node.returns_bool) or node.operator in ("and", "unless"):
            yield node
        yield from _filters(node.left)
        if node.operator != "/":
            yield from _filters(node.right)
        return
    for inner in children(node):
        yield from _filters(inner)


def _check_values(node: Node) -> None:
    """Refuse what changes values so that a threshold may never be missed."""
    for inner in walk(node):
        name = inner.function if isinstance(inner, Call) else inner.operator if isinstance(inner, Binary) else ""
        if name in _OTHER_VALUES:
            raise RefusedQuery(f"{name} changes the value that is judged; remove it")
        if isinstance(inner, Binary) and inner.operator == "*" and Number(0) in (inner.left, inner.right):
            raise RefusedQuery("a product with 0 is always 0")


def _is_low_quantile(node: Node, best: frozenset[str]) -> bool:
    """Return whether it is a quantile on the good side of the median."""
    parameter = None
    if isinstance(node, Aggregation) and node.operator == "quantile":
        parameter = node.parameter
    elif isinstance(node, Call) and node.function in ("histogram_quantile", "quantile_over_time"):
        parameter = node.arguments[0]
    if not isinstance(parameter, Number):
        return False
    return parameter.value < 0.5 if best is _BEST_OF_SMALL else parameter.value > 0.5


def _check_best(node: Node, best: frozenset[str]) -> None:
    name = node.function if isinstance(node, Call) else node.operator if isinstance(node, Aggregation) else ""
    if isinstance(node, Call) and name == "histogram_fraction" and best is _BEST_OF_SMALL:
        check_bad_events(node)
    if name in best or _is_low_quantile(node, best):
        good, remedy = ("large", "min(), or sum() with value: 1 if one of several is enough")
        if best is _BEST_OF_SMALL:
            good, remedy = "small", "max()"
        raise RefusedQuery(f"{name}() shows the best value where {good} values are good; write {remedy}")
    if isinstance(node, Binary) and node.operator == "-" and node.left == Call("time", ()):
        return  # an age: the newest of several timestamps is what is meant
    if isinstance(node, Binary) and node.operator in ("-", "/"):
        _check_best(node.left, best)
        _check_best(node.right, _MIRRORED[best])
    elif isinstance(node, Binary) and node.is_comparison:
        turns = node.operator in ("<", "<=")
        _check_best(node.left, _MIRRORED[best] if turns else best)
        _check_best(node.right, best if turns else _MIRRORED[best])
    else:
        for inner in children(node):
            _check_best(inner, best)
