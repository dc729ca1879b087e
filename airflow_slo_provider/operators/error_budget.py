"""Error-budget gates: branch or short-circuit a DAG by the error budget of a service and its policy."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_slo_provider.operators.blocking_operator import BlockingBranchOperator, BlockingOperator
from airflow_slo_provider.operators.document_parameters import DocumentFields
from airflow_slo_provider.runtime.gates.blocked_tasks import block, release_events, withhold_events
from airflow_slo_provider.runtime.gates.dag_checks import TaskIds, argument, as_list, check_blocked_branches, exclusive_tasks
from airflow_slo_provider.runtime.required_parameters import require, set_in_dag

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_slo_provider.slo.budget.reports import Decision


class _ErrorBudgetOperator(DocumentFields):
    """Common base class of both gates."""

    template_fields: Sequence[str] = (*DocumentFields.template_fields, "group", "at")
    #: The operator pushes the XCom ``decision``, so it may be the ``gate=`` of an operator that changes something.
    leaves_decision: ClassVar[bool] = True

    def __init__(self, *, group: Mapping[str, str] | None = None, at: datetime | str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.group = group
        self.at = at
        self._set_in_dag |= set_in_dag(self, "group", "at")

    def _decide(self, context: Context) -> Decision:
        from airflow_slo_provider.runtime.error_budget.decision import evaluate_gate

        require(self, self._set_in_dag)
        accepts = getattr(self, "if_unknown", None) is not None
        return evaluate_gate(
            context,
            slos=self.slos,
            select=self.select,
            group=self.group,
            at=self.at,
            log=self.log,
            accepts_unknown=accepts,
        )


class ErrorBudgetBranchOperator(_ErrorBudgetOperator, BlockingBranchOperator):
    """Evaluate SLOs and follow a branch by the error budget and its policy.

    The decision is written to the task log as a table, to the ledger, and to XCom under the key ``decision`` (a small dict:
    ``outcome``, ``action``, ``allowed``, ``at``, ``reasons``, ``slos``) before the branch is followed:

    ==========  ==========================================================================================================
    outcome     branch
    ==========  ==========================================================================================================
    allowed     ``follow_task_ids_if_allowed``
    warning     ``if_warning``; without it, as if allowed: a warning alone does not block
    frozen      ``if_escalated``, if it is set and the policy's action is ``escalate``; else ``if_frozen``; without it,
                everything downstream is skipped
    unknown     ``if_unknown``; without it, the task fails
    ==========  ==========================================================================================================

    An unknown budget never allows a deployment, unless a policy document says so explicitly (``onNoData``, ``onError``):

    - A transient error (a timeout, a 503, a locked database) fails the try and is retried by Airflow's ``retries``. The last
      try follows ``if_unknown`` if it is set. The record of each try replaces that of the previous one.
    - No data, NaN and invalid answers follow ``if_unknown`` without a retry.
    - For errors in a document, a query that the server refuses and wrong credentials the task fails at once, even if
      ``if_unknown`` is set. They must be fixed by the author of the document; an approval does not help.
    - A budget that was frozen and cannot be measured since then stays frozen; both rules about errors apply to it as well.
    - If the decision cannot be written to the ledger, the task fails.

    A branch leads to direct downstream tasks, or to task groups that begin with one. Everything downstream that the chosen
    branch does not lead to is skipped; where branches join, use ``trigger_rule="none_failed_min_one_success"``. Asset events of
    ``outlets`` are sent only if the task follows ``follow_task_ids_if_allowed`` because the deployment is allowed.

    The operator may be mapped, and may be in a task group that is mapped over a list in the DAG file. A task outside of that
    group runs only if no instance blocks it. In a group that is mapped over an XCom the operator is rejected: use
    :class:`ErrorBudgetGateOperator` there.

    .. code-block:: python

        gate = ErrorBudgetBranchOperator(
            task_id="gate",
            slos="/opt/slos/checkout.yaml",
            follow_task_ids_if_allowed="promote",
            if_warning="request_review",
            if_frozen="hold",
            retries=3,
        )
        gate >> [promote, request_review, hold]

    :param slos: SLO documents: a path (a relative path starts at the folder of the DAG file), a URI, the text itself, or a
        list. Text with a line break is a document and is not rendered, because ``{{.window}}`` belongs to its query.
        (templated)
    :param select: names of the SLOs to evaluate, or a function that returns for each SLO whether it is selected; all by
        default. (templated)
    :param group: evaluate only the groups with these values of labels, e.g. ``{"model_version": "{{ params.version }}"}``, of
        SLOs with ``airflow-slo/group-by``. A group without data is unknown. By default all groups are evaluated. (templated)
    :param follow_task_ids_if_allowed: ids of tasks or task groups to follow if the deployment is allowed
    :param if_warning: ids to follow if the budget is low or burns too fast
    :param if_frozen: ids to follow if the policy stops deployments
    :param if_escalated: ids to follow if the policy stops deployments until somebody approves (action ``escalate``)
    :param if_unknown: ids to follow if the state of the budget is unknown
    :param at: evaluation timestamp: an aware datetime, or ISO 8601 text with a time zone. By default now; in a backfill run the
        end of its data interval. (templated)
    :param may_run_when_blocked: ids of downstream tasks and task groups that may run, by their trigger rules, even if no branch
        leads to them, e.g. a notification
    :raises ValueError: when the DAG file is parsed: for a branch to a task that is not directly downstream, for an
        ``if_frozen`` that leads to tasks which only an allowed deployment may run, for an ``if_unknown`` or ``if_escalated``
        that names such a task directly (an approval may come before it), and for a downstream task whose trigger rule would let
        it run although the gate failed or skipped the tasks before it
    """

    branch_parameters = ("follow_task_ids_if_allowed", "if_warning", "if_frozen", "if_unknown", "if_escalated")

    def __init__(
        self,
        *,
        follow_task_ids_if_allowed: TaskIds,
        if_warning: TaskIds | None = None,
        if_frozen: TaskIds | None = None,
        if_unknown: TaskIds | None = None,
        if_escalated: TaskIds | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.follow_task_ids_if_allowed = follow_task_ids_if_allowed
        self.if_warning, self.if_frozen, self.if_unknown, self.if_escalated = if_warning, if_frozen, if_unknown, if_escalated
        if not follow_task_ids_if_allowed:
            raise ValueError(f"{self.task_id}: follow_task_ids_if_allowed names no task: an allowed deployment would go nowhere")
        for name, ids in self.branches_by_parameter(self).items():
            invalid = [task_id for task_id in as_list(ids) if not isinstance(task_id, str) or not task_id]
            if invalid:
                raise ValueError(f"{self.task_id}: {name} holds {invalid[0]!r}; write the id of a task or a task group")

    @classmethod
    def check_dag(cls, task: Any) -> None:
        """Check also that a freeze never leads to tasks reserved for an allowed deployment, and other branches not directly."""
        super().check_dag(task)
        branches = cls.branches_by_parameter(task)
        others = {name: branches[name] for name in ("if_unknown", "if_escalated") if name in branches}
        check_blocked_branches(task, branches.get("follow_task_ids_if_allowed", ()), branches.get("if_frozen"), others)

    @classmethod
    def tasks_that_need_permission(cls, task: Any) -> Collection[str]:
        """Return the tasks of the allowed branch and those behind them that no other branch leads to."""
        branches = dict(cls.branches_by_parameter(task))
        return exclusive_tasks(task, branches.pop("follow_task_ids_if_allowed", ()), branches.values())

    def choose_branch(self, context: Context) -> str | Iterable[str] | None:
        """Evaluate the SLOs and return the ids to follow, or None to follow no branch."""
        from airflow_slo_provider.runtime.error_budget.decision import raise_unless_acceptable
        from airflow_slo_provider.slo.budget.reports import GateOutcome
        from airflow_slo_provider.slo.policy.error_budget_policy import Action

        decision = self._decide(context)
        if decision.outcome is GateOutcome.WARNING and self.if_warning is not None:
            return self.if_warning
        if decision.outcome in (GateOutcome.WARNING, GateOutcome.ALLOWED):
            release_events(self)
            return self.follow_task_ids_if_allowed
        frozen = decision.outcome is GateOutcome.FROZEN
        raise_unless_acceptable(decision, context, acceptable=frozen or self.if_unknown is not None)
        if frozen:
            escalated = decision.action is Action.ESCALATE and self.if_escalated is not None
            return self.if_escalated if escalated else self.if_frozen
        return self.if_unknown


class ErrorBudgetGateOperator(_ErrorBudgetOperator, BlockingOperator):
    """Evaluate SLOs and skip everything downstream if the error budget does not allow a deployment (a short circuit).

    ==========  ==========================================================================================================
    outcome     effect
    ==========  ==========================================================================================================
    allowed     the DAG goes on
    warning     the DAG goes on; the log and XCom hold the reasons
    frozen      everything downstream is skipped (see ``ignore_downstream_trigger_rules``)
    unknown     the task fails, so that nothing downstream runs; a transient error is retried first
    ==========  ==========================================================================================================

    Everything else is as in :class:`ErrorBudgetBranchOperator`. Use that operator if a frozen or unknown budget has its own
    branch.

    If a mapped gate, or one in a mapped task group, is frozen, the gate itself is skipped and Airflow skips the tasks
    downstream of it: inside its group those with the same map index, outside of the group all. If a downstream task has a
    trigger rule other than ``all_success`` and would run after a skip, the gate fails instead.

    .. code-block:: python

        ErrorBudgetGateOperator(task_id="gate", slos="/opt/slos", select="checkout-availability") >> deploy

    :param slos: SLO documents: a path (a relative path starts at the folder of the DAG file), a URI, the text itself, or a
        list. (templated)
    :param select: names of the SLOs to evaluate, or a function that selects them; all by default. (templated)
    :param group: evaluate only the groups with these values of labels, of SLOs with ``airflow-slo/group-by``. A group without
        data is unknown. By default all groups are evaluated. (templated)
    :param at: evaluation timestamp; by default now, and in a backfill run the end of its data interval. (templated)
    :param ignore_downstream_trigger_rules: as in ``ShortCircuitOperator``: True skips everything downstream, regardless of
        trigger rules; False skips the direct downstream tasks and leaves all others to their trigger rules
    :param may_run_when_blocked: ids of downstream tasks and task groups that may run, by their trigger rules, even if the
        budget does not allow a deployment, e.g. a notification
    :raises ValueError: when the DAG file is parsed, for a downstream task whose trigger rule would let it run although the gate
        blocks it
    """

    def __init__(self, *, ignore_downstream_trigger_rules: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ignore_downstream_trigger_rules = ignore_downstream_trigger_rules

    @classmethod
    def tasks_to_block(cls, task: Any) -> Iterable[Any]:
        """Return everything downstream, or only the direct downstream tasks if ``ignore_downstream_trigger_rules`` is False."""
        if argument(task, "ignore_downstream_trigger_rules", default=True):
            return super().tasks_to_block(task)
        return [direct for direct in task.downstream_list if not direct.is_teardown]

    @classmethod
    def tasks_that_need_permission(cls, task: Any) -> Collection[str]:
        """Return the ids of all tasks that the gate may have to block."""
        return {blocked.task_id for blocked in cls.tasks_to_block(task)}

    def execute(self, context: Context) -> bool:
        """Evaluate the SLOs; return True if the DAG goes on.

        :param context: Airflow's task context
        :raises AirflowFailException: if the budget is unknown and a retry does not help
        """
        from airflow_slo_provider.runtime.error_budget.decision import raise_unless_acceptable
        from airflow_slo_provider.slo.budget.reports import GateOutcome

        self.recheck_dag()
        withhold_events(self)
        decision = self._decide(context)
        if decision.allowed:
            release_events(self)
            return True
        raise_unless_acceptable(decision, context, acceptable=decision.outcome is GateOutcome.FROZEN)
        block(context, self.tasks_not_exempt(self), reason=f"the error budget is frozen: {'; '.join(decision.reasons)}")
        return False
