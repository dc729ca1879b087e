"""Answer approvals and pause DAGs through the API that Airflow's UI uses."""

from __future__ import annotations

import time

from demo.airflow_client import AirflowClient


def answer(client: AirflowClient, dag_id: str, run_id: str, task_id: str, option: str, *, timeout: float = 240) -> None:
    """Wait until a task requests an answer, and send it."""
    client.wait_for_task(dag_id, run_id, task_id, states=("awaiting_input", "deferred"), timeout=timeout)
    time.sleep(6)  # Airflow fails a task that is answered before its worker's end has been seen
    path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/-1/hitlDetails"
    client.call("PATCH", path, {"chosen_options": [option], "params_input": {}})
    client.wait_for_task(dag_id, run_id, task_id, states=("success",), timeout=timeout)


def pause(client: AirflowClient, *dag_ids: str) -> None:
    """Stop schedules and watchers, so that they use no CPU during later tests."""
    for dag_id in dag_ids:
        client.call("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": True})
