"""Gates for DAGs: go on, slow down or stop, as the error budget of a service says."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_slo_provider.operators.blocking_operator import BlockingBranchOperator, BlockingOperator
from airflow_slo_provider.operators.document_parameters import DocumentFields
from airflow_slo_provider.runtime.gates.blocked_tasks import block, release_events, withhold_events
from airflow_slo_provider.runtime.gates.dag_checks import TaskIds, argument, check_blocked_ways, each, only_behind
from airflow_slo_provider.runtime.required_parameters import given, require

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_slo_provider.slo.budget.reports import Decision


class _ErrorBudgetOperator(DocumentFields):
    """What both gates share."""

    template_fields: Sequence[str] = (*DocumentFields.template_fields, "at")
    #: It leaves the XCom ``decision``, which ``gate=`` of what acts takes.
    leaves_decision: ClassVar[bool] = True

    def __init__(self, *, at: datetime | str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.at = at
        self._given |= given(self, "at")

    def _decide(self, context: Context) -> Decision:
        from airflow_slo_provider.runtime.error_budget.decision import evaluate_gate

        require(self, self._given)
        asks = getattr(self, "if_unknown", None) is not None
        return evaluate_gate(context, slos=self.slos, select=self.select, at=self.at, log=self.log, accepts_unknown=asks)


class ErrorBudgetBranchOperator(_ErrorBudgetOperator, BlockingBranchOperator):
    """Evaluates SLOs and takes one of several ways, as the error budget and its policy say.

    The decision stands in the task log as a table, in the ledger, and in XCom under the key ``decision`` (a small dict:
    ``outcome``, ``action``, ``allowed``, ``at``, ``reasons``, ``slos``) before the way is taken:

    ==========  ==========================================================================================================
    outcome     way
    ==========  ==========================================================================================================
    allowed     ``follow_task_ids_if_allowed``
    warning     ``if_warning``; without it, as if allowed: a warning blocks nothing by itself
    frozen      ``if_escalated``, where it is given and the policy's action is ``escalate``; else ``if_frozen``; without it,
                everything downstream is skipped
    unknown     ``if_unknown``; without it, the task fails
    ==========  ==========================================================================================================

    What is not known never opens the gate, unless a policy document says so in writing (``onNoData``, ``onError``):

    - A fault that may pass (a timeout, a 503, a locked database) fails the try, so that Airflow's ``retries`` apply. On the last
      try the way is ``if_unknown``, where it is given. Each try records what it found in place of the one before it.
    - No data, NaN and answers that make no sense take ``if_unknown`` without a retry.
    - Faults of a document, a query that the server refuses, wrong credentials: the task fails at once, whatever ``if_unknown``
      says. They need whoever wrote the document, not a person who approves.
    - A budget that was frozen and cannot be measured since stays frozen; the two lines about faults apply to it as well.
    - When the decision cannot be written into the ledger, the task fails.

    A branch leads to tasks directly downstream, or to task groups that begin there. What the chosen one does not lead to is
    skipped, however far downstream; where branches join, use ``trigger_rule="none_failed_min_one_success"``. Asset events leave
    the task (``outlets``) only where it follows ``follow_task_ids_if_allowed`` because the deployment is allowed.

    The operator may be mapped, and may be in a task group that is mapped over a list in the DAG file. A task outside of that
    group runs only where no instance blocks it. In a group that is mapped over an XCom it is refused: use
    :class:`ErrorBudgetGateOperator` there.

    .. code-block:: python

        gate = ErrorBudgetBranchOperator(
            task_id="gate",
            slos="/opt/slos/checkout.yaml",
            follow_task_ids_if_allowed="promote",
            if_warning="ask_a_person",
            if_frozen="hold",
            retries=3,
        )
        gate >> [promote, ask_a_person, hold]

    :param slos: SLO documents: a path (a relative one: beside the DAG file), a URI, the text itself, or a list. Templated;
        a text (anything with a line break) is taken as it is, because ``{{.window}}`` belongs to the query in it. (templated)
    :param select: names of the SLOs to look at, or a function that says for each SLO whether it is wanted; all by default.
        (templated)
    :param follow_task_ids_if_allowed: task or task-group ids to follow when the deployment is allowed
    :param if_warning: ids to follow when the budget is low or burns too fast
    :param if_frozen: ids to follow when the policy stops deployments
    :param if_escalated: ids to follow when it stops them and asks for a person (action ``escalate``)
    :param if_unknown: ids to follow when nothing is known about the budget
    :param at: the instant to evaluate: an aware datetime, or ISO 8601 text with a zone. By default now; in a run of a backfill
        the end of its data interval. (templated)
    :param may_run_when_blocked: ids of tasks and task groups downstream that may run, as their trigger rules say, although no
        branch leads to them, e.g. a notification
    :raises ValueError: when the DAG is read: for a branch that leads elsewhere than directly downstream, for an ``if_frozen``
        that leads to what only an allowed deployment may run, for an ``if_unknown`` or ``if_escalated`` that names it (one that
        asks somebody may come before it), and for a task downstream whose trigger rule would let it run
        although the gate failed or skipped what is before it
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
        self.if_warning = if_warning
        self.if_frozen = if_frozen
        self.if_unknown = if_unknown
        self.if_escalated = if_escalated
        if not follow_task_ids_if_allowed:
            raise ValueError(f"{self.task_id}: follow_task_ids_if_allowed names no task: an allowed deployment would go nowhere")
        for name, ids in self.branches_of(self).items():
            wrong = [one for one in each(ids) if not isinstance(one, str) or not one]
            if wrong:
                raise ValueError(f"{self.task_id}: {name} holds {wrong[0]!r}; write the id of a task or a task group")

    @classmethod
    def check_dag(cls, task: Any) -> None:
        """Check also that no freeze leads to what only an allowed deployment may run, and nothing unknown directly."""
        super().check_dag(task)
        ways = dict(cls.branches_of(task))
        others = {name: ways[name] for name in ("if_unknown", "if_escalated") if name in ways}
        check_blocked_ways(task, ways.get("follow_task_ids_if_allowed", ()), ways.get("if_frozen"), others)

    @classmethod
    def only_when_allowed(cls, task: Any) -> Collection[str]:
        """Return what is followed when the deployment is allowed, and what no other way leads to behind it."""
        ways = dict(cls.branches_of(task))
        return only_behind(task, ways.pop("follow_task_ids_if_allowed", ()), ways.values())

    def choose_branch(self, context: Context) -> str | Iterable[str] | None:
        """Evaluate the SLOs and say which way to go; None for no way at all."""
        from airflow_slo_provider.runtime.error_budget.decision import raise_unless_acceptable
        from airflow_slo_provider.slo.budget.reports import Outcome
        from airflow_slo_provider.slo.policy.error_budget_policy import Action

        decision = self._decide(context)
        warned = decision.outcome is Outcome.WARNING
        if warned and self.if_warning is not None:
            return self.if_warning
        if warned or decision.outcome is Outcome.ALLOWED:
            release_events(self)
            return self.follow_task_ids_if_allowed
        frozen = decision.outcome is Outcome.FROZEN
        raise_unless_acceptable(decision, context, acceptable=frozen or self.if_unknown is not None)
        if frozen:
            escalated = decision.action is Action.ESCALATE and self.if_escalated is not None
            return self.if_escalated if escalated else self.if_frozen
        return self.if_unknown


