"""Compare a candidate with the champion within segments, where an overall gain can hide a loss."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from airflow_slo_provider.core.holm import holm
from airflow_slo_provider.evaluation.intervals.estimates import Estimate
from airflow_slo_provider.evaluation.intervals.metric_estimates import estimate_metrics
from airflow_slo_provider.evaluation.metrics.metric_names import RANKING, Metric
from airflow_slo_provider.evaluation.verdict.comparison import Comparison, compare_samples
from airflow_slo_provider.evaluation.verdict.outcomes import ModelVerdict
from airflow_slo_provider.exceptions import InvalidMeasurement

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
            raise ValueError(f"slice_margin is {self.margin}; it is the loss that a segment may have: 0 or more")
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
    verdict: ModelVerdict = ModelVerdict.PASS
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


def assess_segments(
    rule: SegmentRule,
    golden: GoldenSet,
    metrics: Sequence[Metric],
    candidate: JoinedPredictions,
    champion: JoinedPredictions | None,
    *,
    min_rows: int,
    **options: Any,
) -> SegmentResults:
    """Measure each segment, and compare it with the champion on the same rows.

    A segment fails if "no worse than the margin" is rejected at the given confidence after Holm's adjustment over all segments
    and metrics; without the adjustment, one of many segments would look bad by chance.
    """
    shown: list[Segment] = []
    too_small: set[str] = set()
    # Metrics that read the same rows are measured together.
    kinds = [[metric for metric in metrics if (metric.reads == RANKING) is ranking] for ranking in (False, True)]
    for name, mask, alike in ((*segment, kind) for segment in _split(golden, rule) for kind in kinds if kind):
        rows = mask[_select_rows(golden, candidate, champion, alike[0])]
        count = int(rows.sum())
        if count < rule.min_rows:
            too_small.add(name)
            continue
        ours = alike[0].select_sample(candidate).take(rows)
        theirs = None if champion is None else alike[0].select_sample(champion).take(rows)
        measured = estimate_metrics(alike, ours, **options)
        for metric in alike:
            comparison = None
            if theirs is not None:
                comparison = compare_samples(theirs, ours, metric, margin=rule.margin, min_rows=min_rows, **options)
            estimate = measured[metric.name]
            shown.append(Segment(name=name, metric=metric.name, rows=count, estimate=estimate, comparison=comparison))
    return SegmentResults(shown=tuple(shown), judged=_judge(shown, rule, options["confidence"]), too_small=len(too_small))


def _select_rows(
    golden: GoldenSet, candidate: JoinedPredictions, champion: JoinedPredictions | None, metric: Metric
) -> NDArray[np.bool_]:
    """Return a mask of the golden set's rows that a metric reads."""
    if golden.schema.group and metric.reads == RANKING:
        labelled: NDArray[np.bool_] = golden.frame[golden.schema.label].notna().to_numpy()
        return labelled
    return candidate.covered if champion is None else candidate.covered & champion.covered


def _split(golden: GoldenSet, rule: SegmentRule) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    for column in golden.schema.segments:
        values = golden.frame[column].astype(object).where(golden.frame[column].notna(), NULL).map(str)
        distinct = sorted(values.unique())
        if len(distinct) > rule.most:
            raise InvalidMeasurement(f"column {column!r} has {len(distinct)} values; a segment column has at most {rule.most}")
        for value in distinct:
            yield f"{column}={value}", (values == value).to_numpy()


def _judge(shown: Sequence[Segment], rule: SegmentRule, confidence: float) -> tuple[Segment, ...]:
    compared = [(segment, segment.comparison) for segment in shown if segment.comparison is not None]
    # The comparison tests whether the candidate is good enough; a segment fails only if it is significantly too bad.
    tested = [comparison for _, comparison in compared if _is_tested(comparison)]
    adjusted = iter(holm([_one_sided_pvalue(comparison, rule.margin) for comparison in tested]))
    judged = []
    for segment, comparison in compared:
        if not _is_tested(comparison) or comparison.delta is None:
            judged.append(replace(segment, verdict=ModelVerdict.UNKNOWN, why=comparison.reason))
            continue
        pvalue, delta = next(adjusted), comparison.delta
        gain = delta if comparison.higher_is_better else -delta
        verdict = ModelVerdict.PASS
        if not gain >= -rule.margin:
            verdict = ModelVerdict.FAIL if pvalue < 1 - confidence else ModelVerdict.WARN
        why = f"{segment.metric} {delta:+.4g} on {segment.rows} rows, margin {rule.margin:g}, p {pvalue:.3g} after Holm"
        judged.append(replace(segment, pvalue=pvalue, verdict=verdict, why=why))
    return tuple(judged)


def _is_tested(comparison: Comparison) -> bool:
    return comparison.pvalue is not None and comparison.delta is not None


def _one_sided_pvalue(comparison: Comparison, margin: float) -> float:
    """Return the one-sided p-value for "no worse than the margin"."""
    pvalue = 1.0 if comparison.pvalue is None else comparison.pvalue
    if margin:
        return 1 - pvalue if math.isfinite(pvalue) else 1.0
    # Without a margin the comparison's p-value is two-sided.
    gain = comparison.delta or 0.0
    worse = (gain < 0) if comparison.higher_is_better else (gain > 0)
    return pvalue / 2 if worse else 1 - pvalue / 2
