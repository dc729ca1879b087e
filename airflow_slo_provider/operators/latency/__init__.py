"""Where a prediction's time goes: the operator that breaks latency down, and the one that branches on what it finds."""

from __future__ import annotations

from airflow_slo_provider.operators.latency.branch import LatencyBreakdownBranchOperator
from airflow_slo_provider.operators.latency.breakdown import LatencyBreakdownOperator

__all__ = ["LatencyBreakdownBranchOperator", "LatencyBreakdownOperator"]
