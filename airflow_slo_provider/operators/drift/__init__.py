"""Operators that profile a dataset, compare one with its reference, and branch on what they find."""

from __future__ import annotations

from airflow_slo_provider.operators.drift.branch import DriftBranchOperator
from airflow_slo_provider.operators.drift.compare import DriftOperator
from airflow_slo_provider.operators.drift.profile import DriftProfileOperator

__all__ = ["DriftBranchOperator", "DriftOperator", "DriftProfileOperator"]
