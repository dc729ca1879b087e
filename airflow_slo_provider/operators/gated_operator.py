"""The base of the operators that change what serves: they act behind a gate, and not in a backfill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.definitions.mappedoperator import MappedOperator

from airflow_slo_provider.operators.text_template_fields import TextFields
from airflow_slo_provider.runtime.required_parameters import given, require

if TYPE_CHECKING:
    from airflow.sdk import Context


class ActingOperator(TextFields):
    """An operator that changes something outside of Airflow. It calls :meth:`require_leave` before it changes anything.

    :param gate: task id of an :class:`.ErrorBudgetGateOperator`, :class:`.ErrorBudgetBranchOperator` or
        :class:`.ErrorBudgetSensor` upstream, that operator itself, or its XCom ``decision``: without a decision of this run that
        allows, the task fails without a retry and changes nothing. (templated)
    :param allow_backfill: act also in a run of a backfill, which is about the past; by default such a run fails without a change
    """

    template_fields: Sequence[str] = ("gate",)

    def __init__(self, *, gate: str | Mapping[str, Any] | Any = None, allow_backfill: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.gate = _named(gate)
        self.allow_backfill = allow_backfill
        self._gated = given(self, "gate")

    def _do_render_template_fields(self, *args: Any, **kwargs: Any) -> None:
        """Look once more whether there is a gate, before its template or XCom may give nothing: it may have been set later."""
        self._gated |= given(self, "gate")
        super()._do_render_template_fields(*args, **kwargs)

    def resolve_template_files(self) -> None:
        """Check the gate's place in the DAG as well: Airflow calls this once it has read the DAG's file.

        :raises ValueError: for a gate that is no task of the DAG, not upstream, or no error-budget gate
        """
        from airflow_slo_provider.runtime.gates.permission import gate_fault

        if self.gate is not _named(self.gate):
            self.gate = _named(self.gate)
        super().resolve_template_files()
        fault = gate_fault(self, self.gate) if self.has_dag() else ""
        if fault:
            raise ValueError(f"{self.task_id}: {fault}")

    def require_leave(self, context: Context) -> None:
        """Refuse to act in a backfill, and behind a gate that has not allowed it.

        :raises AirflowFailException: saying why
        """
        from airflow_slo_provider.runtime.gates.permission import refuse_backfill, require_leave

        refuse_backfill(context, allow_backfill=self.allow_backfill)  # type: ignore[arg-type]
        require(self, self._gated)
        if self.gate is not None:
            require_leave(_named(self.gate), context, self.log)  # type: ignore[arg-type]


def _named(gate: Any) -> Any:
    """Take an operator as its task id; anything else stays what it is."""
    return gate.task_id if isinstance(gate, BaseOperator | MappedOperator) else gate
