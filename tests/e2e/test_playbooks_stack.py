"""Each included playbook, from the opening to the post-mortem, on real components."""

from __future__ import annotations

import csv
import json
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airflow_slo_provider.incidents import IncidentType, shipped_playbook
from airflow_slo_provider.incidents.serving import valid_decisions
from airflow_slo_provider.ledger import open_ledger
from tests.airflow.gates import RequestLog
from tests.services.prometheus_server import running_prometheus
from tests.support import REPO

pytestmark = pytest.mark.e2e

EVIDENCE = {
    IncidentType.MODEL_SERVING_DEGRADATION: {"slo": "e2e-playbook", "status_code": "500"},
    IncidentType.FEATURE_PIPELINE_FAILURE: {"slo": "e2e-playbook", "stale": ["features"]},
    IncidentType.ACCURACY_DROP: {"slo": "e2e-playbook", "check_kind": "golden_set"},
    IncidentType.DATA_DRIFT_ALERT: {"slo": "e2e-playbook", "drifted_columns": ["age"]},
    IncidentType.TRAFFIC_SPIKE: {"slo": "e2e-playbook", "traffic_factor": 4},
}


#: Traces as a model server writes them.
TRACES = """
import sys
from airflow_slo_provider import tracing
tracing.configure("models", endpoint=sys.argv[1], sample_ratio=1.0)
for number in range(200):
    tracer = tracing.MLRequestTracer(f"request-{number}", "1" if number % 2 else "2")
    with tracer.trace_request({}), tracer.span_model_inference(batch_size=1):
        pass
tracing.shutdown()
"""


@pytest.fixture(scope="module")
def log(airflow_stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RequestLog]:
    client, home = airflow_stack.client, airflow_stack.home / "playbooks"
    home.mkdir(exist_ok=True)
    found = RequestLog(home / "requests.db")
    client.add_connection("e2e_playbook_log", "sqlite", host=str(found.path))
    with sqlite3.connect(found.path) as connection:
        connection.execute("CREATE TABLE features (id INTEGER, event_timestamp TEXT)")
        now = datetime.now(UTC)
        rows = [(number, (now - timedelta(hours=2)).strftime("%Y-%m-%d %H:%M:%S")) for number in range(100)]
        connection.executemany("INSERT INTO features VALUES (?, ?)", rows)
    connection.close()
    with Path(home / "golden.csv").open("w", newline="") as file:
        rows = [(n, n % 2, n % 2 if n % 10 else 1 - n % 2, n % 2 if n % 50 else 1 - n % 2) for n in range(500)]
        csv.writer(file).writerows([("id", "label", "candidate", "champion"), *rows])
    spans = home / "traces.jsonl"
    subprocess.run([sys.executable, "-c", TRACES, spans.as_uri()], check=True, cwd=REPO, timeout=60)
    extra = json.dumps({"kind": "otlp_json", "path": str(spans)})
    client.add_connection("e2e_playbook_traces", "trace_store", extra=extra)
    for name, shift in (("reference", 0), ("current", 30)):
        with Path(home / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["age"], *([20 + shift + number % 50] for number in range(2000))])
    with running_prometheus(tmp_path_factory.mktemp("playbook prometheus")) as url:
        client.add_connection("e2e_playbook_prometheus", "prometheus", host=url)
        over = threading.Event()
        answering = threading.Thread(target=answer, args=(found, over))
        answering.start()
        yield found
        over.set()
        answering.join()


def answer(log: RequestLog, over: threading.Event) -> None:
    """Send requests during the test."""
    while not over.wait(1):
        log.write(5, 0, at=datetime.now(UTC))


