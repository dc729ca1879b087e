"""Which instances of a gate count for a task behind it, and in what state Airflow says they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def instance_states(gate_id: str, context: Mapping[str, Any]) -> dict[int, str]:
    """Return the states of a gate's instances in this run by map index; -1 is that of a gate that is not mapped.

    In the same mapped task group that is the instance with the task's own map index; otherwise all instances.

    :param gate_id: task id of the gate
    :param context: Airflow's context of the task that asks
    :raises AirflowFailException: for an instance whose map index is not known
    """
    instance, task = context["ti"], context["task"]
    states = instance.get_task_states(dag_id=instance.dag_id, task_ids=[gate_id], run_ids=[instance.run_id])
    own = (states or {}).get(instance.run_id) or {}
    found = {_index(name, gate_id): str(getattr(state, "value", state)) for name, state in own.items()}
    group = task.get_closest_mapped_task_group()
    if group is not None and task.dag.get_task(gate_id).get_closest_mapped_task_group() is group:
        return {index: state for index, state in found.items() if index == instance.map_index}
    return found


def _index(name: str, task_id: str) -> int:
    """Read the map index out of the name that Airflow gives an instance: ``gate`` or ``gate_3``."""
    from airflow.sdk.exceptions import AirflowFailException

    if name == task_id:
        return -1
    number = name.removeprefix(f"{task_id}_")
    if not number.isdecimal():
        raise AirflowFailException(f"Airflow names an instance of the gate {task_id} {name!r}, whose map index is not known")
    return int(number)
