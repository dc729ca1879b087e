"""Query the last successful run of a DAG or task from the REST API v2 of this or another Airflow deployment.

The timestamp is the end of the run. The logical date is not used, since runs triggered by assets or manually have none.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from airflow_slo_provider.core.timestamps import read_timestamp
from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.freshness.observation import Observation
from airflow_slo_provider.freshness.sources.http_steps import Call, Reply, Steps, an_object, in_path, mapping

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
    dag = f"/api/v2/dags/{in_path(dag_id)}"
    path = f"{dag}/dagRuns" if task_id is None else f"{dag}/dagRuns/~/taskInstances"
    params: dict[str, str | Sequence[str]] = {"state": "success", "order_by": "-end_date", "limit": "1"}
    if task_id is not None:
        params["task_id"] = task_id
    call = Call(path, params)
    reply = yield call
    unknown = f"there is no DAG {dag_id}"
    found = _first(mapping(reply, call, missing=unknown), dag_id, task_id, call, reply)
    what = f"dag {dag_id}" if task_id is None else f"task {task_id} of dag {dag_id}"
    if found is None:
        # Airflow returns an empty list for an unknown task, and for a deleted DAG of which only runs remain.
        probe = Call(dag) if task_id is None else Call(f"{dag}/tasks/{in_path(task_id)}")
        answer = yield probe
        mapping(answer, probe, missing=unknown if task_id is None else f"there is no task {task_id} in DAG {dag_id}")
        return Observation(what=what, source=_source(reply), note="it never succeeded")
    if task_id is not None and found.get("map_index") != -1:
        whole = yield from _last_whole(found, dag_id, task_id)
        if whole is None:
            note = f"not all of its mapped instances succeeded in run {found.get('dag_run_id')}, nor in those before"
            return Observation(what=what, source=_source(reply), note=note)
        found = whole
    end = found.get("end_date")
    run_id = found.get("dag_run_id")
    if end is None:
        raise QueryError(f"run {run_id} of {what} succeeded, but has no end_date", reason="wrong_shape", source=reply.where)
    return Observation(
        what=what,
        source=_source(reply),
        observed_at=read_timestamp(end, zone=None, what="end_date"),
        note=f"end of run {run_id}",
        evidence={"dag_id": dag_id, "run_id": run_id, "run_type": found.get("run_type"), "task_id": task_id},
    )


def _last_whole(found: Mapping[str, Any], dag_id: str, task_id: str) -> Generator[Call, Reply, Mapping[str, Any] | None]:
    """Find the last run in which every instance of a mapped task succeeded; a running one does not hide earlier ones.

    :param found: the task instance that succeeded last
    """
    runs = f"/api/v2/dags/{in_path(dag_id)}/dagRuns"
    last: dict[str, str | Sequence[str]] = {"task_id": task_id, "state": "success", "limit": "1"}
    last["order_by"] = ("-run_after", "-end_date")
    candidate: Mapping[str, Any] | None = found
    for _ in range(_MOST_RUNS):
        if candidate is None:
            return None
        of_run = f"{runs}/{in_path(str(candidate.get('dag_run_id')))}/taskInstances"
        every = yield from _count(Call(of_run, {"task_id": task_id, "limit": "1"}))
        if every == (yield from _count(Call(of_run, {"task_id": task_id, "limit": "1", "state": _ENDED_WELL}))):
            return candidate
        call = Call(f"{runs}/~/taskInstances", last)
        reply = yield call
        candidate = _first(mapping(reply, call), dag_id, task_id, call, reply)
        last = last if candidate is None else {**last, "run_after_lt": str(candidate.get("run_after"))}
    return None


def _count(call: Call) -> Generator[Call, Reply, int]:
    reply = yield call
    total = mapping(reply, call).get("total_entries")
    if not isinstance(total, int):
        message = f"the answer to {call.path} does not say how many task instances there are: {reply.text[:200]}"
        raise QueryError(message, reason="wrong_shape", http_status=reply.status, source=reply.where)
    return total


def _source(reply: Reply) -> str:
    return f"Airflow API {reply.where}".rstrip()


def _first(answer: Mapping[str, Any], dag_id: str, task_id: str | None, call: Call, reply: Reply) -> Mapping[str, Any] | None:
    """Return the first success in an answer; None if there is none.

    :raises QueryError: when the answer does not match the query, e.g. because a proxy dropped the parameters
    """
    found = answer.get("dag_runs" if task_id is None else "task_instances")
    if not isinstance(found, list):
        an_object(None, call, reply)
    if not found:
        return None
    first = an_object(found[0], call, reply)
    asked = {"dag_id": dag_id, "state": "success"} | ({} if task_id is None else {"task_id": task_id})
    told = {name: first.get(name) for name in asked}
    if told != asked:
        words = " where ".join(", ".join(f"{name} {value}" for name, value in one.items()) for one in (told, asked))
        raise QueryError(
            f"the answer to {call.path} is about {words} was asked for; check the connection's URL and what stands before it",
            reason="wrong_shape",
            http_status=reply.status,
            source=reply.where,
        )
    return first
