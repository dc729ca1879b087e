"""The protocol of trace stores, and shared helpers for intervals, limits and paging."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from airflow_slo_provider.core.timestamps import EPOCH
from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.tracing.spans import Span, SpanStream

#: Default maximum number of traces to read.
LIMIT = 10_000


class TraceStore(Protocol):
    """A store of traces.

    ``start`` and ``end`` are aware datetimes (or nanoseconds since 1970, or seconds): a trace belongs to the interval that
    contains the start of its first span; ``end`` is exclusive, so consecutive intervals share no trace. ``attributes`` select
    traces in which one span of the service has all of them (compared as text, since some stores hold only text). ``limit``
    counts whole traces. ``selected`` are attributes that the spans must include; most stores return all of them anyway.
    """

    def spans(
        self,
        service: str,
        start: datetime | float,
        end: datetime | float,
        attributes: Mapping[str, Any] | None = None,
        limit: int = LIMIT,
        selected: Sequence[str] = (),
    ) -> SpanStream:
        """Stream the spans of a service. Missing data is reported by the stream's ``truncated`` and ``notes``.

        :param service: ``service.name`` of the requests
        :param start: start of the interval
        :param end: end of the interval, exclusive
        :param attributes: attributes to filter traces by
        :param limit: maximum number of traces
        :param selected: attributes that the spans must include
        :raises QueryError: while the stream is read, when the store does not answer
        """
        ...

    def trace(self, trace_id: str) -> list[Span]:
        """Return all spans of one trace; empty if the store has no such trace.

        :param trace_id: 32 hex digits
        :raises QueryError: when the store does not answer
        """
        ...

    def check(self) -> str:
        """Test the connection with a small query.

        :return: a sentence that describes the store
        :raises QueryError: when the store does not answer
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Search:
    """The validated parameters of a search.

    :param start: nanoseconds since 1970
    :param end: nanoseconds since 1970, exclusive
    :param selected: attributes that spans must include, in addition to those of the filter
    """

    service: str
    start: int
    end: int
    attributes: dict[str, Any]
    limit: int
    selected: tuple[str, ...]

    def matches(self, spans: list[Span]) -> bool:
        """Whether a trace matches the attributes of the search."""
        return not self.attributes or has_attributes(spans, self.service, self.attributes)


class SearchedStore:
    """Base class of trace stores: validates interval, filter and limit of a search."""

    def spans(
        self,
        service: str,
        start: datetime | float,
        end: datetime | float,
        attributes: Mapping[str, Any] | None = None,
        limit: int = LIMIT,
        selected: Sequence[str] = (),
    ) -> SpanStream:
        """Stream the spans of a service, see :class:`TraceStore`."""
        first, last = interval(start, end, limit)
        search = Search(
            service=service, start=first, end=last, attributes=dict(attributes or {}), limit=limit, selected=tuple(selected)
        )
        return SpanStream(lambda stream: self._search(stream, search))

    def _search(self, stream: SpanStream, search: Search) -> Iterator[Span]:
        """Yield the spans of whole traces."""
        raise NotImplementedError


def limit_traces(limit: int, traces: Iterable[list[Span]], stream: SpanStream) -> Iterator[Span]:
    """Yield the spans of at most ``limit`` traces; report to the stream if there are more."""
    for number, spans in enumerate(traces):
        if number == limit:
            report_limit_reached(limit, stream)
            return
        yield from spans


def report_limit_reached(limit: int, stream: SpanStream) -> None:
    """Report to the stream that there are more traces than the limit."""
    stream.lack(f"the limit of {limit} traces is reached: there are more; raise the limit or narrow the interval")


def next_page(answered: Any, seen: set[str], kind: str, source: str) -> str | None:
    """Return the token of the next page; None on the last page.

    :param answered: the token from the server's answer
    :param seen: tokens returned before; the new one is added
    :param kind: name of the kind of store
    :param source: address of the store, without credentials
    :raises QueryError: reason ``bad_answer``, when a token is repeated, which would loop forever
    """
    if not answered:
        return None
    token = str(answered)
    if token in seen:
        raise QueryError(f"{kind}: the answer repeats the token of an earlier page", reason="bad_answer", source=source)
    seen.add(token)
    return token


@dataclass(frozen=True)
class StoredTrace:
    """One trace as returned by a store.

    :param trace_id: 32 hex digits
    :param start_ns: start of its first span, in nanoseconds since 1970
    :param spans: its spans
    """

    trace_id: str
    start_ns: int
    spans: list[Span]

    @classmethod
    def of(cls, spans: list[Span]) -> StoredTrace:
        """Return the trace of these spans (at least one)."""
        return cls(spans[0].trace_id, min(span.start_ns for span in spans), spans)


