"""The checks that every playbook may use: does it burn, who is to blame, is it over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator

from airflow_slo_provider.operators.text_template_fields import TextFields
from airflow_slo_provider.runtime.recording.checks import failing_rightly, record, recording_faults
from airflow_slo_provider.runtime.required_parameters import given, require

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_slo_provider.runtime.error_budget.decision import Documents


#: How many times the next highest value one must be to stand out. At 1, one of several that are alike would be accused.
_TIMES = Fraction(2)


class _WithDocuments(TextFields):
    """A check of SLO documents.

    :param slos: SLO documents: a path (a relative one: beside the DAG file), a URI, the text itself, or a list. (templated)
    :param slo: name of the SLO; by default the one the incident is about. (templated)
    """

    template_fields: Sequence[str] = ("slos", "slo")
    text_fields = frozenset({"slo"})
    path_fields = frozenset({"slos"})

    def __init__(self, *, slos: Documents, slo: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(slos, str | list | tuple) and not slos:
            raise ValueError(f"{self.task_id}: slos is empty; name a file, a directory or write the documents themselves")
        self.slos = slos
        self.slo = slo
        self._given = given(self, "slos", "slo")

    def render_template(self, content: Any, context: Any, jinja_env: Any = None, seen_oids: set[int] | None = None) -> Any:
        """Render everything but documents: ``{{.window}}`` in a query is for the server and no template of Airflow."""
        if isinstance(content, str) and "\n" in content:
            return content
        return super().render_template(content, context, jinja_env, seen_oids)

    def subject(self, context: Any) -> str:
        """Return the name of the SLO.

        :raises AirflowFailException: when nothing names one
        """
        from airflow.sdk.exceptions import AirflowFailException

        from airflow_slo_provider.runtime.incidents.current_incident import current_incident

        require(self, self._given)
        name = self.slo or current_incident(context).looked_up("slo")
        if not name:
            raise AirflowFailException("neither the incident nor this task names an SLO; give slo=")
        return str(name)


class BurningCheckOperator(_WithDocuments):
    """Measures how fast a budget burns now, and keeps the numbers as evidence. It fails over nothing but what cannot be asked.

    :param slos: SLO documents. (templated)
    :param slo: name of the SLO; by default the one the incident is about. (templated)
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Measure."""
        from airflow_slo_provider.runtime.incidents.measurements import measured_now

        with failing_rightly():
            name = self.subject(context)  # which makes its paths absolute
            found = measured_now(self.slos, name)
        for line in found["table"].splitlines():
            self.log.info("%s", line)
        return {key: value for key, value in found.items() if key != "table"}


class CulpritOperator(TextFields):
    """Finds the version that fails: asks for a number by some label, and takes the value of the label that stands out:
    whose number is at least twice the next highest.

    The numbers are Prometheus' answer to ``query``, or the shares of failed events that the ledger's checks named ``check`` have
    counted for each model version.

    XCom: ``version`` (its name), ``message``, ``values``. Where nothing stands out, the task is skipped and with it every step
    that needs to know: a rollback of nobody knows what would be worse than none. A series without the label is left out; two with
    one value of it fail the task.

    :param query: PromQL of an instant vector with one series for each value of the label ``by``. (templated)
    :param by: the label. (templated)
    :param check: in place of a query: name of checks in the ledger with ``good``, ``total`` and ``model_version``. (templated)
    :param within: how old those checks may be
    :param at_least: below this value nothing stands out, nor does 0
    :param prometheus_conn_id: the connection. (templated)
    :raises ValueError: when the DAG is read, for both or neither of ``query`` and ``check``, and an ``at_least`` below 0
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
            raise ValueError(f"{self.task_id}: give either query (PromQL) or check (a name in the ledger)")
        if check and by != "model_version":
            raise ValueError(f"{self.task_id}: the ledger knows model versions only; by={by!r} needs a query")
        self.query = query
        self.by = by
        self.check = check
        self.within = within
        self.at_least = Fraction(str(at_least))
        if self.at_least < 0:
            raise ValueError(f"{self.task_id}: at_least={at_least!r} is negative; write a value below which nothing stands out")
        self.prometheus_conn_id = prometheus_conn_id
        self._given = given(self, "query", "by", "check", "prometheus_conn_id")

    def execute(self, context: Context) -> dict[str, Any]:
        """Ask, compare, tell."""
        from airflow.sdk.exceptions import AirflowSkipException

        from airflow_slo_provider.incidents.culprit import stands_out
        from airflow_slo_provider.results import CheckResult, Verdict

        require(self, self._given)
        unknown = CheckResult(kind="culprit", name=f"{self.dag_id}.{self.task_id}", verdict=Verdict.UNKNOWN)
        with failing_rightly():
            with recording_faults(context, lambda: unknown):  # type: ignore[arg-type]
                found = stands_out(self._values(), at_least=self.at_least, times=_TIMES)
            told = {"version": found.name, "by": self.by, "message": found.message, "values": dict(found.values)}
            check = replace(
                unknown,
                verdict=Verdict.WARN if found.name else Verdict.UNKNOWN,
                message=found.message,
                model_version=found.name if self.by == "model_version" else None,
                evidence={**told, "query": self.query or f"ledger: {self.check}"},
            )
            record([check], context)
        self.log.info("By %s: %s", self.by, found.message)
        for key in ("version", "message"):
            context["ti"].xcom_push(key=key, value=told[key])
        if found.name is None:
            raise AirflowSkipException(found.message)
        return told

    def _values(self) -> dict[str, Fraction | None]:
        if self.check:
            from airflow_slo_provider.runtime.incidents.measurements import failing_versions

            return failing_versions(self.check, self.within)
        from airflow_slo_provider.core.redaction import redacted
        from airflow_slo_provider.exceptions import QueryError
        from airflow_slo_provider.hooks.prometheus import PrometheusHook

        found: dict[str, Fraction | None] = {}
        for sample in PrometheusHook(self.prometheus_conn_id).query(str(self.query)):
            name = sample.labels.get(self.by)
            if not name:
                self.log.warning("A series has no label %s and is left out: %s", self.by, redacted(dict(sample.labels)))
            elif name in found:
                # Whichever of them counted, another version might be accused.
                raise QueryError(
                    f"several series have {self.by}={name!r}; aggregate by that label, e.g. sum by ({self.by}) (...)",
                    reason="bad_query",
                    query=self.query,
                )
            else:
                found[name] = sample.value
        return found


