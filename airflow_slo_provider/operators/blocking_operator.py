"""Base classes of operators that block downstream tasks. The skipping itself is in `runtime.gates`."""

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
from airflow_slo_provider.runtime.recording.checks import non_retryable_value_errors

if TYPE_CHECKING:
    from airflow.sdk import Context


class _CheckedPartial(OperatorPartial):
    """Create mapped operators that are checked with their DAG, as unmapped operators are."""

    def _expand(self, expand_input: Any, *, strict: bool) -> Any:
        mapped: Any = super()._expand(expand_input, strict=strict)
        # Airflow calls this for each task of a parsed DAG; a mapped operator does not delegate it to the operator class.
        mapped.resolve_template_files = partial(self.operator_class.prepare_dag, mapped)  # type: ignore[attr-defined]
        return mapped


class BlockingOperator(BaseOperator, SkipMixin):
    """Base class of operators that can keep downstream tasks from running.

    :param may_run_when_blocked: ids of downstream tasks and task groups that may run, by their trigger rules, even if this task
        blocks, e.g. a notification or a report; none by default
    :raises ValueError: when the DAG file is parsed, for a downstream task whose trigger rule would let it run
    """

    inherits_from_skipmixin = True

    def __init__(self, *, may_run_when_blocked: TaskIds = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.may_run_when_blocked = may_run_when_blocked

    @classmethod
    def partial(cls, **kwargs: Any) -> OperatorPartial:
        """Prepare a mapped operator whose DAG is checked as well.

        :param kwargs: as of Airflow's ``partial``
        """
        replaced = super().partial(**kwargs)
        replaced._expand_called = True  # avoids Airflow's warning about a partial that is never expanded
        return _CheckedPartial(operator_class=replaced.operator_class, kwargs=replaced.kwargs, params=replaced.params)

    def resolve_template_files(self) -> None:
        """Check the DAG as well. Airflow calls this method after it has parsed the DAG file."""
        super().resolve_template_files()
        self.prepare_dag(self)

    @classmethod
    def prepare_dag(cls, task: Any) -> None:
        """Check the DAG, and install guards in downstream tasks where Airflow would not keep them blocked.

        :param task: the task, mapped or not
        :raises ValueError: see :meth:`check_dag`
        """
        cls.check_dag(task)
        tasks, permitted = cls.tasks_not_exempt(task), cls.tasks_that_need_permission(task)
        guard_tasks(task, tasks, permitted, branches=issubclass(cls, BaseBranchOperator))

    @classmethod
    def check_dag(cls, task: Any) -> None:
        """Check that no task that this one blocks would run.

        :param task: the task, mapped or not
        :raises ValueError: naming the task that would run, and what to change
        """
        exempt = checks.exempt_tasks(task, checks.argument(task, "may_run_when_blocked"))
        checks.check_trigger_rules(task, cls.tasks_to_block(task), exempt, hold=cls.trigger_rules(task))

    @classmethod
    def tasks_to_block(cls, task: Any) -> Iterable[Any]:
        """Return the tasks that this task may have to block.

        :param task: the task, mapped or not
        """
        return downstream_of(task)

    @classmethod
    def tasks_not_exempt(cls, task: Any) -> list[Any]:
        """Return the tasks that this task may have to block, without those in ``may_run_when_blocked``.

        :param task: the task, mapped or not
        """
        exempt = checks.exempt_tasks(task, checks.argument(task, "may_run_when_blocked"))
        return [blocked for blocked in cls.tasks_to_block(task) if blocked.task_id not in exempt]

    @classmethod
    def tasks_that_need_permission(cls, task: Any) -> Collection[str]:
        """Return the ids of tasks that may run only after this task has decided and allowed them; none by default.

        :param task: the task, mapped or not
        """
        return ()

    @classmethod
    def trigger_rules(cls, task: Any) -> frozenset[str]:
        """Return the trigger rules under which a downstream task does not run if this task blocks.

        :param task: the task, mapped or not
        """
        return checks.HOLD_AFTER_A_FAILURE

    def exempt_tasks(self) -> set[str]:
        """Return the ids of the tasks that may run even if this task blocks."""
        return checks.exempt_tasks(self, self.may_run_when_blocked)

    def recheck_dag(self) -> None:
        """Check the DAG before anything is measured, because a DAG that runs in a test is not parsed by a DAG processor.

        :raises AirflowFailException: for what :meth:`check_dag` rejects
        """
        with non_retryable_value_errors():
            self.check_dag(self)


class BlockingBranchOperator(BlockingOperator, BaseBranchOperator):
    """Base class of branches: follow some of the direct downstream tasks and block everything that they do not lead to.

    A subclass calls ``release_events`` of :mod:`airflow_slo_provider.runtime.gates.blocked_tasks` in ``choose_branch`` if the
    outcome is a pass. Otherwise the asset events of its outlets are withheld.
    """

    #: The parameters that hold ids of tasks and task groups to follow.
    branch_parameters: tuple[str, ...] = ()

    @classmethod
    def check_dag(cls, task: Any) -> None:
        """Check also that the branches lead to direct downstream tasks."""
        checks.check_targets(task, cls.branches_by_parameter(task))
        checks.check_mapped_branch(task)
        super().check_dag(task)

    @classmethod
    def branches_by_parameter(cls, task: Any) -> Mapping[str, TaskIds]:
        """Return the ids to follow by parameter, for the parameters that are set."""
        branches = {name: checks.argument(task, name) for name in cls.branch_parameters}
        return {name: ids for name, ids in branches.items() if ids is not None}

    def execute(self, context: Context) -> Any:
        """Check the branches, choose one, and block the others."""
        self.recheck_dag()
        withhold_events(self, keep=self.events_of_any_outcome())
        return self.do_branch(context, self.choose_branch(context))

    def events_of_any_outcome(self) -> Iterable[Any]:
        """Return the outlets whose events are sent for every outcome."""
        return ()

    def do_branch(self, context: Context, branches_to_execute: str | Iterable[str] | None) -> str | Iterable[str] | None:
        """Follow these tasks and task groups, and block everything that they do not lead to.

        :param context: Airflow's task context
        :param branches_to_execute: ids of tasks and task groups to follow; None follows none
        """
        branches = branches_to_execute
        if branches is not None and not isinstance(branches, str):
            branches = list(branches)
        with non_retryable_value_errors():
            checks.check_targets(self, {"the chosen branch": branches})
        self.log.info("Following %s", branches or "no branch")
        follow_only(context, checks.root_tasks(self, branches), self.exempt_tasks(), reason=f"{self.task_id} follows no branch")
        return branches
