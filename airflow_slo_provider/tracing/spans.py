"""The span type shared by all trace stores, and a stream of spans that reports missing data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, NamedTuple

from airflow_slo_provider.core.redaction import redact
from airflow_slo_provider.core.timestamps import EPOCH
from airflow_slo_provider.exceptions import InvalidMeasurement, writable

NO_ATTRIBUTES: Mapping[str, Any] = MappingProxyType({})

#: Upper bound of times in nanoseconds since 1970 (the year 2116); the sum of two such times fits into 64 bits.
LATEST_NS = 2**62

#: Attribute of a request's span: the rule that kept it although the head sampler had dropped it (``slow`` or ``error``).
KEPT_ATTRIBUTE = "sampling.kept"


class Span(NamedTuple):
    """One finished span.

    :param trace_id: 32 hex digits
    :param span_id: 16 hex digits
    :param parent_id: 16 hex digits; None for a root, or if the store does not return it (see ``parent_known``)
    :param name: e.g. ``model_inference``
    :param service: ``service.name`` of the process that recorded it
    :param start_ns: nanoseconds since 1970
    :param duration_ns: nanoseconds
    :param error: whether its status is ERROR
    :param attributes: its own attributes, as Python values
    :param remote_parent: whether the parent is in another process; None if the store does not return it
    :param parent_known: False if the store returns spans without their parents
    :param whole: False if the store left out other spans of the same trace
    :param resolution_ns: time resolution of the store, in nanoseconds
    :param timed: False if no usable end is known: it never ended, or ended before it began; its duration is then 0 and must not
        be used
    """

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    service: str
    start_ns: int
    duration_ns: int
    error: bool = False
    attributes: Mapping[str, Any] = NO_ATTRIBUTES
    remote_parent: bool | None = None
    parent_known: bool = True
    whole: bool = True
    resolution_ns: int = 1
    timed: bool = True

    @property
    def end_ns(self) -> int:
        """End of the span, in nanoseconds since 1970."""
        return self.start_ns + self.duration_ns


class SpanStream:
    """An iterator of spans that also reports which requested data is missing.

    :attr:`truncated` becomes true when requested data is missing from the stream; :attr:`notes` describe what. Both are complete
    once the stream is exhausted.

    :param source: a generator function that yields the spans, and reports to the stream
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
        """Record that data is missing.

        :param note: a sentence that describes what is missing
        """
        self.truncated = True
        self.note(note)

    def note(self, note: str) -> None:
        """Record a limit of the data that affects the numbers.

        :param note: one sentence; secrets in it are redacted
        """
        note = redact(note, limit=None)  # it may quote the store's answer
        if note not in self.notes:
            self.notes.append(note)


def to_datetime(nanoseconds: int) -> datetime:
    """Convert nanoseconds since 1970 to a datetime in UTC, truncated to microseconds."""
    return EPOCH + timedelta(microseconds=nanoseconds // 1000)


def check_duration(duration_ns: int | None) -> tuple[int, bool]:
    """Validate a duration; return it and True, or 0 and False if it is unusable.

    :param duration_ns: nanoseconds; None if unknown
    """
    # A span that never ended, or ended before it began, has a negative duration. Servers that store durations unsigned return
    # it as a number near 2**64.
    return (0, False) if duration_ns is None or not 0 <= duration_ns < 2**63 else (duration_ns, True)


def check_span(span: Span) -> Span:
    """Validate a span read from a store; replace characters in its name and service that cannot be written.

    :raises InvalidMeasurement: when its name is not text, or its times are out of range
    """
    if not isinstance(span.name, str):
        raise InvalidMeasurement(f"a span's name is text, not {type(span.name).__name__}", reason="bad_span")
    if not 0 <= span.start_ns < LATEST_NS or not 0 <= span.duration_ns < LATEST_NS:
        message = f"span {span.span_id} lasts {span.duration_ns} ns from {span.start_ns} ns: not in nanoseconds since 1970"
        raise InvalidMeasurement(message, reason="bad_span")
    name, service = writable(span.name), writable(span.service)
    return span if name == span.name and service == span.service else span._replace(name=name, service=service)
