"""Assess a candidate model: coverage, metrics, thresholds, champion, segments, and one verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.core.holm import holm
from airflow_slo_provider.evaluation.intervals.bootstrap import REPLICATES
from airflow_slo_provider.evaluation.intervals.estimates import MIN_ROWS, Estimate
from airflow_slo_provider.evaluation.intervals.latency import estimate_latency
from airflow_slo_provider.evaluation.intervals.metric_estimates import check_options, estimate_metrics
from airflow_slo_provider.evaluation.metrics.metric_names import LATENCY, RANKING, Metric, check_comparison, check_direction
from airflow_slo_provider.evaluation.rows.predictions import JoinedPredictions, join
from airflow_slo_provider.evaluation.verdict.comparison import Comparison, compare_samples
from airflow_slo_provider.evaluation.verdict.outcomes import INTERVAL, VALUE, ModelVerdict, worst
from airflow_slo_provider.evaluation.verdict.segments import SegmentResults, SegmentRule, assess_segments
from airflow_slo_provider.evaluation.verdict.thresholds import Threshold, judge
from airflow_slo_provider.exceptions import InvalidMeasurement

if TYPE_CHECKING:
    from airflow_slo_provider.evaluation.rows.golden_set import GoldenSet
    from airflow_slo_provider.evaluation.rows.predictions import Predictions


@dataclass(frozen=True, kw_only=True)
class EvaluationPlan:
    """Requirements for a candidate model.

    :param metrics: metrics to measure
    :param thresholds: threshold per metric
    :param compare_on: metrics on which the candidate must be better than the champion, or not worse by more than the margin
    :param margin: tolerated loss in the metric's own unit: one number, or one per metric; with 0 the candidate must be better
    :param confidence: level of every interval
    :param decide_on: ``interval`` or ``value``, see :func:`~airflow_slo_provider.evaluation.verdict.thresholds.judge`
    :param min_coverage: share of the golden set's rows that must have a label and a prediction
    :param min_rows: with fewer rows or groups a bootstrap or DeLong interval is ``inconclusive``
    :param slices: rule for segments; None to ignore segments
    :param labels: classes known in training; any other label is reported, and fails the coverage of labels
    :param pos_label: the positive class of two; by default the greater
    :param decision_threshold: probability from which a row counts as positive where labels are needed
    :param replicates: number of bootstrap replicates
    :param method: ``auto``, ``bootstrap`` or ``exact``, see
        :func:`~airflow_slo_provider.evaluation.intervals.metric_estimates.evaluate`
    """

    metrics: Sequence[Metric]
    thresholds: Mapping[str, Threshold] = field(default_factory=dict)
    compare_on: Sequence[str] = ()
    margin: float | Mapping[str, float] = 0.0
    confidence: float = 0.95
    decide_on: str = INTERVAL
    min_coverage: float = 1.0
    min_rows: int = MIN_ROWS
    slices: SegmentRule | None = None
    labels: tuple[Any, ...] | None = None
    pos_label: Any = None
    decision_threshold: float = 0.5
    replicates: int = REPLICATES
    method: str = "auto"

    def __post_init__(self) -> None:
        by_name = {metric.name: metric for metric in self.metrics}
        margins = self.margin if isinstance(self.margin, Mapping) else {}
        try:
            for field_name, names in (("thresholds", self.thresholds), ("compare_on", self.compare_on), ("margin", margins)):
                for name in names:
                    if name not in by_name:
                        raise ValueError(f"{field_name} names {name!r}, which is not a metric: {', '.join(by_name)}")
            for name in self.thresholds:
                check_direction(by_name[name])
            for name in self.compare_on:
                check_comparison(by_name[name], self.get_margin(name))
            if self.slices is not None:
                self.slices.check([by_name[name] for name in self.compare_on])
            if self.decide_on not in (INTERVAL, VALUE):
                raise ValueError(f"decide_on is {self.decide_on!r}; write {INTERVAL!r} or {VALUE!r}")
            if not 0 < self.min_coverage <= 1:
                raise ValueError(f"min_coverage is {self.min_coverage}; write a share above 0, at most 1")
            check_options(self.confidence, self.replicates, self.method, self.decision_threshold)
        except ValueError as error:
            raise InvalidMeasurement(str(error), reason="bad_option") from error

    def get_margin(self, metric: str) -> float:
        """Return the tolerated loss of a metric."""
        return float(self.margin.get(metric, 0.0) if isinstance(self.margin, Mapping) else self.margin)


@dataclass(frozen=True, kw_only=True)
class AssessmentPart:
    """One judged aspect of a candidate.

    :param name: ``coverage``, ``accuracy``, ``accuracy vs champion``, ``segment region=north`` ...
    :param why: reason for the verdict with its numbers, in a sentence
    :param metric: the metric that was judged, None for coverage and the like
    """

    name: str
    verdict: ModelVerdict
    why: str
    metric: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelAssessment:
    """Result of assessing a candidate.

    :param verdict: the worst verdict of its parts
    :param pvalues: p-values of the comparisons, adjusted for their number [Holm 1979]
    :param joined: the candidate's predictions with the labels
    :param champion: the champion's predictions with the labels, for the same rows
    """

    verdict: ModelVerdict
    parts: tuple[AssessmentPart, ...]
    estimates: Mapping[str, Estimate]
    champion_estimates: Mapping[str, Estimate]
    comparisons: Mapping[str, Comparison]
    pvalues: Mapping[str, float]
    slices: SegmentResults | None
    joined: JoinedPredictions
    champion: JoinedPredictions | None
    unseen_labels: Mapping[str, int]
    plan: EvaluationPlan
    content_hash: str

    @property
    def reported(self) -> dict[str, str]:
        """Values of the metrics that were measured but not judged."""
        judged = {part.metric for part in self.parts}
        return {name: _format_estimate(estimate) for name, estimate in self.estimates.items() if name not in judged}

    @property
    def why(self) -> str:
        """The parts with the worst verdict, in a sentence."""
        decisive = [part for part in self.parts if part.verdict is self.verdict]
        return "; ".join(f"{part.name}: {part.why}" for part in decisive[:5])


def assess(
    plan: EvaluationPlan, golden: GoldenSet, candidate: Predictions, champion: Predictions | None = None
) -> ModelAssessment:
    """Judge a candidate's predictions, and compare them with the champion's if there are any.

    :raises InvalidMeasurement: when predictions contradict the golden set: two for one id, a negative relevance
    """
    ranking = any(metric.reads == RANKING for metric in plan.metrics)
    join_options: dict[str, Any] = {
        "positive": plan.pos_label, "cut": plan.decision_threshold, "labels": plan.labels, "ranking": ranking,
    }  # fmt: skip
    options: dict[str, Any] = {
        "confidence": plan.confidence, "replicates": plan.replicates, "seed": golden.seed, "method": plan.method,
    }  # fmt: skip
    joined = paired = join(golden, candidate, **join_options)
    parts = [_judge_coverage(plan, joined, "coverage")]
    measured = [metric for metric in plan.metrics if metric.reads != LATENCY]
    estimates = _estimate(measured, joined, **options)
    estimates |= {
        metric.name: estimate_latency(metric, candidate, plan.confidence) for metric in plan.metrics if metric.reads == LATENCY
    }
    champion_joined: JoinedPredictions | None = None
    champion_estimates: dict[str, Estimate] = {}
    comparisons: dict[str, Comparison] = {}
    if champion is not None:
        champion_joined = join(golden, champion, **join_options)
        parts.append(_judge_coverage(plan, champion_joined, "champion's coverage"))
        # Both models are measured on the same rows: a row that one of them did not answer is left out, and lowers its coverage.
        paired = join(golden, candidate, drop=~champion_joined.covered, **join_options)
        champion_joined = join(golden, champion, drop=~joined.covered, **join_options)
        champion_estimates = _estimate(measured, champion_joined, **options)
        by_name = {metric.name: metric for metric in measured}
        for name, metric in ((name, by_name[name]) for name in plan.compare_on):
            comparisons[name] = compare_samples(
                metric.select_sample(champion_joined), metric.select_sample(paired), metric,
                margin=plan.get_margin(name), min_rows=plan.min_rows, **options,
            )  # fmt: skip
    pvalues = {name: comparison.pvalue for name, comparison in comparisons.items() if comparison.pvalue is not None}
    pvalues = dict(zip(pvalues, holm(list(pvalues.values())), strict=True))
    slices = None
    if plan.slices is not None and golden.schema.segments:
        in_segments = [metric for metric in measured if not plan.compare_on or metric.name in plan.compare_on]
        slices = assess_segments(plan.slices, golden, in_segments, paired, champion_joined, min_rows=plan.min_rows, **options)
    unseen = _count_unseen_labels(golden, plan)
    if unseen:
        labels = ", ".join(f"{label} ({count} rows)" for label, count in list(unseen.items())[:5])
        reason = f"labels unseen in training, counted as wrong: {labels}"
        parts.append(AssessmentPart(name="labels", verdict=ModelVerdict.WARN, why=reason))
    parts += _require_criteria(plan, champion is not None)
    parts += _judge_estimates(plan, estimates)
    parts += [_judge_comparison(comparison, pvalues.get(name), plan) for name, comparison in comparisons.items()]
    if slices is not None and plan.slices is not None:
        parts += _judge_segments(slices, plan.slices)
    return ModelAssessment(
        verdict=worst([part.verdict for part in parts]), parts=tuple(parts), estimates=estimates,
        champion_estimates=champion_estimates, comparisons=comparisons, pvalues=pvalues, slices=slices, joined=joined,
        champion=champion_joined, unseen_labels=unseen, plan=plan, content_hash=golden.content_hash,
    )  # fmt: skip


def _format_estimate(estimate: Estimate) -> str:
    if estimate.value is None:
        return estimate.reason
    bounded = estimate.low is not None and estimate.high is not None
    return f"{estimate.value:.6g} [{estimate.low:.6g}, {estimate.high:.6g}]" if bounded else f"{estimate.value:.6g}"


def _estimate(metrics: Sequence[Metric], joined: JoinedPredictions, **options: Any) -> dict[str, Estimate]:
    estimates: dict[str, Estimate] = {}
    for ranking in (False, True):
        chosen = [metric for metric in metrics if (metric.reads == RANKING) is ranking]
        estimates |= estimate_metrics(chosen, chosen[0].select_sample(joined), **options) if chosen else {}
    return {metric.name: estimates[metric.name] for metric in metrics}


def _judge_coverage(plan: EvaluationPlan, joined: JoinedPredictions, name: str) -> AssessmentPart:
    covered = int(joined.covered.sum())
    why = f"{covered} of {joined.expected} rows have a label and a prediction"
    if joined.coverage >= plan.min_coverage and covered:
        return AssessmentPart(name=name, verdict=ModelVerdict.PASS, why=why)
    missing = f"; no prediction for {joined.unpredicted} ids, e.g. {', '.join(joined.missing)}" if joined.missing else ""
    return AssessmentPart(name=name, verdict=ModelVerdict.UNKNOWN, why=f"{why}, {plan.min_coverage:.4g} of them must{missing}")


def _require_criteria(plan: EvaluationPlan, champion: bool) -> list[AssessmentPart]:
    """Return an ``unknown`` part if nothing requires the model to be good; full coverage alone must not pass."""
    if champion and not plan.compare_on:
        why = "there is a champion, but no metric to compare; name one in compare_on"
    elif not champion and not plan.thresholds:
        why = "there is no criterion; set thresholds, or a champion to compare with"
    else:
        return []
    return [AssessmentPart(name="requirements", verdict=ModelVerdict.UNKNOWN, why=why)]


def _judge_estimates(plan: EvaluationPlan, estimates: Mapping[str, Estimate]) -> list[AssessmentPart]:
    parts = []
    for name, estimate in estimates.items():
        if name in plan.thresholds:
            verdict, why = judge(estimate, plan.thresholds[name], decide_on=plan.decide_on, min_rows=plan.min_rows)
            parts.append(AssessmentPart(name=name, verdict=verdict, why=why, metric=name))
        elif estimate.value is None:  # a requested metric without a value must not be read as a pass
            parts.append(AssessmentPart(name=name, verdict=ModelVerdict.UNKNOWN, why=estimate.reason, metric=name))
    return parts


def _judge_comparison(compared: Comparison, adjusted: float | None, plan: EvaluationPlan) -> AssessmentPart:
    metric, verdict, margin, reason = compared.metric, compared.verdict, compared.margin, compared.reason
    if compared.delta is None:
        return AssessmentPart(name=f"{metric} vs champion", verdict=ModelVerdict.UNKNOWN, why=reason, metric=metric)
    bounded = compared.low is not None and compared.high is not None
    interval = f"[{compared.low:.6g}, {compared.high:.6g}]" if bounded else "without an interval"
    values = f"{compared.candidate:.6g} against {compared.champion:.6g}: {compared.delta:+.6g} {interval}"
    why = f"{values}, margin {margin:g}, p {compared.pvalue:.3g}"
    if verdict is ModelVerdict.PASS and not margin and adjusted is not None and not adjusted < 1 - plan.confidence:
        verdict, why = ModelVerdict.INCONCLUSIVE, f"{why} ({adjusted:.3g} among {len(plan.compare_on)} comparisons)"
    why = f"{why}; {reason}" if reason else why
    return AssessmentPart(name=f"{metric} vs champion", verdict=verdict, why=why, metric=metric)


def _judge_segments(slices: SegmentResults, rule: SegmentRule) -> list[AssessmentPart]:
    if not slices.shown:  # segments that were requested but not measured must not be read as a pass
        small = f"none of {slices.too_small} has the required {rule.min_rows} rows"
        why = small if slices.too_small else "none of the metrics can be measured within a segment"
        return [AssessmentPart(name="segments", verdict=ModelVerdict.WARN, why=why)]
    parts = [
        AssessmentPart(name=f"segment {segment.name}", verdict=segment.verdict, why=segment.why, metric=segment.metric)
        for segment in slices.judged
        if segment.verdict is not ModelVerdict.PASS
    ]
    if slices.judged and not parts:
        small = f"; {slices.too_small} more are too small to be judged" if slices.too_small else ""
        why = f"none of {len(slices.judged)} is worse by the margin{small}"
        parts.append(AssessmentPart(name="segments", verdict=ModelVerdict.PASS, why=why))
    return parts


def _count_unseen_labels(golden: GoldenSet, plan: EvaluationPlan) -> dict[str, int]:
    if plan.labels is None:
        return {}
    labels = golden.frame[golden.schema.label].dropna()
    counts = labels[~labels.isin(set(plan.labels))].value_counts()
    return {str(label): int(count) for label, count in counts.items() if count}  # a categorical also lists unused categories
