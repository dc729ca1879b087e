"""What the pages ask the ledger for, on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_slo_provider.ledger import Ledger, open_ledger
from tests.services.postgres import PostgresServer
from tests.unit.ledger.test_browse import *  # noqa: F403 - the same tests, with the fixture below


@pytest.fixture
def ledger(postgres: PostgresServer, postgres_database: str) -> Iterator[Ledger]:
    with open_ledger(postgres.url(postgres_database)) as opened:
        assert opened._engine.dialect.name == "postgresql"
        yield opened
