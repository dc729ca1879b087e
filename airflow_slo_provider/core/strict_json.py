"""Reading JSON that decides something: a repeated key and a literal that JSON does not have are errors.

Python's reader keeps the last of two equal keys, another reader keeps the first: such a text has two meanings. It also reads
``NaN`` and ``Infinity``, which RFC 8259 does not know. Everything that a server, a file or a person wrote is read here.
"""

from __future__ import annotations

import json
from typing import Any, Never

#: Longest key that a message quotes.
_SHOWN = 60


class JSONContradiction(ValueError):
    """A JSON text that can be read in more than one way.

    :param message: what is wrong
    :param reason: ``repeated_key`` or ``not_a_number``
    """

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


def loads(text: str | bytes | bytearray, *, constants: bool = False) -> Any:
    """Parse JSON.

    :param text: the whole text
    :param constants: accept ``NaN``, ``Infinity`` and ``-Infinity``: for rows of data, where NaN is a missing value
    :raises JSONContradiction: for a key that an object has twice, and for one of those literals
    :raises ValueError: for everything else that is not JSON; nesting beyond what Python can hold included
    """
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=None if constants else _constant)
    except RecursionError:
        raise ValueError("the JSON is nested too deep to be read") from None


def decoder() -> json.JSONDecoder:
    """Return the same reader for a text that holds several documents."""
    return json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise JSONContradiction(f"the key {twice[:_SHOWN]!r} occurs twice in one object", reason="repeated_key")
    return found


def _constant(name: str) -> Never:
    raise JSONContradiction(f"{name} is not JSON; a number that is missing is null", reason="not_a_number")
