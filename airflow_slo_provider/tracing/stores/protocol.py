"""What every trace store can do, and the parts that all of them share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from airflow_slo_provider.core.redaction import server_text
from airflow_slo_provider.exceptions import InvalidMeasurement, QueryError
from airflow_slo_provider.tracing.otlp import UNREADABLE
from airflow_slo_provider.tracing.spans import Span, SpanStream

#: Names of attributes.
Names = Sequence[str]
#: Traces that are read at most, unless told otherwise.
LIMIT = 10_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class TraceStore(Protocol):
    """A place that keeps traces.

    ``start`` and ``end`` are aware datetimes (or nanoseconds since 1970, or seconds): a trace belongs to the interval that holds
    its first span; ``end`` is exclusive, so consecutive intervals share no trace. ``attributes`` keep the traces in which a
    span of the service has all of them (compared as text: some stores know no other). ``limit`` counts traces, never
    cutting one. ``selected`` are attributes that spans must come with; most stores answer all of them anyway.
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
        """Stream the spans of a service's requests. What is missing stands in the stream's ``truncated`` and ``notes``.

        :raises QueryError: while the stream is read, when the store does not answer
        """
        ...

    def trace(self, trace_id: str) -> list[Span]:
        """Return one whole trace; empty when the store has none of that id.

        :raises QueryError: when the store does not answer
        """
        ...

    def check(self) -> str:
        """Ask for something small; return a sentence.

        :raises QueryError: when the store does not answer
        """
        ...


class SearchedStore:
    """The part of a store that is the same for all of them: what an interval, a filter and a limit mean."""

    def spans(
        self,
        service: str,
        start: datetime | float,
        end: datetime | float,
        attributes: Mapping[str, Any] | None = None,
        limit: int = LIMIT,
        selected: Sequence[str] = (),
    ) -> SpanStream:
        """Stream the spans of a service's requests, see :class:`TraceStore`."""
        first, last = interval(start, end, limit)
        return SpanStream(lambda stream: self._search(stream, service, first, last, dict(attributes or {}), limit, selected))

    def _search(
        self,
        stream: SpanStream,
        service: str,
        first: int,
        last: int,
        attributes: dict[str, Any],
        limit: int,
        selected: Sequence[str],
    ) -> Iterator[Span]:
        """Yield spans, whole traces of them.

        :param first: nanoseconds
        :param last: nanoseconds, exclusive
        :param selected: attributes that spans must come with
        """
        raise NotImplementedError


def up_to(limit: int, traces: Iterable[list[Span]], stream: SpanStream) -> Iterator[Span]:
    """Yield the spans of as many traces as the limit allows; the stream lacks the others."""
    for number, spans in enumerate(traces):
        if number == limit:
            lack_others(limit, stream)
            return
        yield from spans


def lack_others(limit: int, stream: SpanStream) -> None:
    """Say that there are more traces than the limit."""
    stream.lack(f"the limit of {limit} traces is reached: there are more; raise the limit or narrow the interval")


@contextmanager
def reading(kind: str, source: str, query: str | None = None) -> Iterator[None]:
    """Turn whatever an answer of another shape makes its reader raise into one error.

    :param kind: what the store is called, e.g. ``Tempo``
    :param source: its address, without credentials
    :raises QueryError: reason ``bad_answer``
    """
    try:
        yield
    except (*UNREADABLE, InvalidMeasurement) as error:
        raise QueryError(
            f"{kind}: the answer cannot be read: {type(error).__name__}: {server_text(error, limit=300)}",
            reason="bad_answer", query=query, source=source,
        ) from None  # fmt: skip


def next_page(told: Any, seen: set[str], kind: str, source: str) -> str | None:
    """Return where an answer goes on; None where it ends.

    :param told: what the server said
    :param seen: what it said before, added to
    :raises QueryError: reason ``bad_answer``, when it says the same again: it would be asked for ever
    """
    if not told:
        return None
    token = str(told)
    if token in seen:
        raise QueryError(f"{kind}: the answer goes on with a page that was there already", reason="bad_answer", source=source)
    seen.add(token)
    return token


@dataclass(frozen=True)
class Found:
    """One trace as a store answered it.

    :param trace_id: 32 hex digits
    :param start_ns: start of its first span
    :param spans: its spans
    """

    trace_id: str
    start_ns: int
    spans: list[Span]


