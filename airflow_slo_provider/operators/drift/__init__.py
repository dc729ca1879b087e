"""Operators for data drift: profile a dataset, compare it with a reference, and branch on the result."""

from __future__ import annotations

from airflow_slo_provider.operators.drift.branch import DriftBranchOperator
from airflow_slo_provider.operators.drift.compare import DriftOperator
from airflow_slo_provider.operators.drift.profile import DriftProfileOperator

__all__ = ["DriftBranchOperator", "DriftOperator", "DriftProfileOperator"]
