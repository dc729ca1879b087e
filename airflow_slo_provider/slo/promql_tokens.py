"""Cutting PromQL into tokens. No parser: the server stays the judge of what a query means.

Grammar: https://prometheus.io/docs/prometheus/latest/querying/basics/
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

from airflow_slo_provider.slo.promql_text import with_window

#: Stands for {{.window}} while a query is cut into tokens: a duration no one writes.
MARK = "987654321ms"
_TOKEN = re.compile(
    r"(?P<space>\s+|\#[^\n]*)"
    r'|(?P<string>"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'|`[^`]*`)'
    r"|(?P<number>0x[0-9a-fA-F]+|(?:[0-9]+(?:ms|[smhdwy]))+|[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+\.)"
    r"|(?P<name>:?[a-zA-Z_][a-zA-Z0-9_:]*)"
    r"|(?P<op>=~|!~|!=|==|>=|<=|[-+*/%^=<>(){}\[\],@:])"
)
#: Kind (``string``, ``number``, ``name``, ``op``) and text.
Token = tuple[str, str]
_JOINS = frozenset({"and", "or", "unless", "atan2", "bool"})
_PAIRS = {")": "(", "]": "[", "}": "{"}


@lru_cache(maxsize=4096)
def tokens(query: str) -> tuple[Token, ...] | None:
    """Cut a query into ``(kind, text)``, without spaces and comments; None where it holds something unknown."""
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
    """Whether all brackets close in order, so that the query stays one expression when brackets are put around it."""
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


def outside_selectors(cut: Sequence[Token]) -> list[Token]:
    """Return tokens without those between braces: their operators are matchers."""
    inside, found = False, []
    for token in cut:
        inside = (inside or token == ("op", "{")) and token != ("op", "}")
        if not inside and token != ("op", "}"):
            found.append(token)
    return found


def outside_subqueries(cut: Sequence[Token]) -> list[Token]:
    """Return tokens without what subqueries over the window, ``(...)[{{.window}}:...]``, look at again and again."""
    inner: set[int] = set()
    for number, token in enumerate(cut):
        if token == ("op", "[") and list(cut[number + 1 : number + 3]) == [("number", MARK), ("op", ":")]:
            inner |= set(range(_operand(cut, number - 1), number))
    return [token for number, token in enumerate(cut) if number not in inner]


def _operand(cut: Sequence[Token], last: int) -> int:
    """Where the expression begins that ends at ``last``: before its brackets, the name of its function and a grouping."""
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
        if (before[0] == "name" and before[1] not in _JOINS) or before == ("op", ")"):
            number -= 1
        else:
            return max(number, 0)
