"""Parse large OTLP-JSON files incrementally; memory is bounded by the spans of one resource.

A document of a few megabytes is parsed at once. In a larger one, the scanner finds the objects in its ``spans`` arrays, parses
them one by one, and yields each as a separate document.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from typing import IO, Any

from airflow_slo_provider.core import strict_json

#: Number of characters read at once, and the size up to which a document is parsed at once.
BLOCK = 1 << 22


def read_documents(text: IO[str], *, block: int = BLOCK) -> Iterator[dict[str, Any]]:
    """Yield the consecutive JSON objects of a text, whether separated by line breaks or not.

    :param text: an open file
    :param block: number of characters to read at once
    :raises json.JSONDecodeError: when the text is not valid JSON, or is truncated
    :raises JSONContradiction: for JSON that is ambiguous, nested too deep, or has too many values
    """
    window = _Window(text, block)
    while window.peek():
        try:
            document = window.read_value(most=2 * block)
        except json.JSONDecodeError:
            if len(window.buffer) - window.position < 2 * block:
                raise
            yield from _read_by_span(window)
            return
        if not isinstance(document, dict):
            raise json.JSONDecodeError("not an object", window.buffer, window.position)
        yield document


class _Window:
    """The part of a text that is in memory.

    :param text: an open file
    :param block: number of characters to read at once
    """

    def __init__(self, text: IO[str], block: int) -> None:
        self._text, self._block = text, block
        self.buffer, self.position = "", 0

    def read_more(self) -> bool:
        """Discard the text already parsed and read the next block; return False at the end."""
        block = self._text.read(self._block)
        self.buffer, self.position = self.buffer[self.position :] + block, 0
        return bool(block)

    def peek(self) -> str:
        """Return the next character that is not a blank or a comma, without consuming it; empty at the end."""
        while True:
            while self.position < len(self.buffer) and self.buffer[self.position] in " \t\r\n,":
                self.position += 1
            if self.position < len(self.buffer):
                return self.buffer[self.position]
            if not self.read_more():
                return ""

    def read_value(self, *, most: float = math.inf) -> Any:
        """Consume and return one complete value.

        :param most: number of characters after which an incomplete value is an error
        """
        while True:
            try:
                value, self.position = strict_json.raw_decode(self.buffer, self.position)
                return value
            except json.JSONDecodeError:
                if len(self.buffer) - self.position >= most or not self.read_more():
                    raise
                strict_json.check_values(self.buffer)
            except strict_json.JSONContradiction:
                raise
            except ValueError as error:  # a value that Python cannot hold, e.g. a number with thousands of digits
                raise json.JSONDecodeError(f"cannot be parsed ({error})", self.buffer, self.position) from None

    def seek(self, names: Sequence[str]) -> str:
        """Advance past the next of these keys; return the key, empty at the end."""
        keys = re.compile("|".join(f'"{name}"\\s*:' for name in names))
        while True:
            match = keys.search(self.buffer, self.position)
            if match and match.end() < len(self.buffer):
                self.position = match.end()
                return match[0].split('"')[1]
            # A key may be cut at the end of the buffer.
            self.position = max(self.position, len(self.buffer) - 64) if not match else match.start()
            if not self.read_more():
                return ""


def _read_by_span(window: _Window) -> Iterator[dict[str, Any]]:
    """Yield documents of one span each from a document that is too large to parse at once.

    :raises json.JSONDecodeError: when spans come before the resource they belong to; every exporter writes it first
    """
    resource: Any = None
    while name := window.seek(("resource", "spans")):
        first = window.peek()
        if name == "resource":
            resource = window.read_value()
        elif first == "[":
            window.position += 1
            while (first := window.peek()) != "]":
                if resource is None or not first:
                    raise json.JSONDecodeError("truncated, or spans before their resource", window.buffer, window.position)
                span = window.read_value()
                yield {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]}
            window.position += 1
    if not window.buffer.rstrip().endswith("}"):
        raise json.JSONDecodeError("truncated", window.buffer, len(window.buffer))
