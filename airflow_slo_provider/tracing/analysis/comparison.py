"""Compare the latency of two model versions span by span.

Each span's own time (not covered by children, so that a slow child does not count against its parents) is compared between the
versions by the Mann-Whitney rank test, which assumes no shape of the distribution. The p-values of all spans are adjusted by
Holm's method, so that :data:`ALPHA` bounds the probability of any false positive in an unchanged version. A change of the tail
alone is detected by the bootstrap interval of the p99, with a Bonferroni correction.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.core.holm import holm
from airflow_slo_provider.exceptions import NoData
from airflow_slo_provider.tracing.analysis.breakdown import LatencyBreakdown
from airflow_slo_provider.tracing.analysis.collector import OTHERS, RowKey
from airflow_slo_provider.tracing.analysis.samples import Samples, seconds

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Probability of a false positive: any span reported as changed although nothing has changed.
ALPHA = 0.01
#: Changes of the median below this share of the baseline's are ignored, however significant.
MIN_CHANGE = 0.01
#: Spans per version below which a span is not compared.
MIN_SPANS = 30
#: Spans per version from which the interval of the p99 is used: 1 % of fewer is only a handful of values.
MIN_TAIL_SPANS = 500
_DRAWS = 2000


@dataclass(frozen=True)
class SpanChange:
    """The change of one span between two versions. Times are own times, in seconds; positive means the candidate is slower.

    :param span: name of the span
    :param service: its service
    :param baseline_count: number of spans of the earlier version
    :param candidate_count: number of spans of the later version
    :param p50_delta: change of the median
    :param p99_delta: change of the 99th percentile
    :param p99_low: lower end of the 95 % bootstrap interval of ``p99_delta``
    :param p99_high: upper end of the interval
    :param mean_delta: change of the mean, i.e. the time added to each request
    :param pvalue: two-sided p-value of the rank test, adjusted for the number of spans
    :param probability: probability that a span of the candidate takes longer than one of the baseline; 0.5 for no change
    :param changed: ``slower``, ``faster``, ``slower tail``, ``faster tail``, or empty for no change
    """

    span: str
    service: str
    baseline_count: int
    candidate_count: int
    p50_delta: float
    p99_delta: float
    p99_low: float
    p99_high: float
    mean_delta: float
    pvalue: float
    probability: float
    changed: str


@dataclass(frozen=True)
class VersionComparison:
    """The latency changes from one model version to the next.

    :param baseline: the earlier version
    :param candidate: the later one
    :param slower: the version that is slower; None when no span changed
    :param span: the changed span that adds most to a request
    :param changes: every span that both versions have, the one named in ``span`` first
    :param message: the result, one sentence
    """

    baseline: str
    candidate: str
    slower: str | None
    span: str | None
    changes: tuple[SpanChange, ...]
    message: str

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serialisable dict."""
        from dataclasses import asdict

        return asdict(self)


def compare(breakdown: LatencyBreakdown, baseline: str | None = None, candidate: str | None = None) -> VersionComparison:
    """Compare the latency of two model versions of a breakdown.

    A span is reported as changed at a significance level of 1 % and a change of its median by 1 % or more. The same spans give
    the same intervals.

    :param breakdown: a breakdown that has both versions
    :param baseline: the earlier version; by default the one before the candidate
    :param candidate: the later one; by default the newest
    :raises NoData: when there are no two versions with enough spans of one name to compare
    """
    before, after = _choose_versions(breakdown, baseline, candidate)
    pairs = _pairs(breakdown.samples, before, after)
    if not pairs:
        message = f"versions {before} and {after} share no span with at least {MIN_SPANS} values each; use a longer interval"
        raise NoData(message, reason="too_few")
    changes = _changes(pairs)
    worse = [change for change in changes if change.changed.startswith("slower")]
    better = [change for change in changes if change.changed.startswith("faster")]
    main_change = max(worse, key=_importance) if worse else min(better, key=_importance, default=None)
    slower = None if main_change is None else after if worse else before
    ordered = sorted(changes, key=lambda change: (change is not main_change, -abs(change.mean_delta)))
    return VersionComparison(
        baseline=before,
        candidate=after,
        slower=slower,
        span=None if main_change is None else main_change.span,
        changes=tuple(ordered),
        message=_comparison_message(before, after, main_change, bool(worse)),
    )


def _importance(change: SpanChange) -> tuple[bool, float]:
    """Return the sort key of a change: whole distribution before tail, then by the time added to a request."""
    if "tail" in change.changed:
        return (False, change.p99_delta) if change.p99_delta > 0 else (True, change.p99_delta)
    return (True, change.mean_delta) if change.mean_delta > 0 else (False, change.mean_delta)


def _choose_versions(breakdown: LatencyBreakdown, baseline: str | None, candidate: str | None) -> tuple[str, str]:
    versions = [version for version in breakdown.versions if version is not None]
    for version in (baseline, candidate):
        if version is not None and version not in versions:
            message = f"there are no spans of version {version}; versions: {', '.join(versions) or 'none'}"
            raise NoData(message, reason="no_version")
    after = candidate if candidate is not None else next((version for version in reversed(versions) if version != baseline), None)
    earlier = versions[: versions.index(after)] if after in versions else []
    before = baseline if baseline is not None else next(iter(reversed(earlier)), None)
    if before is None or after is None or before == after:
        raise NoData(f"two versions are needed; there are spans of {', '.join(versions) or 'none'}", reason="no_version")
    return before, after


