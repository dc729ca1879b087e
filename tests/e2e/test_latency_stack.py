"""The latency breakdown on real components: a worker without a metadata database, a connection from the API, a branch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_slo_provider.ledger import open_ledger
from tests.support import acceptance

pytestmark = pytest.mark.e2e

DAG = "latency_after_deploy"


@pytest.fixture(scope="module")
def traces(airflow_stack) -> None:
    extra = {"kind": "otlp_json", "path": str(acceptance("traces", "otlp.json"))}
    airflow_stack.client.add_connection("trace_store_default", "trace_store", extra=json.dumps(extra))


@pytest.mark.usefixtures("traces")
@pytest.mark.parametrize(
    ("interval", "taken"),
    [(("2026-11-23T21:52:00Z", "2026-11-23T21:53:00Z"), "roll_back"), ((None, None), "investigate")],
    ids=["slower", "no-traces"],
)
def test_latency_example_follows_the_branch_of_its_verdict(airflow_stack, run_dag, tmp_path: Path, interval, taken):
    conf = {"start": interval[0], "end": interval[1], "reports": str(tmp_path)}
    run_id, state = run_dag(DAG, run_id=f"e2e-{taken}", conf=conf)
    client = airflow_stack.client
    states = client.task_states(DAG, run_id)
    assert state == "success", client.log(DAG, run_id, "latency")[-3000:]
    assert states == {"latency": "success", **dict.fromkeys(("keep", "roll_back", "investigate"), "skipped"), taken: "success"}
    found = client.xcom(DAG, run_id, "latency", key="latency")
    with open_ledger(f"sqlite:///{airflow_stack.home / 'slo_ledger.db'}") as ledger:
        rows = {row.result.name: row.result for row in ledger.checks() if row.key.run_id == run_id}
    if taken == "roll_back":
        assert (found["slower"], found["span"], found["traces"]) == ("v2", "model_inference", 240)
        assert rows["model-server/ml_prediction_request/p99"].value == pytest.approx(0.10398432088999991)
        (report,) = tmp_path.rglob("latency.html")
        assert "model_inference is slower since v2" in report.read_text()
    else:
        assert (found["verdict"], found["traces"]) == ("unknown", 0)
        assert rows["model-server/traces"].verdict.value == "unknown"
