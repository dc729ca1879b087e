"""Gate and sensor on real components: scheduler, worker, triggerer, API server."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from airflow_slo_provider.ledger import open_ledger
from airflow_slo_provider.slo.budget import text_table as table
from tests.airflow.gates import RequestLog

pytestmark = pytest.mark.e2e

#: Timeout in seconds. No assertion depends on how soon something happens.
NEVER = 300


@pytest.fixture(scope="module")
def log(airflow_stack, tmp_path_factory: pytest.TempPathFactory) -> RequestLog:
    found = RequestLog(tmp_path_factory.mktemp("request log") / "requests.db")
    airflow_stack.client.add_connection("e2e_request_log", "sqlite", host=str(found.path))
    return found


@pytest.fixture
def requests(log: RequestLog) -> RequestLog:
    log.clear()
    return log


def recorded(stack, run_id: str) -> list:
    with open_ledger(f"sqlite:///{stack.home / 'slo_ledger.db'}") as ledger:
        return [row for row in ledger.checks() if row.key.run_id == run_id]


@pytest.mark.parametrize(("bad", "taken"), [(0, "promote"), (None, "look"), (20, "hold")], ids=["allowed", "unknown", "frozen"])
def test_gate_follows_the_branch_of_its_decision(airflow_stack, run_dag, requests: RequestLog, bad: int | None, taken: str):
    if bad is not None:
        requests.write(1000 - bad, bad)
    run_id, state = run_dag("e2e_gate", run_id=f"e2e-{taken}")
    client = airflow_stack.client
    states = client.task_states("e2e_gate", run_id)
    expected = {task: "success" if task == taken else "skipped" for task in ("promote", "hold", "look")}
    assert (state, states) == ("success", {"gate": "success", **expected, "report": "success"})
    decision = client.xcom("e2e_gate", run_id, "gate", key="decision")
    assert decision["outcome"] == {"promote": "allowed", "hold": "frozen", "look": "unknown"}[taken]
    log = client.log("e2e_gate", run_id, "gate")
    assert log.index(table.BEGIN) < log.index("e2e-gate") < log.index(table.END)
    assert {(row.result.kind, row.result.name) for row in recorded(airflow_stack, run_id)} == {
        ("slo", "e2e-gate"),
        ("decision", "e2e_gate.gate"),
    }


def test_gate_killed_after_its_decision_decides_again_on_retry(airflow_stack, requests: RequestLog, tmp_path: Path):
    requests.write(1000, 0)
    client = airflow_stack.client
    client.wait_for_dag("e2e_gate")
    client.unpause("e2e_gate")
    mark = tmp_path / "mark"
    run_id = client.trigger("e2e_gate", run_id="killed", conf={"mark": str(mark)})
    until(lambda: mark.exists() and bool(mark.read_text()))
    (before,) = [row for row in recorded(airflow_stack, run_id) if row.result.kind == "decision"]
    assert before.key.try_number == 1
    os.kill(int(mark.read_text()), signal.SIGKILL)
    assert client.wait_for_run("e2e_gate", run_id, timeout=NEVER) == "success"
    rows = recorded(airflow_stack, run_id)
    assert sorted((row.result.kind, row.key.attempt, row.key.try_number) for row in rows) == [
        ("decision", 0, 1), ("decision", 1, 2), ("slo", 0, 1), ("slo", 1, 2),
    ]  # fmt: skip
    assert client.task_states("e2e_gate", run_id)["promote"] == "success"


def test_deferred_sensor_resumes_after_a_triggerer_restart(airflow_stack, requests: RequestLog):
    requests.write(990, 10)
    client = airflow_stack.client
    client.wait_for_dag("e2e_wait")
    client.unpause("e2e_wait")
    run_id = client.trigger("e2e_wait")
    client.wait_for_task("e2e_wait", run_id, "wait", states=("deferred",), timeout=NEVER)
    first = _instance(client, run_id)
    airflow_stack.restart_component("triggerer")
    looks = lambda: client.log("e2e_wait", run_id, "wait").count(table.BEGIN)  # noqa: E731
    # Still frozen: it checks and defers again, in the restarted triggerer.
    until(lambda: looks() >= 2, lambda: client.log("e2e_wait", run_id, "wait"))
    now = _instance(client, run_id)
    assert now["state"] in ("deferred", "scheduled", "queued", "running")
    assert now["try_number"] == first["try_number"] == 1, _mismatches(client)
    assert now["start_date"] == first["start_date"], "its timeout counts from the first look"
    requests.write(2000, 0)
    state = client.wait_for_run("e2e_wait", run_id, timeout=NEVER)
    assert state == "success", client.log("e2e_wait", run_id, "wait")
    decision = client.xcom("e2e_wait", run_id, "wait", key="decision")
    assert (decision["outcome"], decision["slos"][0]["remaining"]) == ("allowed", pytest.approx(2 / 3))
    rows = recorded(airflow_stack, run_id)
    assert sorted(row.result.kind for row in rows) == ["decision", "slo"], "one row of each, however often it looked"


def test_backfilled_gate_evaluates_the_end_of_its_interval(airflow_stack, requests: RequestLog):
    """Spent on the first of March, healthy since: each run of the backfill evaluates its own day."""
    requests.write(990, 10, at=datetime(2026, 3, 1, 12, tzinfo=UTC))
    requests.write(1000, 0, at=datetime(2026, 3, 2, 12, tzinfo=UTC))
    requests.write(1000, 0)
    client = airflow_stack.client
    client.wait_for_dag("e2e_past")
    client.unpause("e2e_past")
    # The interval of a cron timetable is a point: the run of the second evaluates all time before it.
    span = {"from_date": "2026-03-02T00:00:00Z", "to_date": "2026-03-03T00:00:00Z"}
    client.call("POST", "/api/v2/backfills", {"dag_id": "e2e_past", "dag_run_conf": {}, "max_active_runs": 1, **span})
    path = "/api/v2/dags/e2e_past/dagRuns?run_type=backfill&order_by=logical_date"
    found = lambda: {one["dag_run_id"]: one["state"] for one in client.call("GET", path)["dag_runs"]}  # noqa: E731
    until(lambda: list(found().values()) == ["success"] * 2, found)
    runs = list(found())
    decisions = [client.xcom("e2e_past", run_id, "gate", key="decision") for run_id in runs]
    assert [one["at"] for one in decisions] == ["2026-03-02T00:00:00+00:00", "2026-03-03T00:00:00+00:00"]
    assert [one["outcome"] for one in decisions] == ["frozen", "allowed"]
    assert [client.task_states("e2e_past", run_id)["deploy"] for run_id in runs] == ["skipped", "success"]


def test_slo_command_reads_airflow_connections(airflow_stack, requests: RequestLog, tmp_path: Path):
    requests.write(995, 5)
    path = tmp_path / "documents.yaml"
    text = (Path(__file__).parent / "dags" / "e2e_error_budget.py").read_text().split('"""')[3]
    path.write_text(text % "command")
    out = airflow_stack.airflow("slo", "status", str(path), "--output", "json")
    found = json.loads(out[out.index("{") :])
    assert (found["slos"][0]["name"], found["slos"][0]["remaining"]) == ("e2e-command", 0.5)


def _instance(client, run_id: str) -> dict:
    (one,) = client.task_instances("e2e_wait", run_id)
    return one


def _mismatches(client) -> list:
    """Return when Airflow failed a task itself because it was queued again before its worker's exit was detected."""
    return client.call("GET", "/api/v2/eventLogs?event=state%20mismatch")["event_logs"]


def until(happened: Callable[[], bool], tell: Callable[[], object] = lambda: "") -> None:
    deadline = time.monotonic() + NEVER
    while not happened():
        assert time.monotonic() < deadline, f"not within {NEVER} s: {tell()}"
        time.sleep(0.3)
