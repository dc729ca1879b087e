"""Detect latency symptoms in a breakdown, each with its likely cause and the next check.

========================  =================================  =========================================
symptom                   likely cause                       check
========================  =================================  =========================================
high p99, low p50         cold keys, cache misses            percentiles and hit rate of the lookup
a spike after a deploy    the new model is slower            spans by model version
intermittent spikes       garbage collection, the network    correlation with GC and network metrics
a gradual increase        data, or features, have grown      size of feature store and model
a spike at the peak       saturation, queueing               queue depth, CPU and GPU utilisation
========================  =================================  =========================================
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from airflow_slo_provider.tracing.analysis.breakdown import LatencyBreakdown, SpanStats
from airflow_slo_provider.tracing.analysis.collector import RowKey
from airflow_slo_provider.tracing.analysis.comparison import VersionComparison
from airflow_slo_provider.tracing.analysis.samples import SECOND, Samples, quantile

#: Ratio of p99 to p50 from which a tail is long; a log-normal span of the usual spread has about 2.
LONG_TAIL = 4.0
#: Number of time slices that latency is followed over, and the average number of requests each must have.
SLICES, MIN_PER_SLICE = 20, 15
#: Growth of the median from the first slice to the last from which it is reported.
GROWTH = 0.15
#: Spearman correlation of load and latency, or of time and latency, that is unlikely by chance with 20 slices (p < 0.001).
STRONG = 0.68
#: A request this many times the median is a spike.
SPIKE = 3.0


@dataclass(frozen=True)
class Symptom:
    """A latency symptom with its likely cause.

    :param name: the symptom
    :param span: the span that shows it; None for the request as a whole
    :param cause: the likely cause
    :param check: what to check next
    :param evidence: the numbers, as text
    """

    name: str
    span: str | None
    cause: str
    check: str
    evidence: str


def diagnose(
    breakdown: LatencyBreakdown, comparison: VersionComparison | None = None, *, version: str | None = None
) -> list[Symptom]:
    """Return the latency symptoms of one version's requests, the most certain first.

    :param breakdown: the latency breakdown
    :param comparison: comparison with the previous version
    :param version: the model version; by default the newest
    """
    assessed = version if version is not None else (breakdown.versions[-1] if breakdown.versions else None)
    symptoms = [*_find_slow_deploy(comparison), *_find_long_tails(breakdown, assessed)]
    requests = [row for row in breakdown.rows if row.top and row.model_version == assessed]
    if requests:
        row = max(requests, key=lambda row: row.count)
        symptoms += _find_changes_over_time(row, breakdown.samples[RowKey(row.span, row.service, assessed)])
    return symptoms


def _find_slow_deploy(comparison: VersionComparison | None) -> Iterator[Symptom]:
    if comparison is not None and comparison.slower == comparison.candidate:
        yield Symptom(
            "latency spike after a deploy",
            comparison.span,
            f"version {comparison.candidate} is slower than {comparison.baseline}",
            f"compare {comparison.span} by model_version; roll back {comparison.candidate} meanwhile",
            comparison.message,
        )


def _find_long_tails(breakdown: LatencyBreakdown, version: str | None) -> Iterator[Symptom]:
    """Report the lowest spans with a long tail; the spans above them are slow because of them."""
    rows = [row for row in breakdown.rows if row.model_version == version and row.count >= 100]
    tails = [row for row in rows if row.self_p50 and row.self_p99 and row.self_p99 >= LONG_TAIL * row.self_p50]
    if not tails:
        return
    worst = max(tails, key=lambda row: (row.self_p99 or 0.0) - (row.self_p50 or 0.0))
    missed = [row for row in rows if row.cache_hit_rate is not None and row.cache_hit_rate < 0.99]
    yield Symptom(
        "high p99, low p50",
        worst.span,
        "cold keys or cache misses" + (f": only {missed[0].cache_hit_rate:.1%} of {missed[0].span} hit" if missed else ""),
        f"the percentiles of what {worst.span} calls (feature store, cache), by key; the cache's hit rate and eviction",
        f"own time of {worst.span}: p50 {_ms(worst.self_p50)}, p99 {_ms(worst.self_p99)}",
    )


def _find_changes_over_time(row: SpanStats, samples: Samples) -> Iterator[Symptom]:
    """Report symptoms that show when requests are grouped into time slices."""
    first, last = min(samples.starts), max(samples.starts)
    if len(samples.starts) < SLICES * MIN_PER_SLICE or last - first < SECOND:
        return
    slices: list[list[int]] = [[] for _ in range(SLICES)]
    for start, duration in zip(samples.starts, samples.durations, strict=True):
        slices[min(SLICES - 1, (start - first) * SLICES // (last - first))].append(duration)
    filled = [sorted(part) for part in slices if len(part) >= 3]
    if len(filled) < SLICES * 3 // 4:
        return
    yield from _find_growth([quantile(part, 0.5) for part in filled])
    yield from _find_peak_load(filled)
    yield from _find_spikes(row, samples, filled)


def _find_growth(medians: Sequence[float]) -> Iterator[Symptom]:
    edge = len(medians) // 4
    before, after = sorted(medians[:edge]), sorted(medians[-edge:])
    growth = quantile(after, 0.5) / max(1.0, quantile(before, 0.5)) - 1
    if growth >= GROWTH and spearman(list(range(len(medians))), medians) >= STRONG:
        yield Symptom(
            "gradual increase",
            None,
            "data or features have grown",
            "the size of the feature store and of the model, features per request, batch sizes",
            f"the median request grew by {growth:.0%} over the interval",
        )


def _find_peak_load(slices: Sequence[Sequence[int]]) -> Iterator[Symptom]:
    load = [len(part) for part in slices]
    if max(load) < 1.5 * quantile(sorted(load), 0.5):
        return
    strength = spearman(load, [quantile(part, 0.9) for part in slices])
    if strength >= STRONG:
        yield Symptom(
            "spike during the peak",
            None,
            "saturation and queueing",
            "queue depth, CPU and GPU utilisation, the number of replicas at the peak",
            f"latency follows the load (rank correlation {strength:.2f})",
        )


def _find_spikes(row: SpanStats, samples: Samples, slices: Sequence[Sequence[int]]) -> Iterator[Symptom]:
    """Report spikes that are concentrated in a few time slices."""
    limit = SPIKE * quantile(sorted(samples.durations), 0.5)
    counts = [sum(duration > limit for duration in part) for part in slices]
    total = sum(counts)
    if total < 10:
        return
    worst = sorted(counts, reverse=True)[: max(1, len(counts) // 5)]
    if sum(worst) >= 0.7 * total and sum(count > 0 for count in counts) <= len(counts) // 2:
        yield Symptom(
            "intermittent spikes",
            None,
            "garbage collection or network jitter",
            "correlation of these times with GC pauses, network errors and neighbours on the host",
            f"{total} of {row.count} requests took more than {SPIKE:g} times the median, {sum(worst)} of them in {len(worst)} "
            f"of {len(counts)} time slices",
        )


def spearman(series: Sequence[float], other: Sequence[float]) -> float:
    """Return Spearman's rank correlation of two series; 0 if one is constant."""
    from scipy.stats import spearmanr

    return float(spearmanr(series, other).statistic) if len(set(series)) > 1 and len(set(other)) > 1 else 0.0


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value * 1000:.3g} ms"
