"""Check the DAG around a task that blocks others: trigger rules, branches, exempt tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from itertools import chain
from typing import Any

#: A task id or a task-group id, or several.
TaskIds = str | Sequence[str]

#: Trigger rules under which a task does not run if an upstream task failed. Any other rule, also a future one of Airflow, is
#: assumed to let it run.
HOLD_AFTER_A_FAILURE = frozenset({"all_success", "none_failed", "none_failed_min_one_success"})
#: Trigger rules under which a task does not run if an upstream task was skipped.
HOLD_AFTER_A_SKIP = frozenset({"all_success"})


def as_list(ids: Any) -> list[Any]:
    """Return one id or several ids as a list; None gives an empty list."""
    if ids is None:
        return []
    return list(ids) if isinstance(ids, list | tuple | set | frozenset) else [ids]


def argument(task: Any, name: str, default: Any = None) -> Any:
    """Return an argument of a task, mapped or not; the default for an argument over which it is mapped.

    :param task: the task
    :param name: name of the argument
    :param default: value for an argument that is not set
    """
    if task.is_mapped:
        return task.partial_kwargs.get(name, default)
    return getattr(task, name, default)


def trigger_rule(task: Any) -> str:
    """Return the name of a task's trigger rule."""
    return str(getattr(task.trigger_rule, "value", task.trigger_rule))


def root_tasks(task: Any, ids: TaskIds | None) -> list[str]:
    """Return task ids, with each task group replaced by its root tasks."""
    groups = task.dag.task_group_dict
    found = ([root.task_id for root in groups[each].roots] if each in groups else [each] for each in as_list(ids))
    return list(chain.from_iterable(found))


def exempt_tasks(task: Any, ids: TaskIds | None) -> set[str]:
    """Return the ids of the tasks that may run even if this one blocks.

    :param task: the task that blocks
    :param ids: ids of tasks and task groups
    :raises ValueError: for an id that is not downstream
    """
    behind = task.get_flat_relative_ids(upstream=False)
    found: set[str] = set()
    for task_id in as_list(ids):
        named = expand_groups(task, task_id)
        if not named & behind:
            raise ValueError(f"{task.task_id}: may_run_when_blocked names {_describe_wrong_id(task, task_id, behind)}")
        found |= named
    return found


def check_trigger_rules(task: Any, behind: Iterable[Any], exempt: set[str], *, hold: frozenset[str]) -> None:
    """Reject a downstream task that would run although this one blocks.

    :param task: the task that blocks
    :param behind: the tasks that it blocks
    :param exempt: ids of tasks that may run
    :param hold: the trigger rules under which a task does not run
    :raises ValueError: naming the first such task and what to change
    """
    blocked = [downstream for downstream in behind if downstream.task_id not in exempt and not downstream.is_teardown]
    held_by = {task.task_id, *(downstream.task_id for downstream in blocked)}
    for downstream in blocked:
        allow = f"or allow it by name: may_run_when_blocked=[{downstream.task_id!r}]"
        if (rule := trigger_rule(downstream)) not in hold:
            raise ValueError(
                f"{task.task_id} cannot keep {downstream.task_id} from running: its trigger rule {rule} lets it run "
                f"although {task.task_id} blocks it; use trigger_rule={' or '.join(map(repr, sorted(hold)))}, {allow}"
            )
        if not downstream.upstream_task_ids & held_by:
            raise ValueError(
                f"{task.task_id} cannot keep {downstream.task_id} from running: it comes only after tasks that may run although "
                f"{task.task_id} blocks; write {task.task_id} >> {downstream.task_id}, {allow}"
            )


def check_targets(task: Any, branches: Mapping[str, TaskIds | None]) -> None:
    """Reject a branch to anything but a direct downstream task, or a task group that begins with one.

    Any other branch would have no effect: a task that is not downstream always runs, and following the task itself or an
    upstream task keeps everything downstream.

    :param task: the branch operator
    :param branches: ids by the parameter that holds them
    :raises ValueError: naming the first wrong id
    """
    direct, behind = task.downstream_task_ids, task.get_flat_relative_ids(upstream=False)
    groups = task.dag.task_group_dict
    for name, ids in branches.items():
        for target in as_list(ids):
            if not isinstance(target, str) or not target:
                raise ValueError(f"{task.task_id}: {name} contains {target!r}; write the id of a task or a task group")
            roots = {root.task_id for root in groups[target].roots} if target in groups else {target}
            if not roots & direct:
                raise ValueError(f"{task.task_id}: {name} names {_describe_wrong_id(task, target, direct)}")
            if loose := sorted(roots - behind):
                raise ValueError(
                    f"{task.task_id}: {name} names the task group {target!r}, and its task {loose[0]!r} is not downstream of "
                    f"{task.task_id}: it runs whatever is decided; write {task.task_id} >> {loose[0]}"
                )


