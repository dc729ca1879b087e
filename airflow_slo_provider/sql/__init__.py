"""Running one reading statement on any database connection, in a read-only snapshot where the database has them."""

from __future__ import annotations

from airflow_slo_provider.sql.runner import dbapi_runner

__all__ = ["dbapi_runner"]
