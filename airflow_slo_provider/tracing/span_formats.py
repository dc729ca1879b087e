"""Read spans from any supported type: :class:`Span`, OTLP-JSON, OpenTelemetry SDK spans."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from airflow_slo_provider.exceptions import InvalidMeasurement
from airflow_slo_provider.tracing import otlp
from airflow_slo_provider.tracing.spans import Span, lasting


def spans_of(things: Iterable[Any]) -> Iterator[Span]:
    """Convert an iterable of :class:`Span`, OTLP-JSON (documents or spans) or OpenTelemetry SDK spans to spans.

    :param things: the iterable, or one OTLP-JSON document
    :raises InvalidMeasurement: for anything else
    """
    if isinstance(things, Mapping):
        yield from otlp.read_document(things)
        return
    for thing in things:
        if isinstance(thing, Span):
            yield thing
        elif isinstance(thing, Mapping):
            yield from otlp.read_document(thing)
        elif hasattr(thing, "get_span_context") and hasattr(thing, "start_time"):
            yield _finished(thing)
        else:
            raise InvalidMeasurement(f"{type(thing).__name__} is no span", reason="bad_span")


def _finished(span: Any) -> Span:
    """Convert an ended ``ReadableSpan`` of the OpenTelemetry SDK."""
    context, parent = span.get_span_context(), span.parent
    if span.end_time is None:
        raise InvalidMeasurement(f"span {span.name} has not ended", reason="bad_span")
    duration, timed = lasting(span.end_time - span.start_time)
    return Span(
        trace_id=f"{context.trace_id:032x}",
        span_id=f"{context.span_id:016x}",
        parent_id=None if parent is None else f"{parent.span_id:016x}",
        name=span.name,
        service=str(span.resource.attributes.get("service.name", "")),
        start_ns=span.start_time,
        duration_ns=duration,
        error=span.status.status_code.name == "ERROR",
        attributes=dict(span.attributes or {}),
        remote_parent=None if parent is None else parent.is_remote,
        timed=timed,
    )
