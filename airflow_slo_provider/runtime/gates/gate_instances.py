"""Read the states and decisions of a gate's instances for a downstream task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def instance_states(gate_id: str, context: Mapping[str, Any]) -> dict[int, str]:
    """Return the states of a gate's instances in this run by map index; -1 for a gate that is not mapped.

    In the same mapped task group only the instance with the task's own map index counts; otherwise all instances.

    :param gate_id: task id of the gate
    :param context: Airflow's context of the downstream task
    :raises AirflowFailException: for an instance whose map index cannot be determined
    """
    instance, task = context["ti"], context["task"]
    states = instance.get_task_states(dag_id=instance.dag_id, task_ids=[gate_id], run_ids=[instance.run_id])
    own = (states or {}).get(instance.run_id) or {}
    found = {_index(name, gate_id): str(getattr(state, "value", state)) for name, state in own.items()}
    group = task.get_closest_mapped_task_group()
    if group is not None and task.dag.get_task(gate_id).get_closest_mapped_task_group() is group:
        return {index: state for index, state in found.items() if index == instance.map_index}
    return found


def instance_name(task_id: str, index: int) -> str:
    """Return the name of a task instance for messages: ``gate`` or ``gate[3]``.

    :param task_id: the task id
    :param index: the map index; -1 if the task is not mapped
    """
    return f"{task_id}[{index}]" if index >= 0 else task_id


def denial_reason(decision: Any, gate_id: str, index: int, context: Mapping[str, Any]) -> str:
    """Return why a gate's decision does not allow the run to go on; empty if it does.

    :param decision: the XCom ``decision`` of the instance
    :param gate_id: task id of the gate
    :param index: map index of the instance
    :param context: Airflow's context of the downstream task
    """
    from airflow_slo_provider.slo.budget.ledger_records import SUMMARY_VERSION

    instance, where = context["ti"], instance_name(gate_id, index)
    if decision is None:
        return (
            f"the gate {where} has left no decision in this run: nothing allows this. If somebody has marked it as a success, "
            "clear it, so that it decides; gate= accepts only an error-budget gate, branch or sensor"
        )
    if not isinstance(decision, Mapping):
        return f"the decision of the gate {where} is {str(decision)[:200]!r}, which no gate pushes"
    version = decision.get("schema_version")
    if type(version) is not int or version != SUMMARY_VERSION:
        return f"the decision of the gate {where} has schema_version {version!r}; this release reads {SUMMARY_VERSION}"
    expected = {"dag_id": instance.dag_id, "run_id": instance.run_id, "task_id": gate_id, "map_index": index}
    for key, value in expected.items():
        if decision.get(key) != value:
            return f"the decision is not that of the gate {where} in this run: its {key} is {decision.get(key)!r}, not {value!r}"
    if decision.get("allowed") is not True or decision.get("outcome") not in ("allowed", "warning"):
        reasons = decision.get("reasons")
        why = "; ".join(map(str, reasons)) if isinstance(reasons, list | tuple) else ""
        return f"the gate {where} does not allow it: it is {decision.get('outcome')!r}{f' ({why})' if why else ''}"
    if decision.get("satisfied") is not True:
        return f"the gate {where} was not satisfied: it requires more than an allowing decision (min_remaining)"
    return ""


def _index(name: str, task_id: str) -> int:
    """Read the map index from Airflow's name of an instance: ``gate`` or ``gate_3``."""
    from airflow.sdk.exceptions import AirflowFailException

    if name == task_id:
        return -1
    number = name.removeprefix(f"{task_id}_")
    if not number.isdecimal():
        raise AirflowFailException(f"Airflow names an instance of the gate {task_id} {name!r}, whose map index is unknown")
    return int(number)
