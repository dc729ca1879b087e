"""Evaluate a model on a golden set: metrics with confidence intervals, and comparison of a candidate with the champion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_slo_provider.core.lazy_names import offer

if TYPE_CHECKING:
    from airflow_slo_provider.evaluation.intervals.estimates import Estimate
    from airflow_slo_provider.evaluation.intervals.metric_estimates import evaluate
    from airflow_slo_provider.evaluation.verdict.comparison import Comparison, compare
    from airflow_slo_provider.evaluation.verdict.outcomes import ModelVerdict

__all__ = ["Comparison", "Estimate", "ModelVerdict", "compare", "evaluate"]

#: Imported on first use: an operator in a DAG file needs none of the arithmetic.
__getattr__ = offer(
    __name__,
    {
        "evaluation.verdict.comparison": "Comparison compare",
        "evaluation.intervals.estimates": "Estimate",
        "evaluation.intervals.metric_estimates": "evaluate",
        "evaluation.verdict.outcomes": "ModelVerdict",
    },
    renamed={"Outcome": "ModelVerdict"},
)
