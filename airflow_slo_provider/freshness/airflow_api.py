"""When a DAG, or one task of it, last succeeded: asked of Airflow's REST API v2, of this or another deployment.

The time is the end of the run. A run's logical date says nothing here: runs made by assets or by hand have none.
"""

from __future__ import annotations

from typing import Any

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.freshness.moments import read_moment
from airflow_slo_provider.freshness.observation import Observation
from airflow_slo_provider.freshness.steps import Call, Reply, Steps, an_object, in_path, mapping


def last_success(dag_id: str, task_id: str | None = None) -> Steps:
    """Ask for the last successful run of a DAG, or the last success of one of its tasks in any run.

    :raises QueryError: (reason ``not_found``) for a DAG or a task that does not exist
    """
    dag = f"/api/v2/dags/{in_path(dag_id)}"
    path = f"{dag}/dagRuns" if task_id is None else f"{dag}/dagRuns/~/taskInstances"
    params = {"state": "success", "order_by": "-end_date", "limit": "1"}
    if task_id is not None:
        params["task_id"] = task_id
    call = Call(path, params)
    reply = yield call
    unknown = f"there is no DAG {dag_id}"
    found = _first(mapping(reply, call, missing=unknown), "dag_runs" if task_id is None else "task_instances", call, reply)
    what = f"dag {dag_id}" if task_id is None else f"task {task_id} of dag {dag_id}"
    if found is None:
        # An unknown task is answered with an empty list, and so is a DAG of which Airflow only remembers the runs.
        probe = Call(dag) if task_id is None else Call(f"{dag}/tasks/{in_path(task_id)}")
        answer = yield probe
        mapping(answer, probe, missing=unknown if task_id is None else f"there is no task {task_id} in DAG {dag_id}")
        return Observation(what=what, source=_source(reply), note="it never succeeded")
    end = found.get("end_date")
    run_id = found.get("dag_run_id")
    if end is None:
        raise QueryError(f"run {run_id} of {what} succeeded, but has no end_date", reason="wrong_shape", source=reply.where)
    return Observation(
        what=what,
        source=_source(reply),
        observed_at=read_moment(end, zone=None, what="end_date"),
        note=f"end of run {run_id}",
        evidence={"dag_id": dag_id, "run_id": run_id, "run_type": found.get("run_type"), "task_id": task_id},
    )


def _source(reply: Reply) -> str:
    return f"Airflow API {reply.where}".rstrip()


def _first(answer: Any, key: str, call: Call, reply: Reply) -> Any:
    found = answer.get(key)
    if not isinstance(found, list):
        an_object(None, call, reply)
    return an_object(found[0], call, reply) if found else None
