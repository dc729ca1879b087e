"""Write an assessment as gauges in Prometheus' text format, for a Pushgateway."""

from __future__ import annotations

from airflow_slo_provider.core.exposition_format import format_gauge
from airflow_slo_provider.evaluation.verdict.assessment import ModelAssessment
from airflow_slo_provider.evaluation.verdict.outcomes import ModelVerdict


def format_gauges(assessment: ModelAssessment, *, at: float) -> str:
    """Return metrics with their interval's ends, coverage and verdict as gauges.

    :param at: evaluation time in seconds since 1970; a pushed gauge outlives its run, so its age must be visible
    """
    metrics = (
        ({"metric": name, "bound": bound}, number)
        for name, estimate in assessment.estimates.items()
        for bound, number in (("value", estimate.value), ("low", estimate.low), ("high", estimate.high))
    )
    verdicts = (({"verdict": outcome.value}, int(outcome is assessment.verdict)) for outcome in ModelVerdict)
    return (
        format_gauge("golden_set_metric", metrics)
        + format_gauge("golden_set_coverage_ratio", [({}, assessment.joined.coverage)])
        + format_gauge("golden_set_verdict", verdicts)
        + format_gauge("golden_set_evaluated_timestamp_seconds", [({}, at)])
    )
