"""Exemplars: a bucket of a latency histogram that names a trace, so that one click leads from the p99 to what made it.

Prometheus keeps them with ``--enable-feature=exemplar-storage``, and servers show them in the OpenMetrics format only
(``prometheus_client.openmetrics.exposition.generate_latest``).
"""

from __future__ import annotations

from typing import Any, Protocol

from airflow_slo_provider.tracing.recording.failure_log import log_failure
from airflow_slo_provider.tracing.recording.request import MLRequestTracer

#: OpenMetrics: names and values of an exemplar's labels have this many characters together at most.
MOST = 128


class Histogram(Protocol):
    """A ``prometheus_client.Histogram``, with its labels set."""

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        """Count one value."""
        ...


def observe(histogram: Histogram, seconds: float, tracer: MLRequestTracer | None) -> None:
    """Count a request's duration, with its trace as exemplar where the trace can be found.

    Call it after the request: only then is it known whether a rule kept the trace. An exemplar that leads to no trace is worse
    than none.

    :param histogram: of ``prometheus_client``, with its labels set
    :param seconds: the duration
    :param tracer: the request's tracer
    """
    labels = exemplar(tracer)
    if labels:
        try:
            histogram.observe(seconds, labels)
            return
        except (TypeError, ValueError) as error:
            # A multiprocess or pushed metric takes none; the count matters more.
            log_failure("exemplar", error)
    histogram.observe(seconds)


def exemplar(tracer: MLRequestTracer | None) -> dict[str, str] | None:
    """Return an exemplar's labels, ``trace_id`` and, where it fits, ``request_id``; None when there is no trace to be found."""
    if tracer is None or not tracer.exported or not tracer.trace_id:
        return None
    labels: dict[str, Any] = {"trace_id": tracer.trace_id}
    request = str(tracer.request_id)
    if request and len("trace_id") + 32 + len("request_id") + len(request) <= MOST:
        labels["request_id"] = request
    return labels
