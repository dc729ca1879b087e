"""The ledger is locked, read-only, or its disk is full: gates stay closed, nothing is promoted, rollbacks are done."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_slo_provider.deployment.registries.registry import MoveRequest
from airflow_slo_provider.exceptions import LedgerError
from airflow_slo_provider.ledger import engine
from airflow_slo_provider.operators.error_budget import ErrorBudgetGateOperator
from tests.airflow.gates import LedgerFile, RequestLog, sql_documents
from tests.airflow.task_runs import Ran, in_dag, run_task
from tests.e2e.faults.models import Models
from tests.unit.ledger.builders import check, key

FAULTS = ("locked", "read-only", "full")
#: Fault -> final state and message of a task.
ENDS = {
    "locked": ("up_for_retry", LedgerError, "another process kept it locked for too long; the task may be retried"),
    "read-only": ("failed", AirflowFailException, "make the file and its directory writable for the user that runs Airflow"),
    "full": ("up_for_retry", LedgerError, "there is no space left; free some and retry"),
}


@pytest.fixture
def broken(ledger_file: LedgerFile, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], contextlib.AbstractContextManager[None]]:
    """Return a context manager that breaks the ledger."""
    ledger_file.open().close()

    @contextlib.contextmanager
    def breaking(fault: str) -> Iterator[None]:
        with monkeypatch.context() as patched, contextlib.ExitStack() as stack:
            if fault == "locked":
                patched.setattr(engine, "LOCK_WAIT_SECONDS", 0.3)
                holder = sqlite3.connect(ledger_file.path, isolation_level=None)
                stack.callback(holder.close)
                holder.execute("BEGIN EXCLUSIVE")
            elif fault == "read-only":
                patched.setenv("AIRFLOW__SLO__LEDGER_URL", f"sqlite:///file:{ledger_file.path}?mode=ro&uri=true")
            else:
                # SQLite's own limit: the file may not grow by a single page.
                prepare = engine._prepare_sqlite

                def full(connection, record):
                    prepare(connection, record)
                    connection.execute("PRAGMA max_page_count=1")

                patched.setattr(engine, "_prepare_sqlite", full)
                fill(ledger_file)
            yield

    return breaking


def ended(ran: Ran, fault: str) -> None:
    state, error, said = ENDS[fault]
    assert (ran.state, type(ran.error)) == (state, error), ran.error
    assert said in str(ran.error)


@pytest.mark.parametrize("fault", FAULTS)
def test_gate_with_a_broken_ledger_fails_closed(
    broken: Callable[..., contextlib.AbstractContextManager[None]], request_log: RequestLog, ledger_file: LedgerFile,
    seen: Callable[[str], None], fault: str,
) -> None:  # fmt: skip
    """The budget is healthy, but a decision that is not recorded does not count, so nothing runs."""
    request_log.write(1000, 0)

    def gate(try_number: int) -> Ran:
        operator = in_dag(ErrorBudgetGateOperator(task_id="gate", slos=sql_documents(), retries=1), ["promote"])
        return run_task(operator, try_number=try_number, connections=request_log.connection)

    with broken(fault):
        ran = gate(1)
        ended(ran, fault)
        assert "decision" not in ran.xcoms
    assert ledger_file.checks("slo") == ledger_file.checks("decision") == []
    assert (gate(2).state, ledger_file.outcomes()) == ("success", ["allowed"])
    seen(f"{'retried' if ran.state == 'up_for_retry' else 'failed at once'}, nothing downstream ran; then 1 decision")


@pytest.mark.parametrize("fault", FAULTS)
def test_promotion_with_a_broken_ledger_moves_nothing(
    broken: Callable[..., contextlib.AbstractContextManager[None]], tmp_path: Path, ledger_file: LedgerFile,
    seen: Callable[[str], None], fault: str,
) -> None:  # fmt: skip
    models = Models(tmp_path)
    with broken(fault):
        ran = models.run("promote", 1)
        ended(ran, fault)
    assert (models.moves(), ledger_file.checks("promote")) == ([], [])
    assert models.run("promote", 2).state == "success"
    assert (models.moves(), len(ledger_file.checks("promote"))) == ([("2", "3")], 1)
    seen("the old champion served on; then 1 move, 1 row")


@pytest.mark.parametrize("fault", FAULTS)
def test_rollback_with_a_broken_ledger_is_done_and_recorded_on_retry(
    broken: Callable[..., contextlib.AbstractContextManager[None]], tmp_path: Path, ledger_file: LedgerFile,
    seen: Callable[[str], None], fault: str,
) -> None:  # fmt: skip
    """A rollback does not wait for the ledger. The task fails until it is recorded; the registry has the move."""
    models = Models(tmp_path)
    with broken(fault):
        ended(models.run("rollback", 1), fault)
        assert models.moves() == [("2", "1")]
    assert models.run("rollback", 2).state == "success"
    assert models.moves() == [("2", "1")]
    (row,) = ledger_file.checks("rollback")
    assert (row.result.verdict, row.result.evidence["from"]) == ("pass", "2")
    seen("rolled back at once; recorded by the retry (read-only: once the task is cleared)")


def fill(ledger_file: LedgerFile) -> None:
    """Fill the free space of the existing pages."""
    with ledger_file.open() as ledger:
        for size in (2000, 200, 0):
            with pytest.raises(LedgerError, match="no space left"):
                for number in range(1000):
                    ledger.record([check(str(number), kind="filler", message="x" * size)], key(f"size{size}"))


def limited(size: int, what: Callable[[], Ran | None]) -> str:
    """Run a function in a process with a file size limit, as with a quota or a full disk; return its error."""
    receiving, sending = multiprocessing.Pipe(duplex=False)

    def work() -> None:
        silent = os.open(os.devnull, os.O_WRONLY)  # standard output may be a file too
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        try:
            ran = what()
            said = f"{ran.state}: {ran.error}" if ran else "no error"
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
        sending.send(said)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    assert receiving.poll(60)
    told = str(receiving.recv())
    process.join(10)
    return told


def test_ledger_at_its_file_size_limit_fails_closed(
    request_log: RequestLog, ledger_file: LedgerFile, tmp_path: Path, seen: Callable[[str], None]
) -> None:
    """The operating system rejects the write, not SQLite: gate and promotion."""
    request_log.write(1000, 0)
    ledger_file.open().close()
    models = Models(tmp_path)
    gate = in_dag(ErrorBudgetGateOperator(task_id="gate", slos=sql_documents(), retries=1), ["promote"])
    told = limited(1000, lambda: run_task(gate, connections=request_log.connection))
    assert told.startswith("up_for_retry: ledger ") and "disk" in told
    told = limited(1000, lambda: models.run("promote", 1))
    assert told.startswith("up_for_retry: ledger ") and "disk" in told
    assert (models.moves(), ledger_file.checks()) == ([], [])
    assert run_task(gate, try_number=2, connections=request_log.connection).state == "success"
    assert (models.run("promote", 2).state, models.moves()) == ("success", [("2", "3")])
    seen("retried; then 1 decision, 1 move")


def test_registry_on_a_full_disk_keeps_its_state(tmp_path: Path, seen: Callable[[str], None]) -> None:
    models = Models(tmp_path)
    place = tmp_path / "registry" / "fraud"
    before = (place / "registry.json").read_bytes()
    promotion = MoveRequest(kind="promote", alias="champion", key="run", to="3")

    def promote() -> None:
        models.registry.move("fraud", promotion)

    assert limited(64, promote).startswith("OSError")
    assert (place / "registry.json").read_bytes() == before
    assert {path.name for path in place.iterdir()} == {".lock", "registry.json", "versions"}  # no temporary file is left
    assert models.registry.move("fraud", promotion).changed
    assert models.moves() == [("2", "3")]
    seen("the old champion served on; then 1 move")
