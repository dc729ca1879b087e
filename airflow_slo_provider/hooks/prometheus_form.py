"""The fields of a Prometheus connection: how the UI shows them, and what they mean to the client. Imports no Airflow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

from airflow_slo_provider.exceptions import QueryError

AUTHS = ("none", "basic", "bearer", "mtls")


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
        "connection-type": "prometheus",
        "hook-class-name": "airflow_slo_provider.hooks.prometheus.PrometheusHook",
        "hook-name": "Prometheus",
        "ui-field-behaviour": {
            "hidden-fields": [],
            "relabeling": {"host": "URL", "login": "Login (basic)", "password": "Password (basic)", "schema": "Scheme"},
            "placeholders": {"host": "https://prometheus.example/prefix", "schema": "http, where the URL names no scheme"},
        },
        "conn-fields": {
            "auth": _field(
                "Authentication", "string", "By default: bearer with a token, basic with a login.", enum=[*AUTHS, None]
            ),
            "token": _field("Bearer token", "string", format="password"),
            "client_cert": _field("Client certificate", "string", "Path of a PEM file (mTLS)."),
            "client_key": _field(
                "Client key", "string", "Path of a PEM file, where the certificate's file does not hold the key."
            ),
            "verify": _field("Verify the server's certificate", "boolean", default=True),
            "ca_file": _field("CA file", "string", "Path of a PEM file; by default the system's authorities."),
            "connect_timeout": _field("Connect timeout (s)", "number", default=5, minimum=0.1),
            "read_timeout": _field("Read timeout (s)", "number", "Silence before giving up.", default=60, minimum=0.1),
            "max_seconds": _field(
                "Answer timeout (s)", "number", "From an answer's first byte to its last.", default=120, minimum=1
            ),
            "retries": _field("Retries", "integer", "Quick attempts after the first.", default=2, minimum=0, maximum=10),
            "headers": _field("Headers", "string", 'JSON, e.g. {"X-Scope-OrgID": "team-a"}.', format="json"),
            "params": _field("Query parameters", "string", 'JSON, e.g. {"dedup": "true"}.', format="json"),
            "method": _field("HTTP method", "string", "GET for proxies that refuse POST.", default="POST", enum=["POST", "GET"]),
        },
    }


def _field(label: str, kind: str, description: str = "", **schema: Any) -> dict[str, Any]:
    field: dict[str, Any] = {"label": label, "schema": {"type": [kind, "null"], **schema}}
    return {**field, "description": description} if description else field


def client_settings(connection: ConnectionFields) -> dict[str, Any]:
    """Read a connection as arguments of ``PrometheusClient``.

    :raises QueryError: reason ``bad_connection``, when its fields contradict each other or are of the wrong kind
    """
    extra = _mapping(connection, connection.extra, "extra")
    auth = extra.get("auth") or ("bearer" if extra.get("token") else "basic" if connection.login else "none")
    if auth not in AUTHS:
        raise _bad(connection, f"auth is none of its kinds; write one of {', '.join(AUTHS)}")
    needed = {
        "basic": ("login", connection.login),
        "bearer": ("token", extra.get("token")),
        "mtls": ("client_cert", extra.get("client_cert")),
    }
    if auth in needed and not needed[auth][1]:
        raise _bad(connection, f"auth is {auth}, but there is no {needed[auth][0]}")
    cert, key = extra.get("client_cert") or None, extra.get("client_key") or None
    if key and not cert:
        raise _bad(connection, "there is a client_key without a client_cert")
    verify = _boolean(connection, extra, "verify", True)
    if extra.get("ca_file") and not verify:
        raise _bad(connection, "there is a ca_file, but verify is off: the certificate would not be checked at all")
    method = str(extra.get("method") or "POST").upper()
    if method not in ("POST", "GET"):
        raise _bad(connection, f"method is {method!r}; write POST or GET")
    return {
        "url": _url(connection),
        "timeout": (_number(connection, extra, "connect_timeout", 5.0), _number(connection, extra, "read_timeout", 60.0)),
        "max_seconds": _number(connection, extra, "max_seconds", 120.0),
        "retries": int(_number(connection, extra, "retries", 2, least=0)),
        "headers": {str(name): str(text) for name, text in _mapping(connection, extra.get("headers"), "headers").items()},
        "params": {str(name): str(text) for name, text in _mapping(connection, extra.get("params"), "params").items()},
        "basic": (connection.login or "", connection.password or "") if auth == "basic" else None,
        "bearer": str(extra["token"]) if auth == "bearer" else None,
        "verify": extra.get("ca_file") or verify,
        "cert": (cert, key) if cert and key else cert,
        "method": method,
    }


def _url(connection: ConnectionFields) -> str:
    from urllib.parse import urlsplit

    host = (connection.host or "").strip().rstrip("/")
    if not host:
        raise _bad(connection, "there is no host; write the server's URL there")
    scheme = (connection.schema or "http").strip().lower()
    url = host if "://" in host else f"{scheme}://{host}"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _bad(connection, f"the host is no URL: {error}") from None
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
        raise _bad(connection, "the host is not of the form http://name:port/prefix or https://name:port/prefix")
    if connection.port and not port:
        url = parts._replace(netloc=f"{parts.netloc}:{connection.port}").geturl()
    return url


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


def _number(connection: ConnectionFields, extra: Mapping[str, Any], name: str, default: float, *, least: float = 0.001) -> float:
    value = extra.get(name)
    if value is None or value == "":
        return default
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if isinstance(value, bool) or not least <= number < 1e6:
        raise _bad(connection, f"{name} is {value!r}, not a number from {least:g}")
    return number


def _boolean(connection: ConnectionFields, extra: Mapping[str, Any], name: str, default: bool) -> bool:
    value = extra.get(name)
    if value is None or value == "":
        return default
    known = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
    if str(value).lower() not in known:
        raise _bad(connection, f"{name} is {value!r}, neither true nor false")
    return known[str(value).lower()]


def _bad(connection: ConnectionFields, message: str) -> QueryError:
    return QueryError(f"connection {connection.conn_id}: {message}", reason="bad_connection")
