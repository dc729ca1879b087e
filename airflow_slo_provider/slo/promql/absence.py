"""Find out what a PromQL expression returns where series are missing."""

from __future__ import annotations

from dataclasses import replace

from airflow_slo_provider.slo.promql.syntax_tree import (
    Aggregation,
    Binary,
    Call,
    Negation,
    Node,
    Number,
    PromQLSyntaxError,
    Series,
    String,
    Subquery,
    parse,
    series_of,
    walk,
)

#: Functions that return a number without labels, which an operator with a vector returns only where the vector has values.
_SCALARS = frozenset({"pi", "scalar", "time"})
#: Functions that return a vector where their argument has no series. Others, such as ``vector``, do so only of scalars.
_MADE_UP = frozenset({"absent", "absent_over_time"})


def is_scalar(node: Node) -> bool:
    """Return whether an expression returns one number without labels."""
    match node:
        case Number():
            return True
        case Call():
            return node.function in _SCALARS
        case Negation():
            return is_scalar(node.inner)
        case Binary():
            return is_scalar(node.left) and is_scalar(node.right)
    return False


def may_be_scalar(query: str) -> bool:
    """Return whether a query may return one number without labels; False if it cannot be parsed."""
    try:
        return is_scalar(parse(query))
    except PromQLSyntaxError:
        return False


def answers_alone(node: Node) -> bool:
    """Return whether an expression may return a number although none of its series exists."""
    if is_scalar(node):
        return True
    match node:
        case Series() | String():
            return False
        case Negation() | Subquery() | Aggregation():
            return answers_alone(node.inner)
        case Call():
            vectors = [argument for argument in node.arguments if not (is_scalar(argument) or isinstance(argument, String))]
            return node.function in _MADE_UP or not vectors or any(map(answers_alone, vectors))
        case Binary():
            return _operator_answers_alone(node)
    return True


def _operator_answers_alone(node: Binary) -> bool:
    if node.fills is not None or node.operator == "or":
        return answers_alone(node.left) or answers_alone(node.right)
    if node.operator == "unless" or is_scalar(node.right):
        return answers_alone(node.left)
    if is_scalar(node.left):
        return answers_alone(node.right)
    return answers_alone(node.left) and answers_alone(node.right)


def optional_series(node: Node) -> tuple[Series, ...]:
    """Return the selectors that a 0 replaces where they have no series: ``x`` in ``x or vector(0)``."""
    alternatives = [inner for inner in walk(node) if isinstance(inner, Binary) and inner.operator == "or"]
    return tuple(series for inner in alternatives if is_zero(inner.right) for series in series_of(inner.left))


def subtracted_optional_series(node: Node) -> tuple[Series, ...]:
    """Return the selectors that a 0 replaces in what is subtracted: ``x`` in ``a - (x or vector(0))``."""
    differences = [inner for inner in walk(node) if isinstance(inner, Binary) and inner.operator == "-"]
    return tuple(series for inner in differences for series in optional_series(inner.right))


def conditions(node: Node) -> frozenset[tuple[str, Node]]:
    """Return what ``and`` and ``unless`` require, each with its operator."""
    joins = [inner for inner in walk(node) if isinstance(inner, Binary) and inner.operator in ("and", "unless")]
    return frozenset((inner.operator, inner.right) for inner in joins)


def same_shape(left: Node, right: Node) -> bool:
    """Return whether two expressions differ only in their metrics, matchers and texts."""
    return _shape(left) == _shape(right)


def _shape(node: Node) -> Node:
    match node:
        case Series():
            return replace(node, name="", matchers=())
        case String():
            return String("")
        case Binary():
            return replace(node, left=_shape(node.left), right=_shape(node.right))
        case Negation() | Subquery() | Aggregation():
            return replace(node, inner=_shape(node.inner))
        case Call():
            return replace(node, arguments=tuple(map(_shape, node.arguments)))
    return node


def is_optional(node: Node) -> bool:
    """Return whether a 0 replaces the whole expression where it has no series."""
    return isinstance(node, Binary) and node.operator == "or" and is_zero(node.right)


def without_filters(node: Node) -> Node:
    """Return an expression that has a value exactly where its series exist: no filter, and no 0 for missing series.

    ``sum(rate(x)) > 0`` becomes ``sum(rate(x))``, and so does ``sum(rate(x)) or vector(0)``.
    """
    match node:
        case Binary():
            if node.operator in ("and", "unless") or (node.operator == "or" and is_zero(node.right)):
                return without_filters(node.left)
            if node.is_comparison and not node.returns_bool and (is_scalar(node.left) or is_scalar(node.right)):
                return without_filters(node.right if is_scalar(node.left) else node.left)
            return replace(node, left=without_filters(node.left), right=without_filters(node.right))
        case Negation() | Subquery() | Aggregation():
            return replace(node, inner=without_filters(node.inner))
        case Call():
            return replace(node, arguments=tuple(map(without_filters, node.arguments)))
    return node


def denominator(node: Node) -> Node | None:
    """Return what a ratio is divided by, e.g. ``sum(b)`` in ``1 - sum(a) / sum(b)``; None if it is no such ratio."""
    match node:
        case Binary() if node.operator == "/" and not is_scalar(node.right):
            return node.right
        case Binary() if node.operator == "-" and is_scalar(node.left):
            return denominator(node.right)
        case Binary() if node.operator == "*":
            return denominator(node.left)
        case Aggregation():
            return denominator(node.inner)
        case Call() if node.function == "histogram_fraction":
            return Call("histogram_count", node.arguments[-1:])
    return None


def empty_means_none(node: Node) -> bool:
    """Return whether an empty result may mean zero events.

    One missing series empties a whole sum. ``a or b`` and ``a unless b`` are empty only if there is nothing; ``a + b``, ``a -
    b`` and ``a and b`` also if one of them has no series.
    """
    joins = any(isinstance(inner, Binary) and inner.operator not in ("or", "unless") for inner in walk(node))
    return not joins or len(series_of(node)) < 2


def is_zero(node: Node) -> bool:
    """Return whether an expression is ``vector(0)``, or a product with 0."""
    match node:
        case Number():
            return node.value == 0
        case Call():
            return node.function == "vector" and is_zero(node.arguments[0])
        case Binary():
            return node.operator == "*" and (is_zero(node.left) or is_zero(node.right))
    return False
