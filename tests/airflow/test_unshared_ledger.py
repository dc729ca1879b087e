"""A ledger file that only one of several machines sees is rejected, with a remedy."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk.exceptions import AirflowFailException

from airflow_slo_provider.exceptions import LedgerError
from airflow_slo_provider.operators.incident import OpenIncidentOperator
from airflow_slo_provider.operators.model_registry import PromoteModelOperator, RollbackModelOperator
from airflow_slo_provider.runtime import executors as execution
from airflow_slo_provider.runtime.recording import ledger_connection as ledger_hook
from airflow_slo_provider.runtime.recording.ledger_connection import open_default_ledger, unshared_ledger
from airflow_slo_provider.sensors.error_budget import ErrorBudgetSensor
from airflow_slo_provider.triggers.incident_watch import IncidentWatchTrigger, WatchPoll
from tests.airflow.gate_tasks import counts, gate
from tests.airflow.gates import LedgerFile, RequestLog, sql_documents
from tests.airflow.task_runs import in_dag, run_task

ONE = [
    "LocalExecutor",
    "SequentialExecutor",
    "airflow.executors.local_executor.LocalExecutor",
    "mine:LocalExecutor",
    "mine:airflow.executors.local_executor.LocalExecutor",
    "LocalExecutor;team=LocalExecutor",
    " LocalExecutor , SequentialExecutor ",
]
SEVERAL = [
    "CeleryExecutor",
    "KubernetesExecutor",
    "LocalExecutor,CeleryExecutor",
    "LocalExecutor, far:airflow.providers.celery.executors.celery_executor.CeleryExecutor",
    "LocalExecutor;team=CeleryExecutor",
    "my.company.LocalExecutor",
    "airflow.providers.edge3.executors.EdgeExecutor",
    "localexecutor",
    "LocalExecutor,",
]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Leave the ledger to its default, in a directory of this test's own."""
    monkeypatch.delenv("AIRFLOW__SLO__LEDGER_URL", raising=False)
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def several_machines(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    return home


@pytest.fixture(autouse=True)
def _warns_again() -> Iterator[None]:
    ledger_hook._warn_of_unshared_file.cache_clear()
    yield
    ledger_hook._warn_of_unshared_file.cache_clear()


@pytest.mark.parametrize("executor", ONE)
def test_ledger_file_with_executors_on_one_machine_is_accepted(
    executor: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executor)
    assert execution.other_machines() == ""
    open_default_ledger().close()
    assert (home / "slo_ledger.db").exists()


@pytest.mark.parametrize("executor", SEVERAL)
def test_ledger_file_with_executors_on_several_machines_is_rejected(
    executor: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executor)
    with pytest.raises(LedgerError) as caught:
        open_default_ledger()
    assert (caught.value.reason, caught.value.transient) == ("not_shared", False)
    for said in (f"{home}/slo_ledger.db", f"[core] executor is {executor.strip()}", "[slo] ledger_conn_id", "docs/production.md"):
        assert said in str(caught.value)
    assert not (home / "slo_ledger.db").exists()


def test_ledger_file_in_a_kubernetes_executor_pod_is_rejected(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual pod template sets LocalExecutor for the task within the pod."""
    monkeypatch.setenv("AIRFLOW_IS_K8S_EXECUTOR_POD", "True")
    with pytest.raises(LedgerError, match="runs in a pod of the KubernetesExecutor"):
        open_default_ledger()


@pytest.mark.parametrize(
    "module", ["airflow.providers.celery.executors.celery_executor_utils", "airflow.providers.edge3.cli.worker"]
)
def test_worker_without_configured_executor_is_detected_by_loaded_modules(
    module: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, ModuleType(module))
    with pytest.raises(LedgerError, match=r"this task runs on a worker of the (Celery|Edge)Executor"):
        open_default_ledger()


def test_ledger_file_in_a_task_with_a_remote_executor_is_rejected(
    home: Path, request_log: RequestLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts(request_log, "allowed")
    ran = run_task(gate(sql_documents(), executor="CeleryExecutor"), connections=request_log.connection)
    assert ran.state == "failed"
    assert "this task's executor is CeleryExecutor" in str(ran.error)


@pytest.mark.parametrize("executor", ["LocalExecutor", "near"])
def test_ledger_file_in_a_task_with_the_local_executor_is_accepted(
    executor: str, home: Path, request_log: RequestLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "near:LocalExecutor")
    counts(request_log, "allowed")
    assert run_task(gate(sql_documents(), executor=executor), connections=request_log.connection).state == "success"


@pytest.mark.parametrize("kind", ["gate", "sensor"])
def test_gate_and_sensor_with_unshared_ledger_fail(kind: str, several_machines: Path, request_log: RequestLog) -> None:
    counts(request_log, "allowed")
    sensor = ErrorBudgetSensor(task_id="wait", slos=sql_documents(), poke_interval=0, timeout=0, retries=3)
    ran = run_task(gate(sql_documents(), retries=3) if kind == "gate" else sensor, connections=request_log.connection)
    assert (ran.state, ran.skipped, ran.xcoms) == ("failed", set(), {})
    assert isinstance(ran.error, AirflowFailException)
    assert "[slo] ledger_conn_id" in str(ran.error)


def test_incident_with_unshared_ledger_is_not_claimed(several_machines: Path) -> None:
    ran = run_task(in_dag(OpenIncidentOperator(task_id="open", retries=3), ["act"]))
    assert ran.state == "failed"
    assert "[slo] ledger_conn_id" in str(ran.error)


def test_promotion_with_unshared_ledger_is_not_made(several_machines: Path, tmp_path: Path) -> None:
    operator = PromoteModelOperator(task_id="promote", model="m", version="1", registry_path=str(tmp_path / "models"), retries=3)
    ran = run_task(operator)
    assert ran.state == "failed"
    assert "[slo] ledger_conn_id" in str(ran.error)
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("operator", [PromoteModelOperator, RollbackModelOperator])
def test_default_model_directory_on_several_machines_is_rejected(
    operator: type, several_machines: Path, ledger_file: LedgerFile
) -> None:
    ran = run_task(operator(task_id="move", model="m", version="1", retries=3))
    assert ran.state == "failed"
    assert f"{several_machines}/slo_models" in str(ran.error)
    assert "model_registry_default" in str(ran.error)
    assert not (several_machines / "slo_models").exists()


def test_watch_with_unshared_ledger_reports_that_it_cannot_store_its_state(several_machines: Path) -> None:
    class Watch(IncidentWatchTrigger):
        def serialize(self) -> tuple[str, dict[str, object]]:
            raise NotImplementedError

        async def run(self):  # type: ignore[no-untyped-def]
            yield

    async def first() -> dict[str, object]:
        async def looks():  # type: ignore[no-untyped-def]
            for _ in range(2):
                yield WatchPoll(datetime.now(UTC))

        watch = Watch(name="w", poll_interval=1, cool_down=0, blind_after=0)
        async for event in watch.events(looks()):
            return dict(event.payload)
        raise AssertionError("no event")

    told = asyncio.run(first())
    assert told["kind"] == "blind"
    assert "[slo] ledger_conn_id" in str(told["message"])


def test_unshared_ledger_for_display_is_opened(several_machines: Path) -> None:
    open_default_ledger(for_display=True).close()
    assert "CeleryExecutor" in unshared_ledger()


def test_configured_ledger_file_on_several_machines_is_warned_of_once(
    ledger_file: LedgerFile, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    with caplog.at_level(logging.WARNING, logger=ledger_hook.log.name):
        for _ in range(3):
            open_default_ledger().close()
    assert [one.getMessage() for one in caplog.records if "SQLite file" in one.getMessage()] == [
        f"The ledger is the SQLite file {ledger_file.path}, and tasks may run on several machines ([core] executor is "
        "CeleryExecutor). A SQLite file is shared only if all of them run on one machine after all; use PostgreSQL"
    ]


def test_tasks_without_ledger_do_not_check_the_executor(several_machines: Path) -> None:
    assert run_task(in_dag(EmptyOperator(task_id="nothing"))).state == "success"
