"""Reading JSON documents piece by piece, so that a file of any size takes no more memory than one resource's spans.

A document of a few megabytes is parsed at once. A larger one is read as a list of spans: the scanner looks for the objects in
its ``spans`` arrays, parses one at a time, and gives each back as a document of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import IO, Any

from airflow_slo_provider.core import strict_json

#: Characters read at once, and the size up to which a document is parsed whole.
BLOCK = 1 << 22


def documents(text: IO[str], *, block: int = BLOCK) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of a text that holds one after another, lines or not.

    :param text: an open file
    :param block: characters to read at once
    :raises json.JSONDecodeError: where the text is no JSON, a cut end included
    :raises JSONContradiction: for JSON that can be read in more than one way, is nested too deep or holds too many values
    """
    buffer = text.read(block)
    place = 0
    while True:
        place = _skip(buffer, place)
        if place >= len(buffer):
            buffer, place = text.read(block), 0
            if not buffer:
                return
            continue
        try:
            document, place = _decoded(buffer, place)
        except json.JSONDecodeError:
            if len(buffer) - place >= 2 * block:
                yield from _large(text, buffer[place:], block)
                return
            more = text.read(block)
            if not more:
                raise
            buffer, place = buffer[place:] + more, 0
            strict_json.check_values(buffer)
            continue
        if not isinstance(document, dict):
            raise json.JSONDecodeError("not an object", buffer, place)
        yield document
        if place > block:
            buffer, place = buffer[place:], 0


def _decoded(buffer: str, place: int) -> tuple[Any, int]:
    """Read one value; what Python cannot hold (a number of thousands of digits) is no JSON here."""
    try:
        return strict_json.raw_decode(buffer, place)
    except (json.JSONDecodeError, strict_json.JSONContradiction):
        raise
    except ValueError as error:
        raise json.JSONDecodeError(f"not to be read ({error})", buffer, place) from None


def _skip(buffer: str, place: int) -> int:
    while place < len(buffer) and buffer[place] in " \t\r\n,":
        place += 1
    return place


class _Window:
    """The part of a text that is in memory."""

    def __init__(self, text: IO[str], buffer: str, block: int) -> None:
        self._text, self.buffer, self._block = text, buffer, block
        self.place = 0

    def more(self) -> bool:
        """Forget what lies behind, read on; False at the end."""
        read = self._text.read(self._block)
        self.buffer, self.place = self.buffer[self.place :] + read, 0
        return bool(read)

    def next(self) -> str:
        """Return the next character that is not blank, without taking it; empty at the end."""
        while True:
            self.place = _skip(self.buffer, self.place)
            if self.place < len(self.buffer):
                return self.buffer[self.place]
            if not self.more():
                return ""

    def value(self) -> Any:
        """Take one whole value."""
        while True:
            try:
                value, self.place = _decoded(self.buffer, self.place)
            except json.JSONDecodeError:
                if not self.more():
                    raise
                strict_json.check_values(self.buffer)
            else:
                return value

    def seek(self, names: Sequence[str]) -> str:
        """Go behind the next of these keys; return it, empty at the end."""
        keys = re.compile("|".join(f'"{name}"\\s*:' for name in names))
        while True:
            match = keys.search(self.buffer, self.place)
            if match and match.end() < len(self.buffer):
                self.place = match.end()
                return match[0].split('"')[1]
            # A key may be cut where the buffer ends.
            self.place = max(self.place, len(self.buffer) - 64) if not match else match.start()
            if not self.more():
                return ""


def _large(text: IO[str], buffer: str, block: int) -> Iterator[dict[str, Any]]:
    """Yield documents of one span each from a document too large to be parsed whole.

    :raises json.JSONDecodeError: where spans come before the resource they belong to; every exporter writes it first
    """
    window = _Window(text, buffer, block)
    resource: Any = None
    while name := window.seek(("resource", "spans")):
        first = window.next()
        if name == "resource":
            resource = window.value()
        elif first == "[":
            window.place += 1
            while (first := window.next()) != "]":
                if resource is None or not first:
                    raise json.JSONDecodeError("cut, or spans before their resource", window.buffer, window.place)
                span = window.value()
                yield {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]}
            window.place += 1
    if not window.buffer.rstrip().endswith("}"):
        raise json.JSONDecodeError("cut", window.buffer, len(window.buffer))