class ErrorBudgetGateOperator(_ErrorBudgetOperator, BlockingOperator):
    """Evaluates SLOs and stops what is downstream while the error budget does not allow it: a short circuit.

    ==========  ==========================================================================================================
    outcome     what happens
    ==========  ==========================================================================================================
    allowed     the DAG goes on
    warning     the DAG goes on; the log and XCom say what is wrong
    frozen      everything downstream is skipped (see ``ignore_downstream_trigger_rules``)
    unknown     the task fails, so that nothing downstream runs; a fault that may pass is retried first
    ==========  ==========================================================================================================

    All else is as in :class:`ErrorBudgetBranchOperator`. Where a frozen or an unknown budget has a branch of its own, use that
    one.

    A mapped gate, or one in a mapped task group, that is frozen is skipped itself, and Airflow skips what is downstream of it: in
    its group what has the same map index, outside of the group everything. Where a task behind it has another trigger rule than
    ``all_success`` and would run after a skip, the gate fails in place of that.

    .. code-block:: python

        ErrorBudgetGateOperator(task_id="gate", slos="/opt/slos", select="checkout-availability") >> deploy

    :param slos: SLO documents: a path (a relative one: beside the DAG file), a URI, the text itself, or a list. (templated)
    :param select: names of the SLOs to look at, or a function that chooses them; all by default. (templated)
    :param at: the instant to evaluate; by default now, and in a run of a backfill the end of its data interval. (templated)
    :param ignore_downstream_trigger_rules: as in ``ShortCircuitOperator``: True skips everything downstream, whatever its trigger
        rules say; False skips the direct downstream tasks and lets the trigger rules of all others speak
    :param may_run_when_blocked: ids of tasks and task groups downstream that may run, as their trigger rules say, although the
        budget does not allow it, e.g. a notification
    :raises ValueError: when the DAG is read, for a task downstream whose trigger rule would let it run although the gate blocks
        it
    """

    def __init__(self, *, ignore_downstream_trigger_rules: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ignore_downstream_trigger_rules = ignore_downstream_trigger_rules

    @classmethod
    def blockable(cls, task: Any) -> Iterable[Any]:
        """Return everything downstream, or what is directly downstream and no more."""
        if argument(task, "ignore_downstream_trigger_rules", default=True):
            return super().blockable(task)
        return [one for one in task.downstream_list if not one.is_teardown]

    @classmethod
    def only_when_allowed(cls, task: Any) -> Collection[str]:
        """Return everything that the gate may have to block."""
        return {one.task_id for one in cls.blockable(task)}

    def execute(self, context: Context) -> bool:
        """Evaluate the SLOs; return True when the DAG goes on."""
        from airflow_slo_provider.runtime.error_budget.decision import raise_unless_acceptable
        from airflow_slo_provider.slo.budget.reports import Outcome

        self.check_dag_again()
        withhold_events(self)
        decision = self._decide(context)
        if decision.allowed:
            release_events(self)
            return True
        raise_unless_acceptable(decision, context, acceptable=decision.outcome is Outcome.FROZEN)
        exempt = self.exempt()
        tasks = [one for one in self.blockable(self) if one.task_id not in exempt]
        block(context, tasks, reason=f"the error budget is frozen: {'; '.join(decision.reasons)}")
        return False
