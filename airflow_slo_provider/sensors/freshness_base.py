"""What all freshness sensors do: look, wait on a worker or in the triggerer, give up in time, record."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, PokeReturnValue, conf

from airflow_slo_provider.operators.freshness_parameters import MAY_BE_EMPTY, FreshnessFields
from airflow_slo_provider.runtime.deferral import BoundedDeferral
from airflow_slo_provider.runtime.recording.checks import failing_rightly
from airflow_slo_provider.runtime.required_parameters import require

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_slo_provider.freshness import Assessment

#: What Airflow resumes a task with when its trigger ended without an event [airflow.sdk.bases.operator, TRIGGER_FAIL_REPR].
_FAILED, _TIMED_OUT = "__fail__", "Trigger timeout"
#: How much later than this sensor's own timeout Airflow gives up on a trigger that never came back.
_GRACE = timedelta(minutes=1)


class FreshnessSensor(BoundedDeferral, FreshnessFields, BaseSensorOperator):
    """Waits until something is fresh. Not used itself: see :mod:`airflow_slo_provider.sensors.freshness`.

    Each look is logged (what, how old, the limit, from where) and recorded in the ledger as a check of kind ``freshness``: the
    last look of a task instance is the one that stays. What is not known is not fresh, so the sensor goes on waiting; a
    timestamp in the future is a ``clock_skew`` failure at once, as is a source that does not exist. The check is returned as
    XCom.

    :param max_age: the oldest that is accepted
    :param warn_age: the oldest that is accepted without a warning
    :param quantile: the share of the groups that must be fresh, where there are groups; all by default
    :param clock_tolerance: how far a timestamp may lie in the future
    :param conn_id: the connection, see the sensor. (templated)
    :param name: name of the check in the ledger; made of the source by default, e.g. ``dag:orders``, ``table:features``,
        ``model:churn@champion``, and for a query of DAG and task. (templated)
    :param deferrable: wait in the triggerer; by default what ``[operators] default_deferrable`` says. The Airflow API, MLflow,
        Feast and Prometheus are asked there; assets, databases, files and Kubernetes are asked by a worker that starts for it
    :raises ValueError: when the DAG is read, for limits or a combination of parameters that cannot be meant

    ``poke_interval``, ``timeout``, ``mode``, ``soft_fail``, ``silent_fail`` and ``never_fail`` are those of every Airflow sensor;
    ``exponential_backoff`` counts for sensors that do not defer.
    ``timeout`` counts from the first look of the first try: a deferral or a retry does not start it anew, clearing the task does.
    ``execution_timeout`` counts from the start of each try, deferred or not.
    """

    def __init__(
        self, *, deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False), **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.deferrable = deferrable

    def execute(self, context: Context) -> Any:
        """Look until it is fresh."""
        if not self.deferrable:
            return super().execute(context)
        with self._failing_as_asked():
            return self.look_again(context)

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once; give up when the timeout is over."""
        began = self._began(context)
        found = self._look(context, began)
        if not found.freshness.fresh:
            self._give_up_in_time(began, found.message)
        return PokeReturnValue(found.freshness.fresh, found.result(self.check_name()).to_dict())

    def look_again(self, context: Context, event: Any = None) -> Any:
        """Look, and defer unless it is fresh.

        :param event: what the trigger said. It only wakes this task up: what counts is what is found now
        """
        began = self._began(context)
        try:
            found = self._look(context, began)
        except Exception as error:
            if not self.silent_fail or not _may_pass(error):
                raise
            self.log.exception("The look failed; waiting for the next one")
            self._give_up_in_time(began, str(error))
        else:
            if found.freshness.fresh:
                return found.result(self.check_name()).to_dict()
            self._give_up_in_time(began, found.message)
        self._defer(began)
        return None

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Look a last time when Airflow ends the deferral for its timeout: the ledger learns how it ended."""
        if next_method == _FAILED and (next_kwargs or {}).get("error") == _TIMED_OUT:
            next_method, next_kwargs = "look_again", {}
        return super().resume_execution(next_method, next_kwargs, context)

    def _look(self, context: Context, began: datetime) -> Assessment:
        from airflow.sdk.exceptions import AirflowFailException

        from airflow_slo_provider.freshness import Reason
        from airflow_slo_provider.runtime.freshness.checks import measure

        evidence = {"waiting_since": began.isoformat(), "first_try": _first_try(self, context)}
        require(self, self._given, may_be_empty=MAY_BE_EMPTY)
        with failing_rightly():
            found = measure(
                self.question(), self.limits(), name=self.check_name(), context=context, log=self.log, evidence=evidence
            )
        if found.freshness.reason is Reason.CLOCK_SKEW:
            raise AirflowFailException(found.message)
        return found

    def _began(self, context: Context) -> datetime:
        """When this task instance began to wait: its first look of its first try, which the ledger remembers."""
        from airflow_slo_provider.ledger.observations import REPEATED
        from airflow_slo_provider.runtime.recording.ledger_connection import open_default_ledger, run_key

        with failing_rightly(), open_default_ledger() as ledger:
            looks = [ledger.own(kind, self.check_name(), run_key(context)) for kind in ("freshness", f"freshness{REPEATED}")]
        own = [one.result.evidence for one in looks if one is not None]
        since = [one["waiting_since"] for one in own if one.get("first_try") == _first_try(self, context)]
        return min(map(datetime.fromisoformat, since), default=datetime.now(UTC))

    def _left(self, began: datetime) -> timedelta:
        return began + timedelta(seconds=self.timeout) - datetime.now(UTC)

    def _give_up_in_time(self, began: datetime, message: str) -> None:
        from airflow.sdk.exceptions import AirflowSensorTimeout

        if self._left(began) <= timedelta(0):
            raise AirflowSensorTimeout(f"not fresh within {self.timeout:g} s: {message}")

    def _defer(self, began: datetime) -> None:
        from airflow_slo_provider.triggers.freshness import trigger_for

        left = self._left(began)
        trigger = trigger_for(self.question(), self.limits(), timedelta(seconds=self.poke_interval), left)
        self.defer(trigger=trigger, method_name="look_again", timeout=max(left, timedelta(0)) + _GRACE)

    @contextmanager
    def _failing_as_asked(self) -> Iterator[None]:
        """Skip where ``soft_fail`` or ``never_fail`` ask for it, as ``BaseSensorOperator.execute`` does for a poke."""
        from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout, AirflowSkipException

        try:
            yield
        except AirflowSkipException:
            raise
        except (AirflowFailException, AirflowSensorTimeout) as error:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(str(error)) from error
            raise
        except Exception as error:
            if self.never_fail:
                raise AirflowSkipException(str(error)) from error
            raise


def _may_pass(error: Exception) -> bool:
    from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout, AirflowSkipException

    return not isinstance(error, AirflowFailException | AirflowSensorTimeout | AirflowSkipException)


def _first_try(operator: BaseSensorOperator, context: Context) -> int:
    """Number of the first try since the task was last cleared [as RuntimeTaskInstance.get_first_reschedule_date]."""
    return int(context["ti"].max_tries) - int(operator.retries or 0) + 1
