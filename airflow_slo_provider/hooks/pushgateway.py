"""Pushing metrics to a Prometheus Pushgateway."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import Any

from airflow.sdk import BaseHook

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.redaction import public_url, redact, secrets_of, user_info

_SECONDS = 15


class PushgatewayHook(BaseHook):
    """Sends a group of metrics to a Pushgateway, through an Airflow connection of type ``http``.

    :param conn_id: the connection: host (with or without a scheme), port, and a login where the server asks for one
    """

    def __init__(self, conn_id: str = "pushgateway_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id

    def replace_group(self, text: str, *, job: str) -> None:
        """Put metrics in place of all that were pushed for this job before.

        :param text: in the text format
        :param job: value of the label ``job``
        :raises QueryError: when the server cannot be reached (worth a retry) or refuses
        """
        import requests

        connection = self.get_connection(self.conn_id)
        base = _base(connection)
        login = (connection.login, connection.password or "") if connection.login else user_info(base)
        secrets = secrets_of(url=base, basic=login)
        # Base64, because a job with a slash in it has no other form in a Pushgateway's path.
        url = f"{public_url(base)}/metrics/job@base64/{urlsafe_b64encode(job.encode()).decode()}"
        headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        try:
            answer = requests.put(url, data=text.encode(), headers=headers, auth=login, timeout=_SECONDS, allow_redirects=False)
        except requests.RequestException as error:
            raise QueryError(
                f"the Pushgateway of connection {self.conn_id} did not answer ({type(error).__name__})",
                reason="connection",
                transient=True,
                source=url,
            ) from None
        if not 200 <= answer.status_code < 300:
            said = redact(" ".join(answer.text[:20_000].split()), secrets, limit=300)
            raise QueryError(
                f"the Pushgateway of connection {self.conn_id} answered {answer.status_code}: {said}",
                reason="refused",
                transient=answer.status_code in (429, 500, 502, 503, 504),
                http_status=answer.status_code,
                source=url,
            )


def _base(connection: Any) -> str:
    host = (connection.host or "").rstrip("/")
    if "://" not in host:
        host = f"{connection.schema if connection.schema in ('http', 'https') else 'http'}://{host}"
    port = f":{connection.port}" if connection.port else ""
    return f"{host}{port}"
