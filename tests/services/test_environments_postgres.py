"""Environments, groups, attempts and corrections, on a real PostgreSQL."""

from __future__ import annotations

import pytest

from airflow_slo_provider.ledger import Ledger, open_ledger
from tests.services.postgres import PostgresServer
from tests.unit.ledger.builders import check, downgrade, key
from tests.unit.ledger.test_environments import *  # noqa: F403 - the same tests, with the fixture below
from tests.unit.ledger.test_environments import insert_as_of_schema_3, old_row


@pytest.fixture
def url(postgres: PostgresServer, postgres_database: str) -> str:
    return postgres.url(postgres_database)


def test_queries_run_without_jit_and_with_statistics_after_migration(ledger: Ledger, url: str) -> None:
    """Either made the newest check of each SLO take seconds to find."""
    downgrade(ledger, 3)
    for number in range(200):
        insert_as_of_schema_3(ledger, old_row(check(), key(f"r{number}")))
    with open_ledger(url) as upgraded, upgraded._transaction() as connection:
        assert connection.exec_driver_sql("SHOW jit").scalar() == "off"
        seen = connection.exec_driver_sql("SELECT attname FROM pg_stats WHERE tablename = 'checks'")
        assert {"environment", "labels", "test_run", "attempt"} <= set(seen.scalars())
