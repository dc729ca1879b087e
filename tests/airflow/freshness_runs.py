"""Helpers of the tests of freshness sensors and operators."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_slo_provider.ledger import Ledger, open_ledger
from airflow_slo_provider.ledger.records import Recorded

HOUR = timedelta(hours=1)


@dataclass
class Features:
    """A table of features in SQLite, and a connection to it."""

    path: Path

    def write(self, *ages: timedelta | None) -> None:
        """Replace the rows with entities e0, e1, ... of these ages."""
        now = datetime.now(UTC)
        rows = [(f"e{n}", None if age is None else (now - age).isoformat()) for n, age in enumerate(ages)]
        with sqlite3.connect(self.path) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS features (entity TEXT, ts TEXT)")
            connection.execute("DELETE FROM features")
            connection.executemany("INSERT INTO features VALUES (?, ?)", rows)
        connection.close()

    @property
    def connections(self) -> dict[str, Any]:
        """Return the connections of a run."""
        return {"db": {"conn_type": "sqlite", "host": str(self.path)}}


@pytest.fixture
def features(tmp_path: Path) -> Features:
    """Create an empty table."""
    made = Features(tmp_path / "features.db")
    made.write()
    return made


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """Open a separate ledger that the tasks of a test write to."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", url)
    with open_ledger(url) as opened:
        yield opened


def only(ledger: Ledger) -> Recorded:
    """Return the only check in the ledger."""
    (found,) = ledger.checks()
    return found
