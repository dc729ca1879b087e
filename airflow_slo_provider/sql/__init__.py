"""Run a read-only statement on any database connection, in a read-only snapshot where the database supports it."""

from __future__ import annotations

from airflow_slo_provider.sql.runner import dbapi_runner

__all__ = ["dbapi_runner"]