def found(spans: list[Span]) -> Found:
    """Make a trace of its spans.

    :param spans: at least one
    """
    return Found(spans[0].trace_id, min(span.start_ns for span in spans), spans)


def by_trace(spans: Iterator[Span]) -> list[Found]:
    """Group spans by trace, in the order in which traces first appear."""
    groups: dict[str, list[Span]] = {}
    for span in spans:
        groups.setdefault(span.trace_id, []).append(span)
    return [found(group) for group in groups.values()]


def nanoseconds(moment: datetime | float, *, what: str) -> int:
    """Return nanoseconds since 1970, exactly.

    :param moment: an aware datetime; an int of nanoseconds (from 1e17 on); seconds otherwise
    :raises QueryError: for a datetime without a time zone
    """
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise QueryError(f"{what} {moment} has no time zone; use an aware datetime", reason="naive_time")
        # Airflow's datetimes are pendulum's, whose difference is no plain timedelta.
        since = datetime.combine(moment.date(), moment.timetz()) - _EPOCH
        return since // timedelta(microseconds=1) * 1000
    if isinstance(moment, int):
        return moment if moment >= 10**17 else moment * 10**9
    return round(moment * 1e9)


def interval(start: datetime | float, end: datetime | float, limit: int) -> tuple[int, int]:
    """Return start and end in nanoseconds.

    :raises QueryError: when nothing lies between them, or when nothing may be read
    """
    first, last = nanoseconds(start, what="start"), nanoseconds(end, what="end")
    if first >= last:
        raise QueryError(f"nothing lies between start {start} and end {end}", reason="bad_interval")
    if limit < 1:
        raise QueryError(f"limit is {limit}; write at least 1", reason="bad_limit")
    return first, last


def begins_within(trace: Found, start: int, end: int) -> bool:
    """Whether a trace began in an interval, both told as exactly as its store keeps times.

    A store of microseconds puts the first trace of an interval that begins within a microsecond before that interval.
    """
    step = max(span.resolution_ns for span in trace.spans)
    return start // step * step <= trace.start_ns < max(end // step * step, start // step * step + 1)


def carries(spans: list[Span], service: str, attributes: Mapping[str, Any]) -> bool:
    """Whether a span of the service has all the attributes."""
    wanted = {key: as_text(value) for key, value in attributes.items()}
    return any(
        (not service or span.service == service)
        and all(key in span.attributes and as_text(span.attributes[key]) == value for key, value in wanted.items())
        for span in spans
    )


def as_text(value: Any) -> str:
    """Return a value as stores that know only text write it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def page_through(
    fetch: Callable[[int, int, int], list[Found]],
    stream: SpanStream,
    *,
    start: int,
    end: int,
    limit: int,
    page: int,
    smallest: int,
    largest: int,
) -> Iterator[Found]:
    """Ask for pieces of an interval, halving those that hold more than the server answers at once.

    Stores have no pages: they answer up to a number of traces, and not which ones they left out. An answer as long as the number
    asked for is therefore taken for a cut one.

    :param fetch: asks for up to n traces between two times; may answer traces that began before
    :param start: nanoseconds; traces that begin earlier belong to the interval before
    :param end: nanoseconds, exclusive
    :param limit: traces to yield at most
    :param page: traces to ask for at once
    :param smallest: a piece of this width is not halved
    :param largest: the widest piece a server is asked for
    """
    pieces = [(low, min(low + largest, end)) for low in range(start, end, largest)][::-1]
    seen: set[str] = set()
    while pieces:
        low, high = pieces.pop()
        left = limit - len(seen)
        asked = min(page, left)
        traces = fetch(low, high, asked)
        cut = len(traces) >= asked
        if cut and asked < left and high - low > smallest:
            middle = low + (high - low) // 2
            pieces += [(middle, high), (low, middle)]
            continue
        for trace in traces:
            if trace.trace_id not in seen and begins_within(trace, start, end) and len(seen) < limit:
                seen.add(trace.trace_id)
                yield trace
        if cut and asked < left:
            stream.lack(
                f"the store holds more than {page} traces of one moment ({high - low} ns) and answers no more: some are missing"
            )
        elif cut or (pieces and len(seen) >= limit):
            stream.lack(f"the limit of {limit} traces is reached: there may be more; raise the limit or narrow the interval")
            return
