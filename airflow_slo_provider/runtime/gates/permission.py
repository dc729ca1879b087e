"""Check before a change whether the run may act: no backfill without permission, and the gate has allowed this run.

Airflow's skips already keep tasks behind a blocking gate from running. This second check also works where a skip is lost: for a
mapped gate, a cleared task, or a gate that somebody marked as success.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NoReturn

from airflow_slo_provider.runtime.evaluation_time import is_backfill
from airflow_slo_provider.runtime.gates.gate_instances import denial_reason, instance_name, instance_states

#: A decision is outdated if the run was started again later than this after it. The tolerance is for clock differences.
_TOLERANCE = timedelta(minutes=5)


def refuse_backfill(context: Mapping[str, Any], *, allow_backfill: bool) -> None:
    """Fail in a backfill run, which is about the past, while the change would affect the present.

    :param context: Airflow's task context
    :param allow_backfill: act anyway
    :raises AirflowFailException: in a backfill run, with or without partitions
    """
    if allow_backfill or not is_backfill(context):
        return
    _refuse(
        "this run belongs to a backfill, which is about the past, and the task changes what serves now: nothing was changed. "
        "If that is intended, set allow_backfill=True"
    )


def gate_parameter_error(task: Any, gate: Any) -> str:
    """Return what is wrong with the ``gate`` of a task in its DAG; empty if it is right or not a task id.

    :param task: the operator
    :param gate: its parameter ``gate``
    """
    if isinstance(gate, list | tuple) and any(isinstance(item, str) for item in gate):
        return f"gate is {str(gate)[:200]}, and accepts one gate; a mapped gate counts with all its instances"
    if isinstance(gate, bool | int | float):
        return f"gate is {gate!r}, which is not a gate; write gate=gate.task_id"
    if not isinstance(gate, str) or "{" in gate:
        return ""
    if gate not in task.dag.task_ids:
        from airflow_slo_provider.documents.fields import did_you_mean

        known = sorted(task.dag.task_ids)
        similar = [task_id for task_id in known if task_id.endswith(f".{gate}")]
        hint = f"; did you mean {similar[0]!r}?" if similar else did_you_mean(gate, known)
        return f"gate names {gate!r}, and the DAG {task.dag.dag_id} has no such task{hint}"
    if gate not in {upstream.task_id for upstream in task.get_flat_relatives(upstream=True)}:
        problem = f"gate names {gate!r}, which is not upstream of {task.task_id}: it would be read before it has decided"
        return f"{problem}; write {gate} >> {task.task_id}"
    operator = task.dag.get_task(gate)
    kind = getattr(operator, "operator_class", type(operator))
    # A third-party operator may push a decision; its content is checked at run time.
    ours = kind.__module__.startswith(("airflow.", "airflow_slo_provider."))
    if ours and not getattr(kind, "leaves_decision", False):
        return (
            f"gate names {gate!r}, a {kind.__name__}, which is not an error-budget gate and pushes no decision. "
            "Name an ErrorBudgetGateOperator, ErrorBudgetBranchOperator or ErrorBudgetSensor"
        )
    return ""


def require_allowed(gate: Any, context: Mapping[str, Any], log: Any) -> None:
    """Fail unless the gate has allowed this run, in every instance that counts.

    In the same mapped task group only the instance with the task's own map index counts; otherwise all instances of the gate.

    :param gate: task id of the gate, its decision (XCom ``decision``), or the decisions of a mapped gate
    :param context: Airflow's task context
    :param log: the task's logger
    :raises AirflowFailException: for a decision that is missing, malformed, of another run or older than the current start of
        the run, and for one that does not allow the run
    """
    task = context["task"]
    if error := gate_parameter_error(task, gate):
        _refuse(error)
    passed = None if isinstance(gate, str) else _decisions(gate, context)
    task_id = gate if passed is None else _single_gate(passed)
    error = gate_parameter_error(task, task_id)
    if error or "{" in str(task_id):
        _refuse(error or f"gate is the text {str(gate)[:200]!r}, as a template renders it; pass the task id of the gate instead")
    indexes = _indexes(str(task_id), context)
    by_index = None if passed is None else {decision["map_index"]: decision for decision in passed}
    for index in indexes:
        where = instance_name(str(task_id), index)
        if by_index is not None:
            _require_instance_allowed(by_index.get(index), str(task_id), index, context)
        # A passed decision may have been modified on the way, so the XCom of the gate itself is checked as well.
        found = context["ti"].xcom_pull(task_ids=task_id, key="decision", map_indexes=index)
        _require_instance_allowed(found, str(task_id), index, context)
        log.info("The gate %s allows it: %s, decided at %s", where, found["outcome"], found["decided_at"])


def _decisions(gate: Any, context: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return one decision, or the decisions of a mapped gate, as a list. Each must be of this run."""
    if isinstance(gate, Mapping):
        several: list[Any] = [gate]
    elif isinstance(gate, Sequence) or (isinstance(gate, Iterable) and hasattr(gate, "__len__")):
        several = list(gate)
    else:
        several = []
    if not several:
        _refuse(
            f"gate is {str(gate)[:200]!r}, neither a task id nor a decision: its XCom is missing, or contains something else. "
            "Write the gate's task id: gate=gate.task_id"
        )
    for item in several:
        if not isinstance(item, Mapping) or not isinstance(item.get("task_id"), str) or type(item.get("map_index")) is not int:
            _refuse(
                f"gate contains {str(item)[:200]!r}, which is not a decision; name one gate by its task id: gate=gate.task_id"
            )
        for key in ("dag_id", "run_id"):
            own = getattr(context["ti"], key)
            if item.get(key) != own:
                _refuse(f"the decision is not one of this run: its {key} is {item.get(key)!r}, not {own!r}")
    return several


