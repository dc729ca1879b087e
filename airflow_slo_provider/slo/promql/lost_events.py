"""Write queries that have a value where a query loses or invents events of the window: for gates, and for exported rules.

``a or b`` is ``a`` alone as soon as ``a`` has a series: after a counter was renamed, nothing of the new name counts until the old
one has left the window. A join or a condition on a series without a range is evaluated at the end of the window: what a pod did
that is gone by then is lost. The samples of a counter are running totals, and their sum counts nothing. The syntax cannot show
whether that is so; these queries ask the server.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from airflow_slo_provider.slo.promql.absence import is_zero
from airflow_slo_provider.slo.promql.query_roles import Reading
from airflow_slo_provider.slo.promql.result_labels import result_labels
from airflow_slo_provider.slo.promql.syntax_tree import (
    WINDOW,
    Aggregation,
    Binary,
    Call,
    Negation,
    Node,
    Number,
    Series,
    Subquery,
    children,
    has_range,
    parse,
    series_of,
    walk,
)
from airflow_slo_provider.slo.promql.tree_writer import write

_OR = (
    "both sides of `or` have series in the window, and only those of the left one count; to add them up, write "
    "(a or vector(0)) + (b or vector(0)). After a counter was renamed this ends when the old name has left the window"
)
_JOIN = (
    "series of the window were joined with another metric that no longer has them, so that their events are lost; write "
    "last_over_time(...[{{.window}}]) around the other metric"
)
_VALUES = (
    "events are multiplied by a metric that is not 1 for all series, so that some count more than others, or nothing; filter "
    "both queries with `and on (...)` instead"
)
_POINTS = "a quotient has no value where what is divided has no series, and such points are left out; write (x or vector(0)) / y"
_COUNTER = (
    "the samples of a series never decrease, as those of a counter, and are added up; write counter: true, or "
    "sum(increase(...[{{.window}}]))"
)
#: So often the value of a series must change, and never decrease, to be a counter.
_CHANGES = 30
#: So many points may be missing, as at a restart.
_FEW_POINTS = 5


@dataclass(frozen=True)
class LostEvents:
    """A query that has a value where events are lost.

    :param query: PromQL with {{.window}}
    :param message: what is wrong, and what to do
    :param by: labels of its result
    """

    query: str
    message: str
    by: tuple[str, ...] = ()


def lost_events(reading: Reading, labels: Sequence[str] = ()) -> tuple[LostEvents, ...]:
    """Write the queries for an indicator; none for most.

    :param reading: the indicator's queries
    :param labels: the labels that the SLO is evaluated by
    """
    if reading.declared:
        return ()
    trees = [parse(query.text) for query in reading.queries.values()]
    found = list[LostEvents]()
    for tree in trees:
        found += [*_by_or(tree, tuple(labels)), *_by_join(tree), *_by_samples(tree), *_by_points(tree)]
    return tuple(dict.fromkeys(found))


def _by_or(node: Node, labels: tuple[str, ...]) -> Iterator[LostEvents]:
    if isinstance(node, Binary) and node.operator == "or" and not is_zero(node.right):
        grouping = "by" if labels else ""
        left, right = (Aggregation("count", side, grouping=grouping, labels=labels) for side in (node.left, node.right))
        yield LostEvents(write(Binary("and", left, right, matching="on", labels=labels)), _OR, labels)
    for inner in _over_window(node):
        yield from _by_or(inner, labels)


def _by_join(node: Node) -> Iterator[LostEvents]:
    if isinstance(node, Binary) and (node.operator == "and" or (node.operator == "*" and node.matching)):
        for events, other in ((node.left, node.right), (node.right, node.left)):
            if has_range(events, WINDOW) and _reads_now(other):
                on = replace(node, operator="and", grouping="", group_labels=())
                lost = replace(on, operator="unless", left=replace(on, left=events, right=_in_window(other)), right=other)
                yield LostEvents(write(Aggregation("count", lost)), _JOIN)
                break
    if isinstance(node, Binary) and node.operator == "*" and node.matching:
        for events, other in ((node.left, node.right), (node.right, node.left)):
            if has_range(events, WINDOW) and _is_joined(other):
                yield LostEvents(write(Aggregation("count", Binary("!=", other, Number(1)))), _VALUES)
                break
    for inner in _over_window(node):
        yield from _by_join(inner)


def _is_joined(node: Node) -> bool:
    """Return whether it is a metric that events are joined with: now, or its last sample in the window."""
    return _reads_now(node) or any(isinstance(inner, Call) and inner.function == "last_over_time" for inner in walk(node))


def lost_points(query: str, span: str) -> tuple[LostEvents, ...]:
    """Write the queries for the points of a threshold metric.

    :param query: PromQL of a point
    :param span: the range and step of the points, e.g. ``[3599999ms:1m]``
    """
    return tuple(
        LostEvents(f"count_over_time(({write(lost)}){span}) > {_FEW_POINTS}", _POINTS) for lost in _without_dividend(parse(query))
    )


def _by_points(node: Node) -> Iterator[LostEvents]:
    for inner in walk(node):
        if isinstance(inner, Subquery) and inner.range == WINDOW:
            for lost in _without_dividend(inner.inner):
                counted = Call("count_over_time", (replace(inner, inner=lost),))
                yield LostEvents(write(Binary(">", counted, Number(_FEW_POINTS))), _POINTS)


def _without_dividend(node: Node) -> Iterator[Node]:
    """Write, for each quotient of sums, what has a value where the divisor has one, and what is divided has none."""
    sides = (node.left, node.right) if isinstance(node, Binary) and node.operator == "/" else ()
    if sides and all(series_of(side) and result_labels(side) == frozenset() for side in sides):
        yield Binary("unless", sides[1], sides[0], matching="on")
    for inner in _over_window(node):
        yield from _without_dividend(inner)


def _by_samples(node: Node) -> Iterator[LostEvents]:
    series = node.arguments[0] if isinstance(node, Call) and node.function == "sum_over_time" else None
    if isinstance(series, Series) and series.range == WINDOW and ":" not in series.name:
        never_less = Binary("==", Call("resets", (series,)), Number(0))
        grows = Binary(">", Call("changes", (series,)), Number(_CHANGES))
        yield LostEvents(write(Aggregation("count", Binary("and", never_less, grows))), _COUNTER)
    for inner in _over_window(node):
        yield from _by_samples(inner)


def _reads_now(node: Node) -> bool:
    """Return whether an expression reads a series without a range, at the end of the window."""
    return any(item.range is None and not item.names_window for item in series_of(node))


def _in_window(node: Node) -> Node:
    """Write an expression of series at one time for any time of the window: the last sample of each."""
    match node:
        case Series():
            return Call("last_over_time", (replace(node, range=WINDOW),))
        case Binary():
            return replace(node, left=_in_window(node.left), right=_in_window(node.right))
        case Aggregation() | Negation():
            return replace(node, inner=_in_window(node.inner))
        case Call():
            return replace(node, arguments=tuple(map(_in_window, node.arguments)))
    return node


def _over_window(node: Node) -> tuple[Node, ...]:
    """Return the nodes below a node that are evaluated once for the window, not at each point of a subquery."""
    return () if isinstance(node, Subquery) else children(node)