def check_mapped_branch(task: Any) -> None:
    """Reject a branch in a task group that is mapped over an XCom, because the tasks to skip may not exist yet.

    :param task: the branch operator
    :raises ValueError: naming what to change
    """
    group = task.get_closest_mapped_task_group()
    source = next(iter(group.iter_mapped_dependencies()), None) if group is not None else None
    if source is not None:
        raise ValueError(
            f"{task.task_id} is a branch in the task group {group.group_id!r}, which is mapped over the XCom of "
            f"{source.task_id}: its tasks may not exist yet when the branch decides, and would all run. Use "
            "ErrorBudgetGateOperator there, which has no branches, or map the group over a list that is written in the DAG file"
        )


def expand_groups(task: Any, ids: TaskIds | None) -> set[str]:
    """Return task ids, with each task group replaced by all of its tasks."""
    groups = task.dag.task_group_dict
    found = ({inner.task_id for inner in groups[each].iter_tasks()} if each in groups else {each} for each in as_list(ids))
    return set().union(*found)


def with_downstream(task: Any, ids: Iterable[str]) -> set[str]:
    """Return task ids with those of everything downstream of them.

    :param task: a task of the DAG
    :param ids: ids of tasks
    """
    return set(ids).union(*(task.dag.get_task(each).get_flat_relative_ids(upstream=False) for each in ids))


def exclusive_tasks(task: Any, targets: TaskIds, others: Iterable[TaskIds]) -> set[str]:
    """Return the tasks of a branch, and those behind it that no other branch reaches.

    :param task: the branch operator
    :param targets: ids of tasks and task groups of the branch
    :param others: ids of the other branches; tasks that they reach without passing a target are left out
    """
    own = expand_groups(task, targets)
    reached = set().union(*(expand_groups(task, ids) for ids in others)) - own
    pending = list(reached)
    while pending:
        further = task.dag.get_task(pending.pop()).downstream_task_ids - own - reached
        reached |= further
        pending += further
    return with_downstream(task, own) - reached


def check_blocked_branches(task: Any, allowed: TaskIds, frozen: TaskIds | None, others: Mapping[str, TaskIds]) -> None:
    """Reject branches of a blocked deployment that lead to tasks which only an allowed deployment may run.

    The branch of a freeze must not lead there at all; the other branches only through another task, such as an approval.

    :param task: the branch operator
    :param allowed: ids that are followed if the deployment is allowed
    :param frozen: ids that are followed if it is frozen
    :param others: ids that are followed otherwise, by parameter
    :raises ValueError: naming the task
    """
    exempt = exempt_tasks(task, argument(task, "may_run_when_blocked"))
    only_if_allowed = expand_groups(task, allowed) - exempt
    for target in as_list(frozen):
        if reached := sorted(only_if_allowed & with_downstream(task, expand_groups(task, target))):
            raise ValueError(
                f"{task.task_id}: if_frozen leads by {target!r} to {reached[0]!r}, which only an allowed deployment may run; "
                f"remove {reached[0]!r} from what {target!r} leads to; if somebody has to approve, use if_escalated "
                f"with a policy whose action is escalate, or allow it by name: may_run_when_blocked=[{reached[0]!r}]"
            )
    for name, ids in others.items():
        if shared := sorted(only_if_allowed & expand_groups(task, ids)):
            raise ValueError(
                f"{task.task_id}: {name} leads directly to {shared[0]!r}, which only an allowed deployment may run; put an "
                f"approval before it, or allow it by name: may_run_when_blocked=[{shared[0]!r}]"
            )


def _describe_wrong_id(task: Any, name: str, wanted: Iterable[str]) -> str:
    """Describe what is wrong with the id of a task or group, and suggest a similar one."""
    known = {*task.dag.task_ids, *task.dag.task_group_dict}
    groups = task.dag.task_group_dict
    # A group is suggested if one of its root tasks would be valid.
    names = {*wanted, *(each for each in groups if each and {root.task_id for root in groups[each].roots} & set(wanted))}
    meant = sorted(each for each in names if each.endswith(f".{name}")) or get_close_matches(name, sorted(names), n=1)
    hint = f"; did you mean {meant[0]!r}?" if meant else ""
    if name not in known:
        return f"{name!r}, and the DAG {task.dag.dag_id} has no such task or task group{hint}"
    if name == task.task_id:
        return f"{name!r}, which is this task itself{hint}"
    if name in task.get_flat_relative_ids(upstream=True):
        return f"{name!r}, which is upstream of it{hint}"
    return f"{name!r}, which is not directly downstream of it; write {task.task_id} >> {name}{hint}"
