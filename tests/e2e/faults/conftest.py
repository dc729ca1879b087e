"""Fixtures of this directory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.airflow.gates import ledger_file, request_log
from tests.e2e.faults.models import Models
from tests.e2e.faults.recorder import SEEN
from tests.services.postgres import postgres, postgres_database

__all__ = ["ledger_file", "postgres", "postgres_database", "request_log"]


@pytest.fixture
def seen(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Return a function that reports a result for the table in ``docs/faults.md``: ``seen("retried; 1 move, 1 row")``."""
    return lambda text: record_property(SEEN, text)


@pytest.fixture
def models(tmp_path: Path) -> Models:
    """Create versions 1, 2 and 3 of a model; 2 is the champion."""
    return Models(tmp_path)
