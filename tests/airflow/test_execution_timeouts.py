"""``execution_timeout`` bounds a try from its start to its end, with the time in which it is deferred."""

from __future__ import annotations

import inspect
import json
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk import BaseOperator

from airflow_slo_provider.operators.kubernetes import DeploymentRollbackOperator
from airflow_slo_provider.operators.latency import LatencyBreakdownOperator
from airflow_slo_provider.operators.pod import SLOCheckPodOperator
from airflow_slo_provider.runtime.deferral import MIN_DEFERRAL, BoundedDeferral
from airflow_slo_provider.sensors.error_budget import ErrorBudgetSensor
from airflow_slo_provider.sensors.freshness import FeatureFreshnessSensor
from tests.airflow.gates import RequestLog, sql_documents
from tests.airflow.task_runs import resume, run_task
from tests.airflow.test_import_costs import modules_of

MINUTE = timedelta(minutes=1)
LIMIT = timedelta(minutes=30)
INTERVAL = (datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC) + timedelta(hours=1))


@pytest.fixture(autouse=True)
def ledger_and_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_log: RequestLog) -> None:
    monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", f"sqlite:///{tmp_path / 'ledger.db'}")
    request_log.write(0, 1000)  # frozen
    monkeypatch.setenv("AIRFLOW_CONN_REQUEST_LOG", json.dumps(request_log.connection["request_log"]))
    monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", '{"conn_type": "kubernetes", "extra": {"in_cluster": true}}')


def budget_sensor(**more: Any) -> BaseOperator:
    return ErrorBudgetSensor(task_id="t", slos=sql_documents(), deferrable=True, poke_interval=300, silent_fail=True, **more)


def freshness_sensor(**more: Any) -> BaseOperator:
    path = "/no/such/file/at/all"
    return FeatureFreshnessSensor(task_id="t", path=path, max_age=MINUTE, deferrable=True, silent_fail=True, **more)


def latency(**more: Any) -> BaseOperator:
    return LatencyBreakdownOperator(task_id="t", service="s", **more)


class Rollback(DeploymentRollbackOperator):
    """Waits for a rollout without a cluster."""

    def execute(self, context: Any) -> Any:
        return self.finish(context, {"action": "rollback", "message": "m", "digest": ""})


def rollback(**more: Any) -> BaseOperator:
    return Rollback(task_id="t", name="n", namespace="s", deferrable=True, rollout_timeout=timedelta(days=1), **more)


DEFERRABLE: list[Callable[..., BaseOperator]] = [budget_sensor, freshness_sensor, latency, rollback]


@pytest.mark.parametrize("make", DEFERRABLE)
def test_deferral_ends_at_execution_timeout(make: Callable[..., BaseOperator]) -> None:
    started = datetime.now(UTC) - 10 * MINUTE
    ran = run_task(make(execution_timeout=LIMIT, retries=1), start_date=started, data_interval=INTERVAL)
    assert ran.state == "deferred", ran.error
    assert 19 * MINUTE < ran.deferral.trigger_timeout <= 20 * MINUTE


@pytest.mark.parametrize("make", DEFERRABLE)
def test_task_resumed_after_execution_timeout_fails(make: Callable[..., BaseOperator]) -> None:
    operator = make(execution_timeout=LIMIT, retries=1)
    deferral = run_task(operator, data_interval=INTERVAL).deferral
    for how in ("the trigger fired", "the trigger timed out"):
        late = {"start_date": datetime.now(UTC) - LIMIT - MINUTE, "data_interval": INTERVAL}
        if how == "the trigger fired":
            ran = resume(operator, deferral, {}, **late)
        else:
            ran = run_task(operator, next_method="__fail__", next_kwargs={"error": "Trigger timeout"}, **late)
        assert type(ran.error).__name__ == "AirflowTaskTimeout", (how, ran.error)
        assert "execution_timeout of 0:30:00 has passed" in str(ran.error)
        assert ran.state == "up_for_retry"


@pytest.mark.parametrize("make", DEFERRABLE)
def test_deferral_without_execution_timeout_is_unbounded(make: Callable[..., BaseOperator]) -> None:
    started = datetime.now(UTC) - timedelta(days=1)
    ran = run_task(make(), start_date=started, data_interval=INTERVAL)
    assert ran.state in ("deferred", "failed")  # a sensor's own timeout may be over
    assert type(ran.error).__name__ != "AirflowTaskTimeout"


def test_deferral_bounded_by_timeout_is_at_least_ten_seconds() -> None:
    started = datetime.now(UTC) - LIMIT + timedelta(seconds=2)
    ran = run_task(latency(execution_timeout=LIMIT), start_date=started, data_interval=INTERVAL)
    assert ran.deferral.trigger_timeout == MIN_DEFERRAL


def test_time_left_bounds_worker_after_deferral() -> None:
    seen: list[float] = []

    class Waits(BoundedDeferral, BaseOperator):
        def execute(self, context: Any) -> Any:
            self.defer(trigger=DateTimeTrigger(moment=datetime.now(UTC) + MINUTE), method_name="go_on")

        def go_on(self, context: Any, event: Any) -> None:
            seen.append(signal.getitimer(signal.ITIMER_REAL)[0])

    operator = Waits(task_id="t", execution_timeout=LIMIT)
    deferral = run_task(operator).deferral
    assert resume(operator, deferral, start_date=datetime.now(UTC) - 29 * MINUTE).state == "success"
    assert 0 < seen[0] <= 60
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_every_deferring_operator_is_bounded() -> None:
    import importlib

    found = {}
    for module in (*modules_of("operators"), *modules_of("sensors")):
        for name, one in inspect.getmembers(importlib.import_module(module), inspect.isclass):
            if one.__module__ == module and issubclass(one, BaseOperator) and "self.defer(" in inspect.getsource(one):
                found[name] = issubclass(one, BoundedDeferral)
    assert found == dict.fromkeys(found, True)
    assert {"DeploymentTask", "ErrorBudgetSensor", "FreshnessSensor", "LatencyBreakdownOperator"} <= set(found)


def test_pod_deferral_ends_at_execution_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    def execute(self: Any, context: Any) -> None:
        assert self.execution_timeout == LIMIT  # which the provider's trigger ends at, and removes the pod
        self.defer(trigger=DateTimeTrigger(moment=datetime.now(UTC) + MINUTE), method_name="trigger_reentry")

    monkeypatch.setattr(KubernetesPodOperator, "execute", execute)
    operator = SLOCheckPodOperator(task_id="t", kind="slo", spec={}, image="i", deferrable=True, execution_timeout=LIMIT)
    ran = run_task(operator, start_date=datetime.now(UTC) - 10 * MINUTE)
    assert 20 * MINUTE < ran.deferral.trigger_timeout <= 21 * MINUTE
