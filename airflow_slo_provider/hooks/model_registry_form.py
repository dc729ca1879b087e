"""The fields of a model-registry connection: how the UI shows them, and what they mean. Imports no Airflow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

from airflow_slo_provider.deployment.registry import RegistryError

KINDS = ("mlflow", "directory")


class ConnectionFields(Protocol):
    """What is read of an Airflow connection."""

    conn_id: str
    host: str | None
    port: int | None
    schema: str | None
    login: str | None
    password: str | None
    extra: str | None


def connection_type() -> dict[str, Any]:
    """Return the connection form, as ``get_provider_info`` declares it (``airflow/provider.yaml.schema.json``)."""
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
            "kind": _field("Kind", "string", "By default: mlflow for http and https, else directory.", enum=[*KINDS, None]),
            "token": _field("Bearer token", "string", format="password"),
            "verify": _field("Verify the server's certificate", "boolean", default=True),
            "ca_file": _field("CA file", "string", "Path of a PEM file; by default the system's authorities."),
            "connect_timeout": _field("Connect timeout (s)", "number", default=5, minimum=0.1),
            "read_timeout": _field("Read timeout (s)", "number", "Silence before giving up.", default=30, minimum=0.1),
            "headers": _field("Headers", "string", 'JSON, e.g. {"X-Workspace": "team-a"}.', format="json"),
            "storage_conn_id": _field("Storage connection", "string", "Of a directory on object storage, e.g. aws_default."),
        },
    }


def _field(label: str, kind: str, description: str = "", **schema: Any) -> dict[str, Any]:
    field: dict[str, Any] = {"label": label, "schema": {"type": [kind, "null"], **schema}}
    return {**field, "description": description} if description else field


def registry_settings(connection: ConnectionFields) -> dict[str, Any]:
    """Read a connection: ``kind`` and what that kind needs.

    :return: ``{"kind": "directory", "path", "storage_conn_id"}`` or ``{"kind": "mlflow", **arguments of MlflowRegistry}``
    :raises RegistryError: reason ``bad_connection``
    """
    extra = _mapping(connection, connection.extra, "extra")
    host = (connection.host or "").strip()
    if not host:
        raise _bad(connection, "there is no host; write the registry's URL or a directory there")
    web = host.startswith(("http://", "https://")) or (connection.schema or "").lower() in ("http", "https")
    kind = extra.get("kind") or ("mlflow" if web or "/" not in host else "directory")
    if kind not in KINDS:
        raise _bad(connection, f"kind is {kind!r}; write one of {', '.join(KINDS)}")
    if kind == "directory":
        return {"kind": kind, "path": host, "storage_conn_id": extra.get("storage_conn_id") or None}
    url = host if "://" in host else f"{connection.schema or 'http'}://{host}"
    scheme, _, rest = url.partition("://")
    name, slash, path = rest.partition("/")
    if connection.port and ":" not in name:
        url = f"{scheme}://{name}:{connection.port}{slash}{path}"
    headers = {str(key): str(value) for key, value in _mapping(connection, extra.get("headers"), "headers").items()}
    if extra.get("token"):
        headers["Authorization"] = f"Bearer {extra['token']}"
    verify = _boolean(connection, extra.get("verify"))
    if extra.get("ca_file") and not verify:
        raise _bad(connection, "there is a ca_file, but verify is off: the certificate would not be checked at all")
    return {
        "kind": kind,
        "url": url,
        "headers": headers,
        "basic": (connection.login, connection.password or "") if connection.login else None,
        "verify": extra.get("ca_file") or verify,
        "timeout": (_number(connection, extra, "connect_timeout", 5.0), _number(connection, extra, "read_timeout", 30.0)),
    }


def _mapping(connection: ConnectionFields, value: Any, name: str) -> Mapping[str, Any]:
    if isinstance(value, str) and value.strip():
        try:
            value = json.loads(value)
        except ValueError:
            value = "not JSON"
    if not value:
        return {}
    if not isinstance(value, Mapping):
        raise _bad(connection, f"{name} is not a JSON object")
    return value


def _number(connection: ConnectionFields, extra: Mapping[str, Any], name: str, default: float) -> float:
    value = extra.get(name)
    if value is None or value == "":
        return default
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if isinstance(value, bool) or not 0.001 <= number < 1e6:
        raise _bad(connection, f"{name} is {value!r}, not a number of seconds")
    return number


def _boolean(connection: ConnectionFields, value: Any) -> bool:
    known = {"": True, "none": True, "true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if str(value).lower() not in known:
        raise _bad(connection, f"verify is {value!r}, neither true nor false")
    return known[str(value).lower()]


def _bad(connection: ConnectionFields, message: str) -> RegistryError:
    return RegistryError(f"connection {connection.conn_id}: {message}", reason="bad_connection")
