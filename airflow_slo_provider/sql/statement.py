"""Check the SQL text of an indicator and bind its parameters in the driver's style.

The text is scanned, not parsed: strings, quoted names, comments and ``::casts`` are skipped, everything else is left to the
database. A text is refused where databases disagree on the end of a string or a comment: the skipped part might be a second
statement in some database.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from airflow_slo_provider.exceptions import QueryError

PARAMETERS = ("date_from", "date_to")
#: Databases where a backslash escapes a quote in strings, and where # begins a comment.
BACKSLASHES = frozenset({"mysql", "mariadb", "bigquery", "gcpbigquery"})

#: A parameter in each style of PEP 249.
_MARKS = {"qmark": "?", "numeric": ":{number}", "named": ":{name}", "format": "%s", "pyformat": "%({name})s"}

_WRITES = frozenset({"insert", "update", "delete", "merge", "replace"})

#: Letters of names: PostgreSQL accepts every character beyond ASCII, also in the tag of a dollar quote.
_LETTER = r"A-Za-z_\u0080-\U0010ffff"
_TOKEN = re.compile(
    rf"""
      (?P<comment>--[^\n]*|/\*)
    | (?P<dollar>\$(?:[{_LETTER}][{_LETTER}0-9]*)?\$)
    | (?P<quote>[eE]?'|"|`)
    | (?P<cast>::)
    | (?P<param>(?<![\w\]):]):(?P<name>[A-Za-z_]\w*))
    | (?P<word>[{_LETTER}][{_LETTER}0-9$]*)
    | (?P<hash>\#)
    | (?P<end>;)
    | (?P<paren>[()])
    """,
    re.VERBOSE,
)


@dataclass(frozen=True)
class Statement:
    """A checked statement, split at its parameters.

    :param pieces: the text between the parameters; one more than ``names``
    :param names: the parameters, in order of appearance
    """

    pieces: tuple[str, ...]
    names: tuple[str, ...]

    def bind(self, values: Mapping[str, Any], *, paramstyle: str) -> tuple[str, Any]:
        """Write the parameters in the driver's style [PEP 249, ``paramstyle``].

        :param values: a value for each parameter
        :param paramstyle: ``qmark``, ``format``, ``pyformat``, ``named`` or ``numeric``
        :return: the text, and a tuple or dict of values
        :raises ValueError: for a style that PEP 249 does not define
        """
        if paramstyle not in _MARKS:
            raise ValueError(f"unknown DB-API paramstyle {paramstyle!r}")
        # These drivers format the whole text, strings and comments included: a single % would be read as a format.
        formats = paramstyle in ("format", "pyformat")
        pieces = [piece.replace("%", "%%") if formats else piece for piece in self.pieces]
        marks = (_MARKS[paramstyle].format(name=name, number=number) for number, name in enumerate(self.names, start=1))
        text = pieces[0] + "".join(mark + piece for mark, piece in zip(marks, pieces[1:], strict=True))
        if paramstyle in ("named", "pyformat"):
            return text, {name: values[name] for name in self.names}
        return text, tuple(values[name] for name in self.names)


@lru_cache(maxsize=256)
def read_statement(query: str, *, backslashes: bool = False, windowed: bool = True) -> Statement:
    """Check a query and find its parameters.

    :param query: one SELECT (or WITH ... SELECT) that uses ``:date_from`` and ``:date_to``
    :param backslashes: whether a backslash escapes a quote in any string (MySQL, BigQuery), not only in ``E'...'``
    :param windowed: False for a query about the present, which has no window and therefore no parameters
    :raises QueryError: (reason ``bad_query``) when the query is empty, has more than one statement, writes, or lacks a
        parameter
    """

    def error(message: str) -> QueryError:
        return QueryError(message, reason="bad_query", query=query)

    pieces, names, piece_start, at = [], [], 0, 0
    first = previous = ""
    ended: int | None = None
    while (token := _TOKEN.search(query, at)) is not None:
        between = query[at : token.start()].strip()
        kind, text = token.lastgroup, token.group()
        at = token.end()
        if ended is not None and (between or kind not in ("comment", "end")):
            raise error("more than one statement; an indicator is exactly one SELECT")
        if kind == "hash":
            if backslashes:
                raise error(f"# at character {token.start()} begins a comment for some databases; write -- and a space")
            continue
        if kind == "comment":
            at = _end_of_comment(query, token.start(), text)
            if at == _DISPUTED or (backslashes and text[:2] == "--" and text[2:3].strip()):
                raise error(f"the comment at character {token.start()} is not a comment in every database; remove it")
        elif kind == "dollar":
            if backslashes:
                raise error(f"{text} at character {token.start()} is a quote for some databases, a name for others; remove it")
            closing = query.find(text, at)
            at = closing + len(text) if closing >= 0 else -1
        elif kind == "quote":
            at = _end_of_quote(query, at, text[-1], backslashes=backslashes or len(text) == 2)
        if at < 0:
            raise error(f"{text} at character {token.start()} is never closed")
        if kind == "end":
            ended = token.start() if ended is None else ended
        elif kind == "param":
            name = token["name"]
            if not windowed:
                raise error(f"unknown bind parameter :{name}: this query has no window")
            if name not in PARAMETERS:
                near = difflib.get_close_matches(name, PARAMETERS, n=1)
                hint = f"; did you mean :{near[0]}?" if near else ""
                raise error(f"unknown bind parameter :{name}{hint} There are :date_from and :date_to")
            pieces.append(query[piece_start : token.start()])
            names.append(name)
            piece_start = at
        elif kind == "word":
            word = text.lower()
            first = first or word
            is_call = query[at:].lstrip().startswith("(")  # REPLACE(text, ...) is a function
            if word == "into" or (word in _WRITES and previous in ("(", ")") and not is_call):
                raise error(f"{text.upper()} writes; an indicator only reads")
        if kind != "comment":
            previous = text.lower()
    if ended is not None and query[at:].strip():
        raise error("more than one statement; an indicator is exactly one SELECT")
    if first not in ("select", "with"):
        raise error(f"an indicator is one SELECT or WITH ... SELECT, this begins with {first.upper() or 'nothing'}")
    missing = [f":{name}" for name in PARAMETERS if name not in names]
    if windowed and missing:
        raise error(
            f"the query does not use {' and '.join(missing)}: it would count other events than those of the window; "
            "write e.g. WHERE ts >= :date_from AND ts < :date_to"
        )
    pieces.append(query[piece_start:ended])  # without the closing semicolon, which some drivers refuse
    return Statement(tuple(pieces), tuple(names))


#: The end of a comment that databases read differently.
_DISPUTED = -2


def _end_of_comment(query: str, start: int, text: str) -> int:
    if text.startswith("--"):
        # PostgreSQL ends the line at a single carriage return.
        return _DISPUTED if "\r" in text[:-1] else start + len(text)
    end = query.find("*/", start + 2)
    if end < 0:
        return -1
    # PostgreSQL nests comments, others do not; MySQL and MariaDB execute the text in /*! ... */ and /*M! ... */.
    inside = query[start + 2 : end]
    return _DISPUTED if "/*" in inside or inside.startswith(("!", "M!")) else end + 2


def _end_of_quote(query: str, at: int, quote: str, *, backslashes: bool) -> int:
    while at < len(query):
        if backslashes and query[at] == "\\":
            at += 2
        elif query[at] == quote:
            if query[at + 1 : at + 2] != quote:
                return at + 1
            at += 2
        else:
            at += 1
    return -1