class RecoveredSensor(_WithDocuments, BaseSensorOperator):
    """Waits until a budget burns no longer; fails when it still does after ``timeout``.

    It has recovered when the burn rate since the last mitigation, over at least ``settle`` and ten events, is at most 1: the
    budget lasts its window. It has also recovered when the short windows of all burn-rate rules lie at or below half
    of their factor. No data is no recovery.

    :param slos: SLO documents. (templated)
    :param slo: name of the SLO; by default the one the incident is about. (templated)
    :param settle: how long after the mitigation the burn rate means something
    :param poke_interval: time between two looks: 10 s by default
    :param timeout: how long to wait: 30 minutes by default; then the task fails

    ``mode`` and all else are those of every Airflow sensor.
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
        """Look once."""
        from airflow.sdk import PokeReturnValue

        from airflow_slo_provider.exceptions import MeasurementError
        from airflow_slo_provider.runtime.error_budget.decision import is_wrong_question
        from airflow_slo_provider.runtime.incidents.measurements import recovery

        with failing_rightly():
            name = self.subject(context)
            try:
                found = recovery(self.slos, name, context, at=datetime.now(UTC), settle=self.settle)
            except MeasurementError as error:
                if is_wrong_question(error):
                    raise
                self.log.warning("Nothing is known, which is no recovery: %s", error)
                return False
        self.log.info("%s", found["message"])
        return PokeReturnValue(is_done=found["recovered"], xcom_value=found)
