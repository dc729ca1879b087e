"""Which model version is judged, and whether what served beside it leaves that open.

A version that was not named is the newest. Nobody judges what carries no version, and names alone do not always tell which
version is the newest: then the answer is unknown, and the version must be named.
"""

from __future__ import annotations

from collections.abc import Collection

from airflow_slo_provider.tracing.analysis.breakdown import LatencyBreakdown
from airflow_slo_provider.tracing.analysis.collector import OTHERS
from airflow_slo_provider.tracing.analysis.comparison import VersionComparison
from airflow_slo_provider.tracing.analysis.version_order import told_by_number

#: Share of the spans, since the middle one of the judged version, that others may have without a word.
SHARE = 0.05
#: A version has ended when others served this many spans, and for this many times its usual gap, after its last one.
SILENCE = 10


def judged_version(breakdown: LatencyBreakdown, comparison: VersionComparison | None, baseline: str | None) -> str | None:
    """Return the version to judge where none was named: the one that was compared, else the newest that is not the baseline."""
    if comparison is not None:
        return comparison.candidate
    others = [version for version in breakdown.versions if version != baseline]
    return (others or breakdown.versions or (None,))[-1]


def served_beside(breakdown: LatencyBreakdown, judged: str | None, names: Collection[str], baseline: str | None) -> str | None:
    """Say what served beside the judged version, or after it, and leaves open whether it is the one to judge; None for nothing.

    What served before it (a rolling release) leaves nothing open, nor does an older version beside it whose name differs in
    numbers alone, nor the baseline.

    :param names: the spans that have a budget
    :param baseline: a version that was named: it may serve whenever it likes
    """
    starts: dict[str | None, list[int]] = {}
    for key, samples in breakdown.samples.items():
        expected = key.version == baseline and baseline is not None
        if key.span in names and key.span != OTHERS and not expected:
            # Of a row that is sampled there are fewer than served; the judged one's alone makes the others' share look larger.
            starts.setdefault(key.version, []).extend(samples.starts)
    own = sorted(starts.pop(judged, ()))
    if not own:
        return None
    middle, last = own[len(own) // 2], own[-1]
    ended = last + SILENCE * (last - own[0]) // len(own)
    left = len(own) - len(own) // 2
    for version, moments in starts.items():
        who = "requests without a version" if version is None else f"requests of version {version}"
        name = f"name the model_version to judge (and a baseline), {judged} is only taken for the newest"
        after = sum(moment > last for moment in moments)
        if after >= SILENCE and max(moments) > ended:
            return f"{who} were served after the last one of {judged} ({after} spans): {name}"
        beside = sum(moment >= middle for moment in moments)
        if beside > SHARE * (beside + left) and not told_by_number(judged, version):
            return f"{who} were served beside those of {judged} ({beside} spans against {left}): {name}"
    return None
