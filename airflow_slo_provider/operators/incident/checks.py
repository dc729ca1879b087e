"""Built-in checks of playbooks: measure the burn rate, find the failing version, wait for recovery."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator

from airflow_slo_provider.operators.document_parameters import RequiredDocuments
from airflow_slo_provider.operators.text_template_fields import TextFields
from airflow_slo_provider.runtime.recording.checks import non_retryable_errors, record, record_unknown_on_error
from airflow_slo_provider.runtime.required_parameters import require, set_in_dag

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_slo_provider.runtime.error_budget.decision import Documents


#: Ratio to the next highest value from which a version stands out. At 1, one of several similar versions would be blamed.
_MIN_RATIO = Fraction(2)


class _SLOCheck(RequiredDocuments):
    """Base class of checks of one SLO.

    :param slos: SLO documents: a path (a relative path starts at the folder of the DAG file), a URI, the text itself, or a
        list. (templated)
    :param slo: name of the SLO, ``service/name`` if services share it; by default that of the incident. (templated)
    """

    template_fields: Sequence[str] = ("slos", "slo")
    text_fields = frozenset({"slo"})

    def __init__(self, *, slos: Documents, slo: str | None = None, **kwargs: Any) -> None:
        super().__init__(slos=slos, **kwargs)
        self.slo = slo
        self._set_in_dag |= set_in_dag(self, "slo")

    def subject(self, context: Any) -> str:
        """Return the name of the SLO.

        :param context: Airflow's task context
        :raises AirflowFailException: if neither the task nor the incident names one
        """
        from airflow.sdk.exceptions import AirflowFailException

        from airflow_slo_provider.runtime.incidents.current_incident import current_incident

        require(self, self._set_in_dag)
        name = self.slo or current_incident(context).slo
        if not name:
            raise AirflowFailException("neither the incident nor this task names an SLO; set slo=")
        return name


class BurningCheckOperator(_SLOCheck):
    """Measure the current burn rates of an SLO as evidence. The task fails only if they cannot be measured.

    :param slos: SLO documents. (templated)
    :param slo: name of the SLO, ``service/name`` if services share it; by default that of the incident. (templated)
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Measure the SLO and return its burn rates and budget.

        :param context: Airflow's task context
        """
        from airflow_slo_provider.runtime.incidents.measurements import measure_now

        with non_retryable_errors():
            name = self.subject(context)  # also makes relative paths absolute
            found = measure_now(self.slos, name)
        for line in found["table"].splitlines():
            self.log.info("%s", line)
        return {key: value for key, value in found.items() if key != "table"}


class CulpritOperator(TextFields):
    """Find the model version that causes the failures: the label value whose number is at least twice the next highest.

    The numbers are the result of the Prometheus query ``query``, or the shares of failed events per model version in the
    ledger's checks named ``check``.

    XCom: ``version`` (its name), ``message``, ``values``. If no value stands out, the task is skipped, and with it every step
    that depends on it, because a rollback of an unknown version would be worse than none. A series without the label is
    ignored; two series with the same value of the label fail the task.

    :param query: PromQL of an instant vector with one series for each value of the label ``by``. (templated)
    :param by: name of the label. (templated)
    :param check: instead of a query: name of checks in the ledger with ``good``, ``total`` and ``model_version``. (templated)
    :param within: maximum age of those checks
    :param at_least: smallest value that can stand out; 0 never does
    :param prometheus_conn_id: Airflow connection of the Prometheus server. (templated)
    :raises ValueError: when the DAG file is parsed, for both or neither of ``query`` and ``check``, for ``check`` with another
        label than ``model_version``, and for an ``at_least`` below 0
    """

    template_fields: Sequence[str] = ("query", "by", "check", "prometheus_conn_id")
    text_fields = frozenset({"query", "by", "check", "prometheus_conn_id"})

    def __init__(
        self,
        *,
        query: str | None = None,
        by: str = "model_version",
        check: str | None = None,
        within: timedelta = timedelta(minutes=10),
        at_least: float | str = "0.01",
        prometheus_conn_id: str = "prometheus_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if bool(query) == bool(check):
            raise ValueError(f"{self.task_id}: set either query (PromQL) or check (a name in the ledger)")
        if check and by != "model_version":
            raise ValueError(f"{self.task_id}: the ledger knows model versions only; by={by!r} needs a query")
        self.query, self.by, self.check, self.within = query, by, check, within
        self.at_least = Fraction(str(at_least))
        if self.at_least < 0:
            raise ValueError(f"{self.task_id}: at_least={at_least!r} is negative; write a value below which nothing stands out")
        self.prometheus_conn_id = prometheus_conn_id
        self._set_in_dag = set_in_dag(self, "query", "by", "check", "prometheus_conn_id")

    def execute(self, context: Context) -> dict[str, Any]:
        """Read the numbers, find the version that stands out, and record it.

        :param context: Airflow's task context
        :raises AirflowSkipException: if no value stands out
        """
        from airflow.sdk.exceptions import AirflowSkipException

        from airflow_slo_provider.incidents.culprit import find_outlier
        from airflow_slo_provider.results import CheckResult, Verdict

        require(self, self._set_in_dag)
        unknown = CheckResult(kind="culprit", name=f"{self.dag_id}.{self.task_id}", verdict=Verdict.UNKNOWN)
        with non_retryable_errors():
            with record_unknown_on_error(context, lambda: unknown):  # type: ignore[arg-type]
                found = find_outlier(self._values(), at_least=self.at_least, times=_MIN_RATIO)
            result = {"version": found.name, "by": self.by, "message": found.message, "values": dict(found.values)}
            check = replace(
                unknown,
                verdict=Verdict.WARN if found.name else Verdict.UNKNOWN,
                message=found.message,
                model_version=found.name if self.by == "model_version" else None,
                evidence={**result, "query": self.query or f"ledger: {self.check}"},
            )
            record([check], context)
        self.log.info("By %s: %s", self.by, found.message)
        for key in ("version", "message"):
            context["ti"].xcom_push(key=key, value=result[key])
        if found.name is None:
            raise AirflowSkipException(found.message)
        return result

    def _values(self) -> dict[str, Fraction | None]:
        if self.check:
            from airflow_slo_provider.runtime.incidents.measurements import failing_versions

            return failing_versions(self.check, self.within)
        from airflow_slo_provider.core.redaction import redact_value
        from airflow_slo_provider.exceptions import QueryError
        from airflow_slo_provider.hooks.prometheus import PrometheusHook

        found: dict[str, Fraction | None] = {}
        for sample in PrometheusHook(self.prometheus_conn_id).query(str(self.query)):
            name = sample.labels.get(self.by)
            if not name:
                self.log.warning("A series has no label %s and is left out: %s", self.by, redact_value(dict(sample.labels)))
            elif name in found:
                # The choice between them could decide which version is blamed.
                message = f"several series have {self.by}={name!r}; aggregate by that label, e.g. sum by ({self.by}) (...)"
                raise QueryError(message, reason="bad_query", query=self.query)
            else:
                found[name] = sample.value
        return found


class RecoveredSensor(_SLOCheck, BaseSensorOperator):
    """Wait until the error budget no longer burns too fast; fail if it still does after ``timeout``.

    The SLO has recovered if the burn rate since the last mitigation, over at least ``settle`` and ten events, is at most 1, so
    that the budget lasts for its window. It has also recovered if the short windows of all burn-rate rules are at or below half
    of their factor. Missing data is not a recovery.

    :param slos: SLO documents. (templated)
    :param slo: name of the SLO, ``service/name`` if services share it; by default that of the incident. (templated)
    :param settle: minimum time since the mitigation before its burn rate is used
    :param poke_interval: time between two pokes: 10 s by default
    :param timeout: maximum time to wait: 30 minutes by default; then the task fails

    ``mode`` and all other parameters are those of every Airflow sensor.
    """

    def __init__(
        self,
        *,
        settle: timedelta = timedelta(seconds=30),
        poke_interval: float | timedelta = 10,
        timeout: float | timedelta = 1800,
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, timeout=timeout, **kwargs)
        self.settle = settle

    def poke(self, context: Context) -> Any:
        """Measure once; return whether the SLO has recovered, and the measurement as XCom.

        :param context: Airflow's task context
        """
        from airflow.sdk import PokeReturnValue

        from airflow_slo_provider.exceptions import MeasurementError
        from airflow_slo_provider.runtime.error_budget.decision import is_request_error
        from airflow_slo_provider.runtime.incidents.measurements import measure_recovery

        with non_retryable_errors():
            name = self.subject(context)
            try:
                found = measure_recovery(self.slos, name, context, at=datetime.now(UTC), settle=self.settle)
            except MeasurementError as error:
                if is_request_error(error):
                    raise
                self.log.warning("No measurement is available, which is not a recovery: %s", error)
                return False
        self.log.info("%s", found["message"])
        return PokeReturnValue(is_done=found["recovered"], xcom_value=found)
