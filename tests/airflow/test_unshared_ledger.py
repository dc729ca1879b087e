"""A ledger that only one of several machines sees: whatever remembers refuses it, and says what to do."""

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
from airflow_slo_provider.triggers.incident_watch import IncidentWatchTrigger, PollResult
from tests.airflow.gate_tasks import counts, gate
from tests.airflow.gates import LedgerFile, RequestLog, sql_documents
from tests.airflow.running import in_dag, run_task

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
def several(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    return home


@pytest.fixture(autouse=True)
def _warns_again() -> Iterator[None]:
    ledger_hook._warn_of_a_file.cache_clear()
    yield
    ledger_hook._warn_of_a_file.cache_clear()


@pytest.mark.parametrize("executor", ONE)
def test_a_file_is_shared_where_all_tasks_run_on_one_machine(executor: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executor)
    assert execution.other_machines() == ""
    open_default_ledger().close()
    assert (home / "slo_ledger.db").exists()


@pytest.mark.parametrize("executor", SEVERAL)
def test_a_file_is_refused_where_tasks_may_run_elsewhere(executor: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executor)
    with pytest.raises(LedgerError) as caught:
        open_default_ledger()
    assert (caught.value.reason, caught.value.transient) == ("not_shared", False)
    for said in (f"{home}/slo_ledger.db", f"[core] executor is {executor.strip()}", "[slo] ledger_conn_id", "docs/production.md"):
        assert said in str(caught.value)
    assert not (home / "slo_ledger.db").exists()


def test_a_pod_of_the_kubernetes_executor_is_not_the_only_machine(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual pod template sets LocalExecutor for the task within the pod."""
    monkeypatch.setenv("AIRFLOW_IS_K8S_EXECUTOR_POD", "True")
    with pytest.raises(LedgerError, match="runs in a pod of the KubernetesExecutor"):
        open_default_ledger()


@pytest.mark.parametrize(
    "module", ["airflow.providers.celery.executors.celery_executor_utils", "airflow.providers.edge3.cli.worker"]
)
def test_a_worker_whose_configuration_names_no_executor_is_known_by_what_it_has_loaded(
    module: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, ModuleType(module))
    with pytest.raises(LedgerError, match=r"this task runs on a worker of the (Celery|Edge)Executor"):
        open_default_ledger()


def test_a_task_with_an_executor_of_its_own_is_not_on_this_machine(
    home: Path, request_log: RequestLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts(request_log, "allowed")
    ran = run_task(gate(sql_documents(), executor="CeleryExecutor"), connections=request_log.connection)
    assert ran.state == "failed"
    assert "this task's executor is CeleryExecutor" in str(ran.error)


@pytest.mark.parametrize("executor", ["LocalExecutor", "near"])
def test_a_task_may_name_the_executor_of_this_machine(
    executor: str, home: Path, request_log: RequestLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "near:LocalExecutor")
    counts(request_log, "allowed")
    assert run_task(gate(sql_documents(), executor=executor), connections=request_log.connection).state == "success"


@pytest.mark.parametrize("kind", ["gate", "sensor"])
def test_a_gate_and_a_sensor_decide_nothing(kind: str, several: Path, request_log: RequestLog) -> None:
    counts(request_log, "allowed")
    sensor = ErrorBudgetSensor(task_id="wait", slos=sql_documents(), poke_interval=0, timeout=0, retries=3)
    ran = run_task(gate(sql_documents(), retries=3) if kind == "gate" else sensor, connections=request_log.connection)
    assert (ran.state, ran.skipped, ran.xcoms) == ("failed", set(), {})
    assert isinstance(ran.error, AirflowFailException)
    assert "[slo] ledger_conn_id" in str(ran.error)


def test_an_incident_is_not_taken(several: Path) -> None:
    ran = run_task(in_dag(OpenIncidentOperator(task_id="open", retries=3), ["act"]))
    assert ran.state == "failed"
    assert "[slo] ledger_conn_id" in str(ran.error)


def test_a_promotion_that_the_others_would_not_know_of_is_not_made(several: Path, tmp_path: Path) -> None:
    operator = PromoteModelOperator(task_id="promote", model="m", version="1", registry_path=str(tmp_path / "models"), retries=3)
    ran = run_task(operator)
    assert ran.state == "failed"
    assert "[slo] ledger_conn_id" in str(ran.error)
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("operator", [PromoteModelOperator, RollbackModelOperator])
def test_the_default_directory_of_models_is_refused(operator: type, several: Path, ledger_file: LedgerFile) -> None:
    ran = run_task(operator(task_id="move", model="m", version="1", retries=3))
    assert ran.state == "failed"
    assert f"{several}/slo_models" in str(ran.error)
    assert "model_registry_default" in str(ran.error)
    assert not (several / "slo_models").exists()


def test_a_watch_tells_that_it_remembers_nothing(several: Path) -> None:
    class Watch(IncidentWatchTrigger):
        def serialize(self) -> tuple[str, dict[str, object]]:
            raise NotImplementedError

        async def run(self):  # type: ignore[no-untyped-def]
            yield

    async def first() -> dict[str, object]:
        async def looks():  # type: ignore[no-untyped-def]
            for _ in range(2):
                yield PollResult(datetime.now(UTC))

        watch = Watch(name="w", poll_interval=1, cool_down=0, blind_after=0)
        async for event in watch.events(looks()):
            return dict(event.payload)
        raise AssertionError("no event")

    told = asyncio.run(first())
    assert told["kind"] == "blind"
    assert "[slo] ledger_conn_id" in str(told["message"])


def test_what_is_only_looked_at_is_shown_with_the_reason(several: Path) -> None:
    open_default_ledger(to_look=True).close()
    assert "CeleryExecutor" in unshared_ledger()


def test_a_named_file_is_warned_of_once(
    ledger_file: LedgerFile, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    with caplog.at_level(logging.WARNING, logger=ledger_hook.log.name):
        for _ in range(3):
            open_default_ledger().close()
    assert [one.getMessage() for one in caplog.records if "SQLite file" in one.getMessage()] == [
        f"The ledger is the SQLite file {ledger_file.path}, and tasks may run on several machines ([core] executor is "
        "CeleryExecutor). A SQLite file is only shared if all of them run on one machine after all; use PostgreSQL"
    ]


def test_other_tasks_do_not_ask_where_they_run(several: Path) -> None:
    assert run_task(in_dag(EmptyOperator(task_id="nothing"))).state == "success"
