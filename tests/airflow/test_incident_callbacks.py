"""What the notifier tells as a callback that Airflow's dag processor calls: of a DAG, and of a task that was killed."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
import structlog
from airflow.api_fastapi.execution_api.datamodels import taskinstance as datamodels
from airflow.callbacks.callback_requests import DagCallbackRequest, DagRunContext, TaskCallbackRequest
from airflow.dag_processing import processor
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, BaseNotifier

from airflow_slo_provider.notifications.incident import IncidentNotifier

NOW = datetime(2026, 11, 24, 5, tzinfo=UTC)
log = structlog.get_logger("processor")


class Recorder(BaseNotifier):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[dict[str, Any]] = []

    def notify(self, context: Any) -> None:
        self.told.append({"title": context["incident_title"], "text": context["incident_text"], **context["incident"]})


def dag_with(recorder: Recorder) -> DAG:
    notifier = IncidentNotifier(notifier=recorder)
    with DAG("train", schedule=None, start_date=NOW, on_failure_callback=notifier, on_success_callback=notifier) as dag:
        EmptyOperator(task_id="fit", on_failure_callback=notifier)
    return dag


def build_model(model: Any, values: dict[str, Any]) -> Any:
    """Make a model of Airflow's; releases differ in their fields."""
    return model(**{name: value for name, value in values.items() if name in model.model_fields})


def run() -> Any:
    values = {
        "dag_id": "train", "run_id": "manual__1", "logical_date": NOW, "data_interval_start": NOW, "data_interval_end": NOW,
        "run_after": NOW, "start_date": NOW, "end_date": None,
        "run_type": "manual", "state": "failed", "conf": {}, "consumed_asset_events": [],
        "partition_key": None,
    }  # fmt: skip
    return build_model(datamodels.DagRun, values)


def instance() -> Any:
    values = {
        "id": uuid4(), "task_id": "fit", "dag_id": "train", "run_id": "manual__1", "try_number": 1, "map_index": -1,
        "dag_version_id": uuid4(), "hostname": "h", "pool_slots": 1, "queue": "default", "priority_weight": 1,
    }  # fmt: skip
    return datamodels.TaskInstance(
        **{name: value for name, value in values.items() if name in datamodels.TaskInstance.model_fields}
    )


def run_dag_callback(dag: DAG, reason: str, *, last_ti: Any, failure: bool = True) -> None:
    where = {"filepath": "d.py", "bundle_name": "dags", "bundle_version": None}
    request = DagCallbackRequest(
        **where, dag_id="train", run_id="manual__1", is_failure_callback=failure, msg=reason,
        context_from_server=DagRunContext(dag_run=run(), last_ti=last_ti),
    )  # fmt: skip
    processor._execute_dag_callbacks(SimpleNamespace(dags={"train": dag}), request, log)  # type: ignore[arg-type]


@pytest.mark.parametrize("known", [True, False], ids=["with-task", "without-task"])
@pytest.mark.parametrize("reason", ["task_failure", "all_tasks_deadlocked", "timed_out", "some_new_reason"])
def test_dag_failure_callback_reports_failure_with_reason(reason: str, known: bool, monkeypatch: Any) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example")
    recorder = Recorder()
    run_dag_callback(dag_with(recorder), reason, last_ti=instance() if known else None)
    (told,) = recorder.told
    assert (told["kind"], told["subject"]) == ("failure", "train")
    assert told["title"] == "[unknown] train: the run has failed"
    assert told["message"] == f"run manual__1 has failed: {reason}"
    assert "run: https://airflow.example/dags/train/runs/manual__1" in told["text"]


def test_dag_success_callback_reports_notice() -> None:
    recorder = Recorder()
    run_dag_callback(dag_with(recorder), "success", last_ti=instance(), failure=False)
    assert [(one["kind"], one["message"]) for one in recorder.told] == [("notice", "run manual__1 ended: success")]


def test_killed_task_callback_reports_failure() -> None:
    recorder = Recorder()
    values = {"dag_run": run(), "max_tries": 0, "task_reschedule_count": 0, "should_retry": False}
    request = TaskCallbackRequest(
        filepath="d.py", bundle_name="dags", bundle_version=None, ti=instance(), msg="killed",
        context_from_server=datamodels.TIRunContext(**values),
    )  # fmt: skip
    assert list(inspect.signature(processor._execute_task_callbacks).parameters) == ["dagbag", "request", "log"]
    processor._execute_task_callbacks(SimpleNamespace(dags={"train": dag_with(recorder)}), request, log)  # type: ignore[arg-type]
    (told,) = recorder.told
    assert (told["kind"], told["title"]) == ("failure", "[unknown] train.fit: a task has failed")
    assert told["message"] == "the task ended without a result: it was killed, or its worker was lost"
