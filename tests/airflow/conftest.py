"""Fixtures of this directory."""

from __future__ import annotations

from tests.airflow.gates import ledger_file, request_log
from tests.airflow.slo_commands import parser, slo_command

__all__ = ["ledger_file", "parser", "request_log", "slo_command"]
