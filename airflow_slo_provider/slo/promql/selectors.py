"""Recognise the PromQL forms that can be merged, and list the selectors of a query.

This is not a parser. It recognises a few exact forms and returns None for everything else; the server decides what a query
means. Grammar: https://prometheus.io/docs/prometheus/latest/querying/basics/
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.slo.promql.text import quote
from airflow_slo_provider.slo.promql.tokens import KEYWORDS, LISTS, MARK, tokens

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_ESCAPES = {"\\": "\\", '"': '"', "'": "'", "n": "\n", "t": "\t", "r": "\r"}
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


@dataclass(frozen=True)
class Count:
    """A query of the form ``sum(function(selector[window]))``: events of a window, which may be merged with other counts.

    :param function: ``increase`` for counters, ``sum_over_time`` for values that are counts themselves
    :param selector: the series
    """

    function: str
    selector: Selector


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
def recognise(query: str, *, counter: bool) -> Count | None:
    """Recognise a count that may be merged; None for every other form.

    ``sum(increase(S[{{.window}}]))``; the same with ``rate``, which is events per second and is read as increase; and, without
    a window, ``S``, ``sum(S)`` or ``sum by () (S)``.

    :param query: PromQL
    :param counter: whether a query without a window reads monotonic counters (True) or values that are counts themselves
    """
    cut = list(tokens(query) or ())
    texts = [text for _, text in cut]
    summed = False
    for head in (["sum", "by", "(", ")", "("], ["sum", "("]):
        if texts[: len(head)] == head and texts[-1:] == [")"]:
            cut, texts, summed = cut[len(head) : -1], texts[len(head) : -1], True
            break
    if summed and texts[:2] in (["increase", "("], ["rate", "("]) and texts[-4:] == ["[", MARK, "]", ")"]:
        selector = _whole_selector(cut[2:-4])
        return Count("increase", selector) if selector else None
    selector = _whole_selector(cut)
    return Count("increase" if counter else "sum_over_time", selector) if selector else None


def _whole_selector(cut: list[tuple[str, str]]) -> Selector | None:
    selector, end = _selector_at(cut, 0)
    return selector if end == len(cut) else None


def _selector_at(cut: list[tuple[str, str]], start: int) -> tuple[Selector | None, int]:
    """Read ``name{label op "value", ...}`` at a position; return the selector, or None, and its end."""
    if start >= len(cut) or cut[start][0] != "name" or cut[start][1] in KEYWORDS:
        return None, start
    name, position, matchers = cut[start][1], start + 1, set()
    if position < len(cut) and cut[position] == ("op", "{"):
        position += 1
        while position < len(cut) and cut[position] != ("op", "}"):
            part = cut[position : position + 3]
            value = unquote(part[2][1]) if len(part) == 3 and part[2][0] == "string" else None
            if value is None or not _is_matcher(part[0][1], part[1][1]):
                return None, start
            matchers.add(Matcher(part[0][1], part[1][1], value))
            position += 3
            if position < len(cut) and cut[position] == ("op", ","):
                position += 1
            elif position < len(cut) and cut[position] != ("op", "}"):
                return None, start
        position += 1
    if position > len(cut):
        return None, start
    return Selector(name, tuple(sorted(matchers, key=lambda item: (item.label, item.op, item.value)))), position


def _is_matcher(label: str, op: str) -> bool:
    return _LABEL.fullmatch(label) is not None and label != "__name__" and op in ("=", "!=", "=~", "!~")


def unquote(text: str) -> str | None:
    """Parse a PromQL string; None if it contains an escape other than the common ones."""
    if text[0] == "`":
        return text[1:-1]
    out, position, inner = [], 0, text[1:-1]
    while position < len(inner):
        if inner[position] == "\\":
            if inner[position + 1] not in _ESCAPES:
                return None
            out.append(_ESCAPES[inner[position + 1]])
            position += 2
        else:
            out.append(inner[position])
            position += 1
    return "".join(out)


def selectors(query: str) -> tuple[Selector, ...] | None:
    """List the selectors of any query; None if one of them cannot be read reliably."""
    cut = list(tokens(query) or ())
    if not cut:
        return None
    found, position = [], 0
    while position < len(cut):
        kind, text = cut[position]
        following = cut[position + 1] if position + 1 < len(cut) else ("", "")
        if (kind, text) == ("op", "{"):
            return None  # a selector without a name
        if kind == "name" and text.lower() in LISTS:
            if following == ("op", "("):
                position = cut.index(("op", ")"), position) if ("op", ")") in cut[position:] else len(cut)
        elif kind == "name" and text.lower() not in KEYWORDS and following != ("op", "(") and text.lower() not in ("inf", "nan"):
            if following[1].lower() in ("by", "without"):  # sum by (...) (...)
                position += 1
                continue
            selector, end = _selector_at(cut, position)
            if selector is None:
                return None
            found.append(selector)
            position = end - 1
        position += 1
    return tuple(found)


def window_missing(query: str, source: str) -> QueryError:
    """Create the error for a query without a window."""
    return QueryError(
        "the query has no window: write {{.window}} as its range, e.g. sum(increase(requests_total[{{.window}}]))",
        reason="window_missing", query=query, source=source,
    )  # fmt: skip
