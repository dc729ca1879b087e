"""Create and end the spans of one running request. Imports OpenTelemetry, so it is imported only by a tracer in use.

A sampled request creates SDK spans. A request that the head sampler dropped is recorded in memory (:class:`UnsampledSpan`), and
exported if it turns out slow or failed; otherwise its spans are discarded.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from typing import Any

from opentelemetry import context as context_api
from opentelemetry import trace as trace_api
from opentelemetry.context import Context
from opentelemetry.trace import Status, StatusCode, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from airflow_slo_provider.tracing.recording.failure_log import log_failure
from airflow_slo_provider.tracing.recording.pipeline import Pipeline, active
from airflow_slo_provider.tracing.recording.unsampled_span import UnsampledSpan
from airflow_slo_provider.tracing.spans import KEPT_ATTRIBUTE

#: Maximum number of spans recorded for a request that the head sampler dropped.
MAX_UNSAMPLED = 500

_propagator = TraceContextTextMapPropagator()
_set_span = trace_api.set_span_in_context
_OK = Status(StatusCode.OK)


#: State of an open span: the span, the token of its context, and its start by the monotonic clock.
OpenSpan = tuple[Any, Any, float]


class RequestSpans:
    """The spans of one request, running or ended.

    :param name: name of the request's span
    :param attributes: attributes of that span
    :param headers: headers of the incoming request
    """

    __slots__ = ("_context", "_failed", "_pipeline", "_root", "_started", "_unsampled", "exported", "flags", "trace_number")

    def __init__(self, name: str, attributes: dict[str, Any], headers: Mapping[str, str] | None = None) -> None:
        self._pipeline: Pipeline = active()
        self._unsampled: list[UnsampledSpan] | None = None
        self._failed = ""
        self.exported = False
        try:
            context = _caller_context(headers)
        except Exception as error:
            # An invalid traceparent starts a new trace instead of losing the request.
            log_failure("traceparent", error)
            context = context_api.get_current()
        root = self._pipeline.tracer.start_span(name, context=context, attributes=attributes)
        own = root.get_span_context()
        self._started = time.perf_counter()
        self._context = context
        if root.is_recording():
            self.trace_number, self.flags = own.trace_id, own.trace_flags
            self.exported = own.trace_flags.sampled
            self._root: Any = root
            return
        caller = trace_api.get_current_span(context).get_span_context()
        # Without a provider there is no trace id, but the prediction log and the exemplars need one.
        self.trace_number = own.trace_id or random.getrandbits(128) or 1
        self.flags = TraceFlags(own.trace_flags & ~TraceFlags.SAMPLED)
        self._root = UnsampledSpan(self, name, caller if caller.is_valid else None, attributes)
        if own.span_id and own.span_id != caller.span_id:
            self._root.span_id = own.span_id
        self._unsampled = [] if self._pipeline.keeps else None

    @property
    def trace_id(self) -> str:
        """The trace id, 32 hex digits."""
        return f"{self.trace_number:032x}"

    @property
    def span_id(self) -> str:
        """The id of the request's span, 16 hex digits."""
        root = self._root
        return f"{root.span_id if isinstance(root, UnsampledSpan) else root.get_span_context().span_id:016x}"

    def fail(self, reason: str) -> None:
        """Mark the request as failed."""
        self._failed = reason or "failed"

    def enter(self, name: str, attributes: dict[str, Any], *, is_request: bool) -> OpenSpan:
        """Start a span and make it the current one."""
        if is_request:
            return self._root, context_api.attach(_set_span(self._root, self._context)), self._started
        # In a thread or task that did not inherit the request's context, the request's span is the parent.
        context = context_api.get_current()
        parent = trace_api.get_current_span(context)
        if isinstance(self._root, UnsampledSpan):
            if not (isinstance(parent, UnsampledSpan) and parent.request is self):
                parent, context = self._root, _set_span(self._root, context)
            unsampled = UnsampledSpan(self, name, parent, attributes)
            return unsampled, context_api.attach(_set_span(unsampled, context)), 0.0
        if parent is not self._root and parent.get_span_context().trace_id != self.trace_number:
            context = _set_span(self._root, context)
        span = self._pipeline.tracer.start_span(name, context=context, attributes=attributes)
        return span, context_api.attach(_set_span(span, context)), time.perf_counter()

    def leave(self, opened: OpenSpan, error: BaseException | None, *, is_request: bool) -> None:
        """End a span, and record the exception that ended it, if any."""
        span, token, started = opened
        context_api.detach(token)
        failed = isinstance(error, Exception)
        if error is not None:
            if failed:
                span.record_exception(error)
                span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"))
            else:
                # The client disconnected or the process is ending: not a failure of the model.
                span.set_attribute("cancelled", type(error).__name__)
        elif is_request and self._failed:
            span.set_status(Status(StatusCode.ERROR, self._failed))
        elif is_request and not _is_failed(span):
            span.set_status(_OK)
        if not isinstance(span, UnsampledSpan):
            if not is_request:
                span.set_attribute("duration_ms", (time.perf_counter() - started) * 1000.0)
            span.end()
            return
        span.end()
        if is_request:
            self._export_if_kept(failed or bool(self._failed) or span.error)
        else:
            span.attributes["duration_ms"] = (span.end_ns - span.start_ns) / 1e6
            if self._unsampled is not None and len(self._unsampled) < MAX_UNSAMPLED:
                self._unsampled.append(span)

    def _export_if_kept(self, failed: bool) -> None:
        """Export a request that the head sampler dropped if a rule keeps it; otherwise discard its spans."""
        spans, self._unsampled = self._unsampled, None
        if spans is None:
            return
        root: UnsampledSpan = self._root
        pipeline = self._pipeline
        slow = pipeline.keep_slow_ns is not None and root.end_ns - root.start_ns >= pipeline.keep_slow_ns
        if failed and pipeline.keep_errors:
            root.attributes[KEPT_ATTRIBUTE] = "error"
        elif slow:
            root.attributes[KEPT_ATTRIBUTE] = "slow"
        else:
            return
        pipeline.keep(self.trace_number, [*spans, root])
        self.exported = True


class SpansOutsideRequest(RequestSpans):
    """Creates spans outside of any request."""

    __slots__ = ()

    def __init__(self) -> None:
        self._pipeline = active()

    def enter(self, name: str, attributes: dict[str, Any], *, is_request: bool) -> OpenSpan:
        """Start a span below the current span."""
        context = context_api.get_current()
        span = self._pipeline.tracer.start_span(name, context=context, attributes=attributes)
        return span, context_api.attach(_set_span(span, context)), time.perf_counter()


def _is_failed(span: Any) -> bool:
    """Whether the server has marked the span as failed; setting OK would overwrite that."""
    if isinstance(span, UnsampledSpan):
        return span.error
    return getattr(getattr(span, "status", None), "status_code", None) is StatusCode.ERROR


def _caller_context(headers: Mapping[str, str] | None) -> Context:
    """Return the context that a request starts in: the caller's, if its headers carry one, else the current one."""
    context = context_api.get_current()
    if not headers:
        return context
    # HTTP header names are case-insensitive; the propagator reads lower case only.
    trace_headers = {name.lower(): value for name, value in headers.items() if name.lower() in ("traceparent", "tracestate")}
    return _propagator.extract(trace_headers, context) if "traceparent" in trace_headers else context
