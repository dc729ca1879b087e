"""Attach trace ids to Prometheus latency histograms as exemplars, to open a slow request's trace from the p99.

Prometheus keeps them with ``--enable-feature=exemplar-storage``, and servers show them in the OpenMetrics format only
(``prometheus_client.openmetrics.exposition.generate_latest``).
"""

from __future__ import annotations

from typing import Any, Protocol

from airflow_slo_provider.tracing.recording.failure_log import log_failure
from airflow_slo_provider.tracing.recording.request_tracer import MLRequestTracer

#: Maximum number of characters in an exemplar's label names and values together, by the OpenMetrics specification.
MAX_LENGTH = 128


class LatencyHistogram(Protocol):
    """A ``prometheus_client.Histogram``, with its labels set."""

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        """Record one value."""
        ...


def observe(histogram: LatencyHistogram, seconds: float, tracer: MLRequestTracer | None) -> None:
    """Record a request's duration, with its trace as exemplar if the trace is exported.

    Call it after the request: only then is it known whether a rule kept the trace. No exemplar is added for a trace that is not
    exported.

    :param histogram: a ``prometheus_client`` histogram, with its labels set
    :param seconds: duration of the request
    :param tracer: the request's tracer
    """
    labels = exemplar(tracer)
    if labels:
        try:
            histogram.observe(seconds, labels)
            return
        except (TypeError, ValueError) as error:
            # Multiprocess and pushed metrics reject exemplars; the observation is still recorded.
            log_failure("exemplar", error)
    histogram.observe(seconds)


def exemplar(tracer: MLRequestTracer | None) -> dict[str, str] | None:
    """Return an exemplar's labels, ``trace_id`` and, if it fits, ``request_id``; None if the trace is not exported."""
    if tracer is None or not tracer.exported or not tracer.trace_id:
        return None
    labels: dict[str, Any] = {"trace_id": tracer.trace_id}
    request = str(tracer.request_id)
    if request and len("trace_id") + 32 + len("request_id") + len(request) <= MAX_LENGTH:
        labels["request_id"] = request
    return labels
