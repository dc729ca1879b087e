"""Sensor that waits for an error budget to recover."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseSensorOperator, conf
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout, AirflowSkipException

from airflow_slo_provider.operators.blocking_operator import BlockingOperator
from airflow_slo_provider.operators.document_parameters import DocumentFields
from airflow_slo_provider.runtime.deferral import MIN_DEFERRAL, BoundedDeferral
from airflow_slo_provider.runtime.gates.dag_checks import HOLD_AFTER_A_FAILURE, HOLD_AFTER_A_SKIP, argument
from airflow_slo_provider.runtime.required_parameters import require, set_in_dag
from airflow_slo_provider.sensors.failure_modes import FINAL, skip_on_failure

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_slo_provider.slo.budget.reports import Decision

#: Airflow's timeout of the deferral is this much longer than the sensor's own, which then applies first.
_GRACE = timedelta(minutes=1)


class ErrorBudgetSensor(BoundedDeferral, DocumentFields, BlockingOperator, BaseSensorOperator):
    """Wait until the error budget has recovered, so that its policy allows a deployment.

    Each poke evaluates the SLOs as :class:`.ErrorBudgetBranchOperator` does, logs the table, records the decision and pushes it
    to XCom as ``decision``. The outcomes ``allowed`` and ``warning`` end the wait, unless ``min_remaining`` requires more.
    While the budget is frozen or unknown (no data, a server that does not answer) the sensor waits, at most for ``timeout``.
    Errors in a document, a refused query and wrong credentials fail at once, because waiting does not fix them.

    With ``deferrable=True`` no worker slot is used between two pokes, and the sensor and its timeout survive restarts of the
    triggerer and the scheduler. The timeout counts from the first poke of the try. No deferral is shorter than ten seconds,
    including the last one before the timeout, because Airflow may not have noticed earlier that the worker process ended.
    ``execution_timeout`` also counts from the start of the try; Airflow's own timer does not run while a task is deferred.

    A backfill run evaluates the end of its data interval, and a partitioned run the start of its partition. It does so once: a
    past budget cannot recover, so the task fails at once if it does not allow a deployment (or skips, with ``soft_fail``).

    .. code-block:: python

        ErrorBudgetSensor(
            task_id="wait_for_budget",
            slos="/opt/slos/checkout.yaml",
            min_remaining="0.1",
            poke_interval=timedelta(minutes=10),
            timeout=timedelta(days=2),
            deferrable=True,
        )

    :param slos: SLO documents: a path (a relative path starts at the folder of the DAG file), a URI, the text itself, or a
        list. (templated)
    :param select: names of the SLOs to evaluate, or a function that selects them; all by default. (templated)
    :param group: evaluate only the groups with these values of labels, of SLOs with ``airflow-slo/group-by``; all by default.
        (templated)
    :param min_remaining: share of each error budget that must be left in addition to an allowing outcome; from 0 to 1, as text
        for an exact value: ``"0.1"``. Informational SLOs are ignored. None by default: the outcome decides.
    :param deferrable: wait in the triggerer; the default is the option ``[operators] default_deferrable``
    :param may_run_when_blocked: ids of downstream tasks and task groups that may run, by their trigger rules, even if the
        budget has not recovered
    :raises ValueError: when the DAG file is parsed, for a ``min_remaining`` outside 0 to 1, and for a downstream task whose
        trigger rule would let it run although the sensor failed or, with ``soft_fail`` or ``never_fail``, was skipped

    ``poke_interval``, ``timeout``, ``mode``, ``soft_fail``, ``silent_fail``, ``never_fail``, ``exponential_backoff`` and
    ``max_wait`` are those of every Airflow sensor.
    """

    template_fields: Sequence[str] = (*DocumentFields.template_fields, "group")
    #: The sensor pushes the XCom ``decision``, so it may be the ``gate=`` of an operator that changes something.
    leaves_decision: ClassVar[bool] = True

    def __init__(
        self,
        *,
        group: Mapping[str, str] | None = None,
        min_remaining: str | float | Decimal | Fraction | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.group = group
        self.min_remaining = min_remaining
        self.deferrable = deferrable
        self._set_in_dag |= set_in_dag(self, "group", "min_remaining")
        _read_share(min_remaining)

    @classmethod
    def trigger_rules(cls, task: Any) -> frozenset[str]:
        """Return the trigger rules under which a downstream task stays blocked: fewer if the sensor may be skipped.

        :param task: the task, mapped or not
        """
        skips = argument(task, "soft_fail") or argument(task, "never_fail")
        return HOLD_AFTER_A_SKIP if skips else HOLD_AFTER_A_FAILURE

    def execute(self, context: Context) -> Any:
        """Poke until the error budget has recovered.

        :param context: Airflow's task context
        """
        self.recheck_dag()
        if not self.deferrable:
            return super().execute(context)
        return self.recheck(context, looks=0)

    def poke(self, context: Context) -> bool:
        """Evaluate the SLOs once; return whether the budget has recovered.

        :param context: Airflow's task context
        :raises AirflowFailException: for errors that waiting does not fix, and for a past budget that does not allow a
            deployment
        """
        from airflow_slo_provider.runtime.error_budget.decision import evaluate_gate, raise_for_request_errors
        from airflow_slo_provider.runtime.evaluation_time import evaluation_time

        require(self, self._set_in_dag)
        decision = evaluate_gate(
            context,
            slos=self.slos,
            select=self.select,
            group=self.group,
            log=self.log,
            include_own=True,
            satisfied=lambda decision: not self._unmet(decision),
        )
        if not decision.allowed:
            raise_for_request_errors(decision)
        unmet = self._unmet(decision)
        if not unmet:
            return True
        past = evaluation_time(None, context).at
        if past is not None:
            raise AirflowFailException(f"{unmet}: at {past.isoformat()}, and a past budget cannot recover")
        self.log.info("Waiting: %s", unmet)
        return False

    def recheck(self, context: Context, event: Any = None, looks: int = 0) -> None:
        """Evaluate the SLOs, and defer until the next poke unless the budget has recovered.

        :param context: Airflow's task context
        :param event: event of the trigger; not used, because it only reports that the time has passed
        :param looks: number of earlier pokes of this try
        :raises AirflowSensorTimeout: after ``timeout``; with ``soft_fail`` the task is skipped instead
        """
        from airflow.providers.standard.triggers.temporal import DateTimeTrigger

        if self._recovered(context):
            self.log.info("The error budget has recovered.")
            return
        now, started = datetime.now(UTC), context["ti"].start_date
        waited = (now - started).total_seconds()
        left = self.timeout - waited
        if left <= 0:
            message = f"the error budget has not recovered within {self.timeout:g} s"
            raise AirflowSkipException(message) if self.soft_fail else AirflowSensorTimeout(message)
        pause = max(min(self._get_next_poke_interval(started, lambda: waited, looks + 1), left), MIN_DEFERRAL.total_seconds())
        self.defer(
            trigger=DateTimeTrigger(moment=now + timedelta(seconds=pause)),
            method_name="recheck",
            kwargs={"looks": looks + 1},
            timeout=timedelta(seconds=left) + _GRACE,
        )

    def _recovered(self, context: Context) -> bool:
        """Poke, and convert exceptions as ``BaseSensorOperator.execute`` does."""
        with skip_on_failure(self):
            try:
                return self.poke(context)
            except FINAL:
                raise
            except Exception:
                if not self.silent_fail:
                    raise
                self.log.exception("The poke failed; waiting for the next one")
                return False

    def _unmet(self, decision: Decision) -> str:
        """Return why the sensor must go on waiting; empty if the budget has recovered."""
        from airflow_slo_provider.core.exact_numbers import percent
        from airflow_slo_provider.slo.budget.reports import report_titles

        if not decision.allowed:
            return f"the decision is {decision.outcome}: {'; '.join(decision.reasons)}"
        required = _read_share(self.min_remaining)
        if required is None:
            return ""
        for slo, title in zip(decision.slos, report_titles(decision.reports), strict=True):
            left = slo.report.remaining
            if slo.gates and (left is None or left < required):
                found = "its budget is unknown" if left is None else f"{percent(left)} of its budget is left"
                return f"{title}: {found}, and {percent(required)} is required"
        return ""


def _read_share(value: str | float | Decimal | Fraction | None) -> Fraction | None:
    if value is None:
        return None
    try:
        share = Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        share = Fraction(-1)
    if not 0 <= share <= 1:
        raise ValueError(f"min_remaining={value!r} is no share of a budget; write a number from 0 to 1")
    return share
