"""What operators share that keep tasks downstream of them from running. They skip nothing by themselves: see `runtime.gates`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseBranchOperator, BaseOperator, SkipMixin
from airflow.sdk.definitions.mappedoperator import OperatorPartial

from airflow_slo_provider.runtime.gates import dag_checks as checks
from airflow_slo_provider.runtime.gates.blocked_tasks import downstream_of, follow_only, withhold_events
from airflow_slo_provider.runtime.gates.dag_checks import TaskIds
from airflow_slo_provider.runtime.gates.task_guards import guard_tasks
from airflow_slo_provider.runtime.recording.checks import failing_over_values

if TYPE_CHECKING:
    from airflow.sdk import Context


class _CheckedPartial(OperatorPartial):
    """Makes mapped operators that are checked with their DAG, as those that are not mapped are."""

    def _expand(self, expand_input: Any, *, strict: bool) -> Any:
        mapped: Any = super()._expand(expand_input, strict=strict)
        # Airflow calls this for each task of a DAG that it has read; a mapped one does not ask its operator's class.
        mapped.resolve_template_files = partial(self.operator_class.prepare_dag, mapped)  # type: ignore[attr-defined]
        return mapped


class BlockingOperator(BaseOperator, SkipMixin):
    """An operator that keeps tasks downstream of it from running.

    :param may_run_when_blocked: ids of tasks and task groups downstream that may run, as their trigger rules say, although this
        task blocks: a notification, a report
    :raises ValueError: when the DAG is read, for a task downstream whose trigger rule would let it run
    """

    inherits_from_skipmixin = True

    def __init__(self, *, may_run_when_blocked: TaskIds = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.may_run_when_blocked = may_run_when_blocked

    @classmethod
    def partial(cls, **kwargs: Any) -> OperatorPartial:
        """Prepare a mapped operator whose DAG is checked as well."""
        made = super().partial(**kwargs)
        made._expand_called = True  # this one is replaced, and not forgotten
        return _CheckedPartial(operator_class=made.operator_class, kwargs=made.kwargs, params=made.params)

    def resolve_template_files(self) -> None:
        """Check the DAG as well: Airflow calls this once it has read the DAG's file."""
        super().resolve_template_files()
        self.prepare_dag(self)

    @classmethod
    def prepare_dag(cls, task: Any) -> None:
        """Check the DAG, and let tasks look whether they are blocked where Airflow would forget it.

        :param task: the task, mapped or not
        :raises ValueError: for what :meth:`check_dag` refuses
        """
        cls.check_dag(task)
        exempt = checks.exempt_tasks(task, checks.argument(task, "may_run_when_blocked"))
        tasks = [one for one in cls.blockable(task) if one.task_id not in exempt]
        guard_tasks(task, tasks, cls.only_when_allowed(task), branches=issubclass(cls, BaseBranchOperator))

    @classmethod
    def check_dag(cls, task: Any) -> None:
        """Check that what the task blocks does not run.

        :param task: the task, mapped or not
        :raises ValueError: naming what would run, and the remedy
        """
        exempt = checks.exempt_tasks(task, checks.argument(task, "may_run_when_blocked"))
        checks.check_trigger_rules(task, cls.blockable(task), exempt, hold=cls.trigger_rules(task))

    @classmethod
    def blockable(cls, task: Any) -> Iterable[Any]:
        """Return the tasks that the task may have to block."""
        return downstream_of(task)

    @classmethod
    def only_when_allowed(cls, task: Any) -> Collection[str]:
        """Return the ids of the tasks that run only where this one has decided and let them go; none by default."""
        return ()

    @classmethod
    def trigger_rules(cls, task: Any) -> frozenset[str]:
        """Return the trigger rules of tasks downstream that hold when the task blocks."""
        return checks.HOLD_AFTER_A_FAILURE

    def exempt(self) -> set[str]:
        """Return the ids of the tasks that may run although this one blocks."""
        return checks.exempt_tasks(self, self.may_run_when_blocked)

    def check_dag_again(self) -> None:
        """Check before anything is measured: a DAG need not have been read by a DAG processor.

        :raises AirflowFailException: for what :meth:`check_dag` refuses
        """
        with failing_over_values():
            self.check_dag(self)


class BlockingBranchOperator(BlockingOperator, BaseBranchOperator):
    """A branch: follows some of the tasks directly downstream and blocks everything that they do not lead to.

    A subclass calls ``release_events`` of :mod:`airflow_slo_provider.runtime.gates.blocked_tasks` in ``choose_branch`` when the
    outcome is a pass: no event of its outlets leaves otherwise.
    """

    #: The parameters that hold ids of tasks and task groups to follow.
    branch_parameters: tuple[str, ...] = ()

    @classmethod
    def check_dag(cls, task: Any) -> None:
        """Check also that the branches lead to what is directly downstream."""
        checks.check_targets(task, cls.branches_of(task))
        checks.check_mapped_branch(task)
        super().check_dag(task)

    @classmethod
    def branches_of(cls, task: Any) -> Mapping[str, TaskIds]:
        """Return the ids to follow by parameter, of those that are given."""
        found = {name: checks.argument(task, name) for name in cls.branch_parameters}
        return {name: ids for name, ids in found.items() if ids is not None}

    def execute(self, context: Context) -> Any:
        """Check where the branches lead, choose, and block the rest."""
        self.check_dag_again()
        withhold_events(self, keep=self.events_of_any_outcome())
        return self.do_branch(context, self.choose_branch(context))

    def events_of_any_outcome(self) -> Iterable[Any]:
        """Return the outlets whose events tell of any outcome."""
        return ()

    def do_branch(self, context: Context, branches_to_execute: str | Iterable[str] | None) -> str | Iterable[str] | None:
        """Follow these tasks and task groups, and block what they do not lead to."""
        branches = branches_to_execute
        if branches is not None and not isinstance(branches, str):
            branches = list(branches)
        with failing_over_values():
            checks.check_targets(self, {"the chosen branch": branches})
        self.log.info("Following %s", branches or "no branch")
        follow_only(context, checks.expanded(self, branches), self.exempt(), reason=f"{self.task_id} follows no branch")
        return branches
