"""Form fields and settings of a Prometheus connection. Imports no Airflow."""

from __future__ import annotations

from typing import Any

from airflow_slo_provider.hooks.connection_forms.fields import ConnectionFields, bad_connection, form_field, read_object
from airflow_slo_provider.hooks.connection_forms.http import (
    HTTP_FIELDS,
    connection_form,
    headers_field,
    http_arguments,
    read_texts,
)


def connection_type() -> dict[str, Any]:
    """Return the connection form as ``get_provider_info`` declares it (``airflow/provider.yaml.schema.json``)."""
    fields = {
        **HTTP_FIELDS,
        "headers": headers_field('{"X-Scope-OrgID": "team-a"}'),
        "params": form_field("Query parameters", "string", 'JSON, e.g. {"dedup": "true"}.', format="json"),
        "method": form_field("HTTP method", "string", "GET for proxies that refuse POST.", default="POST", enum=["POST", "GET"]),
    }
    example = "https://prometheus.example/prefix"
    return connection_form("prometheus", "prometheus.PrometheusHook", "Prometheus", example=example, fields=fields)


def client_settings(connection: ConnectionFields) -> dict[str, Any]:
    """Read a connection as arguments of ``PrometheusClient``.

    :param connection: the connection
    :raises QueryError: reason ``bad_connection``, if its fields contradict each other or have the wrong type
    """
    arguments = http_arguments(connection)
    extra = read_object(connection, connection.extra, "extra")
    method = str(extra.get("method") or "POST").upper()
    if method not in ("POST", "GET"):
        raise bad_connection(connection, f"method is {method!r}; write POST or GET")
    return {**arguments, "params": read_texts(connection, extra, "params"), "method": method}
