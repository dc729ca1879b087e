"""Trace the requests of a model server, and analyse their latency by span and model version.

Recording needs OpenTelemetry and no Airflow; the analysis reads traces from a store and needs neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_slo_provider.core.lazy_names import offer

if TYPE_CHECKING:
    from airflow_slo_provider.tracing import prediction_log
    from airflow_slo_provider.tracing.analysis.breakdown import LatencyBreakdown, SpanStats, breakdown
    from airflow_slo_provider.tracing.analysis.comparison import SpanChange, VersionComparison, compare
    from airflow_slo_provider.tracing.recording import exemplars
    from airflow_slo_provider.tracing.recording.asgi import TracingMiddleware
    from airflow_slo_provider.tracing.recording.configuration import configure, flush, shutdown
    from airflow_slo_provider.tracing.recording.request_tracer import MLRequestTracer, TracingUnavailable
    from airflow_slo_provider.tracing.spans import Span, SpanStream

__all__ = [
    "LatencyBreakdown", "MLRequestTracer", "Span", "SpanChange", "SpanStats", "SpanStream", "TracingMiddleware",
    "TracingUnavailable", "VersionComparison", "breakdown", "compare", "configure", "exemplars", "flush", "prediction_log",
    "shutdown",
]  # fmt: skip

#: Imported on first use: a model server needs no analysis, and an Airflow connection form needs neither part.
__getattr__ = offer(
    __name__,
    {
        "tracing.recording.asgi": "TracingMiddleware",
        "tracing.analysis.breakdown": "LatencyBreakdown SpanStats breakdown",
        "tracing.analysis.comparison": "SpanChange VersionComparison compare",
        "tracing.recording.configuration": "configure flush shutdown",
        "tracing.recording.request_tracer": "MLRequestTracer TracingUnavailable",
        "tracing.spans": "Span SpanStream",
    },
    modules={"exemplars": "tracing.recording.exemplars", "prediction_log": "tracing.prediction_log"},
)
