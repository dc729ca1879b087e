"""Pushing metrics to a Prometheus Pushgateway."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

from airflow.sdk import BaseHook

from airflow_slo_provider.core.redaction import server_text
from airflow_slo_provider.exceptions import QueryError

_SECONDS = 15


class PushgatewayHook(BaseHook):
    """Sends a group of metrics to a Pushgateway, through an Airflow connection of type ``http``.

    :param conn_id: the connection: host (with or without a scheme), port, login and password, or a password alone as a bearer
        token; the extra may hold ``headers`` and ``verify``
    """

    def __init__(self, conn_id: str = "pushgateway_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id

    def replace_group(self, text: str, *, job: str, grouping: Mapping[str, str] | None = None) -> None:
        """Put metrics in place of all that were pushed for this group before.

        :param text: in the text format
        :param job: value of the label ``job``
        :param grouping: the group's other labels
        :raises QueryError: when the server cannot be reached (worth a retry) or refuses
        """
        import requests

        from airflow_slo_provider.runtime.connections.evaluation_inputs import http_server

        server = http_server(self.conn_id)
        # Base64, because a value with a slash in it, or an empty one, has no other form in a Pushgateway's path.
        group = {"job": job, **(grouping or {})}
        url = "/".join([f"{server.url}/metrics", *(f"{name}@base64/{_base64(value)}" for name, value in group.items())])
        try:
            answer = requests.put(
                url, data=text.encode(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8", **server.headers},
                auth=server.basic, verify=server.verify, timeout=_SECONDS, allow_redirects=False,
            )  # fmt: skip
        except requests.RequestException as error:
            raise QueryError(
                f"the Pushgateway of connection {self.conn_id} did not answer ({type(error).__name__})",
                reason="connection",
                transient=True,
                source=url,
            ) from None
        if not 200 <= answer.status_code < 300:
            said = server_text(answer.content, limit=300)
            raise QueryError(
                f"the Pushgateway of connection {self.conn_id} answered {answer.status_code}: {said}",
                reason="refused",
                transient=answer.status_code in (429, 500, 502, 503, 504),
                http_status=answer.status_code,
                source=url,
            )


def _base64(value: str) -> str:
    return urlsafe_b64encode(value.encode()).decode() or "="