def group_by_trace(spans: Iterable[Span]) -> list[StoredTrace]:
    """Group spans by trace, in the order in which traces first appear."""
    groups: dict[str, list[Span]] = {}
    for span in spans:
        groups.setdefault(span.trace_id, []).append(span)
    return [StoredTrace.of(group) for group in groups.values()]


def to_nanoseconds(timestamp: datetime | float, *, what: str) -> int:
    """Convert a timestamp to nanoseconds since 1970, exactly.

    :param timestamp: an aware datetime; an int of nanoseconds (from 1e17 on); any other number is in seconds
    :param what: name of the parameter, for the message
    :raises QueryError: for a datetime without a time zone
    """
    if isinstance(timestamp, datetime):
        if timestamp.tzinfo is None:
            raise QueryError(f"{what} {timestamp} has no time zone; use an aware datetime", reason="naive_time")
        # Airflow uses pendulum datetimes, whose difference is not a plain timedelta.
        since = datetime.combine(timestamp.date(), timestamp.timetz()) - EPOCH
        return since // timedelta(microseconds=1) * 1000
    if isinstance(timestamp, int):
        return timestamp if timestamp >= 10**17 else timestamp * 10**9
    return round(timestamp * 1e9)


def interval(start: datetime | float, end: datetime | float, limit: int) -> tuple[int, int]:
    """Validate an interval and a limit; return start and end in nanoseconds since 1970.

    :raises QueryError: when the interval is empty, or the limit is below 1
    """
    first, last = to_nanoseconds(start, what="start"), to_nanoseconds(end, what="end")
    if first >= last:
        raise QueryError(f"start {start} is not before end {end}", reason="bad_interval")
    if limit < 1:
        raise QueryError(f"limit is {limit}; write at least 1", reason="bad_limit")
    return first, last


def begins_within(trace: StoredTrace, start: int, end: int) -> bool:
    """Whether a trace began in an interval, at the time resolution of its store.

    Without rounding, a store with microsecond times would place the first trace of an interval that begins within a microsecond
    before that interval.
    """
    step = max(span.resolution_ns for span in trace.spans)
    return start // step * step <= trace.start_ns < max(end // step * step, start // step * step + 1)


def has_attributes(spans: list[Span], service: str, attributes: Mapping[str, Any]) -> bool:
    """Whether one span of the service has all the attributes."""
    texts = {key: as_text(value) for key, value in attributes.items()}
    return any(
        (not service or span.service == service)
        and all(key in span.attributes and as_text(span.attributes[key]) == value for key, value in texts.items())
        for span in spans
    )


def as_text(value: Any) -> str:
    """Convert a value to text, as stores that hold only text do."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def page_through(
    fetch: Callable[[int, int, int], list[StoredTrace]],
    stream: SpanStream,
    search: Search,
    *,
    page: int,
    smallest: int,
    largest: int,
) -> Iterator[StoredTrace]:
    """Query an interval in slices, halving slices that hold more traces than the server returns at once.

    The stores have no paging: they return up to a number of traces, without telling which they left out. An answer with as many
    traces as requested is therefore treated as incomplete.

    :param fetch: queries up to n traces between two times; may return traces that began earlier
    :param stream: missing traces are reported to it
    :param search: the search; traces that begin before its start belong to the previous interval
    :param page: number of traces to request at once
    :param smallest: width in nanoseconds from which a slice is no longer halved
    :param largest: maximum width of a slice in nanoseconds
    """
    start, end, limit = search.start, search.end, search.limit
    slices = [(low, min(low + largest, end)) for low in range(start, end, largest)][::-1]
    seen: set[str] = set()
    while slices:
        low, high = slices.pop()
        left = limit - len(seen)
        count = min(page, left)
        traces = fetch(low, high, count)
        cut = len(traces) >= count
        if cut and count < left and high - low > smallest:
            middle = low + (high - low) // 2
            slices += [(middle, high), (low, middle)]
            continue
        for trace in traces:
            if trace.trace_id not in seen and begins_within(trace, start, end) and len(seen) < limit:
                seen.add(trace.trace_id)
                yield trace
        if cut and count < left:
            stream.lack(f"the store holds more than {page} traces within {high - low} ns and returns no more: some are missing")
        elif cut or (slices and len(seen) >= limit):
            stream.lack(f"the limit of {limit} traces is reached: there may be more; raise the limit or narrow the interval")
            return
