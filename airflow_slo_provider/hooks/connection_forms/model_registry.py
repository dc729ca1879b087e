"""The fields of a model-registry connection: how the UI shows them, and what they mean. Imports no Airflow."""

from __future__ import annotations

from typing import Any

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.hooks.connection_forms.fields import (
    ConnectionFields,
    bad_connection,
    form_field,
    read_number,
    read_object,
    read_verify,
)
from airflow_slo_provider.hooks.connection_forms.prometheus import connection_type as prometheus_type

KINDS = ("mlflow", "directory")


def connection_type() -> dict[str, Any]:
    """Return the connection form, as ``get_provider_info`` declares it (``airflow/provider.yaml.schema.json``)."""
    shared = prometheus_type()["conn-fields"]
    return {
        "connection-type": "model_registry",
        "hook-class-name": "airflow_slo_provider.hooks.model_registry.ModelRegistryHook",
        "hook-name": "Model registry",
        "ui-field-behaviour": {
            "hidden-fields": [],
            "relabeling": {"host": "URL or path", "login": "Login (basic)", "password": "Password (basic)", "schema": "Scheme"},
            "placeholders": {"host": "https://mlflow.example, or /srv/models", "schema": "http, where the URL names no scheme"},
        },
        "conn-fields": {
            "kind": form_field("Kind", "string", "By default: mlflow for http and https, else directory.", enum=[*KINDS, None]),
            **{name: shared[name] for name in ("token", "verify", "ca_file", "connect_timeout")},
            "read_timeout": form_field("Read timeout (s)", "number", "Silence before giving up.", default=30, minimum=0.1),
            "headers": form_field("Headers", "string", 'JSON, e.g. {"X-Workspace": "team-a"}.', format="json"),
            "storage_conn_id": form_field("Storage connection", "string", "Of a directory on object storage, e.g. aws_default."),
        },
    }


def registry_settings(connection: ConnectionFields) -> dict[str, Any]:
    """Read a connection: ``kind`` and what that kind needs.

    :return: ``{"kind": "directory", "path", "storage_conn_id"}`` or ``{"kind": "mlflow", **arguments of MlflowRegistry}``
    :raises RegistryError: reason ``bad_connection``
    """
    try:
        return _settings(connection)
    except QueryError as error:
        from airflow_slo_provider.deployment.registries.registry import RegistryError

        raise RegistryError(error.message, reason=error.reason) from None


def _settings(connection: ConnectionFields) -> dict[str, Any]:
    extra = read_object(connection, connection.extra, "extra")
    host = (connection.host or "").strip()
    if not host:
        raise bad_connection(connection, "there is no host; write the registry's URL or a directory there")
    web = host.startswith(("http://", "https://")) or (connection.schema or "").lower() in ("http", "https")
    kind = extra.get("kind") or ("mlflow" if web or "/" not in host else "directory")
    if kind not in KINDS:
        raise bad_connection(connection, f"kind is {kind!r}; write one of {', '.join(KINDS)}")
    if kind == "directory":
        return {"kind": kind, "path": host, "storage_conn_id": extra.get("storage_conn_id") or None}
    url = host if "://" in host else f"{connection.schema or 'http'}://{host}"
    scheme, _, rest = url.partition("://")
    name, slash, path = rest.partition("/")
    if connection.port and ":" not in name.rpartition("@")[2]:
        url = f"{scheme}://{name}:{connection.port}{slash}{path}"
    headers = {str(key): str(value) for key, value in read_object(connection, extra.get("headers"), "headers").items()}
    if extra.get("token"):
        headers["Authorization"] = f"Bearer {extra['token']}"
    return {
        "kind": kind,
        "url": url,
        "headers": headers,
        "basic": (connection.login, connection.password or "") if connection.login else None,
        "verify": read_verify(connection, extra),
        "timeout": (read_number(connection, extra, "connect_timeout", 5.0), read_number(connection, extra, "read_timeout", 30.0)),
    }
