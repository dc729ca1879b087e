"""Write an assessment as gauges in Prometheus' text format, for a Pushgateway."""

from __future__ import annotations

from airflow_slo_provider.evaluation.verdict.assessment import ModelAssessment
from airflow_slo_provider.evaluation.verdict.outcomes import Outcome


def format_gauges(assessment: ModelAssessment, *, at: float) -> str:
    """Return metrics with their interval's ends, coverage and verdict as gauges.

    :param at: evaluation time in seconds since 1970; a pushed gauge outlives its run, so its age must be visible
    """
    lines = [
        "# TYPE golden_set_metric gauge",
        *(
            f'golden_set_metric{{metric="{_escape(name)}",bound="{bound}"}} {number!r}'
            for name, estimate in assessment.estimates.items()
            for bound in ("value", "low", "high")
            if (number := getattr(estimate, bound)) is not None
        ),
        "# TYPE golden_set_coverage_ratio gauge",
        f"golden_set_coverage_ratio {assessment.joined.coverage!r}",
        "# TYPE golden_set_verdict gauge",
        *(f'golden_set_verdict{{verdict="{outcome.value}"}} {int(outcome is assessment.verdict)}' for outcome in Outcome),
        "# TYPE golden_set_evaluated_timestamp_seconds gauge",
        f"golden_set_evaluated_timestamp_seconds {at!r}",
    ]
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
