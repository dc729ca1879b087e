"""Base class of operators that change the serving system: they check their gate first and do not act in a backfill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.definitions.mappedoperator import MappedOperator

from airflow_slo_provider.operators.text_template_fields import TextFields
from airflow_slo_provider.runtime.required_parameters import require, set_in_dag

if TYPE_CHECKING:
    from airflow.sdk import Context


class ActingOperator(TextFields):
    """Base class of operators that change something outside of Airflow; they call :meth:`require_permission` before a change.

    :param gate: task id of an upstream :class:`.ErrorBudgetGateOperator`, :class:`.ErrorBudgetBranchOperator` or
        :class:`.ErrorBudgetSensor`, that operator itself, or its XCom ``decision``. Unless it has allowed this run, the task
        fails without a retry and changes nothing. No gate by default. (templated)
    :param allow_backfill: act also in a backfill run, which is about the past; by default such a run fails without a change
    """

    template_fields: Sequence[str] = ("gate",)

    def __init__(self, *, gate: str | Mapping[str, Any] | Any = None, allow_backfill: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.gate = _task_id(gate)
        self.allow_backfill = allow_backfill
        self._gated = set_in_dag(self, "gate")

    def _do_render_template_fields(self, *args: Any, **kwargs: Any) -> None:
        """Note whether a gate is set before rendering, because it may be set after ``__init__`` and may render to nothing."""
        self._gated |= set_in_dag(self, "gate")
        super()._do_render_template_fields(*args, **kwargs)

    def resolve_template_files(self) -> None:
        """Check the position of the gate in the DAG as well. Airflow calls this method after it has parsed the DAG file.

        :raises ValueError: for a gate that is not a task of the DAG, not upstream, or not an error-budget gate
        """
        from airflow_slo_provider.runtime.gates.permission import gate_parameter_error

        self.gate = _task_id(self.gate)
        super().resolve_template_files()
        if self.has_dag() and (error := gate_parameter_error(self, self.gate)):
            raise ValueError(f"{self.task_id}: {error}")

    def require_permission(self, context: Context) -> None:
        """Raise an exception in a backfill, and if the gate has not allowed this run.

        :param context: Airflow's task context
        :raises AirflowFailException: naming the reason
        """
        from airflow_slo_provider.runtime.gates.permission import refuse_backfill, require_allowed

        refuse_backfill(context, allow_backfill=self.allow_backfill)  # type: ignore[arg-type]
        require(self, self._gated)
        if self.gate is not None:
            require_allowed(_task_id(self.gate), context, self.log)  # type: ignore[arg-type]


def _task_id(gate: Any) -> Any:
    """Return the task id of an operator; return any other value unchanged."""
    return gate.task_id if isinstance(gate, BaseOperator | MappedOperator) else gate
