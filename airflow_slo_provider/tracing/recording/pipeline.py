"""The span pipeline of a process: tracer provider, exporter, and the rules that keep unsampled requests.

Imports OpenTelemetry, so it is imported only by :func:`airflow_slo_provider.tracing.configure` and by a tracer in use.
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
    """A tracer and, if configured here, its provider.

    :param tracer: creates the spans
    :param provider: the configured provider; None to use the process's global provider
    :param processor: the span processor that kept requests are exported through
    :param keep_slow_ns: nanoseconds from which a request dropped by the sampler is exported; None for never
    :param keep_errors: whether a failed request dropped by the sampler is exported
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
        """Export the spans of an unsampled request as SDK spans, marked as sampled."""
        from opentelemetry.sdk.trace import Event, ReadableSpan
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        assert self.provider is not None
        scope = InstrumentationScope(SCOPE)
        for span in spans:
            flags = TraceFlags(span.get_span_context().trace_flags | TraceFlags.SAMPLED)
            parent = span.parent
            if parent is not None and hasattr(parent, "attributes"):
                parent = SpanContext(trace_number, parent.span_id, False, flags)
            status = Status(StatusCode.ERROR, span.status) if span.error else Status(StatusCode.UNSET)
            self._processor.on_end(
                ReadableSpan(
                    name=span.name, context=SpanContext(trace_number, span.span_id, False, flags), parent=parent,
                    resource=self.provider.resource, status=status, start_time=span.start_ns, end_time=span.end_ns,
                    attributes={key: _attribute_value(value) for key, value in span.attributes.items() if value is not None},
                    events=[Event(name, attributes, timestamp) for name, attributes, timestamp in span.events],
                    instrumentation_scope=scope,
                )
            )  # fmt: skip

    def force_flush(self, timeout_millis: int) -> bool:
        """Export the waiting spans; return whether it finished in time."""
        return self.provider is None or bool(self.provider.force_flush(timeout_millis))

    def shutdown(self, timeout_millis: int) -> None:
        """Export the waiting spans and shut down, waiting at most ``timeout_millis`` for an unreachable collector."""
        if self.provider is not None:
            worker = threading.Thread(target=self.provider.shutdown, name="tracing-shutdown", daemon=True)
            worker.start()
            worker.join(timeout_millis / 1000)


def _attribute_value(value: Any) -> Any:
    """Return a value that a span attribute may hold; convert anything else to text."""
    if isinstance(value, (bool, int, float, str, bytes)):
        return value
    if isinstance(value, Sequence) and all(isinstance(item, (bool, int, float, str)) for item in value):
        return list(value)
    return str(value)


_lock = threading.Lock()
_configured: Pipeline | None = None
_ambient: Pipeline | None = None


def active() -> Pipeline:
    """Return the configured pipeline; without one, a pipeline of the process's global provider."""
    global _ambient
    if _configured is not None:
        return _configured
    if _ambient is None:
        _ambient = Pipeline(trace_api.get_tracer(SCOPE))
    return _ambient


def activate(pipeline: Pipeline | None, *, timeout_millis: int = 5000) -> None:
    """Activate a pipeline; the previous one exports its waiting spans and shuts down."""
    global _configured, _ambient
    with _lock:
        before, _configured, _ambient = _configured, pipeline, None
    if before is not None:
        before.shutdown(timeout_millis)


def build_pipeline(
    *,
    resource: Mapping[str, Any],
    exporter: SpanExporter,
    sample_ratio: float,
    keep_slow_ms: float | None,
    keep_errors: bool,
    queue: int,
    delay_ms: int,
) -> Pipeline:
    """Build a provider that follows the parent's sampling decision, else samples a share of trace ids, and exports in batches.

    :param resource: resource attributes
    :param exporter: exports the batches
    :param sample_ratio: share of trace ids to sample, 0 to 1
    :param keep_slow_ms: milliseconds from which an unsampled request is exported; None for never
    :param keep_errors: whether a failed unsampled request is exported
    :param queue: maximum number of spans waiting for export; more are dropped
    :param delay_ms: milliseconds between exports
    """
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    # shutdown_on_exit waits forever for an unreachable collector; our own exit handler does not (see configuration.py).
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
