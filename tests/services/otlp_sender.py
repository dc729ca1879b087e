"""Spans of known durations, sent over OTLP as a model server would send them."""

from __future__ import annotations

import random
import time
from typing import Any

PARTS = ("feature_fetch", "model_inference", "post_process")


def send_requests(
    endpoint: str, *, service: str, count: int = 30, seed: int = 7, headers: dict[str, str] | None = None
) -> dict[str, dict[str, int]]:
    """Send ``count`` requests that just ended; return each trace's durations in nanoseconds by span name."""
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource({"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, headers=headers)))
    tracer = provider.get_tracer("test")
    chance = random.Random(seed)
    sent: dict[str, dict[str, int]] = {}
    now = time.time_ns() - 5 * 10**9
    for number in range(count):
        version = {"model_version": f"v{1 + number % 2}"}
        at = begun = now + number * 10**7
        root = tracer.start_span("ml_prediction_request", start_time=begun, attributes={**version, "request_id": f"r{number}"})
        context: Any = trace.set_span_in_context(root)
        times: dict[str, int] = {}
        for name in PARTS:
            times[name] = chance.randrange(1_000_000, 30_000_000)
            span = tracer.start_span(name, context=context, start_time=at, attributes=version)
            at += times[name]
            span.end(at)
        root.end(at + 1001)
        times["ml_prediction_request"] = at + 1001 - begun
        sent[f"{root.get_span_context().trace_id:032x}"] = times
    assert provider.force_flush(30_000)
    provider.shutdown()
    return sent
