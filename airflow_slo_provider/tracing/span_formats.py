"""Read spans from any supported type: :class:`Span`, OTLP-JSON, OpenTelemetry SDK spans."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from airflow_slo_provider.exceptions import InvalidMeasurement
from airflow_slo_provider.tracing import otlp
from airflow_slo_provider.tracing.spans import Span, check_duration


def read_spans(source: Iterable[Any]) -> Iterator[Span]:
    """Convert an iterable of :class:`Span`, OTLP-JSON (documents or spans) or OpenTelemetry SDK spans to spans.

    :param source: the iterable, or one OTLP-JSON document
    :raises InvalidMeasurement: for anything else
    """
    for item in [source] if isinstance(source, Mapping) else source:
        if isinstance(item, Span):
            yield item
        elif isinstance(item, Mapping):
            yield from otlp.read_document(item)
        elif hasattr(item, "get_span_context") and hasattr(item, "start_time"):
            yield _read_sdk_span(item)
        else:
            raise InvalidMeasurement(f"{type(item).__name__} is not a span", reason="bad_span")


def _read_sdk_span(span: Any) -> Span:
    """Convert an ended ``ReadableSpan`` of the OpenTelemetry SDK."""
    context, parent = span.get_span_context(), span.parent
    if span.end_time is None:
        raise InvalidMeasurement(f"span {span.name} has not ended", reason="bad_span")
    duration, timed = check_duration(span.end_time - span.start_time)
    return Span(
        trace_id=f"{context.trace_id:032x}", span_id=f"{context.span_id:016x}",
        parent_id=None if parent is None else f"{parent.span_id:016x}",
        remote_parent=None if parent is None else parent.is_remote,
        name=span.name, service=str(span.resource.attributes.get("service.name", "")),
        start_ns=span.start_time, duration_ns=duration, timed=timed,
        error=span.status.status_code.name == "ERROR", attributes=dict(span.attributes or {}),
    )  # fmt: skip