def _pairs(samples: Mapping[RowKey, Samples], before: str, after: str) -> dict[tuple[str, str], tuple[Any, Any]]:
    """Return the own times of spans in both versions, by span and service."""
    pairs = {}
    for key, old in samples.items():
        new = samples.get(RowKey(key.span, key.service, after))
        if key.version != before or key.span == OTHERS or new is None:
            continue
        # If own times are unknown in one version, durations are compared in both.
        own = min(len(old.selves), len(new.selves)) >= MIN_SPANS
        times = (old.selves, new.selves) if own else (old.durations, new.durations)
        if min(map(len, times)) >= MIN_SPANS:
            pairs[key.span, key.service] = times
    return pairs


def _changes(pairs: Mapping[tuple[str, str], tuple[Any, Any]]) -> list[SpanChange]:
    import numpy as np
    from scipy.stats import mannwhitneyu

    measured = []
    for (span, service), (old_times, new_times) in pairs.items():
        old, new = (np.sort(np.frombuffer(times, dtype=np.int64)) for times in (old_times, new_times))
        result = mannwhitneyu(new, old, alternative="two-sided", method="asymptotic")
        pvalue = 1.0 if math.isnan(result.pvalue) else float(result.pvalue)  # all times equal
        measured.append((span, service, old, new, pvalue, float(result.statistic) / (len(old) * len(new))))
    adjusted = holm([item[4] for item in measured])
    generator = np.random.default_rng(0)
    changes = []
    for (span, service, old, new, _, probability), pvalue in zip(measured, adjusted, strict=True):
        draws = p99_draws(new, generator) - p99_draws(old, generator)
        low, high = np.quantile(draws, [0.025, 0.975])
        p50_old, p99_old = np.quantile(old, [0.5, 0.99])
        p50, p99 = np.quantile(new, [0.5, 0.99]) - (p50_old, p99_old)
        changed = ""
        if pvalue < ALPHA and abs(p50) >= MIN_CHANGE * p50_old:
            changed = "slower" if probability > 0.5 else "faster"
        elif min(len(old), len(new)) >= MIN_TAIL_SPANS and abs(p99) >= 5 * MIN_CHANGE * p99_old:
            share = ALPHA / len(measured) / 2
            lowest, highest = np.quantile(draws, [share, 1 - share])
            changed = "slower tail" if lowest > 0 else "faster tail" if highest < 0 else ""
        changes.append(
            SpanChange(
                span=span, service=service, baseline_count=len(old), candidate_count=len(new),
                p50_delta=seconds(float(p50)), p99_delta=seconds(float(p99)), p99_low=seconds(float(low)),
                p99_high=seconds(float(high)), mean_delta=seconds(float(new.mean() - old.mean())),
                pvalue=pvalue, probability=probability, changed=changed,
            )
        )  # fmt: skip
    return changes


def p99_draws(ordered: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.float64]:
    """Return 99th percentiles of bootstrap samples, without drawing the samples.

    The k-th smallest of n values drawn with replacement is the value at the k-th smallest of n uniform numbers, which follows a
    Beta(k, n - k + 1) law (David and Nagaraja, *Order Statistics*, 2003, section 2.2); the one after it lies beyond by the
    smallest of the remaining n - k. This is the bootstrap itself, not an approximation of it.

    :param ordered: times in nanoseconds, ascending
    :param generator: the random generator to draw from
    """
    import numpy as np

    count = len(ordered)
    position = (count - 1) * 0.99
    rank = int(position) + 1  # of the lower neighbour, from 1
    lower = generator.beta(rank, count - rank + 1, _DRAWS)
    low = ordered[np.minimum((lower * count).astype(np.int64), count - 1)].astype(np.float64)
    if rank == count:
        return low
    upper = lower + (1 - lower) * generator.beta(1, count - rank, _DRAWS)
    high = ordered[np.minimum((upper * count).astype(np.int64), count - 1)]
    drawn: NDArray[np.float64] = low + (high - low) * (position - int(position))
    return drawn


def _comparison_message(before: str, after: str, main_change: SpanChange | None, worse: bool) -> str:
    if main_change is None:
        return f"no span of {after} differs from {before} beyond chance"
    tail = " in its tail" if "tail" in main_change.changed else ""
    return (
        f"{main_change.span} is {'slower' if worse else 'faster'}{tail} since {after}: p50 {_ms(main_change.p50_delta)}, "
        f"p99 {_ms(main_change.p99_delta)} [{main_change.p99_low * 1000:.3g}, {main_change.p99_high * 1000:.3g}] "
        f"({main_change.candidate_count} spans against {main_change.baseline_count} of {before})"
    )


def _ms(value: float) -> str:
    return f"{value * 1000:+.3g} ms"
