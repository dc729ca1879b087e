"""Hands what the ledger knows to Prometheus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.operators.text_template_fields import TextFields
from airflow_slo_provider.runtime.recording.checks import failing_rightly
from airflow_slo_provider.runtime.required_parameters import given, require

if TYPE_CHECKING:
    from airflow.sdk import Context


class PushLedgerMetricsOperator(TextFields):
    """Pushes the newest of every check to a Pushgateway: SLIs, budgets, burn rates, verdicts and ages.

    For SLOs whose numbers Prometheus does not have itself: of SQL, of the ledger, of freshness, drift and golden sets. The
    metrics are listed in :mod:`airflow_slo_provider.ledger.prometheus_text`. XCom: how many checks there were. A server that
    refuses them fails the task without a retry; one that does not answer is retried.

    .. code-block:: python

        PushLedgerMetricsOperator(task_id="push", conn_id="pushgateway_default")

    :param conn_id: connection of type ``http`` to the Pushgateway (templated)
    :param kinds: only checks of these kinds, e.g. ``["slo", "freshness"]``; all but decisions when not given (templated)
    :param job: value of the label ``job``; the metrics replace what was pushed under it before (templated)
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
        self._given = given(self, "conn_id", "kinds", "job")

    def execute(self, context: Context) -> int:
        """Push, and return how many checks there were.

        :raises AirflowFailException: when the server refuses; what may pass is retried
        """
        from airflow_slo_provider.hooks.pushgateway import PushgatewayHook
        from airflow_slo_provider.ledger.prometheus_text import exposition, newest_checks
        from airflow_slo_provider.runtime.recording.ledger_connection import open_default_ledger

        require(self, self._given)
        with failing_rightly():
            with open_default_ledger() as ledger:
                rows = newest_checks(ledger, self.kinds)
            PushgatewayHook(self.conn_id).replace_group(exposition(rows), job=self.job)
        self.log.info("pushed the newest of %d checks", len(rows))
        return len(rows)
