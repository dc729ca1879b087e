"""Form fields and settings of a model-registry connection. Imports no Airflow."""

from __future__ import annotations

from typing import Any

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.hooks.connection_forms.fields import (
    ConnectionFields,
    bad_connection,
    form_field,
    read_object,
    read_verify,
)
from airflow_slo_provider.hooks.connection_forms.http import (
    HTTP_FIELDS,
    connection_form,
    headers_field,
    read_texts,
    read_timeouts,
    read_url,
)

KINDS = ("mlflow", "directory")


def connection_type() -> dict[str, Any]:
    """Return the connection form as ``get_provider_info`` declares it (``airflow/provider.yaml.schema.json``)."""
    fields = {
        "kind": form_field("Kind", "string", "By default: mlflow for http and https, else directory.", enum=[*KINDS, None]),
        **{name: HTTP_FIELDS[name] for name in ("token", "verify", "ca_file", "connect_timeout", "read_timeout")},
        "headers": headers_field('{"X-Workspace": "team-a"}'),
        "storage_conn_id": form_field("Storage connection", "string", "Of a directory on object storage, e.g. aws_default."),
    }
    fields["read_timeout"] = {**fields["read_timeout"], "schema": {**fields["read_timeout"]["schema"], "default": 30}}
    return connection_form(
        "model_registry",
        "model_registry.ModelRegistryHook",
        "Model registry",
        host="URL or path",
        example="https://mlflow.example, or /srv/models",
        fields=fields,
    )


def registry_settings(connection: ConnectionFields) -> dict[str, Any]:
    """Read a connection as the kind of registry and the settings of that kind.

    :param connection: the connection
    :return: ``{"kind": "directory", "path", "storage_conn_id"}`` or ``{"kind": "mlflow", **arguments of MlflowRegistry}``
    :raises RegistryError: reason ``bad_connection``
    """
    try:
        return _settings(connection)
    except QueryError as error:
        from airflow_slo_provider.deployment.registries.history import RegistryError

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
    headers = read_texts(connection, extra, "headers")
    if extra.get("token"):
        headers["Authorization"] = f"Bearer {extra['token']}"
    return {
        "kind": kind,
        "url": read_url(connection),
        "headers": headers,
        "basic": (connection.login, connection.password or "") if connection.login else None,
        "verify": read_verify(connection, extra),
        "timeout": read_timeouts(connection, extra, silence=30.0),
    }
