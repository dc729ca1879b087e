"""Assess a candidate model: coverage, metrics, thresholds, champion, segments, and one verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.evaluation.intervals.bootstrap import REPLICATES
from airflow_slo_provider.evaluation.intervals.closed_form import holm
from airflow_slo_provider.evaluation.intervals.estimates import MIN_ROWS, Estimate
from airflow_slo_provider.evaluation.intervals.latency import estimate_latency
from airflow_slo_provider.evaluation.intervals.metric_estimates import check_options, estimate_metrics
from airflow_slo_provider.evaluation.metrics.metric_names import LATENCY, RANKING, Metric, check_comparison, check_direction
from airflow_slo_provider.evaluation.rows.predictions import JoinedPredictions, join
from airflow_slo_provider.evaluation.verdict.comparison import Comparison, compare_samples
from airflow_slo_provider.evaluation.verdict.outcomes import INTERVAL, VALUE, Outcome, worst
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
            for what, given in (("thresholds", self.thresholds), ("compare_on", self.compare_on), ("margin", margins)):
                for name in given:
                    if name not in by_name:
                        raise ValueError(f"{what} names {name!r}, which is no metric: {', '.join(by_name)}")
            for name in self.thresholds:
                check_direction(by_name[name])
            for name in self.compare_on:
                check_comparison(by_name[name], self.margin_of(name))
            if self.slices is not None:
                self.slices.check([by_name[name] for name in self.compare_on])
            if self.decide_on not in (INTERVAL, VALUE):
                raise ValueError(f"decide_on is {self.decide_on!r}; write {INTERVAL!r} or {VALUE!r}")
            if not 0 < self.min_coverage <= 1:
                raise ValueError(f"min_coverage is {self.min_coverage}; write a share above 0, 1 at most")
            check_options(self.confidence, self.replicates, self.method, self.decision_threshold)
        except ValueError as error:
            raise InvalidMeasurement(str(error), reason="bad_option") from error

    def margin_of(self, metric: str) -> float:
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
    verdict: Outcome
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

    verdict: Outcome
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
        told = {part.metric for part in self.parts}
        return {name: _shown(one) for name, one in self.estimates.items() if name not in told}

    @property
    def why(self) -> str:
        """The parts with the worst verdict, in a sentence."""
        telling = [part for part in self.parts if part.verdict is self.verdict]
        return "; ".join(f"{part.name}: {part.why}" for part in telling[:5])


def assess(
    plan: EvaluationPlan, golden: GoldenSet, candidate: Predictions, champion: Predictions | None = None
) -> ModelAssessment:
    """Judge a candidate's predictions, and compare them with the champion's if there are any.

    :raises InvalidMeasurement: when predictions contradict the golden set: two for one id, a negative relevance
    """
    ranking = any(metric.reads == RANKING for metric in plan.metrics)
    options: dict[str, Any] = {
        "positive": plan.pos_label, "cut": plan.decision_threshold, "labels": plan.labels, "ranking": ranking,
    }  # fmt: skip
    ours = join(golden, candidate, **options)
    theirs = None if champion is None else join(golden, champion, **options)
    paired = ours
    if theirs is not None:
        # Both models are measured on the same rows: a row that one of them did not answer is left out, and lowers its coverage.
        paired = join(golden, candidate, drop=~theirs.covered, **options)
        theirs = join(golden, champion, drop=~ours.covered, **options)  # type: ignore[arg-type]
    timed = [metric for metric in plan.metrics if metric.reads == LATENCY]
    measured = [metric for metric in plan.metrics if metric.reads != LATENCY]
    how: dict[str, Any] = {
        "confidence": plan.confidence, "replicates": plan.replicates, "seed": golden.seed, "method": plan.method,
    }  # fmt: skip
    found = _estimates(measured, ours, **how)
    found |= {metric.name: estimate_latency(metric, candidate, plan.confidence) for metric in timed}
    before: dict[str, Estimate] = {}
    comparisons: dict[str, Comparison] = {}
    if theirs is not None:
        before = _estimates(measured, theirs, **how)
        by_name = {metric.name: metric for metric in measured}
        for name in plan.compare_on:
            metric = by_name[name]
            comparisons[name] = compare_samples(
                metric.select_sample(theirs), metric.select_sample(paired), metric,
                margin=plan.margin_of(name), min_rows=plan.min_rows, **how,
            )  # fmt: skip
    asked = [name for name in comparisons if comparisons[name].pvalue is not None]
    adjusted = holm([comparisons[name].pvalue or 0.0 for name in asked])
    pvalues = dict(zip(asked, adjusted, strict=True))
    slices = None
    if plan.slices is not None and golden.schema.segments:
        wanted = [metric for metric in measured if metric.name in (plan.compare_on or [one.name for one in measured])]
        slices = assess_segments(plan.slices, golden, wanted, paired, theirs, min_rows=plan.min_rows, **how)
    unseen = _unseen(golden, plan)
    parts = [_coverage(plan, ours, "coverage")]
    if theirs is not None and champion is not None:
        parts.append(_coverage(plan, join(golden, champion, **options), "champion's coverage"))
    if unseen:
        listed = ", ".join(f"{label} ({count} rows)" for label, count in list(unseen.items())[:5])
        parts.append(
            AssessmentPart(name="labels", verdict=Outcome.WARN, why=f"labels unseen in training, counted as wrong: {listed}")
        )
    parts += _missing(plan, champion is not None)
    parts += _judged(plan, found)
    parts += [_compared(one, pvalues.get(name), plan) for name, one in comparisons.items()]
    if slices is not None and plan.slices is not None:
        parts += _segments(slices, plan.slices)
    return ModelAssessment(
        verdict=worst([part.verdict for part in parts]), parts=tuple(parts), estimates=found, champion_estimates=before,
        comparisons=comparisons, pvalues=pvalues, slices=slices, joined=ours, champion=theirs, unseen_labels=unseen, plan=plan,
        content_hash=golden.content_hash,
    )  # fmt: skip


def _shown(one: Estimate) -> str:
    if one.value is None:
        return one.reason
    interval = f" [{one.low:.6g}, {one.high:.6g}]" if one.low is not None and one.high is not None else ""
    return f"{one.value:.6g}{interval}"


def _estimates(metrics: Sequence[Metric], joined: JoinedPredictions, **how: Any) -> dict[str, Estimate]:
    found: dict[str, Estimate] = {}
    for ranking in (False, True):
        chosen = [metric for metric in metrics if (metric.reads == RANKING) is ranking]
        found |= estimate_metrics(chosen, chosen[0].select_sample(joined), **how) if chosen else {}
    return {metric.name: found[metric.name] for metric in metrics}


def _coverage(plan: EvaluationPlan, joined: JoinedPredictions, name: str) -> AssessmentPart:
    covered = int(joined.covered.sum())
    why = f"{covered} of {joined.expected} rows have a label and a prediction"
    if joined.coverage >= plan.min_coverage and covered:
        return AssessmentPart(name=name, verdict=Outcome.PASS, why=why)
    some = f"; no prediction for {joined.unpredicted} ids, e.g. {', '.join(joined.missing)}" if joined.missing else ""
    return AssessmentPart(name=name, verdict=Outcome.UNKNOWN, why=f"{why}, {plan.min_coverage:.4g} of them must{some}")


def _missing(plan: EvaluationPlan, champion: bool) -> list[AssessmentPart]:
    """Return an ``unknown`` part if nothing requires the model to be good; full coverage alone must not pass."""
    if champion and not plan.compare_on:
        why = "there is a champion, and no metric to compare it on; name one in compare_on"
    elif not champion and not plan.thresholds:
        why = "nothing says what is good enough; give thresholds, or a champion to compare with"
    else:
        return []
    return [AssessmentPart(name="requirements", verdict=Outcome.UNKNOWN, why=why)]


def _judged(plan: EvaluationPlan, found: Mapping[str, Estimate]) -> list[AssessmentPart]:
    parts = []
    for name, estimate in found.items():
        if name in plan.thresholds:
            verdict, why = judge(estimate, plan.thresholds[name], decide_on=plan.decide_on, min_rows=plan.min_rows)
            parts.append(AssessmentPart(name=name, verdict=verdict, why=why, metric=name))
        elif estimate.value is None:  # a requested metric without a value must not be read as a pass
            parts.append(AssessmentPart(name=name, verdict=Outcome.UNKNOWN, why=estimate.reason, metric=name))
    return parts


def _compared(one: Comparison, adjusted: float | None, plan: EvaluationPlan) -> AssessmentPart:
    verdict, name = one.verdict, f"{one.metric} vs champion"
    if one.delta is None:
        return AssessmentPart(name=name, verdict=Outcome.UNKNOWN, why=one.reason, metric=one.metric)
    span = f"[{one.low:.6g}, {one.high:.6g}]" if one.low is not None and one.high is not None else "without an interval"
    why = f"{one.candidate:.6g} against {one.champion:.6g}: {one.delta:+.6g} {span}, margin {one.margin:g}, p {one.pvalue:.3g}"
    if verdict is Outcome.PASS and not one.margin and adjusted is not None and not adjusted < 1 - plan.confidence:
        verdict, why = Outcome.INCONCLUSIVE, f"{why} ({adjusted:.3g} among {len(plan.compare_on)} comparisons)"
    return AssessmentPart(name=name, verdict=verdict, why=f"{why}; {one.reason}" if one.reason else why, metric=one.metric)


def _segments(slices: SegmentResults, rule: SegmentRule) -> list[AssessmentPart]:
    if not slices.shown:  # segments that were requested but not measured must not be read as a pass
        small = f"none of {slices.too_small} has the {rule.min_rows} rows it needs to be judged"
        why = small if slices.too_small else "no metric that was asked for can be measured within a segment"
        return [AssessmentPart(name="segments", verdict=Outcome.WARN, why=why)]
    parts = [
        AssessmentPart(name=f"segment {one.name}", verdict=one.verdict, why=one.why, metric=one.metric)
        for one in slices.judged
        if one.verdict is not Outcome.PASS
    ]
    if slices.judged and not parts:
        small = f"; {slices.too_small} more are too small to be judged" if slices.too_small else ""
        why = f"none of {len(slices.judged)} is worse by the margin{small}"
        parts.append(AssessmentPart(name="segments", verdict=Outcome.PASS, why=why))
    return parts


def _unseen(golden: GoldenSet, plan: EvaluationPlan) -> dict[str, int]:
    if plan.labels is None:
        return {}
    labels = golden.frame[golden.schema.label].dropna()
    known = set(plan.labels)
    counts = labels[~labels.isin(known)].value_counts()
    return {str(label): int(count) for label, count in counts.items() if count}  # a categorical also lists unused categories
