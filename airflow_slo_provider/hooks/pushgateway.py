"""Airflow hook that pushes metrics to a Prometheus Pushgateway."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

from airflow.sdk import BaseHook

from airflow_slo_provider.core.redaction import server_text
from airflow_slo_provider.exceptions import QueryError

_SECONDS = 15


class PushgatewayHook(BaseHook):
    """Push a group of metrics to a Pushgateway, through an Airflow connection of type ``http``.

    :param conn_id: the connection: host (with or without a scheme), port, login and password, or a password alone as a bearer
        token; the extra may hold ``headers`` and ``verify``
    """

    def __init__(self, conn_id: str = "pushgateway_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id

    def replace_group(self, text: str, *, job: str, grouping: Mapping[str, str] | None = None) -> None:
        """Replace all metrics that were pushed for a group before.

        :param text: the metrics in the Prometheus text format
        :param job: value of the label ``job``
        :param grouping: further labels of the group
        :raises QueryError: if the server cannot be reached (``transient``) or refuses the metrics
        """
        from dataclasses import replace

        from airflow_slo_provider.core.exposition_format import CONTENT_TYPE
        from airflow_slo_provider.http.client import HttpClient
        from airflow_slo_provider.http.faults import TRANSIENT_STATUSES, status_reason
        from airflow_slo_provider.runtime.connections.http import http_server

        settings = replace(http_server(self.conn_id), timeout=(_SECONDS, _SECONDS))
        # A Pushgateway's path can hold an empty value or one with a slash only in base64.
        group = {"job": job, **(grouping or {})}
        path = "/".join(["/metrics", *(f"{name}@base64/{_base64(value)}" for name, value in group.items())])
        try:
            with HttpClient(settings) as client:
                answer = client.request("PUT", path, body=text.encode(), headers={"Content-Type": CONTENT_TYPE})
        except QueryError as error:
            raise QueryError(
                f"the Pushgateway of connection {self.conn_id}: {error.message}",
                reason=error.reason, transient=error.transient, source=settings.address + path,
            ) from None  # fmt: skip
        if not 200 <= answer.status < 300:
            raise QueryError(
                f"the Pushgateway of connection {self.conn_id} answered {answer.status}: {server_text(answer.body, limit=300)}",
                reason=status_reason(answer.status), transient=answer.status in TRANSIENT_STATUSES, http_status=answer.status,
                source=settings.address + path,
            )  # fmt: skip


def _base64(value: str) -> str:
    return urlsafe_b64encode(value.encode()).decode() or "="
