"""Operator that pushes the ledger's newest checks to Prometheus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.operators.text_template_fields import TextFields
from airflow_slo_provider.runtime.recording.checks import non_retryable_errors
from airflow_slo_provider.runtime.required_parameters import require, set_in_dag

if TYPE_CHECKING:
    from airflow.sdk import Context


class PushLedgerMetricsOperator(TextFields):
    """Push the newest result of every check to a Pushgateway: SLIs, budgets, burn rates, verdicts and ages.

    Use it for SLOs whose numbers are not in Prometheus: those from SQL, the ledger, freshness, drift and golden sets. The
    metrics are listed in :mod:`airflow_slo_provider.ledger.prometheus_text`. The XCom is the number of checks. If the server
    refuses the metrics, the task fails without a retry; if it does not answer, the task is retried.

    .. code-block:: python

        PushLedgerMetricsOperator(task_id="push", conn_id="pushgateway_default")

    :param conn_id: connection of type ``http`` to the Pushgateway. (templated)
    :param kinds: only checks of these kinds, e.g. ``["slo", "freshness"]``; by default all except decisions. (templated)
    :param job: value of the label ``job``; the metrics replace those pushed with this value before. (templated)
    """

    template_fields: Sequence[str] = ("conn_id", "kinds", "job")
    text_fields = frozenset({"conn_id", "job"})
    list_fields = frozenset({"kinds"})
    ui_color = "#d7eadb"

    def __init__(
        self,
        *,
        conn_id: str = "pushgateway_default",
        kinds: str | Sequence[str] | None = None,
        job: str = "airflow_slo",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.kinds = kinds
        self.job = job
        self._set_in_dag = set_in_dag(self, "conn_id", "kinds", "job")

    def execute(self, context: Context) -> int:
        """Push the metrics, and return the number of checks.

        :param context: Airflow's task context
        :raises AirflowFailException: if the server refuses the metrics; transient errors are retried
        """
        from airflow_slo_provider.hooks.pushgateway import PushgatewayHook
        from airflow_slo_provider.ledger.prometheus_text import exposition, newest_checks
        from airflow_slo_provider.runtime.recording.ledger_connection import open_default_ledger

        require(self, self._set_in_dag)
        with non_retryable_errors():
            with open_default_ledger() as ledger:
                rows = newest_checks(ledger, self.kinds)
            PushgatewayHook(self.conn_id).replace_group(exposition(rows), job=self.job)
        self.log.info("pushed the newest of %d checks", len(rows))
        return len(rows)
