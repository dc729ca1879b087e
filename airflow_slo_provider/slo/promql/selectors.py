"""Recognise the PromQL forms that can be merged, and list the selectors of a query.

Only a few exact forms can be merged; every other query is sent as it was written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from airflow_slo_provider.slo.promql.syntax_tree import (
    WINDOW,
    Aggregation,
    Call,
    Node,
    PromQLSyntaxError,
    Series,
    parse,
)
from airflow_slo_provider.slo.promql.text import quote

# Regular expressions with the same meaning in RE2 (Go) and in Python, fully anchored: literals, ".", escaped punctuation and
# simple classes, each with at most one of * + ?; groups, at most optional (repeated groups can take exponential time in
# Python).
_SAFE_REGEX = re.compile(
    r"""(?:(?:[A-Za-z0-9_:/ ,;=@%&~<>!"'#-]|\.|\\[.\\+*?()\[\]{}|^$/-]|\[\^?(?:[A-Za-z0-9]-[A-Za-z0-9]|[A-Za-z0-9_.])+\])[*+?]?"""
    r"""|\(\?:|\((?!\?)|\)\??|\|)*"""
)


@dataclass(frozen=True)
class Matcher:
    """A label matcher: ``label op "value"``."""

    label: str
    op: str
    value: str

    def __str__(self) -> str:
        return f"{self.label}{self.op}{quote(self.value)}"

    @property
    def is_regex(self) -> bool:
        """Whether the value is a regular expression."""
        return self.op in ("=~", "!~")

    @property
    def is_positive(self) -> bool:
        """Whether a series must have the label to match."""
        return (self.is_regex and not safe_regex(self.value)) or not self.matches("")

    def matches(self, value: str) -> bool:
        """Return whether a label value (empty if the label is missing) matches. Regular expressions are fully anchored."""
        if self.is_regex:
            return (compiled(self.value).fullmatch(value) is not None) == (self.op == "=~")
        return (self.value == value) == (self.op == "=")


@dataclass(frozen=True)
class Selector:
    """A metric name and its matchers, sorted."""

    name: str
    matchers: tuple[Matcher, ...] = ()

    def __str__(self) -> str:
        return self.name + (f"{{{','.join(map(str, self.matchers))}}}" if self.matchers else "")

    def narrows(self, other: Selector) -> bool:
        """Return whether every series that it selects is selected by the other selector too."""
        return self.name == other.name and set(other.matchers) <= set(self.matchers)


@dataclass(frozen=True)
class Count:
    """A query of the form ``sum by (labels) (function(selector[window]))``: events of a window.

    Counts without labels may be merged with others.

    :param function: ``increase`` for counters, ``sum_over_time`` for values that are counts themselves
    :param selector: the series
    :param by: labels of the grouping
    """

    function: str
    selector: Selector
    by: tuple[str, ...] = ()


def escape_regex(text: str) -> str:
    """Escape a text as a regular expression. Unlike ``re.escape``, no unnecessary escapes are written, which RE2 refuses."""
    return re.sub(r"[.+*?()|\[\]{}^$\\]", r"\\\g<0>", text)


def safe_regex(text: str) -> bool:
    """Return whether a regular expression certainly has the same meaning in Prometheus and in Python."""
    if not _SAFE_REGEX.fullmatch(text):
        return False
    try:
        compiled(text)
    except re.error:
        return False
    return True


@lru_cache(maxsize=4096)
def compiled(text: str) -> re.Pattern[str]:
    """Compile a regular expression, with caching."""
    return re.compile(text)


@lru_cache(maxsize=4096)
def recognise(query: str) -> Count | None:
    """Recognise a count; None for every other form.

    ``sum(increase(S[{{.window}}]))``, with or without ``by``; the same with ``rate``, which is events per second and is read as
    increase; and with ``sum_over_time``.

    :param query: PromQL
    """
    tree = _tree(query)
    if not isinstance(tree, Aggregation) or tree.operator != "sum" or tree.grouping == "without":
        return None
    inner = tree.inner
    if not isinstance(inner, Call) or inner.function not in ("increase", "rate", "sum_over_time"):
        return None
    series = inner.arguments[0]
    selector = _selector(series) if isinstance(series, Series) and series.range == WINDOW else None
    return Count("increase" if inner.function == "rate" else inner.function, selector, tree.labels) if selector else None


def bare_selector(query: str) -> Selector | None:
    """Return the selector of ``S``, ``sum(S)`` or ``sum by () (S)``; None for every other form."""
    tree = _tree(query)
    inner = _inside_sum(tree) or tree
    return _selector(inner) if isinstance(inner, Series) and inner.range is None else None


def _tree(query: str) -> Node | None:
    try:
        return parse(query)
    except PromQLSyntaxError:
        return None


def _inside_sum(tree: Node | None) -> Node | None:
    """Return what an expression sums up without grouping; None if it is no such sum."""
    summed = isinstance(tree, Aggregation) and tree.operator == "sum" and not tree.labels and tree.grouping != "without"
    return tree.inner if isinstance(tree, Aggregation) and summed else None


def selectors(series: Iterable[Series]) -> tuple[Selector, ...] | None:
    """Convert nodes; None if one of them reads another time, is recorded for each window, or has no name."""
    found = [_selector(item) for item in series]
    return tuple(selector for selector in found if selector) if all(found) else None


def _selector(series: Series) -> Selector | None:
    """Convert a node; None if it selects more than a name and matchers, or is recorded for each window."""
    odd = series.offset or series.at or series.has_alternatives or series.names_window
    if odd or not series.name or any(label == "__name__" for label, _, _ in series.matchers):
        return None
    matchers = {Matcher(*matcher) for matcher in series.matchers}
    return Selector(series.name, tuple(sorted(matchers, key=lambda item: (item.label, item.op, item.value))))
