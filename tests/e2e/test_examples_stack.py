"""The other example DAGs on real Airflow components, unchanged; their other branches are tested in tests/airflow."""

from __future__ import annotations

import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_slo_provider.deployment.registries.directory import DirectoryRegistry
from airflow_slo_provider.ledger import RunKey, open_ledger
from airflow_slo_provider.results import CheckResult
from tests.e2e.approvals import answer, pause

pytestmark = pytest.mark.e2e


def test_scheduled_checks_example_succeeds(airflow_stack, run_dag) -> None:
    client = airflow_stack.client
    try:
        for dag_id, task, ways in (
            ("hourly_freshness", "freshness[1]", {"data_are_stale": "success", "all_fresh": "skipped"}),
            ("nightly_golden_set", "golden_set[0]", {"good_enough": "success", "model_is_worse": "skipped"}),
        ):
            run_id, state = run_dag(dag_id, conf={"age_hours": 30}, timeout=200)
            states = client.task_states(dag_id, run_id)
            assert (state, states[task]) == ("success", "success"), states
            assert {way: states[way] for way in ways} == ways
    finally:
        pause(client, "hourly_freshness", "nightly_golden_set")


def test_per_model_gate_example_promotes_only_allowed_models(airflow_stack, run_dag) -> None:
    client, dag_id = airflow_stack.client, "per_model_gate"
    try:
        run_id, state = run_dag(dag_id, timeout=200)
        states = client.task_states(dag_id, run_id)
        assert state == "success", states
        assert [states[f"per_model.promote[{index}]"] for index in range(3)] == ["success", "skipped", "success"]
        assert (states["all_promoted"], states["report"]) == ("skipped", "success")
        assert client.xcom(dag_id, run_id, "report")["fraud"].startswith("frozen: ")
    finally:
        pause(client, dag_id)


def test_serving_slos_example_uses_the_configured_connection(airflow_stack, run_dag, tmp_path: Path) -> None:
    client, dag_id = airflow_stack.client, "serving_slos"
    log = tmp_path / "a service's own log.db"
    with sqlite3.connect(log) as connection:
        connection.execute("CREATE TABLE search_requests (ts TEXT, status INT, latency_ms REAL, index_age_s REAL)")
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        connection.executemany("INSERT INTO search_requests VALUES (?, 500, 10, 10)", [(now,)] * 100)
    connection.close()
    try:
        run_id, state = run_dag(dag_id, timeout=200)
        states = client.task_states(dag_id, run_id)
        assert (state, states["gold.healthy"], states["silver.healthy"], states["gold.spent"]) == (
            "success", "success", "success", "skipped",
        )  # fmt: skip
        assert set(client.xcom(dag_id, run_id, "show")) >= {"search-answers", "search-p99", "search-throughput"}
        client.add_connection("serving_log", "sqlite", host=str(log))
        run_id, state = run_dag(dag_id, timeout=200)
        states = client.task_states(dag_id, run_id)
        assert (state, states["gold.healthy"], states["gold.spent"]) == ("success", "skipped", "success")
    finally:
        pause(client, dag_id)


@pytest.fixture
def rollbacks(airflow_stack):
    client = airflow_stack.client
    for dag_id in ("rollback", "rollback_rehearsal"):
        client.wait_for_dag(dag_id)
        client.unpause(dag_id)
    yield client
    pause(client, "rollback", "rollback_rehearsal")


def started(client: Any, *, timeout: float = 120) -> dict[str, Any]:
    deadline = time.monotonic() + timeout
    while not (runs := client.call("GET", "/api/v2/dags/rollback/dagRuns?limit=20")["dag_runs"]):
        assert time.monotonic() < deadline, "nothing burns"
        time.sleep(0.5)
    return runs[0]


def test_rollback_example_reverts_and_documents_a_bad_release(airflow_stack, rollbacks) -> None:
    client, registry = rollbacks, DirectoryRegistry(airflow_stack.home / "slo_models")
    rehearsal = client.trigger("rollback_rehearsal", run_id="rehearsal")
    run = started(client)
    run_id = run["dag_run_id"]
    assert run["run_type"] == "asset_triggered"
    answer(client, "rollback", run_id, "playbook.approve", "Approve")
    assert client.wait_for_run("rollback", run_id, timeout=200) == "success", client.task_states("rollback", run_id)
    assert client.wait_for_run("rollback_rehearsal", rehearsal, timeout=60) == "success"
    moves = registry.moves("recommender")
    assert [move.kind for move in moves] == ["promote", "promote", "rollback"]
    assert (moves[-1].before, moves[-1].after) == (moves[1].after, moves[0].after)
    assert client.xcom("rollback", run_id, "playbook.culprit", key="version") == moves[1].after
    assert client.xcom("rollback", run_id, "playbook.recovered")["recovered"] is True
    told = client.xcom("rollback", run_id, "post_mortem")
    assert f"from {moves[1].after} to {moves[0].after}" in Path(told["markdown"].removeprefix("file://")).read_text()

    # The same incident, triggered manually and rejected: nothing is moved.
    incident = {**client.xcom("rollback", run_id, "playbook.open", key="incident"), "id": "by-hand"}
    # New failures, since those of the rehearsal leave the short windows after five minutes, which ends the wait as recovered.
    failing = CheckResult(
        kind="requests", name="recommender/requests", verdict="pass", good=0, total=2000, model_version=moves[1].after
    )
    with open_ledger(f"sqlite:///{airflow_stack.home / 'slo_ledger.db'}") as ledger:
        ledger.record([failing], RunKey("test", "by-hand", "requests"))
    run_id = client.trigger("rollback", conf={"incident": incident})
    answer(client, "rollback", run_id, "playbook.approve", "Reject")
    client.wait_for_task("rollback", run_id, "playbook.recovered", states=("running", "up_for_reschedule"), timeout=60)
    assert client.task_states("rollback", run_id)["playbook.roll_back_model"] == "skipped"
    # It would wait for half an hour; end the wait and read the post-mortem.
    instance = f"/api/v2/dags/rollback/dagRuns/{run_id}/taskInstances/playbook.recovered"
    client.call("PATCH", instance, {"new_state": "failed"})
    assert client.wait_for_run("rollback", run_id, timeout=90) == "failed"
    assert len(registry.moves("recommender")) == 3
    assert "rejected" in (airflow_stack.home / "slo_examples" / "post-mortems" / "by-hand.md").read_text()
