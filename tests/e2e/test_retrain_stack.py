"""dags/retraining.py on real Airflow components: drift found by dags/scheduled_checks.py starts it, and it requests approvals."""

from __future__ import annotations

import time

import pytest

from airflow_slo_provider.deployment.registries.directory import DirectoryRegistry
from airflow_slo_provider.ledger import open_ledger
from tests.e2e.approvals import answer, pause

pytest.importorskip("sklearn")
pytestmark = pytest.mark.e2e

DAG = "retraining"


@pytest.fixture(scope="module")
def client(airflow_stack):
    client = airflow_stack.client
    for dag_id in (DAG, "daily_drift"):
        client.wait_for_dag(dag_id)
        client.unpause(dag_id)
    yield client
    pause(client, DAG, "daily_drift")


def started_by_an_asset(client, *, timeout: float = 120) -> str:
    deadline = time.monotonic() + timeout
    while True:
        runs = client.call("GET", f"/api/v2/dags/{DAG}/dagRuns?order_by=-start_date&limit=20")["dag_runs"]
        found = [run["dag_run_id"] for run in runs if run["run_type"] == "asset_triggered"]
        if found:
            return found[0]
        assert time.monotonic() < deadline, f"no run was started by an asset: {runs}"
        time.sleep(0.5)


def test_drift_starts_retraining_and_an_approval_decides(airflow_stack, run_dag, client) -> None:
    registry = DirectoryRegistry(airflow_stack.home / "slo_models")
    checked, state = run_dag("daily_drift", conf={"shift": 1.0}, timeout=200)
    states = client.task_states("daily_drift", checked)
    assert (state, states["drift[0]"], states["drifted"], states["no_drift"]) == ("success", "success", "success", "skipped")

    # Unchanged: no parameter, no connection.
    first = started_by_an_asset(client)
    assert client.wait_for_run(DAG, first, timeout=300) == "success", client.task_states(DAG, first)
    states = client.task_states(DAG, first)
    assert (states["promote"], states["report"], states["data_is_stale"]) == ("success", "success", "skipped")
    champion = registry.alias("churn", "champion")
    assert champion is not None and client.xcom(DAG, first, "report") == {"champion": champion, "canary": champion}

    for option, exit_task, other in (("Keep the champion", "hold", "promote"), ("Try it", "promote", "hold")):
        # The data have drifted, and a tenth of the budget is left.
        run_id = client.trigger(DAG, conf={"shift": 1.0, "failed": 0.0175 if other == "promote" else 0.009})
        answer(client, DAG, run_id, "request_review", option)
        assert client.wait_for_run(DAG, run_id, timeout=300) == "success", client.task_states(DAG, run_id)
        states = client.task_states(DAG, run_id)
        assert (states["drifted"], states["gate"], states[exit_task], states[other]) == (
            "success",
            "success",
            "success",
            "skipped",
        )
        assert client.xcom(DAG, run_id, "gate", key="decision")["outcome"] == "warning"
        assert (registry.alias("churn", "champion") == champion) is (exit_task == "hold")
    assert [move.before for move in registry.moves("churn")] == [None, champion]
    with open_ledger(f"sqlite:///{airflow_stack.home / 'slo_ledger.db'}") as ledger:
        promoted = [row.result.model_version for row in ledger.checks(kind="promote", name="churn@champion", newest_first=False)]
    assert promoted == [move.after for move in registry.moves("churn")]
