"""What a span is here, whichever store it came from, and a stream of spans that says what it left out."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from airflow_slo_provider.core.redaction import redact
from airflow_slo_provider.exceptions import InvalidMeasurement, writable

NOTHING: Mapping[str, Any] = MappingProxyType({})

#: Later than any time that is told in nanoseconds (it is the year 2116), and far from where a sum of two would overflow.
LATEST_NS = 2**62

#: On the request's span: which rule kept it although the head sampler had dropped it (``slow`` or ``error``).
KEPT = "sampling.kept"


class Span(NamedTuple):
    """One finished span.

    :param trace_id: 32 hex digits
    :param span_id: 16 hex digits
    :param parent_id: 16 hex digits; None for a root, or where the store does not say (see ``parent_known``)
    :param name: e.g. ``model_inference``
    :param service: ``service.name`` of the process that made it
    :param start_ns: nanoseconds since 1970
    :param duration_ns: nanoseconds
    :param error: whether its status is ERROR
    :param attributes: its own attributes, with plain values
    :param remote_parent: whether the parent is in another process; None where the store does not say
    :param parent_known: False where the store answers spans without their parents
    :param whole: False where the store left out other spans of the same trace
    :param resolution_ns: what the store rounds times to
    :param timed: False where no usable end is known: it never ended, or ended before it began; its duration is 0 and none
    """

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    service: str
    start_ns: int
    duration_ns: int
    error: bool = False
    attributes: Mapping[str, Any] = NOTHING
    remote_parent: bool | None = None
    parent_known: bool = True
    whole: bool = True
    resolution_ns: int = 1
    timed: bool = True

    @property
    def end_ns(self) -> int:
        """When it ended."""
        return self.start_ns + self.duration_ns


class SpanStream:
    """Spans as they arrive, and, once it is exhausted, what is missing from them.

    :attr:`truncated` is about the numbers: true as soon as something that was asked for is not in the stream. :attr:`notes`
    say what, in words.
    """

    def __init__(self, source: Callable[[SpanStream], Iterator[Span]]) -> None:
        self.truncated = False
        self.notes: list[str] = []
        self._iterator = source(self)

    def __iter__(self) -> Iterator[Span]:
        return self

    def __next__(self) -> Span:
        return next(self._iterator)

    def lack(self, note: str) -> None:
        """Say that something is missing."""
        self.truncated = True
        self.note(note)

    def note(self, note: str) -> None:
        """Say something a reader of the numbers must know."""
        note = redact(note, limit=None)  # it may quote the store
        if note not in self.notes:
            self.notes.append(note)


def lasting(duration_ns: int | None) -> tuple[int, bool]:
    """Return a duration as a :class:`Span` holds it, and whether it is one.

    :param duration_ns: what was told or reckoned; None where nothing was
    """
    # What ended before it began, or never, lasts less than nothing. Servers that keep durations without a sign tell that as 2**64
    # less as much.
    if duration_ns is None or not 0 <= duration_ns < 2**63:
        return 0, False
    return duration_ns, True


def checked(span: Span) -> Span:
    """Return a span that a store told, its texts writable anywhere.

    :raises InvalidMeasurement: when its name is no text, or its times are none
    """
    if not isinstance(span.name, str):
        raise InvalidMeasurement(f"a span's name is text, not {type(span.name).__name__}", reason="bad_span")
    if not 0 <= span.start_ns < LATEST_NS or not 0 <= span.duration_ns < LATEST_NS:
        raise InvalidMeasurement(
            f"span {span.span_id} lasts {span.duration_ns} ns from {span.start_ns} ns: these are no nanoseconds since 1970",
            reason="bad_span",
        )
    name, service = writable(span.name), writable(span.service)
    return span if name == span.name and service == span.service else span._replace(name=name, service=service)


def trace_id_of(text: str) -> str:
    """Return a trace id as 32 hex digits: written in hex (leading zeros may be gone) or in base64.

    :raises InvalidMeasurement: when it is neither
    """
    return _identity(text, size=16, what="trace id")


def span_id_of(text: str) -> str:
    """Return a span id as 16 hex digits, as :func:`trace_id_of` does.

    :raises InvalidMeasurement: when it is neither hex nor base64
    """
    return _identity(text, size=8, what="span id")


def parent_id_of(text: str | None) -> str | None:
    """Return a parent's id as 16 hex digits; None for none, which some write as zeros."""
    if not text:
        return None
    found = span_id_of(text)
    return None if found == "0" * 16 else found


_HEX = frozenset("0123456789abcdefABCDEF")


def _identity(text: str, *, size: int, what: str) -> str:
    # Hex first: 32 hex digits are base64 too, but of 24 bytes. Base64 of an id ends in "=", which is not hex.
    if text and len(text) <= 2 * size and _HEX.issuperset(text):
        return text.lower().rjust(2 * size, "0")
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_" if set("-_") & set(text) else None, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != size:
        raise InvalidMeasurement(
            f"{text!r} is no {what}: neither {2 * size} hex digits nor base64 of {size} bytes", reason="bad_id"
        )
    return raw.hex()
