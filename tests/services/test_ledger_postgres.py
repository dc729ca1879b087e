"""Every promise of the ledger, on a real PostgreSQL; and what only a server can do wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from airflow_slo_provider.exceptions import LedgerError
from airflow_slo_provider.ledger import Ledger, engine, open_ledger
from tests.services.postgres import PASSWORD, PostgresServer
from tests.unit.ledger.builders import MINUTE, T0, check, key
from tests.unit.ledger.test_ledger import *  # noqa: F403 - the same tests, with the fixtures below


@pytest.fixture
def ledger_url(postgres: PostgresServer, postgres_database: str) -> str:
    return postgres.url(postgres_database)


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    with open_ledger(ledger_url) as opened:
        assert opened._engine.dialect.name == "postgresql"
        yield opened


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg", "postgresql+psycopg2"])
def test_every_spelling_of_the_driver_is_accepted(ledger_url: str, scheme: str) -> None:
    if scheme.endswith("psycopg2"):
        pytest.importorskip("psycopg2")
    with open_ledger(ledger_url.replace("postgresql", scheme, 1)) as opened:
        opened.record([check()], key())
        assert len(opened.checks()) == 1


def test_wrong_password_is_not_transient_and_not_in_the_error(ledger_url: str, postgres: PostgresServer) -> None:
    from sqlalchemy import make_url

    wrong = make_url(ledger_url).set(password="hunter2%secret")
    with pytest.raises(LedgerError) as caught:
        open_ledger(wrong)
    assert not caught.value.transient
    assert caught.value.reason == "access_denied"
    assert str(postgres.port) in str(caught.value)
    _no_secret(caught.value, "hunter2")


def test_missing_database_is_not_transient(postgres: PostgresServer) -> None:
    with pytest.raises(LedgerError, match='database "nowhere" does not exist') as caught:
        open_ledger(postgres.url("nowhere"))
    assert not caught.value.transient
    _no_secret(caught.value, PASSWORD)


def test_unreachable_server_is_transient(postgres: PostgresServer) -> None:
    url = postgres.url("x").replace(f":{postgres.port}/", ":1/")
    with pytest.raises(LedgerError, match=r"ledger postgresql://127\.0\.0\.1:1/x: the server could not be reached") as caught:
        open_ledger(url)
    assert (caught.value.reason, caught.value.transient) == ("connection", True)
    _no_secret(caught.value, PASSWORD)


def test_connection_lost_between_calls_is_replaced(ledger: Ledger, postgres: PostgresServer) -> None:
    ledger.record([check()], key())
    _cut_all(postgres)
    ledger.record([check(verdict="fail")], key())
    assert [row.result.verdict for row in ledger.checks()] == ["fail"]


def test_connection_lost_while_reading_is_transient(ledger: Ledger, postgres: PostgresServer) -> None:
    ledger.record([check(str(number)) for number in range(10)], key())

    def read() -> None:
        with ledger._transaction() as connection:
            _cut_all(postgres)
            connection.exec_driver_sql("SELECT 1")

    with pytest.raises(LedgerError) as caught:
        read()
    assert caught.value.transient
    _no_secret(caught.value, PASSWORD)


def test_wait_for_a_held_lock_ends_with_an_error(
    ledger: Ledger, postgres: PostgresServer, postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "LOCK_WAIT_SECONDS", 1)
    with postgres.connect(postgres_database) as other:
        other.execute("LOCK TABLE checks IN EXCLUSIVE MODE")
        began = time.monotonic()
        with pytest.raises(LedgerError) as caught:
            ledger.record([check()], key())
        assert time.monotonic() - began < 10
    assert (caught.value.reason, caught.value.transient) == ("locked", True)
    ledger.record([check()], key())


def test_writers_of_the_same_rows_in_opposite_order_do_not_deadlock(ledger: Ledger) -> None:
    names = [f"n{number}" for number in range(100)]
    errors: list[Exception] = []

    def write(order: list[str]) -> None:
        try:
            for _ in range(15):
                ledger.record([check(name) for name in order], key())
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(order,)) for order in (names, names[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(ledger.checks()) == 100


def test_points_are_fetched_in_batches(ledger: Ledger, postgres: PostgresServer) -> None:
    for number in range(20):
        ledger.record([check(at=T0, value=float(number))], key(f"r{number}"))
    stream = ledger.points("slo", "availability", T0, T0 + MINUTE)
    next(stream)
    with postgres.connect() as admin:
        sent = admin.execute(
            "SELECT query FROM pg_stat_activity WHERE application_name = 'airflow-slo-provider' AND state LIKE 'idle in%'"
        )
        assert [row[0].split()[0] for row in sent.fetchall()] == ["FETCH"]
    assert len(list(stream)) == 19


def _cut_all(postgres: PostgresServer) -> None:
    with postgres.connect(autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'airflow-slo-provider'")


def _no_secret(error: BaseException, secret: str) -> None:
    import traceback

    assert secret not in "".join(traceback.format_exception(error))
