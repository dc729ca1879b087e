"""Freshness on real Airflow components."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta

import pytest

from airflow_slo_provider.ledger import open_ledger

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def stack(airflow_stack):
    client = airflow_stack.client
    login = {"login": "demo", "password": airflow_stack.password, "host": airflow_stack.url}
    client.add_connection("e2e_airflow", "http", **login)
    client.add_connection("e2e_stranger", "http", **{**login, "password": "wrong"})
    for dag_id in ("e2e_pipeline", "e2e_follower", "e2e_scheduled", "e2e_never_ran"):
        client.wait_for_dag(dag_id)
        client.unpause(dag_id)
    return airflow_stack


@pytest.fixture
def checks(stack):
    def read(run_id: str) -> dict:
        with open_ledger(f"sqlite:///{stack.home / 'slo_ledger.db'}") as ledger:
            rows = [one for one in ledger.checks("freshness", limit=1000) if one.key.run_id == run_id]
        assert len({one.key.task_id for one in rows}) == len(rows), "one row for each task instance"
        return {one.key.task_id: one.result for one in rows}

    return read


def end_of(client, dag_id, run_id):
    return datetime.fromisoformat(client.call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["end_date"])


def last_run(client, dag_id, **wanted):
    runs = client.call("GET", f"/api/v2/dags/{dag_id}/dagRuns?order_by=-end_date&limit=50")["dag_runs"]
    return next((run for run in runs if all(run[key] == value for key, value in wanted.items())), None)


def until(happened, timeout=300):
    deadline = time.monotonic() + timeout
    while not (found := happened()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.5)
    return found


def test_freshness_counts_every_kind_of_successful_run(stack, run_dag, checks):
    client = stack.client
    good, state = run_dag("e2e_pipeline")
    assert state == "success"
    followed = until(lambda: last_run(client, "e2e_follower", state="success"))
    scheduled = until(lambda: last_run(client, "e2e_scheduled", state="success"))
    assert (followed["run_type"], followed["logical_date"]) == ("asset_triggered", None)
    assert scheduled["run_type"] == "scheduled"
    assert last_run(client, "e2e_pipeline", dag_run_id=good)["logical_date"] is None
    _, state = run_dag("e2e_pipeline", conf={"fail": True})
    assert state == "failed"

    run_id, state = run_dag("e2e_freshness_checks")
    assert state == "success", client.task_states("e2e_freshness_checks", run_id)
    found = checks(run_id)
    seen = {
        name: one.evidence["observed_at"] and datetime.fromisoformat(one.evidence["observed_at"]) for name, one in found.items()
    }
    assert seen["e2e_pipeline"] == end_of(client, "e2e_pipeline", good)
    assert seen["e2e_follower"] == end_of(client, "e2e_follower", followed["dag_run_id"])
    assert seen["e2e_scheduled"] == end_of(client, "e2e_scheduled", scheduled["dag_run_id"])
    (task,) = client.task_instances("e2e_pipeline", good)
    assert seen["one_task"] == datetime.fromisoformat(task["end_date"])
    assert seen["made"] == seen["by_name"]
    assert datetime.fromisoformat(task["start_date"]) < seen["made"] <= seen["e2e_pipeline"], (
        "between the task's start and the run's end"
    )
    assert found["made"].evidence["run_id"] == good
    assert found["followed"].evidence["dag_id"] == "e2e_follower"
    assert (found["never"].verdict, found["never"].value) == ("unknown", None)
    assert {one.verdict for name, one in found.items() if name != "never"} == {"pass"}
    for name, one in found.items():
        if name != "never":
            assert one.value == pytest.approx((one.checked_at - seen[name]).total_seconds(), abs=0.001)
    assert client.xcom("e2e_freshness_checks", run_id, "made")["name"] == "asset:e2e_made"


def test_mapped_task_is_fresh_when_all_instances_succeeded(stack, run_dag, checks):
    client = stack.client

    def found():
        run_id, state = run_dag("e2e_freshness_of_expanded")
        assert state == "success", client.task_states("e2e_freshness_of_expanded", run_id)
        return checks(run_id)["part"]

    partly, state = run_dag("e2e_expanded", conf={"fails": 1})
    assert state == "failed"
    assert found().verdict == "unknown"
    whole, state = run_dag("e2e_expanded")
    assert state == "success"
    last = max(datetime.fromisoformat(one["end_date"]) for one in client.task_instances("e2e_expanded", whole))
    later, state = run_dag("e2e_expanded", conf={"fails": 0})
    assert state == "failed"
    for one in (partly, later):
        assert sorted(part["state"] for part in client.task_instances("e2e_expanded", one)) == ["failed", "success", "success"]
    seen = found()
    assert (seen.verdict, seen.evidence["run_id"]) == ("pass", whole)
    assert datetime.fromisoformat(seen.evidence["observed_at"]) == last


def test_unanswerable_freshness_check_fails_without_retry(stack, run_dag, checks):
    client = stack.client
    run_id, state = run_dag("e2e_freshness_refusals")
    assert state == "failed"
    tasks = {one["task_id"]: one for one in client.task_instances("e2e_freshness_refusals", run_id)}
    assert {one["state"] for one in tasks.values()} == {"failed"}
    assert {one["try_number"] for one in tasks.values()} == {1}
    words = {
        "unknown_asset": "Airflow has no active asset of that name or URI",
        "unknown_dag": "there is no DAG e2e_nobody",
        "unknown_task": "there is no task no in DAG e2e_pipeline",
        "wrong_password": "check the connection's login and password",
    }
    for task_id, message in words.items():
        assert message in client.log("e2e_freshness_refusals", run_id, task_id)
    assert {one.verdict for one in checks(run_id).values()} == {"unknown"}


def test_waiting_sensor_survives_a_triggerer_restart(stack, run_dag, checks, tmp_path):
    client, dag_id = stack.client, "e2e_freshness_waits"
    client.wait_for_dag(dag_id)
    client.unpause(dag_id)
    marker = tmp_path / "_SUCCESS"
    run_id = client.trigger(dag_id, conf={"path": str(marker)})
    client.wait_for_task(dag_id, run_id, "in_the_triggerer", states=("deferred",))
    client.wait_for_task(dag_id, run_id, "on_workers", states=("deferred",))
    stack.restart_component("triggerer")
    stack.wait_until_healthy(timeout=240)
    assert client.task_states(dag_id, run_id)["in_the_triggerer"] == "deferred"
    marker.touch()
    _, state = run_dag("e2e_never_ran")
    assert state == "success"
    assert client.wait_for_run(dag_id, run_id, timeout=300) == "success"
    log = client.log(dag_id, run_id, "in_the_triggerer")
    assert "dag e2e_never_ran: age unknown, limit 4 h: it never succeeded" in log
    assert "limit 4 h: fresh; from Airflow API http://127.0.0.1" in log
    assert {one.verdict for one in checks(run_id).values()} == {"pass"}
    assert {one["try_number"] for one in client.task_instances(dag_id, run_id)} == {1}


def test_sensor_timeout_includes_time_spent_deferred(stack, checks):
    client, dag_id = stack.client, "e2e_freshness_timeouts"
    client.wait_for_dag(dag_id)
    client.unpause(dag_id)
    run_id = client.trigger(dag_id)
    assert client.wait_for_run(dag_id, run_id, timeout=400) == "failed"
    tasks = {one["task_id"]: one for one in client.task_instances(dag_id, run_id)}
    assert {name: one["state"] for name, one in tasks.items()} == {
        "in_the_triggerer": "failed",
        "on_workers": "failed",
        "skips": "skipped",
        "rescheduled": "failed",
    }
    found = checks(run_id)
    for name, seconds in {"in_the_triggerer": 15, "on_workers": 25, "rescheduled": 15, "skips": 2}.items():
        waited = (found[name].checked_at - datetime.fromisoformat(found[name].evidence["waiting_since"])).total_seconds()
        # It times out at its next check; when that runs depends on the machine.
        assert seconds <= waited, name
        assert found[name].verdict == "unknown"
        assert tasks[name]["try_number"] == 1
    log = client.log(dag_id, run_id, "on_workers")
    assert log.count("age unknown, limit 4 h: no file matches") >= 4, "three deferrals, and a look after each"
    assert "not fresh within 25 s" in log


def test_sensor_timeout_restarts_on_clearing_but_not_on_retry(stack, run_dag, checks):
    client, dag_id = stack.client, "e2e_freshness_retried"
    run_id, state = run_dag(dag_id)
    assert state == "failed"
    first = checks(run_id)["retried"]
    (task,) = client.task_instances(dag_id, run_id)
    assert task["try_number"] == 2
    began = datetime.fromisoformat(first.evidence["waiting_since"])
    assert first.checked_at - began >= timedelta(seconds=9)  # the last check, which ends after the timeout
    assert began < datetime.fromisoformat(task["start_date"]) - timedelta(seconds=6), "the timeout counts from the first try"
    # The second try had less than the whole timeout, which would be enough for ten checks.
    assert client.log(dag_id, run_id, "retried").count("no file matches") <= 6
    client.clear(dag_id, run_id, "retried")
    until(lambda: client.run_state(dag_id, run_id) not in ("failed",))
    assert client.wait_for_run(dag_id, run_id) == "failed"
    second = checks(run_id)["retried"]
    assert second.evidence["waiting_since"] > first.checked_at.isoformat()
    assert second.checked_at - datetime.fromisoformat(second.evidence["waiting_since"]) >= timedelta(seconds=9)


def test_late_run_is_reported(stack, tmp_path):
    client, dag_id, mark = stack.client, "e2e_late", tmp_path / "enough"
    client.wait_for_dag(dag_id)
    client.unpause(dag_id)
    run_id = client.trigger(dag_id, conf={"mark": str(mark)})
    told = f"SLO e2e-fresh: run {run_id} of DAG {dag_id} has not ended within 5 s"

    def logged() -> bool:
        return any(told in path.read_text(errors="replace") for path in stack.home.rglob("*.log"))

    try:
        until(logged)
    finally:
        mark.touch()
    assert client.wait_for_run(dag_id, run_id) == "success"


def test_freshness_example_succeeds_and_its_slos_have_a_budget(stack, run_dag):
    from airflow_slo_provider import slo
    from airflow_slo_provider.indicators.ledger import LedgerSource
    from tests.support import REPO

    client = stack.client
    _, state = run_dag("example_ingest")
    assert state == "success"
    run_id, state = run_dag("example_freshness")
    assert state == "success", client.task_states("example_freshness", run_id)
    assert set(client.task_states("example_freshness", run_id).values()) == {"success"}
    run_id, state = run_dag("example_freshness_checks")
    assert state == "success"
    catalog = slo.load(REPO / "demo" / "slos_freshness")
    with open_ledger(f"sqlite:///{stack.home / 'slo_ledger.db'}") as ledger:
        source = LedgerSource(ledger)
        reports = slo.SLOMonitor(catalog, lambda *_: source).evaluate(at=datetime.now(UTC))
        names = {one.metric.source.query for one in (item.indicator for item in catalog.slos)}
        recorded = {one.result.name: one.result for one in ledger.checks("freshness", limit=1000) if one.result.name in names}
    assert set(recorded) == names
    assert {one.verdict for one in recorded.values()} == {"pass"}
    assert {one.name for one in reports} == {"model-fresh", "features-fresh", "pipeline-fresh"}
    json.dumps([str(one.status) for one in reports])
    assert client.import_errors() == []
