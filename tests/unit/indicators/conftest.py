"""Fixtures of the SQL indicator's tests."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_slo_provider.indicators.sql.source import SQLSource, dbapi_runner
from tests.unit.indicators.sql_builders import (
    MINUTE,
    T0,
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """60 requests, one a minute from T0 on; every tenth fails; latency is 0.01 s times the minute."""
    connection = sqlite3.connect(tmp_path / "requests.db")
    connection.execute("CREATE TABLE requests (ts TEXT, ok INTEGER, latency REAL)")
    rows = [((T0 + n * MINUTE).strftime("%Y-%m-%d %H:%M:%S"), n % 10 != 0, n / 100) for n in range(60)]
    connection.executemany("INSERT INTO requests VALUES (?, ?, ?)", rows)
    connection.commit()
    yield connection
    connection.close()


@pytest.fixture
def sql(database: sqlite3.Connection) -> SQLSource:
    return SQLSource(dbapi_runner(database), name="requests.db")
