"""Block downstream tasks of a gate, mapped or not: every operator that blocks calls :func:`block`.

Airflow's ``SkipMixin`` skips only from a task without a map index, and only instances without one: the skips of a mapped task,
of a task in a mapped group, and of mapped tasks further downstream are lost. The method therefore depends on the form:

===========================================  ==============================================================================
form of the task that blocks                 what it does
===========================================  ==============================================================================
neither mapped nor in a mapped group         succeeds and skips every instance of what it blocks
mapped, and blocks everything downstream     skips itself, so that Airflow's trigger rules skip the rest; if a task behind
                                             it would run after a skip (``none_failed``), it fails instead
mapped branch that follows some tasks        succeeds and skips the others: in its mapped group those of its own index,
                                             outside of it every instance
===========================================  ==============================================================================

Task instances in a group that is mapped over an XCom may not exist yet when a skip is sent. Therefore a branch is rejected
there (see :mod:`airflow_slo_provider.runtime.gates.dag_checks`), and a gate relies on trigger rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from airflow_slo_provider.runtime.gates.dag_checks import HOLD_AFTER_A_SKIP, trigger_rule, with_downstream
from airflow_slo_provider.runtime.gates.task_guards import BLOCKED

#: XCom key from which Airflow knows that a task stays skipped if it is cleared alone (``NotPreviouslySkippedDep``).
_XCOM_KEY = "skipmixin_key"


def block(context: Mapping[str, Any], tasks: Iterable[Any], *, reason: str) -> None:
    """Keep all of these tasks from running; return if there are none to skip.

    :param context: Airflow's task context
    :param tasks: the operators to block
    :param reason: the reason, for the log
    :raises DownstreamTasksSkipped: the task succeeds and the downstream tasks are skipped
    :raises AirflowSkipException: for a mapped task: it is skipped, and with it the downstream tasks
    :raises AirflowFailException: for a mapped task, if a downstream task would run after a skip
    """
    blocked = list(tasks)
    if context["ti"].map_index >= 0:
        _block_by_state(blocked, reason)
    _skip(context, blocked, {"skipped": [downstream.task_id for downstream in blocked]})


def block_some(context: Mapping[str, Any], tasks: Iterable[Any]) -> None:
    """Keep these tasks from running and let the others run; return if there are none to skip.

    :param context: Airflow's task context
    :param tasks: the operators to block
    :raises DownstreamTasksSkipped: the task succeeds and these tasks are skipped
    """
    blocked = list(tasks)
    _skip(context, blocked, {"skipped": [each.task_id for each in blocked]})


def follow_only(context: Mapping[str, Any], followed: Sequence[str], exempt: Iterable[str], *, reason: str) -> None:
    """Follow some of the downstream tasks and keep the rest from running; return if there is nothing to skip.

    Tasks downstream of a followed task may run, as in Airflow's branches. Everything else downstream is blocked.

    :param context: Airflow's task context
    :param followed: ids of the tasks to follow; an empty sequence blocks all
    :param exempt: ids of tasks that may run in any case
    :param reason: why the rest is skipped, for the log
    :raises DownstreamTasksSkipped: see :func:`block`, also for the other exceptions
    """
    task = context["task"]
    kept = with_downstream(task, followed).union(exempt)
    blocked = [downstream for downstream in downstream_of(task) if downstream.task_id not in kept]
    if not followed and context["ti"].map_index >= 0:
        _block_by_state(blocked, reason)
    direct = [downstream.task_id for downstream in task.downstream_list if downstream.task_id in kept or downstream.is_teardown]
    _skip(context, blocked, {"followed": direct})


def downstream_of(task: Any) -> list[Any]:
    """Return all direct and indirect downstream tasks except teardowns, which run in any case.

    :param task: the operator
    """
    return [downstream for downstream in task.get_flat_relatives(upstream=False) if not downstream.is_teardown]


def withhold_events(task: Any, *, keep: Iterable[Any] = ()) -> None:
    """Suppress the asset events of a task that succeeds, by removing its outlets: the API server ignores events of other assets.

    :param task: the running operator
    :param keep: outlets whose events are sent anyway
    """
    kept = list(keep)
    task.__dict__.setdefault("_declared_outlets", list(task.outlets))
    task.outlets = [outlet for outlet in task.outlets if outlet in kept]


def release_events(task: Any) -> None:
    """Undo :func:`withhold_events`.

    :param task: the running operator
    """
    task.outlets = list(task.__dict__.get("_declared_outlets", task.outlets))


def _block_by_state(blocked: Sequence[Any], reason: str) -> NoReturn:
    """End a mapped task in the state after which Airflow's trigger rules run none of the blocked tasks.

    This also works for instances that do not exist yet, and for a task that somebody clears alone.
    """
    from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

    runs = next((downstream for downstream in blocked if trigger_rule(downstream) not in HOLD_AFTER_A_SKIP), None)
    if runs is None:
        raise AirflowSkipException(reason)
    raise AirflowFailException(
        f"{reason}. The task is mapped and fails, because {runs.task_id} would run after a skip: its trigger rule is "
        f"{trigger_rule(runs)}; give it trigger_rule='all_success', or allow it by name: "
        f"may_run_when_blocked=[{runs.task_id!r}]"
    )


def _skip(context: Mapping[str, Any], blocked: Sequence[Any], stored: Mapping[str, Any]) -> None:
    from airflow.sdk.exceptions import DownstreamTasksSkipped

    context["ti"].xcom_push(key=_XCOM_KEY, value=dict(stored))
    context["ti"].xcom_push(key=BLOCKED, value=[downstream.task_id for downstream in blocked])
    tasks = [instance for downstream in blocked for instance in _instances(context, downstream)]
    if tasks:
        raise DownstreamTasksSkipped(tasks=tasks)


def _instances(context: Mapping[str, Any], task: Any) -> Iterator[tuple[str, int]]:
    """Yield task id and map index of each instance of a task that this one blocks."""
    ti, own = context["ti"], context["task"].get_closest_mapped_task_group()
    group = task.get_closest_mapped_task_group()
    if own is not None and group is own:
        yield task.task_id, ti.map_index
        return
    yield task.task_id, -1
    if task.is_mapped or group is not None:
        # An unexpanded instance has the index -1. The number of instances is not in the DAG, because it may depend on an XCom.
        count = ti.get_ti_count(dag_id=ti.dag_id, task_ids=[task.task_id], run_ids=[ti.run_id])
        yield from ((task.task_id, index) for index in range(count))
