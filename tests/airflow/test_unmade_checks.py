"""A check that could not be made leaves a row ``unknown`` in the ledger, whatever the cause."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk.exceptions import AirflowSkipException, AirflowTaskTimeout, DownstreamTasksSkipped

from airflow_slo_provider.checks.envelope import serialise
from airflow_slo_provider.ledger import Ledger, open_ledger
from airflow_slo_provider.operators.drift import DriftOperator
from airflow_slo_provider.operators.freshness import FreshnessCheckOperator
from airflow_slo_provider.operators.golden_set import GoldenSetEvaluationOperator
from airflow_slo_provider.operators.incident.checks import CulpritOperator
from airflow_slo_provider.operators.latency import LatencyBreakdownOperator
from airflow_slo_provider.operators.pod import SLOCheckPodOperator
from airflow_slo_provider.results import CheckResult, Verdict
from airflow_slo_provider.runtime.recording.checks import record_unknown_on_error
from tests.airflow.task_runs import resume, run_task

GONE = {"conn_type": "prometheus", "host": "http://127.0.0.1:1", "extra": {"retries": 0}}
TRACES = {"conn_type": "trace_store", "host": "http://127.0.0.1:1", "extra": {"kind": "tempo", "retries": 0}}
CLUSTER = {"conn_type": "kubernetes", "extra": {"in_cluster": True}}


@pytest.fixture(autouse=True)
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", url)
    return open_ledger(url)


def pod(**more: Any) -> SLOCheckPodOperator:
    arguments = {"kind": "golden_set", "spec": {"name": "fraud"}, "image": "i", "retries": 1, **more}
    return SLOCheckPodOperator(task_id="t", **arguments)


HOUR = timedelta(hours=1)
#: What cannot be made: the operator, and the row it leaves.
UNMADE: list[tuple[Any, dict[str, Any], str, str]] = [
    (FreshnessCheckOperator, {"query": "up", "conn_id": "gone", "name": "n", "max_age": HOUR}, "freshness", "n"),
    (FreshnessCheckOperator, {"query": "up", "conn_id": "nowhere", "name": "n", "max_age": HOUR}, "freshness", "n"),
    (DriftOperator, {"reference": "/no/r.csv", "current": "/no/c.csv"}, "drift", "t"),
    (DriftOperator, {"reference": "a", "current": "b", "engine": "sql", "sql_conn_id": "nowhere"}, "drift", "t"),
    (GoldenSetEvaluationOperator, {"golden_set": "/no/g.csv", "predictor": "p", "metrics": "accuracy"}, "golden_set", "g.csv"),
    (GoldenSetEvaluationOperator,
     {"golden_set": "SELECT 1", "sql_conn_id": "nowhere", "predictor": "p", "metrics": "accuracy"}, "golden_set", "t"),
    (LatencyBreakdownOperator, {"service": "s", "trace_store_conn_id": "traces"}, "latency", "s"),
    (CulpritOperator, {"query": "up", "prometheus_conn_id": "gone"}, "culprit", "a_dag.t"),
    (SLOCheckPodOperator, {"kind": "golden_set", "spec": {"golden_set": "/d/f.csv"}, "image": "i"}, "golden_set", "f.csv"),
    (SLOCheckPodOperator, {"kind": "drift", "spec": "{}", "image": "i"}, "drift", "drift"),
    (SLOCheckPodOperator, {"kind": "slo", "spec": "{", "image": "i"}, "pod_check", "a_dag.t"),
]  # fmt: skip


@pytest.mark.parametrize("last", [False, True], ids=["tries-left", "last-try"])
@pytest.mark.parametrize(("kind", "arguments", "family", "name"), UNMADE, ids=lambda one: getattr(one, "__name__", "") or None)
def test_failed_check_is_recorded_as_unknown(ledger, kind, arguments, family, name, last):
    ran = run_task(
        kind(task_id="t", retries=1, **arguments),
        try_number=2 if last else 1,
        connections={"gone": GONE, "traces": TRACES, "kubernetes_default": CLUSTER},
    )
    assert ran.state == "failed" or (ran.state == "up_for_retry" and not last)
    (left,) = ledger.checks()
    assert (left.result.kind, left.result.name, left.result.verdict) == (family, name, Verdict.UNKNOWN)
    assert left.result.message
    assert left.result.evidence["reason"]


def test_failed_trigger_is_recorded_as_unknown(ledger):
    ran = run_task(pod(), next_method="__fail__", next_kwargs={"error": "Trigger failure", "traceback": None})
    assert ran.state in ("failed", "up_for_retry")
    assert [(one.result.name, one.result.verdict) for one in ledger.checks()] == [("fraud", Verdict.UNKNOWN)]


def test_pod_failed_during_deferral_is_recorded_as_unknown(ledger, monkeypatch):
    def fail(self: Any, context: Any, event: Any) -> None:
        raise RuntimeError("the pod was evicted")

    monkeypatch.setattr(KubernetesPodOperator, "trigger_reentry", fail)
    ran = run_task(pod(), next_method="trigger_reentry", next_kwargs={"event": {"status": "failed"}})
    assert ran.state == "up_for_retry"
    (left,) = ledger.checks()
    assert (left.result.verdict, left.result.message) == (Verdict.UNKNOWN, "RuntimeError: the pod was evicted")


def test_later_try_with_other_check_names_removes_the_unknown_row(ledger, monkeypatch):
    broken = {"on": True}

    def execute(self: Any, context: Any) -> None:
        if broken["on"]:
            raise OSError("no cluster")
        self.xcom = serialise([CheckResult(kind="error_budget", name="checkout", verdict=Verdict.PASS)])

    monkeypatch.setattr(KubernetesPodOperator, "execute", execute)
    operator = pod(kind="slo", spec={"documents": "/slos"})
    run_task(operator)
    broken["on"] = False
    assert run_task(operator, try_number=2).state == "success"
    found = {one.result.kind: one.result for one in ledger.checks()}
    assert {kind: one.verdict for kind, one in found.items()} == {"error_budget": Verdict.PASS}


def context() -> dict[str, Any]:
    class Instance:
        dag_id, run_id, task_id, map_index, try_number, max_tries = "d", "r", "t", -1, 1, 0

    return {"ti": Instance()}


def unknown() -> CheckResult:
    return CheckResult(kind="k", name="n", verdict=Verdict.UNKNOWN)


def test_task_timeout_is_recorded_as_unknown(ledger):
    with pytest.raises(AirflowTaskTimeout), record_unknown_on_error(context(), unknown):
        raise AirflowTaskTimeout("too long")
    assert ledger.checks()[0].result.message == "AirflowTaskTimeout: too long"


@pytest.mark.parametrize("steers", [AirflowSkipException("x"), DownstreamTasksSkipped(tasks=["a"])], ids=["skip", "branch"])
def test_skip_and_reschedule_are_not_recorded(ledger, steers):
    with pytest.raises(type(steers)), record_unknown_on_error(context(), unknown):
        raise steers
    assert ledger.checks() == []


def test_unwritable_ledger_does_not_hide_the_error(monkeypatch, caplog):
    monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", "sqlite:////nowhere/at/all/ledger.db")
    with pytest.raises(OSError, match="no cluster"), record_unknown_on_error(context(), unknown):
        raise OSError("no cluster")
    assert "could not be recorded in the ledger" in caplog.text


def test_recorded_error_message_contains_no_password(ledger):
    with pytest.raises(OSError), record_unknown_on_error(context(), unknown):
        raise OSError("cannot reach postgresql://me:hunter2@host/db")
    assert "hunter2" not in ledger.checks()[0].result.message


def test_deferral_is_not_recorded(ledger, monkeypatch):
    from airflow.providers.standard.triggers.temporal import DateTimeTrigger

    def execute(self: Any, context: Any) -> None:
        self.defer(trigger=DateTimeTrigger(moment=datetime.now(UTC) + HOUR), method_name="trigger_reentry")

    def reentry(self: Any, context: Any, event: Any) -> None:
        self.xcom = serialise([CheckResult(kind="golden_set", name="fraud", verdict=Verdict.PASS)])

    monkeypatch.setattr(KubernetesPodOperator, "execute", execute)
    monkeypatch.setattr(KubernetesPodOperator, "trigger_reentry", reentry)
    operator = pod(deferrable=True)
    ran = run_task(operator)
    assert (ran.state, ledger.checks()) == ("deferred", [])
    assert resume(operator, ran.deferral, {"status": "success"}).state == "success"
    assert [one.result.verdict for one in ledger.checks()] == [Verdict.PASS]
