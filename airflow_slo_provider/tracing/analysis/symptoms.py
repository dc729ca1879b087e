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
PIECES, FEWEST_PER_PIECE = 20, 15
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
    judged = version if version is not None else (breakdown.versions[-1] if breakdown.versions else None)
    found = list(_deploy(comparison))
    found += _tails(breakdown, judged)
    request = _request(breakdown, judged)
    if request is not None:
        found += _over_time(*request)
    return found


def _deploy(comparison: VersionComparison | None) -> Iterator[Symptom]:
    if comparison is not None and comparison.slower == comparison.candidate:
        yield Symptom(
            "latency spike after a deploy",
            comparison.span,
            f"version {comparison.candidate} is slower than {comparison.baseline}",
            f"compare {comparison.span} by model_version; roll back {comparison.candidate} while you look",
            comparison.message,
        )


def _tails(breakdown: LatencyBreakdown, version: str | None) -> Iterator[Symptom]:
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


def _request(breakdown: LatencyBreakdown, version: str | None) -> tuple[SpanStats, Samples] | None:
    tops = [row for row in breakdown.rows if row.top and row.model_version == version]
    if not tops:
        return None
    row = max(tops, key=lambda one: one.count)
    return row, breakdown.samples[RowKey(row.span, row.service, version)]


def _over_time(row: SpanStats, samples: Samples) -> Iterator[Symptom]:
    """Report symptoms that show when requests are grouped into time slices."""
    first, last = min(samples.starts), max(samples.starts)
    if len(samples.starts) < PIECES * FEWEST_PER_PIECE or last - first < SECOND:
        return
    pieces: list[list[int]] = [[] for _ in range(PIECES)]
    for start, duration in zip(samples.starts, samples.durations, strict=True):
        pieces[min(PIECES - 1, (start - first) * PIECES // (last - first))].append(duration)
    filled = [sorted(piece) for piece in pieces if len(piece) >= 3]
    if len(filled) < PIECES * 3 // 4:
        return
    medians = [quantile(piece, 0.5) for piece in filled]
    yield from _growing(medians)
    yield from _at_the_peak(filled)
    yield from _spikes(row, samples, filled)


def _growing(medians: Sequence[float]) -> Iterator[Symptom]:
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


def _at_the_peak(pieces: Sequence[Sequence[int]]) -> Iterator[Symptom]:
    load = [float(len(piece)) for piece in pieces]
    slow = [quantile(piece, 0.9) for piece in pieces]
    if max(load) < 1.5 * quantile(sorted(load), 0.5):
        return
    strength = spearman(load, slow)
    if strength >= STRONG:
        yield Symptom(
            "spike during the peak",
            None,
            "saturation and queueing",
            "queue depth, CPU and GPU utilisation, the number of replicas at the peak",
            f"latency follows the load (rank correlation {strength:.2f})",
        )


def _spikes(row: SpanStats, samples: Samples, pieces: Sequence[Sequence[int]]) -> Iterator[Symptom]:
    """Report spikes that are concentrated in a few time slices."""
    limit = SPIKE * quantile(sorted(samples.durations), 0.5)
    counts = [sum(one > limit for one in piece) for piece in pieces]
    total = sum(counts)
    if total < 10:
        return
    struck = sorted(counts, reverse=True)[: max(1, len(counts) // 5)]
    if sum(struck) >= 0.7 * total and sum(count > 0 for count in counts) <= len(counts) // 2:
        yield Symptom(
            "intermittent spikes",
            None,
            "garbage collection or network jitter",
            "correlation of these moments with GC pauses, network errors and neighbours on the host",
            f"{total} of {row.count} requests took more than {SPIKE:g} times the median, {sum(struck)} of them in {len(struck)} "
            f"of {len(counts)} pieces of time",
        )


def spearman(one: Sequence[float], other: Sequence[float]) -> float:
    """Return Spearman's rank correlation of two series; 0 if one is constant."""
    ranks = [_ranks(series) for series in (one, other)]
    means = [sum(series) / len(series) for series in ranks]
    centred = [[value - mean for value in series] for series, mean in zip(ranks, means, strict=True)]
    spread = [sum(value * value for value in series) for series in centred]
    if not all(spread):
        return 0.0
    product = sum(a * b for a, b in zip(*centred, strict=True))
    return float(product / (spread[0] * spread[1]) ** 0.5)


def _ranks(series: Sequence[float]) -> list[float]:
    order = sorted(range(len(series)), key=lambda index: series[index])
    ranks = [0.0] * len(series)
    place = 0
    while place < len(order):
        end = place
        while end + 1 < len(order) and series[order[end + 1]] == series[order[place]]:
            end += 1
        for index in order[place : end + 1]:
            ranks[index] = (place + end) / 2
        place = end + 1
    return ranks


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value * 1000:.3g} ms"
