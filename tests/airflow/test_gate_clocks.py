"""A freeze is not lifted by gates whose workers' clocks differ, nor by gates of a newly named environment."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.airflow.gate_tasks import counts, followed, gate
from tests.airflow.gates import DAY, MINUTE, POLICY, LedgerFile, RequestLog, sql_documents
from tests.airflow.task_runs import run_task

COOL_DOWN = sql_documents("  coolDown: 1h" + POLICY)
OTHER_POLICY = COOL_DOWN.replace("the-policy", "another-policy")


def move_clock(ledger_file: LedgerFile, by: timedelta) -> None:
    """As if every row until now had been written by a worker whose clock is ahead."""
    with sqlite3.connect(ledger_file.path) as connection:
        amount = int(by.total_seconds() * 1_000_000)
        connection.execute("UPDATE checks SET checked_at = checked_at + ?, recorded_at = recorded_at + ?", (amount, amount))
    connection.close()


class TestClockAhead:
    @pytest.mark.parametrize("documents", [COOL_DOWN, OTHER_POLICY], ids=["one policy", "two policies"])
    @pytest.mark.parametrize("age", [timedelta(), timedelta(minutes=2)], ids=["still ahead", "passed by now"])
    def test_pass_written_before_a_freeze_by_a_clock_ahead_does_not_lift_it(
        self, documents: str, age: timedelta, request_log: RequestLog, ledger_file: LedgerFile
    ) -> None:
        counts(request_log, "allowed")
        run_task(gate(documents), connections=request_log.connection, run_id="ahead")
        move_clock(ledger_file, timedelta(seconds=45))
        request_log.clear()
        counts(request_log, "frozen")
        assert followed(run_task(gate(COOL_DOWN), connections=request_log.connection, run_id="froze")) == {"hold"}
        move_clock(ledger_file, -age)
        request_log.write(100_000, 0)
        assert followed(run_task(gate(COOL_DOWN), connections=request_log.connection, run_id="next")) == {"hold"}

    def test_sensor_freeze_after_a_pass_by_a_clock_ahead_is_kept(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        counts(request_log, "allowed")
        operator = gate(COOL_DOWN)
        run_task(operator, connections=request_log.connection, run_id="look")
        run_task(gate(COOL_DOWN), connections=request_log.connection, run_id="ahead")
        move_clock(ledger_file, timedelta(seconds=45))
        request_log.clear()
        counts(request_log, "frozen")
        run_task(operator, connections=request_log.connection, run_id="look")
        move_clock(ledger_file, -2 * MINUTE)
        request_log.write(100_000, 0)
        assert followed(run_task(gate(COOL_DOWN), connections=request_log.connection, run_id="next")) == {"hold"}

    def test_gate_about_the_past_does_not_freeze_the_present(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        at = datetime.now(UTC) - timedelta(hours=6)
        request_log.write(990, 10, at=at - 180 * MINUTE)
        request_log.write(100_000, 0)
        assert followed(run_task(gate(COOL_DOWN), connections=request_log.connection, run_id="now")) == {"promote"}
        past = run_task(gate(COOL_DOWN, at=at.isoformat()), connections=request_log.connection, run_id="past")
        assert followed(past) == {"hold"}
        assert followed(run_task(gate(COOL_DOWN), connections=request_log.connection, run_id="next")) == {"promote"}


class TestNewName:
    @pytest.mark.parametrize("first", ["backfill", "gate about the past"])
    @pytest.mark.parametrize("before", [timedelta(minutes=10), DAY], ids=["minutes before", "a day before"])
    def test_decision_about_the_past_does_not_lift_an_inherited_freeze(
        self,
        first: str,
        before: timedelta,
        slo_command: Any,
        request_log: RequestLog,
        ledger_file: LedgerFile,
        tmp_path: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        counts(request_log, "frozen")
        assert followed(run_task(gate(COOL_DOWN), connections=request_log.connection, run_id="unnamed")) == {"hold"}
        request_log.write(100_000, 0)
        request_log.write(100_000, 0, at=datetime.now(UTC) - before - 180 * MINUTE)
        monkeypatch.setenv("AIRFLOW__SLO__ENVIRONMENT", "production")
        at = (datetime.now(UTC) - before).isoformat()
        if first == "backfill":
            (tmp_path / "slos.yaml").write_text(COOL_DOWN)
            monkeypatch.setenv("AIRFLOW_CONN_REQUEST_LOG", json.dumps(request_log.connection["request_log"]))
            code, _, said = slo_command("backfill", str(tmp_path / "slos.yaml"), "--since", at, "--until", at, "--every", "1h")
            assert code == 0, said
        else:
            past = run_task(gate(COOL_DOWN, at=at), connections=request_log.connection, run_id="past")
            assert followed(past) == {"promote"}
        for run in ("next", "after"):
            assert followed(run_task(gate(COOL_DOWN), connections=request_log.connection, run_id=run)) == {"hold"}
