"""Choose the model version to assess, and detect other versions that served at the same time.

If no version is named, the newest is assessed. Spans without a version are never assessed, and names alone do not always show
which version is the newest: the verdict is then UNKNOWN, and the version must be named.
"""

from __future__ import annotations

from collections.abc import Collection

from airflow_slo_provider.tracing.analysis.breakdown import LatencyBreakdown
from airflow_slo_provider.tracing.analysis.collector import OTHERS
from airflow_slo_provider.tracing.analysis.comparison import VersionComparison
from airflow_slo_provider.tracing.analysis.version_order import differ_only_in_numbers

#: Share of spans, counted from the assessed version's middle span on, that other versions may have without being reported.
MAX_OTHER_SHARE = 0.05
#: A version has ended when others served this many spans, for this many times its usual gap, after its last span.
SILENCE = 10


def version_to_assess(breakdown: LatencyBreakdown, comparison: VersionComparison | None, baseline: str | None) -> str | None:
    """Return the version to assess if none was named: the compared one, else the newest that is not the baseline."""
    if comparison is not None:
        return comparison.candidate
    others = [version for version in breakdown.versions if version != baseline]
    return (others or breakdown.versions or (None,))[-1]


def describe_concurrent_versions(
    breakdown: LatencyBreakdown, assessed: str | None, names: Collection[str], baseline: str | None
) -> str | None:
    """Describe versions that served at the same time as the assessed one or after it, if they make the choice ambiguous.

    Not ambiguous are versions that served before it (a rolling release), an older version at the same time whose name differs
    only in its numbers, and the baseline.

    :param breakdown: the latency breakdown
    :param assessed: the version to assess
    :param names: the spans that have a budget
    :param baseline: the named baseline version; it may serve at any time
    :return: one sentence; None if the choice is not ambiguous
    """
    starts: dict[str | None, list[int]] = {}
    for key, samples in breakdown.samples.items():
        expected = key.version == baseline and baseline is not None
        if key.span in names and key.span != OTHERS and not expected:
            # A sampled row holds fewer starts than were served. If only the assessed version is sampled, the others' share
            # is overestimated.
            starts.setdefault(key.version, []).extend(samples.starts)
    own = sorted(starts.pop(assessed, ()))
    if not own:
        return None
    middle, last = own[len(own) // 2], own[-1]
    ended = last + SILENCE * (last - own[0]) // len(own)
    left = len(own) - len(own) // 2
    for version, times in starts.items():
        who = "requests without a version" if version is None else f"requests of version {version}"
        remedy = f"set model_version (and baseline); {assessed} is only assumed to be the newest"
        after = sum(start > last for start in times)
        if after >= SILENCE and max(times) > ended:
            return f"{who} were served after the last one of {assessed} ({after} spans): {remedy}"
        beside = sum(start >= middle for start in times)
        if beside > MAX_OTHER_SHARE * (beside + left) and not differ_only_in_numbers(assessed, version):
            return f"{who} were served at the same time as those of {assessed} ({beside} spans against {left}): {remedy}"
    return None
