"""Parse PromQL into a tree.

The parser is the library ``promql-parser``: the grammar of Prometheus 2.45 with the functions of later releases. It does not read
MetricsQL, ``1_000``, ``[5m+1m]``, ``$__rate_interval``, ``anchored`` and ``smoothed``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import lru_cache
from typing import Any

from airflow_slo_provider.slo.promql.text import quote, with_window

#: Stands for {{.window}} in a parsed query: a duration that nobody writes, also in names and label values.
WINDOW_TEXT = "987654321ms"
WINDOW = timedelta(milliseconds=987654321)
_NO_OFFSET, _SECOND = timedelta(0), timedelta(seconds=1)
# Strings and comments, so that nothing inside of them is changed; strings in backticks have no escapes.
_LITERAL = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'|`(?P<raw>[^`]*)`|\#[^\n]*')
# The parser recurses, and a stack overflow would end the process.
_NESTING = re.compile(r"[-+*/%^(\[{=<>!]|\b(?:and|or|unless|atan2)\b", re.IGNORECASE)
_MAX_NESTING = 1000
# The parser leaves a unary plus out of the tree, also where servers refuse it: before a range.
_UNARY_PLUS = re.compile(r"[(,]\s*\+(?!\s*(?:inf\b|[0-9.]))", re.IGNORECASE)
_COMPARISONS = frozenset({"==", "!=", ">", "<", ">=", "<="})
_MATCH_OPERATORS = {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}


class PromQLSyntaxError(ValueError):
    """A query that the parser does not accept."""


@dataclass(frozen=True)
class Number:
    """A number."""

    value: float


@dataclass(frozen=True)
class String:
    """A string: an argument of a function such as ``label_replace``."""

    value: str


@dataclass(frozen=True)
class Series:
    """A selector of series, at one time or over a range.

    :param name: metric name; empty if the selector has none
    :param matchers: (label, operator, value), without the matcher that is the name
    :param range: its range; None for an instant vector
    :param offset: its offset; positive offsets lie in the past
    :param at: the text behind ``@``; empty if there is none
    :param has_alternatives: whether matchers are joined by ``or``, as in MetricsQL
    """

    name: str
    matchers: tuple[tuple[str, str, str], ...] = ()
    range: timedelta | None = None
    offset: timedelta = _NO_OFFSET
    at: str = ""
    has_alternatives: bool = False

    @property
    def names_window(self) -> bool:
        """Whether its name or a matcher contains {{.window}}: a series that was recorded for each window."""
        return WINDOW_TEXT in self.name or any(WINDOW_TEXT in value for _, _, value in self.matchers)

    def includes(self, other: Series) -> bool:
        """Return whether it selects at least the series of the other selector: the same metric, and no further matcher."""
        narrowing = {matcher for matcher in self.matchers if matcher[1:] not in (("=~", ".*"), ("=~", ".+"))}
        return self.name == other.name and narrowing <= set(other.matchers)


@dataclass(frozen=True)
class Subquery:
    """An expression that is evaluated at many times: ``inner[range:step]``."""

    inner: Node
    range: timedelta
    step: timedelta | None
    offset: timedelta = _NO_OFFSET
    at: str = ""


@dataclass(frozen=True)
class Call:
    """A function call."""

    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True)
class Aggregation:
    """An aggregation over series.

    :param grouping: ``by``, ``without`` or empty
    """

    operator: str
    inner: Node
    parameter: Node | None = None
    grouping: str = ""
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Binary:
    """A binary operation.

    :param matching: ``on``, ``ignoring`` or empty
    :param labels: the labels of the matching
    :param grouping: ``group_left``, ``group_right`` or empty
    :param group_labels: the labels of the grouping
    :param fills: values of unmatched series, on the left and on the right; None if these are left out
    """

    operator: str
    left: Node
    right: Node
    returns_bool: bool = False
    matching: str = ""
    labels: tuple[str, ...] = ()
    grouping: str = ""
    group_labels: tuple[str, ...] = ()
    fills: tuple[float | None, float | None] | None = None

    @property
    def is_comparison(self) -> bool:
        """Whether it compares its operands."""
        return self.operator in _COMPARISONS


@dataclass(frozen=True)
class Negation:
    """A unary minus."""

    inner: Node


Node = Number | String | Series | Subquery | Call | Aggregation | Binary | Negation


@lru_cache(maxsize=4096)
def parse(query: str) -> Node:
    """Parse a query; the range {{.window}} becomes :data:`WINDOW`.

    :param query: PromQL
    :raises PromQLSyntaxError: when the parser does not accept it
    """
    import promql_parser

    text = _LITERAL.sub(lambda match: match[0] if match["raw"] is None else quote(match["raw"]), query)
    if len(_NESTING.findall(text)) > _MAX_NESTING:
        raise PromQLSyntaxError(f"the query has more than {_MAX_NESTING} operators and brackets")
    if _UNARY_PLUS.search(_LITERAL.sub("", text)):
        raise PromQLSyntaxError("a unary + is not supported; remove it")
    try:
        return _read(promql_parser.parse(with_window(text, WINDOW_TEXT)))
    except (ValueError, RecursionError) as error:
        message = str(error).replace(WINDOW_TEXT, "{{.window}}") or "invalid PromQL"
        raise PromQLSyntaxError(message) from None


def is_readable(query: str) -> bool:
    """Return whether a query can be parsed, so that it may stand in brackets."""
    try:
        parse(query)
    except PromQLSyntaxError:
        return False
    return True


def is_aggregated(node: Node) -> bool:
    """Return whether an expression aggregates series anywhere."""
    return any(isinstance(inner, Aggregation) for inner in walk(node))


def walk(node: Node) -> Iterator[Node]:
    """Yield a node and all nodes below it."""
    yield node
    for child in children(node):
        yield from walk(child)


def series_of(node: Node) -> tuple[Series, ...]:
    """Return all selectors of a tree, from left to right."""
    return tuple(found for found in walk(node) if isinstance(found, Series))


def has_range(node: Node, length: timedelta) -> bool:
    """Return whether a selector or a subquery reads this range."""
    return any(isinstance(found, Series | Subquery) and found.range == length for found in walk(node))


def children(node: Node) -> tuple[Node, ...]:
    """Return the nodes directly below a node."""
    if isinstance(node, Call):
        return node.arguments
    if isinstance(node, Binary):
        return node.left, node.right
    if isinstance(node, Aggregation):
        return (node.inner,) if node.parameter is None else (node.parameter, node.inner)
    return (node.inner,) if isinstance(node, Subquery | Negation) else ()


def _read(found: Any) -> Node:
    """Convert a node of the library."""
    kind = type(found).__name__
    if kind == "ParenExpr":
        return _read(found.expr)
    if kind == "NumberLiteral":
        if found.val == WINDOW.total_seconds():  # Prometheus 3 reads a duration as a number of seconds
            raise ValueError("{{.window}} is not a range here: write it between square brackets")
        return Number(found.val)
    if kind == "StringLiteral":
        return String(found.val)
    if kind == "UnaryExpr":
        return Negation(_read(found.expr))
    if kind == "VectorSelector":
        return _read_series(found)
    if kind == "MatrixSelector":
        return replace(_read_series(found.vector_selector), range=_positive(found.range))
    if kind == "SubqueryExpr":
        step = None if found.step is None else _positive(found.step)
        return Subquery(_read(found.expr), _positive(found.range), step, found.offset or _NO_OFFSET, _read_at(found.at))
    if kind == "Call":
        return Call(found.func.name, tuple(_read(argument) for argument in found.args))
    if kind == "AggregateExpr":
        return _read_aggregation(found)
    if kind == "BinaryExpr":
        return _read_binary(found)
    raise ValueError(f"{kind} is not supported")


def _read_series(found: Any) -> Series:
    matchers = [(item.name, _MATCH_OPERATORS[_enum_name(item.op)], item.value) for item in found.matchers.matchers]
    for _, operator, value in matchers:
        if operator in ("=~", "!~"):
            _check_brackets(value)
    names = [value for label, operator, value in matchers if label == "__name__" and operator == "="]
    if not found.name and names:
        matchers.remove(("__name__", "=", names[0]))
    name = found.name or (names[0] if names else "")
    offset = found.offset or _NO_OFFSET
    return Series(name, tuple(matchers), None, offset, _read_at(found.at), bool(found.matchers.or_matchers))


def _positive(length: timedelta) -> timedelta:
    if length <= _NO_OFFSET:
        raise ValueError("a range and a step must be longer than 0")
    if length != WINDOW and length % _SECOND == WINDOW % _SECOND:  # 1m{{.window}} is the sum of both
        raise ValueError("{{.window}} must be the whole duration")
    return length


def _check_brackets(regex: str) -> None:
    """Refuse a regular expression whose round brackets are not balanced: the library reads ``a)(b`` as ``(a)(b)``."""
    depth = 0
    for bracket in re.findall(r"\\.|\[\^?\]?(?:\\.|\[:[a-z^]+:\]|[^\]\\])*\]|[()]", regex, re.DOTALL):
        depth += {"(": 1, ")": -1}.get(bracket, 0)
        if depth < 0:
            raise ValueError(f"the brackets of the regular expression {regex!r} are not balanced")


def _read_at(at: Any) -> str:
    if at is None:
        return ""
    return {"Start": "start()", "End": "end()"}.get(_enum_name(at.type)) or f"{at.at.timestamp():.3f}".rstrip("0").rstrip(".")


def _read_aggregation(found: Any) -> Aggregation:
    parameter = None if found.param is None else _read(found.param)
    grouping, labels = "", tuple[str, ...]()
    if found.modifier is not None:
        grouping, labels = _enum_name(found.modifier.type).lower(), tuple(found.modifier.labels)
    return Aggregation(str(found.op), _read(found.expr), parameter, grouping, labels)


def _read_binary(found: Any) -> Binary:
    left, right, modifier = _read(found.lhs), _read(found.rhs), found.modifier
    if modifier is None:
        return Binary(str(found.op), left, right)
    matching, labels = "", tuple[str, ...]()
    if modifier.matching is not None:
        matching = "on" if _enum_name(modifier.matching.type) == "Include" else "ignoring"
        labels = tuple(modifier.matching.labels)
    grouping = {"ManyToOne": "group_left", "OneToMany": "group_right"}.get(_enum_name(modifier.card), "")
    values = modifier.fill_values.lhs, modifier.fill_values.rhs
    return Binary(
        str(found.op), left, right, modifier.return_bool, matching, labels, grouping,
        tuple(modifier.group_labels or ()), None if values == (None, None) else values,
    )  # fmt: skip


def _enum_name(value: Any) -> str:
    return str(value).rpartition(".")[2]
