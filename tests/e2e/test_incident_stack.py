"""From a bad model version to its rollback and post-mortem, on real components."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_slo_provider.ledger import open_ledger
from tests.e2e.incident_stage import Stage
from tests.services.prometheus_server import free_port

pytestmark = pytest.mark.e2e

SERVICES, ALERTED = [f"svc{n}" for n in range(4)], ["alerted0"]
STEPS = {
    f"playbook.{step}" for step in ("open", "burning", "culprit", "recent_changes", "roll_back_model", "recovered", "follow_up")
}


@pytest.fixture(scope="module")
def stage(airflow_stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    home, client = airflow_stack.home / "incidents", airflow_stack.client
    prometheus, alertmanager = free_port(), free_port()
    client.add_connection("e2e_incident_prometheus", "prometheus", host=f"http://127.0.0.1:{prometheus}")
    client.add_connection("e2e_incident_alertmanager", "prometheus", host=f"http://127.0.0.1:{alertmanager}")
    found = Stage(home, [*SERVICES, "asked0"], ALERTED)
    with found.running(tmp_path_factory.mktemp("stage"), prometheus_port=prometheus, alertmanager_port=alertmanager):
        found.ask(*SERVICES, *ALERTED, "asked0", rate=20)
        time.sleep(12)  # start with good requests
        for dag_id in ("e2e_incident", "e2e_alerted"):
            client.wait_for_dag(dag_id)
            client.unpause(dag_id)
        time.sleep(15)  # the triggerer runs the watchers
        yield found


def runs(client, dag_id: str) -> list[dict[str, Any]]:
    return list(client.call("GET", f"/api/v2/dags/{dag_id}/dagRuns?order_by=start_date&limit=50")["dag_runs"])


def subject_of(stack, dag_id: str, run: dict[str, Any]) -> str:
    with open_ledger(f"sqlite:///{stack.home / 'slo_ledger.db'}") as ledger:
        rows = [row for row in ledger.checks("incident", dag_id=dag_id) if row.key.run_id == run["dag_run_id"]]
    return str(rows[0].result.evidence["slo"]) if rows else ""


def runs_about(stack, dag_id: str, service: str) -> list[dict[str, Any]]:
    return [run for run in runs(stack.client, dag_id) if subject_of(stack, dag_id, run) == service]


def until(happened, seconds: float, what: str = "") -> Any:
    deadline = time.monotonic() + seconds
    while True:
        found = happened()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.5)


def rolled_back(stage: Stage, service: str, seconds: float = 120) -> datetime:
    """Return when the good version was restored."""
    until(lambda: stage.champion(service).after == "1", seconds, f"{service} is rolled back")
    assert stage.champion(service).kind == "rollback"
    return datetime.fromisoformat(stage.champion(service).at)


def test_bad_version_is_rolled_back_and_documented(airflow_stack, stage: Stage):
    service, client = "svc0", airflow_stack.client
    deployed = stage.point(service, "2")
    applied = rolled_back(stage, service)
    first_true = stage.burning_since(service, deployed, applied)
    print(f"burn-rate condition true in Prometheus -> rollback applied: {(applied - first_true).total_seconds():.1f} s")
    until(lambda: stage.serving(service) == "1", 10, "the server has changed over")
    (run,) = until(lambda: runs_about(airflow_stack, "e2e_incident", service), 30)
    run_id = run["dag_run_id"]
    assert run["run_type"] == "asset_triggered"
    assert client.wait_for_run("e2e_incident", run_id, timeout=150) == "success"
    states = client.task_states("e2e_incident", run_id)
    assert {task: states[task] for task in STEPS} == dict.fromkeys(STEPS, "success")
    assert states["playbook.open_others"] == "skipped"
    assert client.xcom("e2e_incident", run_id, "playbook.culprit", key="version") == "2"
    recovered = client.xcom("e2e_incident", run_id, "playbook.recovered")
    assert recovered["recovered"] and recovered["burn_rate_since"] <= 1
    told = client.xcom("e2e_incident", run_id, "post_mortem")
    text = Path(told["markdown"].removeprefix("file://")).read_text()
    started, ended = datetime.fromisoformat(told["started_at"]), datetime.fromisoformat(told["ended_at"])
    assert first_true - timedelta(seconds=1) <= started <= applied
    assert applied < ended
    (line,) = re.findall(r"\| (T\+\S+) \| (\S+) \| mitigation: Give the alias back .*: done", text)
    hours, minutes, seconds = map(int, line[0].removeprefix("T+").split(":"))
    done = started + timedelta(hours=hours, minutes=minutes, seconds=seconds)
    assert applied - timedelta(seconds=1) <= done <= ended
    assert "went wrong" in text and "from 2 to 1" in text
    assert Path(told["html"].removeprefix("file://")).read_text().startswith("<!doctype html>")
    with open_ledger(f"sqlite:///{airflow_stack.home / 'slo_ledger.db'}") as ledger:
        incident = ledger.latest("incident", told["incident"])
    assert incident is not None and incident.result.evidence["state"] == "over"


@pytest.mark.long
def test_two_concurrent_incidents_start_two_runs(airflow_stack, stage: Stage):
    for service in ("svc1", "svc2"):
        stage.point(service, "2")
    for service in ("svc1", "svc2"):
        rolled_back(stage, service)
    found = {service: runs_about(airflow_stack, "e2e_incident", service) for service in ("svc1", "svc2")}
    assert {service: len(of) for service, of in found.items()} == {"svc1": 1, "svc2": 1}
    for (run,) in found.values():
        assert airflow_stack.client.wait_for_run("e2e_incident", run["dag_run_id"], timeout=180) == "success"


@pytest.mark.long
def test_triggerer_killed_during_an_incident_starts_no_second_run(airflow_stack, stage: Stage):
    service, client = "svc3", airflow_stack.client
    stage.point(service, "2")
    (run,) = until(lambda: runs_about(airflow_stack, "e2e_incident", service), 90, "a run has begun")
    before = len(runs(client, "e2e_incident"))
    airflow_stack.restart_component("triggerer", signal.SIGKILL)
    rolled_back(stage, service)
    assert client.wait_for_run("e2e_incident", run["dag_run_id"], timeout=180) == "success"
    log = airflow_stack.component_log("triggerer")
    until(lambda: log.read_text().count("trigger ID") and "starting" in log.read_text(), 60)
    airflow_stack.wait_until_healthy(timeout=60)
    # Its windows still burn, and the new triggerer has polled several times by now.
    time.sleep(30)
    assert stage.query(f'model_requests_total{{service="{service}"}}')
    assert len(runs(client, "e2e_incident")) == before
    assert len(runs_about(airflow_stack, "e2e_incident", service)) == 1


@pytest.mark.long
def test_alertmanager_alert_is_rolled_back_and_documented(airflow_stack, stage: Stage):
    service, client = "alerted0", airflow_stack.client
    deployed = stage.point(service, "2")
    applied = rolled_back(stage, service)
    first_true = stage.burning_since(service, deployed, applied)
    print(f"through Alertmanager: true in Prometheus -> rollback applied: {(applied - first_true).total_seconds():.1f} s")
    (run,) = runs_about(airflow_stack, "e2e_alerted", service)
    assert client.wait_for_run("e2e_alerted", run["dag_run_id"], timeout=180) == "success"
    incident = client.xcom("e2e_alerted", run["dag_run_id"], "playbook.open", key="incident")
    assert incident["evidence"]["labels"]["alertname"] == "alerted0Burns"
    assert len(runs(client, "e2e_alerted")) == 1


@pytest.mark.long
@pytest.mark.parametrize("answer", ["Approve", "Reject", None])
def test_approval_is_accepted_rejected_or_times_out(airflow_stack, stage: Stage, answer: str | None):
    service, client = "asked0", airflow_stack.client
    client.wait_for_dag("e2e_asking")
    client.unpause("e2e_asking")
    stage.point(service, "2")
    incident = {
        "id": f"by-hand-{answer}", "kind": "burning", "subject": service, "severity": "page", "message": "a test",
        "started_at": datetime.now(UTC).isoformat(), "evidence": {"slo": service},
    }  # fmt: skip
    time.sleep(25)  # the bad version has enough requests to be identified
    run_id = client.trigger("e2e_asking", conf={"incident": incident})
    client.wait_for_task("e2e_asking", run_id, "playbook.approve", states=("awaiting_input", "deferred"), timeout=90)
    if answer is not None:
        time.sleep(6)  # Airflow fails a task that is answered before its worker's end has been seen
        path = f"/api/v2/dags/e2e_asking/dagRuns/{run_id}/taskInstances/playbook.approve/-1/hitlDetails"
        client.call("PATCH", path, {"chosen_options": [answer], "params_input": {}})
    client.wait_for_task("e2e_asking", run_id, "playbook.approve", states=("success",), timeout=120)
    wanted = "success" if answer == "Approve" else "skipped"
    client.wait_for_task("e2e_asking", run_id, "playbook.roll_back_model", states=(wanted,), timeout=60)
    assert stage.champion(service).after == ("1" if answer == "Approve" else "2")
    if answer != "Approve":
        stage.point(service, "1")  # the manual step instead
    approval = client.xcom("e2e_asking", run_id, "playbook.approve", key="approval")
    assert approval["approved"] is (answer == "Approve") and approval["timed_out"] is (answer is None)
    if answer == "Approve":
        assert client.wait_for_run("e2e_asking", run_id, timeout=120) == "success"
        return
    # Nothing was mitigated here, and the windows burn for minutes; end the wait and read the post-mortem.
    client.wait_for_task("e2e_asking", run_id, "playbook.recovered", states=("running", "up_for_reschedule"), timeout=60)
    instance = f"/api/v2/dags/e2e_asking/dagRuns/{run_id}/taskInstances/playbook.recovered"
    client.call("PATCH", instance, {"new_state": "failed"})
    client.wait_for_run("e2e_asking", run_id, timeout=90)
    text = (airflow_stack.home / "incidents" / "post-mortems" / f"by-hand-{answer}.md").read_text()
    assert re.search(r"Approve the rollback: rejected - by (nobody within 0:00:20|\w+)", text), text
    assert "Approve the rollback was not approved" in text
    assert ("nobody" in text) is (answer is None)


@pytest.mark.long
def test_unreachable_prometheus_is_reported_and_never_counts_as_recovered(airflow_stack, stage: Stage):
    client = airflow_stack.client
    before = {run["dag_run_id"] for run in runs(client, "e2e_incident")}
    stage.stop_prometheus()
    try:
        fresh = until(lambda: [run for run in runs(client, "e2e_incident") if run["dag_run_id"] not in before], 90, "a blind run")
        (run,) = fresh
        assert client.wait_for_run("e2e_incident", run["dag_run_id"], timeout=90) == "failed"
        states = client.task_states("e2e_incident", run["dag_run_id"])
        assert (states["playbook.open"], states["playbook.roll_back_model"], states["post_mortem"]) == (
            "success",
            "skipped",
            "failed",
        )
        incident = client.xcom("e2e_incident", run["dag_run_id"], "playbook.open", key="incident")
        assert incident["kind"] == "blind" and "refused" in incident["message"]
        time.sleep(15)
        assert len(runs(client, "e2e_incident")) == len(before) + 1, "told once"
    finally:
        stage.start_prometheus()
    # After the outage, the same incident is still open.
    time.sleep(20)
    assert len(runs(client, "e2e_incident")) == len(before) + 1
