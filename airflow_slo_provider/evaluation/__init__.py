"""How good a model is on a golden set, how sure we are of it, and whether it is better than the one that serves."""

from __future__ import annotations

from airflow_slo_provider.evaluation.comparing import compare
from airflow_slo_provider.evaluation.estimates import Comparison, Estimate, Outcome
from airflow_slo_provider.evaluation.evaluating import evaluate

__all__ = ["Comparison", "Estimate", "Outcome", "compare", "evaluate"]
