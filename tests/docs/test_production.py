"""The SQL of docs/production.md on a real PostgreSQL: each account has exactly the documented permissions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from airflow_slo_provider.exceptions import LedgerError
from airflow_slo_provider.ledger import open_ledger
from airflow_slo_provider.ledger.corrections import Correction, corrections, record_correction
from airflow_slo_provider.ledger.environments import adopt
from airflow_slo_provider.ledger.pruning import prune
from tests.docs.pages import DOCS, blocks_of
from tests.services.postgres import PostgresServer, postgres, postgres_database
from tests.unit.ledger.builders import check, key

__all__ = ["postgres", "postgres_database"]

CREATE, GRANT = (block.text for block in blocks_of(DOCS / "production.md") if block.language == "sql")


def connected(server: PostgresServer, database: str, statements: str) -> None:
    with server.connect(database, autocommit=True) as connection:
        connection.execute(statements)


@pytest.fixture
def granted(postgres: PostgresServer, postgres_database: str) -> Iterator[dict[str, str]]:
    """Return URLs of the ledger by account, after the owner has opened it and run the second block of the page."""
    owner = postgres.url(postgres_database)
    open_ledger(owner).close()
    connected(postgres, postgres_database, GRANT)
    place = owner.rpartition("@")[2]
    yield {"owner": owner, **{name: f"postgresql://{name}:changeme@{place}" for name in ("slo_worker", "slo_reader")}}
    connected(postgres, postgres_database, "DROP OWNED BY slo_worker, slo_reader; DROP ROLE slo_worker, slo_reader")


def test_production_statements_create_the_database(postgres: PostgresServer) -> None:
    connected(postgres, "postgres", CREATE)
    connected(postgres, "postgres", "DROP DATABASE slo_ledger")


def test_worker_role_records_and_reads(granted: dict[str, str]) -> None:
    with open_ledger(granted["slo_worker"]) as ledger:
        ledger.record([check()], key())
        ledger.record([check(verdict="fail")], key())  # a retry replaces its row
        assert [row.result.verdict for row in ledger.checks()] == ["fail"]


def test_reader_role_only_reads(granted: dict[str, str]) -> None:
    with open_ledger(granted["slo_worker"]) as ledger:
        ledger.record([check()], key())
    with open_ledger(granted["slo_reader"]) as ledger:
        assert len(ledger.checks()) == 1
        with pytest.raises(LedgerError) as caught:
            ledger.record([check()], key("other"))
    assert caught.value.reason == "access_denied"


def test_worker_role_withdraws_prunes_and_adopts_and_reader_role_does_not(granted: dict[str, str]) -> None:
    now = datetime.now(UTC)
    with open_ledger(granted["slo_worker"]) as ledger:
        for days in (402, 401, 399):
            ledger.record([check(at=now - timedelta(days=days))], key(f"{days}"))
        ledger.record([check("could not be made", at=now)], key("again"))
        ledger.withdraw("slo", "could not be made", key("again", try_number=2))
        record_correction(ledger, Correction(service="s", starts=now, ends=now + timedelta(days=1), reason="because"))
    with open_ledger(granted["slo_reader"]) as ledger:
        assert len(corrections(ledger, now, now + timedelta(days=1))) == 1
        assert prune(ledger, now - timedelta(days=400), trial=True).removed == {"slo": 1}
        with pytest.raises(LedgerError) as caught:
            prune(ledger, now - timedelta(days=400))
    assert caught.value.reason == "access_denied"
    with open_ledger(granted["slo_worker"]) as ledger:
        assert prune(ledger, now - timedelta(days=400)).removed == {"slo": 1}
        assert sorted(row.key.run_id for row in ledger.checks()) == ["399", "401"]
    with open_ledger(granted["slo_worker"], environment="production") as ledger:
        assert adopt(ledger).checks == 2
