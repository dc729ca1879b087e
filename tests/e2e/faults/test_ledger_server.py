"""The PostgreSQL server of the ledger is restarted, as after a crash, during writes."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from airflow_slo_provider.exceptions import LedgerError
from airflow_slo_provider.ledger import open_ledger
from airflow_slo_provider.operators.error_budget import ErrorBudgetGateOperator
from tests.airflow.gates import RequestLog, sql_documents
from tests.airflow.task_runs import Ran, in_dag, run_task
from tests.e2e.faults.models import Models
from tests.services.postgres import PostgresServer, running_postgres
from tests.unit.ledger.builders import check, key

WRITERS, RESTARTS = 4, 3
_processes = multiprocessing.get_context("fork")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """Start a separate server, because a shared one must not be restarted during other tests."""
    with running_postgres() as running:
        yield running


def _write(url: str, writer: int, over: object, told: object) -> None:
    """Write records in a loop, each until it succeeds; report the numbers of records and failures."""
    number = faults = 0
    while not over.is_set():  # type: ignore[attr-defined]
        try:
            with open_ledger(url) as ledger:
                while not over.is_set():  # type: ignore[attr-defined]
                    ledger.record([check(value=float(number))], key(f"w{writer}-{number}"))
                    number += 1
        except LedgerError as error:
            if not error.transient:
                raise
            faults += 1
            time.sleep(0.05)
    told.put((number, faults))  # type: ignore[attr-defined]


def test_writers_during_a_server_restart_lose_no_rows(server: PostgresServer, seen: Callable[[str], None]) -> None:
    url = server.url("postgres")
    open_ledger(url).close()
    over, told = _processes.Event(), _processes.Queue()
    writers = [_processes.Process(target=_write, args=(url, writer, over, told)) for writer in range(WRITERS)]
    for writer in writers:
        writer.start()
    for _ in range(RESTARTS):
        time.sleep(0.7)
        server.stop()
        time.sleep(0.3)
        server.start()
    time.sleep(0.7)
    over.set()
    ends = [told.get(timeout=30) for _ in writers]
    for writer in writers:
        writer.join(30)
    assert [writer.exitcode for writer in writers] == [0] * WRITERS
    written, faults = sum(number for number, _ in ends), [number for _, number in ends]
    assert min(faults) >= 1, "no restart was noticed: nothing was tried"
    with open_ledger(url) as ledger, ledger._engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT run_id FROM checks").scalars().all()
    # A writer whose last record was interrupted by the end of the test may have written one more than it counted.
    assert len(set(found)) == len(found)
    assert written <= len(found) <= written + WRITERS
    seen(f"{written} confirmed records of {WRITERS} writers through {RESTARTS} restarts: all there, each once")


def test_gate_and_promotion_during_a_server_restart_succeed_on_retry(
    server: PostgresServer, request_log: RequestLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: Callable[[str], None]
) -> None:
    with server.connect(autocommit=True) as connection:
        connection.execute("CREATE DATABASE tasks")
    monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", server.url("tasks"))
    request_log.write(1000, 0)
    models = Models(tmp_path)

    def gate(try_number: int) -> Ran:
        operator = in_dag(ErrorBudgetGateOperator(task_id="gate", slos=sql_documents(), retries=1), ["promote"])
        return run_task(operator, try_number=try_number, connections=request_log.connection)

    server.stop()
    try:
        for ran in (gate(1), models.run("promote", 1)):
            assert (ran.state, type(ran.error)) == ("up_for_retry", LedgerError)
            assert "the server could not be reached; the task may be retried" in str(ran.error)
        assert models.moves() == []
    finally:
        server.start()
    assert (gate(2).state, models.run("promote", 2).state, models.moves()) == ("success", "success", [("2", "3")])
    with open_ledger(server.url("tasks")) as ledger:
        assert sorted(row.result.kind for row in ledger.checks()) == ["decision", "promote", "slo"]
    seen("retried; then 1 decision, 1 move, 1 row")