@pytest.mark.parametrize("kind", list(IncidentType))
def test_playbook_runs_all_its_steps(airflow_stack, run_dag, log: RequestLog, kind: IncidentType):
    client, now = airflow_stack.client, datetime.now(UTC)
    log.clear()
    log.write(2000, 0)
    log.write(40, 60, at=now - timedelta(minutes=45))  # recovered, except for the long windows
    incident = {
        "id": f"{kind}-1", "kind": "burning", "subject": "e2e-playbook", "severity": "page", "evidence": EVIDENCE[kind],
        "message": "a test", "started_at": (now - timedelta(minutes=46)).isoformat(),
    }  # fmt: skip
    if kind in (IncidentType.FEATURE_PIPELINE_FAILURE, IncidentType.DATA_DRIFT_ALERT):
        client.wait_for_dag("e2e_playbook_pipeline")
        client.unpause("e2e_playbook_pipeline")
    run_id, state = run_dag(f"e2e_playbook_{kind}", conf={"incident": incident}, timeout=300)
    states = client.task_states(f"e2e_playbook_{kind}", run_id)
    assert state == "success", states
    with open_ledger(f"sqlite:///{airflow_stack.home / 'slo_ledger.db'}") as ledger:
        (row,) = [row for row in ledger.checks("incident", f"{kind}-1") if row.key.task_id == "post_mortem"]
    steps = {step["id"]: step["state"] for step in row.result.evidence["steps"]}
    playbook = shipped_playbook(kind)
    assert set(steps) == set(playbook.step_ids)
    approved = playbook.step("approve").approve_by_default
    assert steps["approve"] == ("approved" if approved else "rejected"), "nobody answers: its default"
    for step in playbook.steps:
        if "approve" in step.after:
            allowed = {"done", "for a person"} if approved else {"not reached"}
            assert steps[step.id] in allowed, (step.id, steps)
        elif step.id != "approve":
            assert steps[step.id] in {"done", "for a person"}, (step.id, steps)
    assert steps["burning"] == steps["recovered"] == "done"
    text = (airflow_stack.home / "playbooks" / "post-mortems" / f"{kind}-1.md").read_text()
    assert "60 of" in text and "## Action items" in text
    check_what_it_did(kind, airflow_stack, run_id)


def check_what_it_did(kind: IncidentType, stack, run_id: str) -> None:
    client, dag_id = stack.client, f"e2e_playbook_{kind}"
    # All incidents share one document, and the settings of one do not change those of the others.
    asked = {entry["held_by"]: entry["action"] for entry in valid_decisions(stack.home / "playbooks" / "decision.json")}
    own = asked.get(f"{dag_id}/{run_id}")
    if kind is IncidentType.MODEL_SERVING_DEGRADATION:
        assert client.xcom(dag_id, run_id, "playbook.culprit", key="version") == "two"
        assert client.task_states(dag_id, run_id)["playbook.roll_back"] == "skipped"
    elif kind is IncidentType.FEATURE_PIPELINE_FAILURE:
        assert client.xcom(dag_id, run_id, "playbook.serve_stale")["degraded"] is True
        assert own == "allow", "back to normal"
        runs = client.call("GET", "/api/v2/dags/e2e_playbook_pipeline/dagRuns")["dag_runs"]
        assert [run["state"] for run in runs] == ["success"], "the pipeline ran again"
        assert client.xcom(dag_id, run_id, "playbook.freshness") is not None
    elif kind is IncidentType.ACCURACY_DROP:
        found = client.xcom(dag_id, run_id, "playbook.golden_set")
        assert found["metrics"]["accuracy"]["value"] == pytest.approx(0.9) and found["verdict"] != "pass", (
            "worse than the champion"
        )
    elif kind is IncidentType.DATA_DRIFT_ALERT:
        assert own == "reduce_experimentation"
        assert len(client.call("GET", "/api/v2/dags/e2e_playbook_pipeline/dagRuns")["dag_runs"]) <= 1, "training was not approved"
    elif kind is IncidentType.TRAFFIC_SPIKE:
        assert client.xcom(dag_id, run_id, "playbook.clients", key="version") == "two"
        assert client.xcom(dag_id, run_id, "playbook.degrade")["degraded"] is True
        assert own == "allow"
        breakdown = client.xcom(dag_id, run_id, "playbook.latency")
        assert breakdown["traces"] == 200 and breakdown["verdict"] != "unknown", breakdown
