"""Operators that break the latency of a service down by span and model version, and branch on the result."""

from __future__ import annotations

from airflow_slo_provider.operators.latency.branch import LatencyBreakdownBranchOperator
from airflow_slo_provider.operators.latency.breakdown import LatencyBreakdownOperator

__all__ = ["LatencyBreakdownBranchOperator", "LatencyBreakdownOperator"]
