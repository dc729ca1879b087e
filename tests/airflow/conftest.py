"""Fixtures of this directory."""

from __future__ import annotations

from tests.airflow.gates import ledger_file, request_log

__all__ = ["ledger_file", "request_log"]
