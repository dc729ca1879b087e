"""A prediction with all its spans, and an exporter that keeps what is exported."""

from __future__ import annotations

import os
import subprocess
import sys

from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from airflow_slo_provider import tracing
from tests.support import REPO


class CapturedSpans(SpanExporter):
    """Remembers what is exported."""

    def __init__(self) -> None:
        self.spans: list = []

    def export(self, spans):
        self.spans += spans
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        pass


def predict(tracer: tracing.MLRequestTracer, headers=None, fail: bool = False) -> float:
    """The usage example of the design."""
    with tracer.trace_request(headers):
        with tracer.span_feature_fetch(entity_ids=["u1", "u2"], feature_count=24):
            pass
        with tracer.span_cache_lookup() as span:
            span.set_attribute("cache.hit", True)
        with tracer.span_model_inference(batch_size=2):
            if fail:
                raise MemoryError("out of memory")
        with tracer.span_post_process():
            pass
    return 0.85


NAMES = {"ml_prediction_request", "feature_fetch", "cache_lookup", "model_inference", "post_process"}


def run(code: str, **env: str) -> str:
    """Run code in a process of its own; return its output."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=False, env={**os.environ, **env}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
