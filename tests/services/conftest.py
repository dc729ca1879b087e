"""Fixtures that start real servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.services.postgres import postgres, postgres_database

__all__ = ["postgres", "postgres_database"]


@pytest.fixture
def own_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use a ledger of this test alone, and send events of incidents without the usual pause."""
    from airflow_slo_provider.triggers import incident_watch

    monkeypatch.setattr(incident_watch, "EVENT_INTERVAL", 0.5)
    path = tmp_path / "ledger.db"
    monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", f"sqlite:///{path}")
    return path
