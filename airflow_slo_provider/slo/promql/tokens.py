"""Split PromQL into tokens. This is not a parser: the server decides what a query means.

Grammar: https://prometheus.io/docs/prometheus/latest/querying/basics/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

from airflow_slo_provider.slo.promql.text import with_window

#: Kind (``string``, ``number``, ``name``, ``op``) and text.
Token = tuple[str, str]
#: Replaces {{.window}} while a query is split into tokens: a duration that nobody writes.
MARK = "987654321ms"
#: Words before a list of labels.
LISTS = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
#: Words that are not series names, in lower case; PromQL accepts them in any case.
KEYWORDS = LISTS | {"bool", "offset", "and", "or", "unless", "atan2"}
_JOINS = frozenset({"and", "or", "unless", "atan2", "bool"})
#: Names that may occur in a scalar expression.
_SCALARS = frozenset({"scalar", "time", "pi", "bool", "inf", "nan"})
_PAIRS = {")": "(", "]": "[", "}": "{"}
_TOKEN = re.compile(
    r"(?P<space>\s+|\#[^\n]*)"
    r'|(?P<string>"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'|`[^`]*`)'
    r"|(?P<number>0x[0-9a-fA-F]+|(?:[0-9]+(?:ms|[smhdwy]))+|[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+\.)"
    r"|(?P<name>:?[a-zA-Z_][a-zA-Z0-9_:]*)"
    r"|(?P<op>=~|!~|!=|==|>=|<=|[-+*/%^=<>(){}\[\],@:])"
)


@lru_cache(maxsize=4096)
def tokens(query: str) -> tuple[Token, ...] | None:
    """Split a query into tokens, without spaces and comments; None if it contains an unknown character."""
    text, position, found = with_window(query, MARK), 0, []
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            return None
        position = match.end()
        if match.lastgroup != "space":
            found.append((str(match.lastgroup), match[0]))
    return tuple(found)


def is_balanced(query: str) -> bool:
    """Return whether all brackets close in order, so that the query can be put in brackets."""
    stack: list[str] = []
    for kind, text in tokens(query) or (("op", ")"),):
        if kind == "op" and text in "([{":
            stack.append(text)
        elif kind == "op" and text in _PAIRS and (not stack or stack.pop() != _PAIRS[text]):
            return False
    return not stack


def called(query: str) -> frozenset[str]:
    """Return the functions and aggregations of a query."""
    return functions_of(tokens(query) or ())


def functions_of(cut: Sequence[Token]) -> frozenset[str]:
    """Return the functions and aggregations among tokens, also ``sum by (...) (...)``."""
    return frozenset(text for (kind, text), (_, after) in pairwise(cut) if kind == "name" and after in ("(", "by", "without"))


def may_be_scalar(query: str) -> bool:
    """Return whether a query may return a number without labels, i.e. consists of numbers and scalar functions."""
    cut = tokens(query)
    depth, inside, before = 0, None, ""
    for kind, text in cut or ():
        if kind == "op":
            depth += (text in _PAIRS.values()) - (text in _PAIRS)
            if inside is None and text == "(" and before == "scalar":
                inside = depth
            elif inside is not None and depth < inside:
                inside = None
        if inside is None and (text in ("{", "[") or (kind == "name" and text.lower() not in _SCALARS)):
            return False
        before = text
    return bool(cut)


def series_of(cut: Sequence[Token]) -> list[str]:
    """Return the names of the selected series; an empty name for a selector without one."""
    found, listed, inside = [], False, False
    for number, (kind, text) in enumerate(cut):
        after = cut[number + 1][1] if number + 1 < len(cut) else ""
        if inside or listed:
            inside, listed = inside and text != "}", listed and text != ")"
        elif (kind, text) == ("op", "{"):
            inside = True
            if number == 0 or cut[number - 1][0] != "name" or cut[number - 1][1].lower() in KEYWORDS:
                found.append("")
        elif kind == "name" and text.lower() in LISTS:
            listed = after == "("
        elif kind == "name" and text.lower() not in KEYWORDS | {"inf", "nan"} and after.lower() not in ("(", "by", "without"):
            found.append(text)
    return found


def outside_selectors(cut: Sequence[Token]) -> list[Token]:
    """Return the tokens outside of braces: operators within braces are matchers."""
    inside, found = False, []
    for token in cut:
        inside = (inside or token == ("op", "{")) and token != ("op", "}")
        if not inside and token != ("op", "}"):
            found.append(token)
    return found


def outside_conditions(cut: Sequence[Token]) -> list[Token]:
    """Return the tokens without the right sides of ``and`` and ``unless``, which only filter."""
    found: list[Token] = []
    depth, condition = 0, None
    for kind, text in cut:
        if kind == "op":
            depth += (text in _PAIRS.values()) - (text in _PAIRS)
        if condition is not None and (depth < condition or (depth == condition and text.lower() == "or")):
            condition = None
        if condition is None and kind == "name" and text.lower() in ("and", "unless"):
            condition = depth
        if condition is None:
            found.append((kind, text))
    return found


def outside_subqueries(cut: Sequence[Token]) -> list[Token]:
    """Return the tokens without the inner expressions of subqueries over the window, ``(...)[{{.window}}:...]``."""
    inner = {number for start, end in _subqueries(cut) for number in range(start, end)}
    return [token for number, token in enumerate(cut) if number not in inner]


def subqueries(cut: Sequence[Token]) -> list[Sequence[Token]]:
    """Return the inner expressions of subqueries over the window, each with its resolution."""
    found: list[Sequence[Token]] = []
    for start, end in _subqueries(cut):
        resolution = cut[end + 3 : end + 4]
        found.append([*cut[start:end], *(resolution if resolution and resolution[0][0] == "number" else ())])
    return found


def _subqueries(cut: Sequence[Token]) -> Iterator[tuple[int, int]]:
    for number, token in enumerate(cut):
        if token == ("op", "[") and list(cut[number + 1 : number + 3]) == [("number", MARK), ("op", ":")]:
            yield _operand(cut, number - 1), number


def _operand(cut: Sequence[Token], last: int) -> int:
    """Return the start of the expression that ends at ``last``: before its brackets, its function name and a grouping."""
    number = last
    while True:
        depth = 0
        while number >= 0:
            kind, text = cut[number]
            if kind == "op":
                depth += (text in _PAIRS) - (text in _PAIRS.values())
            if depth <= 0:
                break
            number -= 1
        before = cut[number - 1] if number > 0 else ("", "")
        if (before[0] == "name" and before[1].lower() not in _JOINS) or before == ("op", ")"):
            number -= 1
        else:
            return max(number, 0)
