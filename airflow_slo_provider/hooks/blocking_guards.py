"""Let tasks look once more whether they are blocked, where Airflow forgets it when somebody clears them alone.

Airflow keeps a cleared task skipped only directly behind a branch or gate, and looks for the decision of a mapped one under
another map index. Behind a task that was skipped or failed, trigger rules hold. For what is left, a hook before ``execute`` reads
what was decided, in the way of ``@task.skip_if``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from airflow_slo_provider.hooks.blocking_checks import HOLD_AFTER_A_SKIP, trigger_rule

#: XCom key of the ids that a task has blocked by skips.
BLOCKED = "blocked"


def guard_tasks(task: Any, tasks: Iterable[Any], *, branches: bool) -> None:
    """Make tasks look whether this one has blocked them, where nothing else would keep them from running when they are cleared.

    :param task: the one that blocks, mapped or not
    :param tasks: what it may block
    :param branches: whether it follows some of them
    """
    blocked = [one for one in tasks if not one.is_teardown]
    if not (task.is_mapped or task.get_closest_mapped_task_group() is not None):
        # What is directly behind it is skipped again, and what is further down unless a trigger rule on the way bears skips.
        blocked = [one for one in blocked if one.task_id not in task.downstream_task_ids]
        if all(trigger_rule(one) in HOLD_AFTER_A_SKIP for one in blocked):
            return
    elif not branches:
        return
    for one in blocked:
        _guard(one, task)


def _guard(task: Any, blocker: Any) -> None:
    guarded = task.__dict__.setdefault("_guarded_against", set())
    if blocker.task_id in guarded:
        return
    guarded.add(blocker.task_id)
    group = blocker.get_closest_mapped_task_group()
    same_group = group is not None and task.get_closest_mapped_task_group() is group
    if task.is_mapped:
        task.partial_kwargs["pre_execute"] = _hook(blocker.task_id, same_group, task.partial_kwargs.get("pre_execute"))
    else:
        task._pre_execute_hook = _hook(blocker.task_id, same_group, task._pre_execute_hook)


def _hook(blocker_id: str, same_group: bool, own: Callable[[Any], Any] | None) -> Callable[[Any], Any]:
    def refuse_if_blocked(context: Any) -> Any:
        _refuse(context, blocker_id, same_group)
        return own(context) if own is not None else None

    return refuse_if_blocked


def _refuse(context: Mapping[str, Any], blocker_id: str, same_group: bool) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    ti = context["ti"]
    index = {"map_indexes": ti.map_index} if same_group else {}
    found = ti.xcom_pull(task_ids=[blocker_id], key=BLOCKED, **index)
    if any(ti.task_id in blocked for blocked in found if blocked):
        raise AirflowSkipException(f"{blocker_id} has blocked this task; clear {blocker_id} to let it decide again")
