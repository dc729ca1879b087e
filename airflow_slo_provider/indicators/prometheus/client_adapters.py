"""Create an indicator source from an existing Prometheus client, hook or URL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_slo_provider.indicators.prometheus.client import PrometheusClient
from airflow_slo_provider.indicators.prometheus.source import PrometheusSource
from airflow_slo_provider.slo.budget.indicator_source import IndicatorSource


def make_source(client: Any) -> IndicatorSource | Mapping[str, IndicatorSource]:
    """Create an indicator source from a Prometheus client.

    :param client: a URL, a ``PrometheusHook``, our ``PrometheusClient``, prometheus-api-client's ``PrometheusConnect`` (its
        URL, headers, login and certificates are used, but over our own session: its session drops the server's warnings, so a
        partial answer would look complete), an indicator source, or a mapping of them
    :raises TypeError: when it is none of these
    """
    if isinstance(client, Mapping) or hasattr(client, "measure"):
        return client  # type: ignore[no-any-return]
    if callable(getattr(client, "source", None)):  # PrometheusHook
        return client.source()  # type: ignore[no-any-return]
    if isinstance(client, str):
        client = PrometheusClient(client)
    elif callable(getattr(client, "custom_query", None)) and isinstance(getattr(client, "url", None), str):
        client = _make_client(client)
    if isinstance(client, PrometheusClient):
        return PrometheusSource(client)
    raise TypeError(f"metrics_client must be a Prometheus URL, hook, client or an indicator source, not {type(client).__name__}")


def _make_client(connect: Any) -> PrometheusClient:
    session = getattr(connect, "_session", None)
    auth = getattr(connect, "auth", None) or getattr(session, "auth", None)
    if auth is not None and not isinstance(auth, tuple):
        auth = (auth.username, auth.password)  # requests' HTTPBasicAuth
    return PrometheusClient(
        connect.url,
        headers={str(name): str(value) for name, value in (getattr(connect, "headers", None) or {}).items()},
        basic=auth,
        verify=getattr(session, "verify", True),
        cert=getattr(session, "cert", None),
    )
