"""Parse large OTLP-JSON files incrementally; memory is bounded by the spans of one resource.

A document of a few megabytes is parsed at once. In a larger one, the scanner finds the objects in its ``spans`` arrays, parses
them one by one, and yields each as a separate document.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import IO, Any

from airflow_slo_provider.core import strict_json

#: Number of characters read at once, and the size up to which a document is parsed at once.
BLOCK = 1 << 22


def documents(text: IO[str], *, block: int = BLOCK) -> Iterator[dict[str, Any]]:
    """Yield the consecutive JSON objects of a text, whether separated by line breaks or not.

    :param text: an open file
    :param block: number of characters to read at once
    :raises json.JSONDecodeError: when the text is not valid JSON, or is truncated
    :raises JSONContradiction: for JSON that is ambiguous, nested too deep, or has too many values
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
    """Decode one value; reject values that Python cannot hold (a number with thousands of digits) as invalid JSON."""
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
        """Discard the text already parsed and read the next block; return False at the end."""
        read = self._text.read(self._block)
        self.buffer, self.place = self.buffer[self.place :] + read, 0
        return bool(read)

    def next(self) -> str:
        """Return the next non-blank character without consuming it; empty at the end."""
        while True:
            self.place = _skip(self.buffer, self.place)
            if self.place < len(self.buffer):
                return self.buffer[self.place]
            if not self.more():
                return ""

    def value(self) -> Any:
        """Consume and return one complete value."""
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
        """Advance past the next of these keys; return the key, empty at the end."""
        keys = re.compile("|".join(f'"{name}"\\s*:' for name in names))
        while True:
            match = keys.search(self.buffer, self.place)
            if match and match.end() < len(self.buffer):
                self.place = match.end()
                return match[0].split('"')[1]
            # A key may be cut at the end of the buffer.
            self.place = max(self.place, len(self.buffer) - 64) if not match else match.start()
            if not self.more():
                return ""


def _large(text: IO[str], buffer: str, block: int) -> Iterator[dict[str, Any]]:
    """Yield documents of one span each from a document that is too large to parse at once.

    :raises json.JSONDecodeError: when spans come before the resource they belong to; every exporter writes it first
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
