"""Read OTLP JSON documents: OTLP/JSON and the plain proto3 JSON mapping, which write ids and enums differently.

https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from airflow_slo_provider.exceptions import InvalidMeasurement
from airflow_slo_provider.tracing.span_ids import parse_parent_id, parse_span_id, parse_trace_id
from airflow_slo_provider.tracing.spans import Span, check_duration, check_span

#: Bits of ``Span.flags``: "is remote" is known, and its value (opentelemetry/proto/trace/v1).
_REMOTE_KNOWN, _REMOTE = 0x100, 0x200
#: Suffix that :class:`FileExporter` appends to the name of a file that has grown too large.
ROTATED = ".1"
#: Exceptions raised when reading JSON of an unexpected shape.
READ_ERRORS = (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError)


def read_document(document: Mapping[str, Any]) -> Iterator[Span]:
    """Yield the spans of a document ``{"resourceSpans": [...]}``, of one of its resources, or of one span.

    :param document: parsed JSON
    :raises InvalidMeasurement: when it is not of that form
    """
    try:
        yield from _document_spans(document)
    except READ_ERRORS as error:
        raise InvalidMeasurement(f"this is not OTLP-JSON: {type(error).__name__}: {error}", reason="bad_otlp") from None


def _document_spans(document: Mapping[str, Any]) -> Iterator[Span]:
    if not isinstance(document, Mapping):
        raise InvalidMeasurement(f"OTLP-JSON is an object with resourceSpans, not {type(document).__name__}", reason="bad_otlp")
    # Tempo names the field "batches" in its older trace format.
    resources = next((document[key] for key in ("resourceSpans", "resource_spans", "batches") if key in document), None)
    if resources is None:
        if "traceId" in document or "trace_id" in document:
            yield read_span(document, service="")
            return
        resources = [document] if "scopeSpans" in document else []
        if document and not resources:
            message = f"OTLP-JSON without resourceSpans; it has {', '.join(sorted(document)[:5])}"
            raise InvalidMeasurement(message, reason="bad_otlp")
    for resource in resources or ():
        attributes = (resource.get("resource") or {}).get("attributes") or ()
        service = next((str(parse_value(item.get("value"))) for item in attributes if item.get("key") == "service.name"), "")
        scopes = resource.get("scopeSpans") or resource.get("scope_spans") or resource.get("instrumentationLibrarySpans") or ()
        for scope in scopes:
            for span in scope.get("spans") or ():
                yield read_span(span, service=service)


#: Field names of the .proto file, which some servers use in their answers.
_SNAKE = {
    "trace_id": "traceId", "span_id": "spanId", "parent_span_id": "parentSpanId",
    "start_time_unix_nano": "startTimeUnixNano", "end_time_unix_nano": "endTimeUnixNano",
}  # fmt: skip


def read_span(span: Mapping[str, Any], *, service: str) -> Span:
    """Read one span, with field names in camel case or as in the .proto file.

    :param span: parsed JSON of the span
    :param service: ``service.name`` of its resource
    :raises InvalidMeasurement: when a field is missing or has the wrong type
    """
    try:
        if "trace_id" in span:
            span = {_SNAKE.get(key, key): value for key, value in span.items()}
        # Protobuf JSON leaves out fields that are 0, and some servers write null for a span that has not ended.
        start, end = int(span["startTimeUnixNano"]), int(span.get("endTimeUnixNano") or 0)
        duration, timed = check_duration(end - start if end else None)
        flags = int(span.get("flags") or 0)
        code = (span.get("status") or {}).get("code")
        return check_span(Span(
            trace_id=parse_trace_id(span["traceId"]), span_id=parse_span_id(span["spanId"]),
            parent_id=parse_parent_id(span.get("parentSpanId")), name=span.get("name") or "", service=service,
            start_ns=start, duration_ns=duration, timed=timed, error=code in (2, "STATUS_CODE_ERROR"),
            attributes={item["key"]: parse_value(item.get("value")) for item in span.get("attributes") or ()},
            remote_parent=bool(flags & _REMOTE) if flags & _REMOTE_KNOWN else None,
        ))  # fmt: skip
    except READ_ERRORS as error:
        what = span.get("spanId") if isinstance(span, Mapping) else type(span).__name__
        raise InvalidMeasurement(
            f"{what!r} is not an OTLP-JSON span: {type(error).__name__}: {error}", reason="bad_otlp"
        ) from None


def parse_value(value: Mapping[str, Any] | None) -> Any:
    """Convert an OTLP ``AnyValue`` to a Python value; None for an empty one."""
    for kind, inner in (value or {}).items():
        if inner is None:
            continue
        if kind in ("stringValue", "boolValue", "bytesValue", "string_value", "bool_value", "bytes_value"):
            return inner
        if kind in ("intValue", "int_value"):
            return int(inner)
        if kind in ("doubleValue", "double_value"):
            return float(inner)
        if kind in ("arrayValue", "array_value"):
            return [parse_value(item) for item in inner.get("values") or ()]
        if kind in ("kvlistValue", "kvlist_value"):
            return {item["key"]: parse_value(item.get("value")) for item in inner.get("values") or ()}
    return None
