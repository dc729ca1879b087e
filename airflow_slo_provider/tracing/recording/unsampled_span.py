"""Record a span of a request that the head sampler dropped, so that it can still be exported. Imports OpenTelemetry."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from typing import Any, Protocol

from opentelemetry import trace as trace_api
from opentelemetry.trace import SpanContext, StatusCode, TraceFlags
from opentelemetry.util.types import AttributeValue


class TraceOwner(Protocol):
    """The request that a span belongs to."""

    trace_number: int
    flags: TraceFlags


class UnsampledSpan(trace_api.Span):
    """A span that is held in memory until its request has ended.

    :param request: the request that the span belongs to
    :param name: name of the span
    :param parent: the parent span; None for a root
    :param attributes: attributes of the span
    """

    __slots__ = (
        "_context", "attributes", "end_ns", "error", "events", "name", "parent", "request", "span_id", "start_ns", "status",
    )  # fmt: skip

    def __init__(
        self, request: TraceOwner, name: str, parent: SpanContext | UnsampledSpan | None, attributes: dict[str, Any]
    ) -> None:
        self.request, self.name, self.parent = request, name, parent
        self.span_id = random.getrandbits(64) or 1
        self.attributes = attributes
        self.start_ns, self.end_ns = time.time_ns(), 0
        self.events: list[tuple[str, Mapping[str, Any], int]] = []
        self.error = False
        self.status = ""
        self._context: SpanContext | None = None

    def get_span_context(self) -> SpanContext:
        """Return the span's context, marked as not sampled, so that child spans of other code are not sampled either."""
        if self._context is None:
            self._context = SpanContext(self.request.trace_number, self.span_id, False, self.request.flags)
        return self._context

    def end(self, end_time: int | None = None) -> None:
        """End the span."""
        self.end_ns = end_time or time.time_ns()

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Set an attribute."""
        self.attributes[key] = value

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Set several attributes."""
        self.attributes.update(attributes)

    def add_event(self, name: str, attributes: Any = None, timestamp: int | None = None) -> None:
        """Add an event."""
        if len(self.events) < 32:
            self.events.append((name, dict(attributes or {}), timestamp or time.time_ns()))

    def update_name(self, name: str) -> None:
        """Rename the span."""
        self.name = name

    def is_recording(self) -> bool:
        """Whether the span still records: until its request has ended."""
        return not self.end_ns

    def set_status(self, status: Any, description: str | None = None) -> None:
        """Set the status of the span."""
        code = getattr(status, "status_code", status)
        self.error = code is StatusCode.ERROR
        self.status = description or getattr(status, "description", None) or ""

    def record_exception(
        self, exception: BaseException, attributes: Any = None, timestamp: int | None = None, escaped: bool = False
    ) -> None:
        """Record an exception as the SDK does."""
        import traceback

        kind = type(exception)
        text = "".join(traceback.format_exception(kind, exception, exception.__traceback__))
        fields = {
            "exception.type": kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}",
            "exception.message": str(exception),
            "exception.stacktrace": text,
            "exception.escaped": str(escaped),
        }
        self.add_event("exception", {**fields, **dict(attributes or {})}, timestamp)
