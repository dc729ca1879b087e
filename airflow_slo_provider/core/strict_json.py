"""Parse JSON strictly: refuse repeated keys, NaN, deep nesting and oversized texts.

Python's parser keeps the last of two equal keys and other parsers keep the first, so such a text is ambiguous. It also accepts
``NaN`` and ``Infinity``, which RFC 8259 does not allow. All JSON of servers, files and users is read with this module.
"""

from __future__ import annotations

import json
import re
from typing import Any, Never

#: Maximum nesting depth; a Prometheus answer has seven levels, an OTLP document about fifteen.
MAX_DEPTH = 200
#: Maximum length of a key that is quoted in a message.
_SHOWN = 60
#: Maximum number of values (numbers, texts, lists, objects) in a text: Python needs about 100 bytes for each.
MAX_VALUES = 5_000_000
_TOO_DEEP = f"it is nested deeper than {MAX_DEPTH} levels"
_TEXTS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


class JSONContradiction(ValueError):
    """A JSON text that is ambiguous, not standard, too deep or too large.

    :param message: what is wrong
    :param reason: ``repeated_key``, ``not_a_number``, ``too_deep`` or ``too_large``
    """

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


def loads(text: str | bytes | bytearray, *, constants: bool = False) -> Any:
    """Parse JSON strictly.

    :param text: the whole text
    :param constants: accept ``NaN``, ``Infinity`` and ``-Infinity``: for rows of data, where NaN is a missing value
    :raises JSONContradiction: for a repeated key in an object, for one of those literals, for nesting deeper than
        :data:`MAX_DEPTH`, and for more values than :data:`MAX_VALUES`
    :raises ValueError: for text that is not JSON
    """
    _check_shape(text)
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=None if constants else _constant)
    except RecursionError:  # unclosed brackets
        raise JSONContradiction(_TOO_DEEP, reason="too_deep") from None


def json_error_reason(error: Exception, otherwise: str) -> str:
    """Return the reason of a :class:`JSONContradiction`; ``otherwise`` for any other exception."""
    return error.reason if isinstance(error, JSONContradiction) else otherwise


def raw_decode(text: str, start: int) -> tuple[Any, int]:
    """Parse the first of several JSON values, as :meth:`json.JSONDecoder.raw_decode` does; errors as of :func:`loads`.

    :param start: index where the value begins
    :param text: the whole text
    :return: the value, and the index after it
    """
    try:
        value, end = _DECODER.raw_decode(text, start)
    except RecursionError:
        raise JSONContradiction(_TOO_DEEP, reason="too_deep") from None
    _check_shape(text[start:end])
    return value, end


def check_values(text: str | bytes | bytearray) -> bytes:
    """Count the values of a text, or of its beginning, before it is parsed.

    :param text: the text
    :return: the text without its strings
    :raises JSONContradiction: reason ``too_large``, for more than :data:`MAX_VALUES`
    """
    bare = _TEXTS.sub(b"", _bytes(text))
    values = bare.count(b",") + bare.count(b"[") + bare.count(b"{") + 1
    if values > MAX_VALUES:
        raise JSONContradiction(f"it holds about {values} values, more than {MAX_VALUES}", reason="too_large")
    return bare


def _bytes(text: str | bytes | bytearray) -> bytes:
    return text.encode("utf-8", "replace") if isinstance(text, str) else bytes(text)


def _check_shape(text: str | bytes | bytearray) -> None:
    data = _bytes(text)
    opening = data.count(b"[") + data.count(b"{")
    if opening <= MAX_DEPTH and len(data) < MAX_VALUES:
        return
    brackets = check_values(data).translate(None, _NO_BRACKETS)
    for _ in range(MAX_DEPTH):  # each round removes the innermost level
        if not brackets:
            return
        before, brackets = len(brackets), brackets.replace(b"[]", b"").replace(b"{}", b"")
        if len(brackets) == before:
            return  # not JSON: the parser reports the position
    if brackets:
        raise JSONContradiction(_TOO_DEEP, reason="too_deep")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise JSONContradiction(f"the key {twice[:_SHOWN]!r} occurs twice in one object", reason="repeated_key")
    return found


def _constant(name: str) -> Never:
    raise JSONContradiction(f"{name} is not JSON; a number that is missing is null", reason="not_a_number")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)
