"""Environments, groups, attempts and corrections, on a real PostgreSQL."""

from __future__ import annotations

import pytest

from tests.services.postgres import PostgresServer
from tests.unit.ledger.test_environments import *  # noqa: F403 - the same tests, with the fixture below


@pytest.fixture
def url(postgres: PostgresServer, postgres_database: str) -> str:
    return postgres.url(postgres_database)
