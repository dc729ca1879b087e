"""Compare a candidate with the champion within segments, where an overall gain can hide a loss."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from airflow_slo_provider.evaluation.intervals.closed_form import holm
from airflow_slo_provider.evaluation.intervals.estimates import Estimate
from airflow_slo_provider.evaluation.intervals.metric_estimates import estimate_metrics
from airflow_slo_provider.evaluation.metrics.metric_names import RANKING, Metric
from airflow_slo_provider.evaluation.verdict.comparison import Comparison, compare_samples
from airflow_slo_provider.evaluation.verdict.outcomes import Outcome

if TYPE_CHECKING:
    from airflow_slo_provider.evaluation.rows.golden_set import GoldenSet
    from airflow_slo_provider.evaluation.rows.predictions import JoinedPredictions

#: Stands for a missing value; rows without a value form a segment of their own.
NULL = "(null)"


@dataclass(frozen=True, kw_only=True)
class SegmentRule:
    """Rule for judging segments against the champion.

    :param margin: tolerated loss of a segment in the metric's own unit
    :param min_rows: segments with fewer rows are not judged
    :param most: a segment column with more distinct values is an error
    """

    margin: float = 0.02
    min_rows: int = 200
    most: int = 100

    def check(self, metrics: Sequence[Metric]) -> None:
        """Reject a negative margin, and one that no segment could exceed in any of the metrics.

        :raises ValueError: with what to write instead
        """
        if not 0 <= self.margin < math.inf:
            raise ValueError(f"slice_margin is {self.margin}; it is what a segment may lose: 0 or more")
        if metrics and self.margin >= 1 and all(metric.bounded for metric in metrics):
            raise ValueError(f"slice_margin is {self.margin:g}; nothing can lose that much: write less than 1, e.g. 0.02")


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Result of one metric on one segment.

    :param name: ``region=north``
    :param pvalue: one-sided, for "no worse than the margin", after Holm's adjustment
    :param verdict: ``fail`` if the segment is significantly worse than the margin allows, ``warn`` if only its value is worse,
        else ``pass``; ``unknown`` if a metric has no value
    """

    name: str
    metric: str
    rows: int
    estimate: Estimate
    comparison: Comparison | None = None
    pvalue: float | None = None
    verdict: Outcome = Outcome.PASS
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class SegmentResults:
    """Results of all segments.

    :param shown: segments large enough to be measured
    :param judged: segments that were compared with the champion
    :param too_small: number of segments that were too small to be measured
    """

    shown: tuple[Segment, ...]
    judged: tuple[Segment, ...]
    too_small: int

    def to_list(self) -> list[dict[str, Any]]:
        """Return the segments as values that JSON can hold."""
        made = []
        for one in self.judged or self.shown:
            data = asdict(one)
            data["verdict"] = one.verdict.value
            if one.comparison is not None:
                data["comparison"]["verdict"] = one.comparison.verdict.value
            made.append(data)
        return made


def assess_segments(
    rule: SegmentRule,
    golden: GoldenSet,
    metrics: Sequence[Metric],
    candidate: JoinedPredictions,
    champion: JoinedPredictions | None,
    *,
    min_rows: int,
    **how: Any,
) -> SegmentResults:
    """Measure each segment, and compare it with the champion on the same rows.

    A segment fails if "no worse than the margin" is rejected at the given confidence after Holm's adjustment over all segments
    and metrics; without the adjustment, one of many segments would look bad by chance.
    """
    shown: list[Segment] = []
    too_small = 0
    kinds = [[metric for metric in metrics if (metric.reads == RANKING) is ranking] for ranking in (False, True)]
    for name, mask in _segments(golden, rule):
        small = False
        for alike in filter(None, kinds):  # metrics that read the same rows
            rows = mask[_kept(golden, candidate, champion, alike[0])]
            count = int(rows.sum())
            if count < rule.min_rows:
                small = True
                continue
            ours = alike[0].select_sample(candidate).take(rows)
            theirs = None if champion is None else alike[0].select_sample(champion).take(rows)
            measured = estimate_metrics(alike, ours, **how)
            for metric in alike:
                compared = None
                if theirs is not None:
                    compared = compare_samples(theirs, ours, metric, margin=rule.margin, min_rows=min_rows, **how)
                found = measured[metric.name]
                shown.append(Segment(name=name, metric=metric.name, rows=count, estimate=found, comparison=compared))
        too_small += small
    return SegmentResults(shown=tuple(shown), judged=_judge(shown, rule, how["confidence"]), too_small=too_small)


def _kept(
    golden: GoldenSet, candidate: JoinedPredictions, champion: JoinedPredictions | None, metric: Metric
) -> NDArray[np.bool_]:
    """Return a mask of the golden set's rows that a metric reads."""
    if golden.schema.group and metric.reads == RANKING:
        labelled: NDArray[np.bool_] = golden.frame[golden.schema.label].notna().to_numpy()
        return labelled
    return candidate.covered if champion is None else candidate.covered & champion.covered


def _segments(golden: GoldenSet, rule: SegmentRule) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    from airflow_slo_provider.exceptions import InvalidMeasurement

    for column in golden.schema.segments:
        values = golden.frame[column].astype(object).where(golden.frame[column].notna(), NULL).map(str)
        kinds = sorted(values.unique())
        if len(kinds) > rule.most:
            raise InvalidMeasurement(f"column {column!r} has {len(kinds)} values; a column of segments has {rule.most} at most")
        for kind in kinds:
            yield f"{column}={kind}", (values == kind).to_numpy()


def _judge(shown: Sequence[Segment], rule: SegmentRule, confidence: float) -> tuple[Segment, ...]:
    compared = [one for one in shown if one.comparison is not None]
    tested = [one for one in compared if one.comparison and one.comparison.pvalue is not None]
    # The comparison tests whether the candidate is good enough; a segment fails only if it is significantly too bad.
    chances = [_chance_of_worse(one.comparison, rule.margin) for one in tested if one.comparison]
    adjusted: Mapping[int, float] = dict(zip(map(id, tested), holm(chances), strict=True))
    judged = []
    for one in compared:
        found, pvalue = one.comparison, adjusted.get(id(one))
        if found is None or found.delta is None or pvalue is None:
            verdict, why = Outcome.UNKNOWN, found.reason if found else ""
        else:
            gain = found.delta if found.higher_is_better else -found.delta
            verdict = Outcome.PASS
            if not gain >= -rule.margin:
                verdict = Outcome.FAIL if pvalue < 1 - confidence else Outcome.WARN
            why = f"{found.metric} {found.delta:+.4g} on {one.rows} rows, margin {rule.margin:g}, p {pvalue:.3g} after Holm"
        judged.append(replace(one, pvalue=pvalue, verdict=verdict, why=why))
    return tuple(judged)


def _chance_of_worse(comparison: Comparison, margin: float) -> float:
    """Return the one-sided p-value for "no worse than the margin"."""
    pvalue = comparison.pvalue if comparison.pvalue is not None else 1.0
    if margin:
        return 1 - pvalue if math.isfinite(pvalue) else 1.0
    # Without a margin the comparison's p-value is two-sided.
    gain = comparison.delta or 0.0
    worse = (gain < 0) if comparison.higher_is_better else (gain > 0)
    return pvalue / 2 if worse else 1 - pvalue / 2
