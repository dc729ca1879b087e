"""A gate that is cleared or marked as successful, on real components."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_slo_provider.ledger import open_ledger
from tests.airflow.gates import RequestLog

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def requests(airflow_stack: Any, tmp_path_factory: pytest.TempPathFactory) -> RequestLog:
    log = RequestLog(tmp_path_factory.mktemp("cleared") / "requests.db")
    airflow_stack.client.add_connection("e2e_clearing_log", "sqlite", host=str(log.path))
    return log


def decisions(stack: Any, run_id: str) -> list[tuple[str, int, str]]:
    """Return name, attempt and outcome of a run's decisions, oldest first."""
    with open_ledger(f"sqlite:///{stack.home / 'slo_ledger.db'}") as ledger:
        rows = ledger.checks("decision", newest_first=False)
    return [(row.result.name, row.key.attempt, row.result.evidence["outcome"]) for row in rows if row.key.run_id == run_id]


def test_clearing_or_marking_a_frozen_gate_releases_nothing(airflow_stack, run_dag, requests: RequestLog):
    client = airflow_stack.client
    marked, state = run_dag("e2e_marked", run_id="marked")
    assert state == "failed"
    assert client.task_states("e2e_marked", marked) == {
        "branch": "failed", "promote": "upstream_failed", "hold": "upstream_failed",
        "gate": "failed", "deploy": "upstream_failed",
    }  # fmt: skip
    for task in ("branch", "gate"):
        client.mark("e2e_marked", marked, task, "success")

    requests.write(990, 10)
    cleared, state = run_dag("e2e_cleared", run_id="cleared")
    assert (state, client.task_states("e2e_cleared", cleared)) == (
        "success", {"gate": "success", "promote": "skipped", "hold": "success"},
    )  # fmt: skip
    requests.write(100_000, 0)
    client.clear("e2e_cleared", cleared, "gate", "promote", "hold")
    assert client.wait_for_run("e2e_cleared", cleared) == "success"
    assert client.task_states("e2e_cleared", cleared) == {"gate": "success", "promote": "skipped", "hold": "success"}
    assert decisions(airflow_stack, cleared) == [("e2e_cleared.gate", 0, "frozen"), ("e2e_cleared.gate", 1, "frozen")]

    assert client.wait_for_run("e2e_marked", marked) == "success"
    assert client.task_states("e2e_marked", marked) == {
        "branch": "success", "promote": "skipped", "hold": "success", "gate": "success", "deploy": "skipped",
    }, "nothing has let them go"  # fmt: skip
    assert sorted(decisions(airflow_stack, marked)) == [("e2e_marked.branch", 0, "unknown"), ("e2e_marked.gate", 0, "unknown")]
