"""Airflow hook for a Prometheus server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from airflow_slo_provider.hooks.connection_forms.prometheus import client_settings, connection_type

if TYPE_CHECKING:
    from prometheus_api_client import PrometheusConnect

    from airflow_slo_provider.indicators.prometheus.answers import RangeSeries, Sample
    from airflow_slo_provider.indicators.prometheus.async_client import AsyncPrometheusClient
    from airflow_slo_provider.indicators.prometheus.client import PrometheusClient
    from airflow_slo_provider.indicators.prometheus.source import PrometheusSource

__all__ = ["PrometheusHook", "connection_type"]


class PrometheusHook(BaseHook):
    """Query a Prometheus server, or another server with its query API (Thanos, Mimir, VictoriaMetrics).

    Host is the server's URL, with a path prefix if there is one. Login and password are sent as basic authentication. The other
    settings are in the extra: ``auth`` (none, basic, bearer, mtls), ``token``, ``client_cert``, ``client_key``, ``verify``,
    ``ca_file``, ``connect_timeout``, ``read_timeout``, ``max_seconds``, ``retries``, ``headers``, ``params``, ``method``.

    :param prometheus_conn_id: the Airflow connection
    """

    conn_name_attr = "prometheus_conn_id"
    default_conn_name = "prometheus_default"
    conn_type = "prometheus"
    hook_name = "Prometheus"

    def __init__(self, prometheus_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.prometheus_conn_id = prometheus_conn_id
        self._client: PrometheusClient | None = None

    def client(self) -> PrometheusClient:
        """Return the client; the connection is read once.

        :raises QueryError: reason ``bad_connection``
        """
        if self._client is None:
            from airflow_slo_provider.indicators.prometheus.client import PrometheusClient
            from airflow_slo_provider.runtime.secret_masks import mask

            client = PrometheusClient(**client_settings(self.get_connection(self.prometheus_conn_id)))
            mask(client.settings.secrets)
            self._client = client
        return self._client

    async def aclient(self) -> AsyncPrometheusClient:
        """Return an asynchronous client for a trigger; use it as ``async with await hook.aclient() as client``.

        :raises QueryError: reason ``bad_connection``
        """
        from airflow_slo_provider.indicators.prometheus.async_client import AsyncPrometheusClient
        from airflow_slo_provider.runtime.secret_masks import amask

        client = AsyncPrometheusClient(**client_settings(await self.aget_connection(self.prometheus_conn_id)))
        await amask(client.settings.secrets)
        return client

    def get_conn(self) -> PrometheusConnect:
        """Return prometheus-api-client's connection object, on this hook's session with timeouts and TLS verification."""
        return self.client().connect

    def source(self) -> PrometheusSource:
        """Return the server as an indicator source."""
        from airflow_slo_provider.indicators.prometheus.source import PrometheusSource

        return PrometheusSource(self.client(), name=self.prometheus_conn_id)

    def query(self, query: str, at: datetime | None = None) -> list[Sample]:
        """Run an instant query.

        :param query: PromQL
        :param at: evaluation timestamp (aware); now by default
        :raises QueryError: if the server does not return a complete and valid result
        """
        return self.client().instant(query, at or datetime.now(UTC))

    def query_range(self, query: str, start: datetime, end: datetime, step: timedelta) -> list[RangeSeries]:
        """Run a range query, evaluated at every ``step`` from ``start`` to ``end``, both included.

        :param query: PromQL
        :param start: first evaluation timestamp (aware)
        :param end: last evaluation timestamp (aware)
        :param step: time between two evaluations
        :raises QueryError: if the server does not return a complete and valid result
        """
        return self.client().range(query, start, end, step)

    def test_connection(self) -> tuple[bool, str]:
        """Test the connection with the constant query ``vector(1)``."""
        try:
            values = [sample.text for sample in self.query("vector(1)")]
        except Exception as error:  # every error is shown in the UI
            return False, str(error)
        if values != ["1"]:
            return False, f"the server answers vector(1) with {values}: it does not evaluate PromQL"
        return True, "The server answers queries"
