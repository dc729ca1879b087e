"""Base class of the freshness sensors: poke, wait on a worker or in the triggerer, time out, and record the result."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, PokeReturnValue, conf
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout

from airflow_slo_provider.operators.freshness_parameters import MAY_BE_EMPTY, FreshnessFields
from airflow_slo_provider.runtime.deferral import BoundedDeferral
from airflow_slo_provider.runtime.recording.checks import non_retryable_errors
from airflow_slo_provider.runtime.required_parameters import require
from airflow_slo_provider.sensors.failure_modes import FINAL, skip_on_failure

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_slo_provider.freshness import Assessment

#: Method and error with which Airflow resumes a task whose trigger ended without an event
#: [airflow.sdk.bases.operator, TRIGGER_FAIL_REPR].
_FAILED, _TIMED_OUT = "__fail__", "Trigger timeout"
#: Airflow's timeout of the deferral is this much longer than the sensor's own, which then applies first.
_GRACE = timedelta(minutes=1)


class FreshnessSensor(BoundedDeferral, FreshnessFields, BaseSensorOperator):
    """Wait until something is fresh. Base class of the sensors in :mod:`airflow_slo_provider.sensors.freshness`.

    Each poke is logged (subject, age, limit, source) and recorded in the ledger as a check of kind ``freshness``; the last poke
    of a task instance replaces the earlier ones. An unknown age is not fresh, so the sensor goes on waiting. A timestamp in the
    future fails at once with reason ``clock_skew``, and so does a source that does not exist. The check is returned as XCom.

    :param max_age: the maximum age
    :param warn_age: the maximum age without a warning; no warning by default
    :param quantile: the share of the groups that must be fresh, if there are groups; all by default
    :param clock_tolerance: how far a timestamp may lie in the future
    :param conn_id: the Airflow connection, see the sensor. (templated)
    :param name: name of the check in the ledger; by default it is made from the source, e.g. ``dag:orders``,
        ``table:features``, ``model:churn@champion``, and for a query from DAG and task id. (templated)
    :param deferrable: wait in the triggerer; the default is the option ``[operators] default_deferrable``. The triggerer itself
        polls the Airflow API, MLflow, Feast and Prometheus; for assets, databases, files and Kubernetes it resumes the task on
        a worker for each poke
    :raises ValueError: when the DAG file is parsed, for invalid limits or an invalid combination of parameters

    ``poke_interval``, ``timeout``, ``mode``, ``soft_fail``, ``silent_fail`` and ``never_fail`` are those of every Airflow
    sensor; ``exponential_backoff`` applies only to sensors that do not defer.

    ``timeout`` counts from the first poke of the first try. A deferral or a retry does not restart it; clearing the task does.
    ``execution_timeout`` counts from the start of each try, deferred or not.
    """

    def __init__(
        self, *, deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False), **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.deferrable = deferrable

    def execute(self, context: Context) -> Any:
        """Poke until the source is fresh.

        :param context: Airflow's task context
        """
        if not self.deferrable:
            return super().execute(context)
        with skip_on_failure(self):
            return self.recheck(context)

    def poke(self, context: Context) -> PokeReturnValue:
        """Measure once; raise an exception if the timeout is over.

        :param context: Airflow's task context
        :raises AirflowFailException: for a timestamp in the future, and for errors that a retry cannot fix
        :raises AirflowSensorTimeout: if the source is not fresh after ``timeout``
        """
        waiting_since = self._waiting_since(context)
        found = self._measure(context, waiting_since)
        if not found.freshness.fresh:
            self._raise_if_timed_out(waiting_since, found.message)
        return PokeReturnValue(found.freshness.fresh, found.result(self.check_name()).to_dict())

    def recheck(self, context: Context, event: Any = None) -> Any:
        """Measure, and defer unless the source is fresh.

        :param context: Airflow's task context
        :param event: event of the trigger; it only resumes the task, which measures again
        :raises AirflowSensorTimeout: if the source is not fresh after ``timeout``
        """
        waiting_since = self._waiting_since(context)
        try:
            found = self._measure(context, waiting_since)
        except FINAL:
            raise
        except Exception as error:
            if not self.silent_fail:
                raise
            self.log.exception("The poke failed; waiting for the next one")
            self._raise_if_timed_out(waiting_since, str(error))
        else:
            if found.freshness.fresh:
                return found.result(self.check_name()).to_dict()
            self._raise_if_timed_out(waiting_since, found.message)
        self._defer(waiting_since)
        return None

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Measure a last time if the deferral timed out, so that the ledger has the final state.

        :param next_method: name of the method to resume with
        :param next_kwargs: its arguments
        :param context: Airflow's task context
        """
        if next_method == _FAILED and (next_kwargs or {}).get("error") == _TIMED_OUT:
            next_method, next_kwargs = "recheck", {}
        return super().resume_execution(next_method, next_kwargs, context)

    def _measure(self, context: Context, waiting_since: datetime) -> Assessment:
        from airflow_slo_provider.freshness import Reason
        from airflow_slo_provider.runtime.freshness.checks import measure

        evidence = {"waiting_since": waiting_since.isoformat(), "first_try": _first_try(self, context)}
        require(self, self._set_in_dag, may_be_empty=MAY_BE_EMPTY)
        with non_retryable_errors():
            found = measure(
                self.question(), self.limits(), name=self.check_name(), context=context, log=self.log, evidence=evidence
            )
        if found.freshness.reason is Reason.CLOCK_SKEW:
            raise AirflowFailException(found.message)
        return found

    def _waiting_since(self, context: Context) -> datetime:
        """Return when this task instance began to wait: the first poke of its first try, read from the ledger."""
        from airflow_slo_provider.ledger.observations import REPEATED
        from airflow_slo_provider.runtime.recording.ledger_connection import open_default_ledger, run_key

        with non_retryable_errors(), open_default_ledger() as ledger:
            pokes = [ledger.own(kind, self.check_name(), run_key(context)) for kind in ("freshness", f"freshness{REPEATED}")]
        evidence = [poke.result.evidence for poke in pokes if poke is not None]
        since = [one["waiting_since"] for one in evidence if one.get("first_try") == _first_try(self, context)]
        return min(map(datetime.fromisoformat, since), default=datetime.now(UTC))

    def _time_left(self, waiting_since: datetime) -> timedelta:
        return waiting_since + timedelta(seconds=self.timeout) - datetime.now(UTC)

    def _raise_if_timed_out(self, waiting_since: datetime, message: str) -> None:
        if self._time_left(waiting_since) <= timedelta(0):
            raise AirflowSensorTimeout(f"not fresh within {self.timeout:g} s: {message}")

    def _defer(self, waiting_since: datetime) -> None:
        from airflow_slo_provider.triggers.freshness import trigger_for

        left = self._time_left(waiting_since)
        trigger = trigger_for(self.question(), self.limits(), timedelta(seconds=self.poke_interval), left)
        self.defer(trigger=trigger, method_name="recheck", timeout=max(left, timedelta(0)) + _GRACE)


def _first_try(operator: BaseSensorOperator, context: Context) -> int:
    """Return the number of the first try since the task was last cleared [as RuntimeTaskInstance.get_first_reschedule_date]."""
    return int(context["ti"].max_tries) - int(operator.retries or 0) + 1
