"""Store every check result and decision in a SQL database: SQLite by default, PostgreSQL in production."""

from __future__ import annotations

from airflow_slo_provider.ledger.records import Point, Recorded, RunKey
from airflow_slo_provider.ledger.store import Ledger, open_ledger

__all__ = ["Ledger", "Point", "Recorded", "RunKey", "open_ledger"]
