"""Waiting for an error budget to recover."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseSensorOperator, conf

from airflow_slo_provider.operators.blocking_operator import BlockingOperator
from airflow_slo_provider.operators.document_parameters import DocumentFields
from airflow_slo_provider.runtime.deferral import SHORTEST, BoundedDeferral
from airflow_slo_provider.runtime.gates.dag_checks import HOLD_AFTER_A_FAILURE, HOLD_AFTER_A_SKIP, argument
from airflow_slo_provider.runtime.required_parameters import given, require

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_slo_provider.slo.budget.reports import Decision

#: How much later than the sensor's own timeout Airflow gives up on a trigger that never came back.
_GRACE = timedelta(minutes=1)


class ErrorBudgetSensor(BoundedDeferral, DocumentFields, BlockingOperator, BaseSensorOperator):
    """Waits until the error budget has recovered: until its policy would let a deployment through.

    Each look evaluates the SLOs as :class:`.ErrorBudgetBranchOperator` does, logs the table, records it and pushes the XCom
    ``decision``. The outcomes ``allowed`` and ``warning`` end the waiting; ``min_remaining`` asks for more than that. While the
    budget is frozen or unknown (no data, a server that does not answer) the sensor waits, at most for ``timeout``. Faults of a
    document, a query that is refused and wrong credentials fail at once: no waiting mends them.

    With ``deferrable=True`` no worker is used between two looks, and neither a restart of the triggerer nor one of the scheduler
    loses the sensor or its timeout, which counts from the try's first look. No deferral is shorter than ten seconds, the last one
    before the timeout included: sooner, Airflow may not know yet that the worker has left. ``execution_timeout`` counts from the
    start of the try, too: Airflow's own does not run while a task is deferred.

    In a run of a backfill the end of the data interval is looked at, and in a partitioned run the start of its partition, once: a
    past budget does not recover, so one that does not allow it fails at once (or skips, with ``soft_fail``).

    .. code-block:: python

        ErrorBudgetSensor(
            task_id="wait_for_budget",
            slos="/opt/slos/checkout.yaml",
            min_remaining="0.1",
            poke_interval=timedelta(minutes=10),
            timeout=timedelta(days=2),
            deferrable=True,
        )

    :param slos: SLO documents: a path (a relative one: beside the DAG file), a URI, the text itself, or a list. (templated)
    :param select: names of the SLOs to look at, or a function that chooses them; all by default. (templated)
    :param min_remaining: share of each budget that must be left, besides an outcome that allows; from 0 to 1, as text where it
        has to be exact: ``"0.1"``. Informational SLOs do not count.
    :param deferrable: wait in the triggerer; by default what ``[operators] default_deferrable`` says
    :param may_run_when_blocked: ids of tasks and task groups downstream that may run, as their trigger rules say, although the
        budget has not recovered
    :raises ValueError: when the DAG is read, for a share that is none, and for a task downstream whose trigger rule would let it
        run although the sensor failed or, with ``soft_fail`` or ``never_fail``, was skipped

    ``poke_interval``, ``timeout``, ``mode``, ``soft_fail``, ``silent_fail``, ``never_fail``, ``exponential_backoff`` and
    ``max_wait`` are those of every Airflow sensor.
    """

    #: It leaves the XCom ``decision``, which ``gate=`` of what acts takes.
    leaves_decision: ClassVar[bool] = True

    def __init__(
        self,
        *,
        min_remaining: str | float | Decimal | Fraction | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.min_remaining = min_remaining
        self.deferrable = deferrable
        self._given |= given(self, "min_remaining")
        _share(min_remaining)

    @classmethod
    def trigger_rules(cls, task: Any) -> frozenset[str]:
        """Return the trigger rules that hold: fewer where the sensor may skip itself."""
        skips = argument(task, "soft_fail") or argument(task, "never_fail")
        return HOLD_AFTER_A_SKIP if skips else HOLD_AFTER_A_FAILURE

    def execute(self, context: Context) -> Any:
        """Look until the budget has recovered."""
        self.check_dag_again()
        if not self.deferrable:
            return super().execute(context)
        return self.look_again(context, looks=0)

    def poke(self, context: Context) -> bool:
        """Look once; return whether the budget has recovered."""
        from airflow.sdk.exceptions import AirflowFailException

        from airflow_slo_provider.runtime.error_budget.decision import evaluate_gate, raise_for_wrong_questions
        from airflow_slo_provider.runtime.evaluation_time import run_instant

        require(self, self._given)
        decision = evaluate_gate(
            context,
            slos=self.slos,
            select=self.select,
            log=self.log,
            remember_own=True,
            satisfied=lambda decision: not self._missing(decision),
        )
        if not decision.allowed:
            raise_for_wrong_questions(decision)
        missing = self._missing(decision)
        if not missing:
            return True
        moment = run_instant(None, context).at
        if moment is not None:
            raise AirflowFailException(f"{missing}: at {moment.isoformat()}, and the past does not recover")
        self.log.info("Waiting: %s", missing)
        return False

    def look_again(self, context: Context, event: Any = None, looks: int = 0) -> None:
        """Look, and defer until the next look unless the budget has recovered.

        :param event: what the trigger said: that time has passed
        :param looks: how often this try has looked before
        """
        from airflow.sdk.exceptions import AirflowSensorTimeout, AirflowSkipException

        if self._look(context):
            self.log.info("The error budget has recovered.")
            return
        now = datetime.now(UTC)
        started = context["ti"].start_date
        waited = (now - started).total_seconds()
        left = self.timeout - waited
        if left <= 0:
            message = f"the error budget has not recovered within {self.timeout:g} s"
            raise AirflowSkipException(message) if self.soft_fail else AirflowSensorTimeout(message)
        pause = max(min(self._get_next_poke_interval(started, lambda: waited, looks + 1), left), SHORTEST.total_seconds())
        from airflow.providers.standard.triggers.temporal import DateTimeTrigger

        self.defer(
            trigger=DateTimeTrigger(moment=now + timedelta(seconds=pause)),
            method_name="look_again",
            kwargs={"looks": looks + 1},
            timeout=timedelta(seconds=left) + _GRACE,
        )

    def _look(self, context: Context) -> bool:
        """Poke, failing in the ways that ``BaseSensorOperator.execute`` gives a poke."""
        from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

        try:
            return self.poke(context)
        except AirflowSkipException:
            raise
        except AirflowFailException as error:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(str(error)) from error
            raise
        except Exception as error:
            if self.silent_fail:
                self.log.exception("The look failed; waiting for the next one")
                return False
            if self.never_fail:
                raise AirflowSkipException(str(error)) from error
            raise

    def _missing(self, decision: Decision) -> str:
        """Say what is missing for the waiting to end; nothing when nothing is."""
        from airflow_slo_provider.core.exact_numbers import percent

        if not decision.allowed:
            return f"the decision is {decision.outcome}: {'; '.join(decision.reasons)}"
        least = _share(self.min_remaining)
        if least is None:
            return ""
        for one in decision.slos:
            left = one.report.remaining
            if one.gates and (left is None or left < least):
                said = "nothing is known of its budget" if left is None else f"{percent(left)} of its budget is left"
                return f"{one.report.name}: {said}, and {percent(least)} is asked for"
        return ""


def _share(value: str | float | Decimal | Fraction | None) -> Fraction | None:
    if value is None:
        return None
    try:
        share = Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        share = Fraction(-1)
    if not 0 <= share <= 1:
        raise ValueError(f"min_remaining={value!r} is no share of a budget; write a number from 0 to 1")
    return share
