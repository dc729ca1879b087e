"""Simulated requests with known latencies, for statistical tests."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import numpy as np

from airflow_slo_provider.tracing.analysis.breakdown import LatencyBreakdown
from airflow_slo_provider.tracing.analysis.collector import RowKey
from airflow_slo_provider.tracing.analysis.samples import Samples
from airflow_slo_provider.tracing.spans import Span
from tests.unit.tracing.builders import MS, T0

#: Median milliseconds of each span, as in the recorded traces; the request's own time is what is left between them.
MEDIANS = {"feature_fetch": 12.0, "cache_lookup": 2.7, "model_inference": 36.0, "post_process": 2.7}
SPREAD = 0.25


def requests(
    seed: int, *, count: int, version: str, slower: dict[str, float] | None = None, spread: float = SPREAD, begin: float = 0.0
) -> Iterator[Span]:
    """Yield the spans of requests one after another; times are log-normal, ``slower`` multiplies those of a span."""
    generator = np.random.default_rng([seed, *version.encode()])
    factors = slower or {}
    times = {
        name: generator.lognormal(np.log(median * factors.get(name, 1.0)), spread, count) * MS for name, median in MEDIANS.items()
    }
    gaps = generator.lognormal(np.log(0.4), spread, count) * MS
    for number in range(count):
        trace = f"{seed:08x}{ord(version[-1]):08x}{number + 1:016x}"
        root = f"{number * 8 + 1:016x}"
        start = at = T0 + round((begin + number * 100.0) * MS)
        gap = int(gaps[number])
        spans = []
        for place, name in enumerate(MEDIANS):
            duration = int(times[name][number])
            begun = at + gap
            key, attributes = f"{number * 8 + 2 + place:016x}", {"model_version": version}
            spans.append(Span(trace, key, root, name, "model-server", begun, duration, False, attributes))
            if name != "feature_fetch":  # cache_lookup begins beside it
                at = max(span.end_ns for span in spans)
        yield from spans
        end = max(span.end_ns for span in spans) + gap
        yield Span(
            trace, root, None, "ml_prediction_request", "model-server", start, end - start, False, {"model_version": version}
        )


def own_times(seed: int, *, count: int, slower: dict[str, float] | None = None, spread: float = SPREAD) -> LatencyBreakdown:
    """Return a breakdown with the own times of two versions, v2 slower by the given factors, without creating the spans."""
    rows: dict[RowKey, Samples] = {}
    for version, factors in (("v1", {}), ("v2", slower or {})):
        generator = np.random.default_rng([seed, *version.encode()])
        for name, median in (*MEDIANS.items(), ("ml_prediction_request", 1.6)):
            times = generator.lognormal(np.log(median * factors.get(name, 1.0)), spread, count) * MS
            samples = Samples(count)
            samples.selves = samples.durations = array("q", times.astype(np.int64).tolist())
            samples.count = count
            rows[RowKey(name, "model-server", version)] = samples
    return LatencyBreakdown(rows=(), truncated=False, versions=("v1", "v2"), samples=rows)
