"""Install pre-execute hooks that keep blocked tasks from running if somebody clears them alone.

Airflow keeps a cleared task skipped only directly behind a branch or gate, and looks for the decision of a mapped one under
another map index. Behind a task that was skipped or failed, trigger rules apply. For the other cases, a hook before ``execute``
reads the decision, like ``@task.skip_if``.

Airflow also runs tasks behind an error-budget gate that has not decided: the gate was skipped and their trigger rules accept
that; its instances were removed because a list got shorter; or somebody marked it, or a task between, as success. Tasks that
only an allowed deployment may run therefore check that the gate has allowed them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any

from airflow_slo_provider.runtime.error_budget.decision import XCOM_KEY as DECISION
from airflow_slo_provider.runtime.gates.dag_checks import HOLD_AFTER_A_SKIP, trigger_rule
from airflow_slo_provider.runtime.gates.gate_instances import denial_reason, instance_name, instance_states

#: XCom key of the ids of the tasks that a task has blocked by skips.
BLOCKED = "blocked"


def guard_tasks(task: Any, tasks: Iterable[Any], decided: Collection[str], *, branches: bool) -> None:
    """Install hooks in tasks that this one may block, where nothing else would keep them from running.

    :param task: the task that blocks, mapped or not
    :param tasks: the tasks that it may block
    :param decided: ids of those that may run only if every instance of the task that counts has decided and allowed them
    :param branches: whether the task is a branch
    """
    blocked = [downstream for downstream in tasks if not downstream.is_teardown]
    for downstream in blocked:
        if downstream.task_id in decided:
            _install(downstream, task.task_id, partial(_refuse_undecided, task.task_id, branches))
    if not (task.is_mapped or task.get_closest_mapped_task_group() is not None):
        # Airflow skips direct downstream tasks again, and tasks further down unless a trigger rule on the way accepts skips.
        blocked = [downstream for downstream in blocked if downstream.task_id not in task.downstream_task_ids]
        if all(trigger_rule(downstream) in HOLD_AFTER_A_SKIP for downstream in blocked):
            return
    elif not branches:
        return
    group = task.get_closest_mapped_task_group()
    for downstream in blocked:
        same_group = group is not None and downstream.get_closest_mapped_task_group() is group
        _install(downstream, task.task_id, partial(_refuse_blocked, task.task_id, same_group))


def _install(task: Any, blocker_id: str, refuse: Callable[[Any], None]) -> None:
    """Install a hook before ``execute``, once per blocking task, even if the DAG file is parsed repeatedly."""
    guarded = task.__dict__.setdefault("_guarded_against", set())
    if blocker_id in guarded:
        return
    guarded.add(blocker_id)
    if task.is_mapped:
        task.partial_kwargs["pre_execute"] = _hook(refuse, task.partial_kwargs.get("pre_execute"))
    else:
        task._pre_execute_hook = _hook(refuse, task._pre_execute_hook)


def _hook(refuse: Callable[[Any], None], own: Callable[[Any], Any] | None) -> Callable[[Any], Any]:
    def refuse_if_blocked(context: Any) -> Any:
        refuse(context)
        return own(context) if own is not None else None

    return refuse_if_blocked


def _refuse_blocked(blocker_id: str, same_group: bool, context: Mapping[str, Any]) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    ti = context["ti"]
    index = {"map_indexes": ti.map_index} if same_group else {}
    found = ti.xcom_pull(task_ids=[blocker_id], key=BLOCKED, **index)
    if any(ti.task_id in blocked for blocked in found if blocked):
        raise AirflowSkipException(f"{blocker_id} has blocked this task; clear {blocker_id} to let it decide again")


def _refuse_undecided(gate_id: str, branches: bool, context: Mapping[str, Any]) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    # Airflow keeps a removed instance and its XComs if a mapped list has become shorter.
    states = {index: state for index, state in instance_states(gate_id, context).items() if state != "removed"}
    problem = "" if states else f"{gate_id} has no instance in this run"
    for index, state in sorted(states.items()):
        where = instance_name(gate_id, index)
        if state != "success":
            problem = f"{where} is {state}"
        elif not _has_allowed(gate_id, index, branches, context):
            problem = f"{where} has allowed nothing in this run (somebody may have marked it as a success)"
        if problem:
            break
    if problem:
        raise AirflowSkipException(
            f"{problem}: only a decision of {gate_id} lets this task run. Clear {gate_id} to let it decide; if the deployment "
            "must continue although its budget does not allow it, write an override into the policy first"
        )


def _has_allowed(gate_id: str, index: int, branches: bool, context: Mapping[str, Any]) -> bool:
    """Return whether a gate instance allowed the run, or a branch instance followed a branch that leads to this task."""
    ti = context["ti"]
    pushed = ti.xcom_pull(task_ids=gate_id, key=BLOCKED if branches else DECISION, map_indexes=index)
    if branches:
        return isinstance(pushed, list | tuple) and ti.task_id not in pushed
    return not denial_reason(pushed, gate_id, index, context)
