"""Query the last successful run of a DAG or task from the REST API v2 of this or another Airflow deployment.

The timestamp is the end of the run. The logical date is not used, since runs triggered by assets or manually have none.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from airflow_slo_provider.core.timestamps import read_timestamp
from airflow_slo_provider.freshness.observation import Observation
from airflow_slo_provider.freshness.sources.http_steps import (
    Call,
    Reply,
    Steps,
    quote_segment,
    read_object,
    require_object,
    shape_error,
)  # fmt: skip

#: Maximum number of runs to search for one in which every instance of a mapped task succeeded.
_MOST_RUNS = 5
#: Accepted end states of a mapped task's instances in a run in which the task succeeded.
_ENDED_WELL = ("success", "skipped", "removed")


def last_success(dag_id: str, task_id: str | None = None) -> Steps:
    """Query the last successful run of a DAG, or the last success of one of its tasks in any run.

    A mapped task succeeded in a run when all of its instances succeeded or were skipped.

    :param dag_id: id of the DAG
    :param task_id: id of the task; None for the whole DAG
    :return: steps for :func:`~airflow_slo_provider.freshness.sources.http_steps.run`
    :raises QueryError: (reason ``not_found``) for a DAG or a task that does not exist
    """
    dag = f"/api/v2/dags/{quote_segment(dag_id)}"
    path = f"{dag}/dagRuns" if task_id is None else f"{dag}/dagRuns/~/taskInstances"
    params: dict[str, str | Sequence[str]] = {"state": "success", "order_by": "-end_date", "limit": "1"}
    if task_id is not None:
        params["task_id"] = task_id
    call = Call(path, params)
    reply = yield call
    unknown = f"there is no DAG {dag_id}"
    last = _read_first(read_object(reply, call, missing=unknown), dag_id, task_id, call, reply)
    what = f"dag {dag_id}" if task_id is None else f"task {task_id} of dag {dag_id}"
    source = f"Airflow API {reply.where}".rstrip()
    if last is None:
        # Airflow returns an empty list for an unknown task, and for a deleted DAG of which only runs remain.
        probe = Call(dag) if task_id is None else Call(f"{dag}/tasks/{quote_segment(task_id)}")
        answer = yield probe
        read_object(answer, probe, missing=unknown if task_id is None else f"there is no task {task_id} in DAG {dag_id}")
        return Observation(what=what, source=source, note="it never succeeded")
    if task_id is not None and last.get("map_index") != -1:
        complete = yield from _find_last_complete_run(last, dag_id, task_id)
        if complete is None:
            note = f"not all of its mapped instances succeeded in run {last.get('dag_run_id')}, nor in those before"
            return Observation(what=what, source=source, note=note)
        last = complete
    end, run_id = last.get("end_date"), last.get("dag_run_id")
    if end is None:
        raise shape_error(f"run {run_id} of {what} succeeded, but has no end_date", reply)
    observed_at = read_timestamp(end, zone=None, what="end_date")
    evidence = {"dag_id": dag_id, "run_id": run_id, "run_type": last.get("run_type"), "task_id": task_id}
    return Observation(what=what, source=source, observed_at=observed_at, note=f"end of run {run_id}", evidence=evidence)


def _find_last_complete_run(
    latest: Mapping[str, Any], dag_id: str, task_id: str
) -> Generator[Call, Reply, Mapping[str, Any] | None]:
    """Find the last run in which every instance of a mapped task succeeded; a running one does not hide earlier ones.

    :param latest: the task instance that succeeded last
    """
    runs = f"/api/v2/dags/{quote_segment(dag_id)}/dagRuns"
    params: dict[str, str | Sequence[str]] = {"task_id": task_id, "state": "success", "limit": "1"}
    params["order_by"] = ("-run_after", "-end_date")
    candidate: Mapping[str, Any] | None = latest
    for _ in range(_MOST_RUNS):
        if candidate is None:
            return None
        of_run = f"{runs}/{quote_segment(str(candidate.get('dag_run_id')))}/taskInstances"
        total = yield from _count_instances(Call(of_run, {"task_id": task_id, "limit": "1"}))
        if total == (yield from _count_instances(Call(of_run, {"task_id": task_id, "limit": "1", "state": _ENDED_WELL}))):
            return candidate
        call = Call(f"{runs}/~/taskInstances", params)
        reply = yield call
        candidate = _read_first(read_object(reply, call), dag_id, task_id, call, reply)
        params = params if candidate is None else {**params, "run_after_lt": str(candidate.get("run_after"))}
    return None


def _count_instances(call: Call) -> Generator[Call, Reply, int]:
    reply = yield call
    total = read_object(reply, call).get("total_entries")
    if not isinstance(total, int):
        raise shape_error(f"the answer to {call.path} has no number of task instances: {reply.text[:200]}", reply)
    return total


def _read_first(
    answer: Mapping[str, Any], dag_id: str, task_id: str | None, call: Call, reply: Reply
) -> Mapping[str, Any] | None:
    """Return the first success in an answer; None if there is none.

    :raises QueryError: when the answer does not match the query, e.g. because a proxy dropped the parameters
    """
    successes = answer.get("dag_runs" if task_id is None else "task_instances")
    if not isinstance(successes, list):
        require_object(None, call, reply)
    if not successes:
        return None
    first = require_object(successes[0], call, reply)
    requested = {"dag_id": dag_id, "state": "success"} | ({} if task_id is None else {"task_id": task_id})
    returned = {name: first.get(name) for name in requested}
    if returned != requested:
        texts = [", ".join(f"{name} {value}" for name, value in values.items()) for values in (returned, requested)]
        advice = "check the connection's URL, and proxies in front of the server"
        raise shape_error(f"the answer to {call.path} is about {texts[0]} instead of {texts[1]}; {advice}", reply)
    return first
