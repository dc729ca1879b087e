"""Runs on real components with recognizable credentials: they appear in no log, XCom, rendered template or ledger."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.airflow.canaries import RepeatingServer, files_in, found_in, repeating_server

pytestmark = pytest.mark.e2e

CONNECTIONS = {
    **{f"e2e_secret_prometheus_{mode}": (mode, "prometheus", {}) for mode in ("401", "500", "302")},
    "e2e_secret_http": ("500", "http", {}),
    "e2e_secret_registry": ("500", "model_registry", {"kind": "mlflow"}),
    "e2e_secret_traces": ("401", "trace_store", {"kind": "tempo"}),
    "e2e_secret_webhook": ("401", "http", {}),
}


@pytest.fixture(scope="module")
def server(airflow_stack) -> Iterator[RepeatingServer]:
    with repeating_server() as running:
        forms = ["url", "basic", "token"]
        for number, (conn_id, (mode, conn_type, extra)) in enumerate(CONNECTIONS.items()):
            fields = running.connection(mode, forms[number % 3], conn_type, **extra)
            fields.pop("conn_type")
            airflow_stack.client.add_connection(conn_id, conn_type, **{**fields, "extra": json.dumps(fields["extra"])})
        yield running


def test_run_shows_no_credentials(airflow_stack, run_dag, server: RepeatingServer):
    run_id, _ = run_dag("e2e_secrets", timeout=400)
    client = airflow_stack.client
    states = client.task_states("e2e_secrets", run_id)
    # A query that the server rejects fails at once; a transient fault takes the branch `if_unknown` on the last try.
    gates = {mode: states[f"gate_{mode}"] for mode in ("401", "500", "302")}
    assert gates == {"401": "failed", "500": "success", "302": "failed"}, states
    assert {states[name] for name in ("pipeline", "model", "promote", "latency")} == {"failed"}, states
    assert states["end"] == "success"
    heard = "\n".join(server.seen)
    assert found_in(heard), "the servers never saw a credential: nothing was tried"
    for conn_id, (mode, _, _) in CONNECTIONS.items():
        assert f"/{mode}/" in heard or f"/{mode} " in heard, conn_id
    shown = files_in(airflow_stack.home)
    assert any(run_id in name for name in shown), "no log of this run was looked at"
    for one in client.task_instances("e2e_secrets", run_id):
        shown[f"task instance {one['task_id']}, rendered fields and all"] = json.dumps(one)
        path = f"/api/v2/dags/e2e_secrets/dagRuns/{run_id}/taskInstances/{one['task_id']}/xcomEntries?limit=100"
        for entry in client.call("GET", path)["xcom_entries"]:
            shown[f"XCom {entry['key']} of {one['task_id']}"] = json.dumps(
                client.xcom("e2e_secrets", run_id, one["task_id"], key=entry["key"])
            )
        shown[f"log of {one['task_id']}"] = client.log("e2e_secrets", run_id, one["task_id"])
    for where, text in shown.items():
        assert not found_in(text), f"{where} shows {found_in(text)}"