def _single_gate(decisions: Sequence[Mapping[str, Any]]) -> str:
    names = sorted({str(decision["task_id"]) for decision in decisions})
    if len(names) > 1:
        _refuse(f"gate contains decisions of several gates, {', '.join(names)}; name one of them")
    return names[0]


def _indexes(task_id: str, context: Mapping[str, Any]) -> Collection[int]:
    """Return the map indexes of the gate's instances that must have allowed the run; each must have succeeded.

    A gate that failed, or a sensor that timed out, may have pushed a decision that allows.
    """
    found = instance_states(task_id, context)
    if not found:
        _refuse(f"Airflow has no instance of the gate {task_id} in this run: nothing has allowed this")
    for index, state in sorted(found.items()):
        if state != "success":
            _refuse(f"the gate {instance_name(task_id, index)} is {state}, not a success: it has allowed nothing")
    return sorted(found)


def _require_instance_allowed(decision: Any, task_id: str, index: int, context: Mapping[str, Any]) -> None:
    if reason := denial_reason(decision, task_id, index, context):
        _refuse(reason)
    _require_current(decision, instance_name(task_id, index), context)


def _require_current(decision: Mapping[str, Any], where: str, context: Mapping[str, Any]) -> None:
    """Fail for a decision from before the run was started again, e.g. by clearing a task of a finished run."""
    try:
        decided = datetime.fromisoformat(str(decision.get("decided_at")))
    except ValueError:
        decided = None
    if decided is None or decided.tzinfo is None:
        _refuse(f"the decision of the gate {where} does not say when it was made: decided_at is {decision.get('decided_at')!r}")
    started = getattr(context.get("dag_run"), "start_date", None)
    if started is not None and decided < started - _TOLERANCE:
        _refuse(
            f"the decision of the gate {where} was made at {decided.isoformat()}, and the run was started again at "
            f"{started.isoformat()}: the decision is outdated. Clear the gate together with this task, so that it decides again"
        )


def _refuse(message: str) -> NoReturn:
    from airflow.sdk.exceptions import AirflowFailException

    raise AirflowFailException(message)
