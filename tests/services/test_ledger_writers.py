"""Many processes at once, and processes killed in the middle, on SQLite and on PostgreSQL."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from datetime import timedelta
from pathlib import Path

import pytest

from airflow_slo_provider.ledger import open_ledger
from airflow_slo_provider.ledger.schema.migrations import MIGRATIONS
from airflow_slo_provider.results import CheckResult
from tests.unit.ledger.builders import T0, check, key

WRITERS, ROWS, KILLS, BATCH = 8, 1000, 30, 200

# Each child opens the ledger itself, as a task process does.
processes = multiprocessing.get_context("fork")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    server, database = request.getfixturevalue("postgres"), request.getfixturevalue("postgres_database")
    return str(server.url(database))


def _write(url: str, writer: int) -> None:
    with open_ledger(url) as ledger:
        for number in range(ROWS):
            ledger.record(
                [check(f"check{number % 7}", at=T0 + timedelta(seconds=number), value=float(writer))], key(f"w{writer}-{number}")
            )


def _open(url: str, start: float) -> None:
    time.sleep(max(0.0, start - time.time()))
    open_ledger(url).close()


def _write_until_killed(url: str, run: str, ready: object) -> None:
    with open_ledger(url) as ledger:
        ready.set()  # type: ignore[attr-defined]
        value = 0.0
        while True:
            value += 1
            ledger.record(_batch(value), key(run, try_number=1))


def _batch(value: float) -> list[CheckResult]:
    return [check(f"n{number}", at=T0, value=value) for number in range(BATCH)]


def test_concurrent_writers_lose_no_rows(url: str) -> None:
    writers = [processes.Process(target=_write, args=(url, writer)) for writer in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(300)
    assert [writer.exitcode for writer in writers] == [0] * WRITERS
    with open_ledger(url) as ledger:
        rows = ledger.checks(limit=100_000)
        assert len(rows) == WRITERS * ROWS
        assert {row.key.run_id for row in rows} == {f"w{writer}-{number}" for writer in range(WRITERS) for number in range(ROWS)}
        assert all(row.key.run_id.startswith(f"w{row.result.value:.0f}-") for row in rows)
        with ledger._engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM checks").scalar() == WRITERS * ROWS


def test_concurrent_first_opens_succeed(url: str) -> None:
    start = time.time() + 0.3
    openers = [processes.Process(target=_open, args=(url, start)) for _ in range(12)]
    for opener in openers:
        opener.start()
    for opener in openers:
        opener.join(60)
    assert [opener.exitcode for opener in openers] == [0] * len(openers)
    with open_ledger(url) as ledger, ledger._engine.connect() as connection:
        applied = connection.exec_driver_sql("SELECT version FROM slo_ledger_schema ORDER BY version").scalars().all()
        assert applied == list(range(1, len(MIGRATIONS) + 1))  # each step once


def test_killed_writer_and_its_retry_leave_one_row_per_check(url: str) -> None:
    open_ledger(url).close()
    delays = random.Random(7)
    written = 0
    for number in range(KILLS):
        run, ready = f"run{number}", processes.Event()
        writer = processes.Process(target=_write_until_killed, args=(url, run, ready))
        writer.start()
        assert ready.wait(30)
        time.sleep(delays.uniform(0.0, 0.08))
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join(30)
        assert writer.exitcode == -signal.SIGKILL
        with open_ledger(url) as ledger:
            left = [row for row in ledger.checks(dag_id="gate", limit=100_000) if row.key.run_id == run]
            # All of a transaction or nothing of it.
            assert len(left) in (0, BATCH)
            assert len({row.result.value for row in left}) <= 1
            written += bool(left)
            ledger.record(_batch(-1.0), key(run, try_number=2))
            after = [row for row in ledger.checks(dag_id="gate", limit=100_000) if row.key.run_id == run]
            assert len(after) == BATCH
            assert {(row.result.value, row.key.try_number) for row in after} == {(-1.0, 2)}
    assert written  # some were killed after their first commit: there was something to replace
    with open_ledger(url) as ledger, ledger._engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM checks").scalar() == KILLS * BATCH


def _observe(url: str, number: int, start: float, found: object) -> None:
    time.sleep(max(0.0, start - time.time()))
    with open_ledger(url) as ledger:
        due = T0 - timedelta(days=number + 1)
        found.put(ledger.record_observations([check("fresh", at=T0)], key(f"run-{number}"), due=due)[0].kind)  # type: ignore[attr-defined]


def test_concurrent_equal_observations_leave_one_counted_row(url: str) -> None:
    open_ledger(url).close()
    found, start = processes.Queue(), time.time() + 1
    running = [processes.Process(target=_observe, args=(url, number, start, found)) for number in range(WRITERS)]
    for one in running:
        one.start()
    kinds = [found.get(timeout=60) for _ in running]
    for one in running:
        one.join(60)
    assert sum(not kind.endswith("_repeated") for kind in kinds) == 1
