"""Where spans go: a provider of our own, its exporter, and the rules by which dropped requests are kept all the same.

Imports OpenTelemetry: only ever imported by :func:`airflow_slo_provider.tracing.configure` and by a tracer that is used.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry import trace as trace_api
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

    from airflow_slo_provider.tracing.recording.unsampled_span import UnsampledSpan

SCOPE = "airflow_slo_provider.tracing"


class Pipeline:
    """A tracer and, where it is our own, the provider behind it.

    :param tracer: makes the spans
    :param provider: None for whatever provider the process has
    :param keep_slow_ns: dropped requests that take this long are exported all the same; None for never
    :param keep_errors: whether dropped requests that fail are
    """

    def __init__(
        self,
        tracer: trace_api.Tracer,
        *,
        provider: TracerProvider | None = None,
        processor: Any = None,
        keep_slow_ns: int | None = None,
        keep_errors: bool = False,
    ) -> None:
        self.tracer, self.provider, self._processor = tracer, provider, processor
        self.keep_slow_ns, self.keep_errors = keep_slow_ns, keep_errors
        self.keeps = provider is not None and (keep_errors or keep_slow_ns is not None)

    def keep(self, trace_number: int, spans: Sequence[UnsampledSpan]) -> None:
        """Export a request that was only written down: its spans as the SDK's, marked as sampled."""
        from opentelemetry.sdk.trace import Event, ReadableSpan
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        assert self.provider is not None
        scope = InstrumentationScope(SCOPE)
        for span in spans:
            flags = TraceFlags(span.get_span_context().trace_flags | TraceFlags.SAMPLED)
            parent = span.parent
            above = (
                SpanContext(trace_number, parent.span_id, False, flags)
                if parent is not None and hasattr(parent, "attributes")
                else parent
            )
            status = Status(StatusCode.ERROR, span.status) if span.error else Status(StatusCode.UNSET)
            self._processor.on_end(
                ReadableSpan(
                    name=span.name,
                    context=SpanContext(trace_number, span.span_id, False, flags),
                    parent=above,
                    resource=self.provider.resource,
                    attributes={key: _plain(value) for key, value in span.attributes.items() if value is not None},
                    events=[Event(name, attributes, timestamp) for name, attributes, timestamp in span.events],
                    status=status,
                    start_time=span.start_ns,
                    end_time=span.end_ns,
                    instrumentation_scope=scope,
                )
            )

    def force_flush(self, timeout_millis: int) -> bool:
        """Export what waits; False when that was not done in time."""
        return self.provider is None or bool(self.provider.force_flush(timeout_millis))

    def shutdown(self, timeout_millis: int) -> None:
        """Export what waits and end, without waiting longer than told for a collector that is not there."""
        if self.provider is not None:
            worker = threading.Thread(target=self.provider.shutdown, name="tracing-shutdown", daemon=True)
            worker.start()
            worker.join(timeout_millis / 1000)


def _plain(value: Any) -> Any:
    """Return what an attribute may hold; anything else as text."""
    if isinstance(value, (bool, int, float, str, bytes)):
        return value
    if isinstance(value, Sequence) and all(isinstance(item, (bool, int, float, str)) for item in value):
        return list(value)
    return str(value)


_lock = threading.Lock()
_configured: Pipeline | None = None
_ambient: Pipeline | None = None


def active() -> Pipeline:
    """Return the configured pipeline; without one, whatever provider the process has."""
    global _ambient
    if _configured is not None:
        return _configured
    if _ambient is None:
        _ambient = Pipeline(trace_api.get_tracer(SCOPE))
    return _ambient


def replace(pipeline: Pipeline | None, *, timeout_millis: int = 5000) -> None:
    """Make a pipeline the active one; the one before it exports what it has and ends."""
    global _configured, _ambient
    with _lock:
        before, _configured, _ambient = _configured, pipeline, None
    if before is not None:
        before.shutdown(timeout_millis)


def build(
    *,
    resource: Mapping[str, Any],
    exporter: SpanExporter,
    sample_ratio: float,
    keep_slow_ms: float | None,
    keep_errors: bool,
    queue: int,
    delay_ms: int,
) -> Pipeline:
    """Make a provider that samples by the parent's word or else a share of trace ids, and exports in batches.

    :param queue: spans that wait for the collector at most; more are dropped
    """
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    # shutdown_on_exit waits without end for a collector that is not there; ours does not (see configuration.py).
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(sample_ratio)), resource=Resource.create(dict(resource)), shutdown_on_exit=False
    )
    processor = BatchSpanProcessor(
        exporter, max_queue_size=queue, schedule_delay_millis=delay_ms, max_export_batch_size=min(512, queue)
    )
    provider.add_span_processor(processor)
    return Pipeline(
        provider.get_tracer(SCOPE),
        provider=provider,
        processor=processor,
        keep_slow_ns=None if keep_slow_ms is None else round(keep_slow_ms * 1e6),
        keep_errors=keep_errors,
    )
