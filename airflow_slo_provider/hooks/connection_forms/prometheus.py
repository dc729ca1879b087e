"""The fields of a Prometheus connection: how the UI shows them, and what they mean to the client. Imports no Airflow."""

from __future__ import annotations

from typing import Any

from airflow_slo_provider.hooks.connection_forms.fields import (
    ConnectionFields,
    bad_connection,
    form_field,
    read_number,
    read_object,
    read_verify,
)

AUTHS = ("none", "basic", "bearer", "mtls")


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
            "auth": form_field(
                "Authentication", "string", "By default: bearer with a token, basic with a login.", enum=[*AUTHS, None]
            ),
            "token": form_field("Bearer token", "string", format="password"),
            "client_cert": form_field("Client certificate", "string", "Path of a PEM file (mTLS)."),
            "client_key": form_field(
                "Client key", "string", "Path of a PEM file, where the certificate's file does not hold the key."
            ),
            "verify": form_field("Verify the server's certificate", "boolean", default=True),
            "ca_file": form_field("CA file", "string", "Path of a PEM file; by default the system's authorities."),
            "connect_timeout": form_field("Connect timeout (s)", "number", default=5, minimum=0.1),
            "read_timeout": form_field("Read timeout (s)", "number", "Silence before giving up.", default=60, minimum=0.1),
            "max_seconds": form_field(
                "Answer timeout (s)", "number", "From an answer's first byte to its last.", default=120, minimum=1
            ),
            "retries": form_field("Retries", "integer", "Quick attempts after the first.", default=2, minimum=0, maximum=10),
            "headers": form_field("Headers", "string", 'JSON, e.g. {"X-Scope-OrgID": "team-a"}.', format="json"),
            "params": form_field("Query parameters", "string", 'JSON, e.g. {"dedup": "true"}.', format="json"),
            "method": form_field(
                "HTTP method", "string", "GET for proxies that refuse POST.", default="POST", enum=["POST", "GET"]
            ),
        },
    }


def client_settings(connection: ConnectionFields) -> dict[str, Any]:
    """Read a connection as arguments of ``PrometheusClient``.

    :raises QueryError: reason ``bad_connection``, when its fields contradict each other or are of the wrong kind
    """
    extra = read_object(connection, connection.extra, "extra")
    auth = extra.get("auth") or ("bearer" if extra.get("token") else "basic" if connection.login else "none")
    if auth not in AUTHS:
        raise bad_connection(connection, f"auth is none of its kinds; write one of {', '.join(AUTHS)}")
    needed = {
        "basic": ("login", connection.login),
        "bearer": ("token", extra.get("token")),
        "mtls": ("client_cert", extra.get("client_cert")),
    }
    if auth in needed and not needed[auth][1]:
        raise bad_connection(connection, f"auth is {auth}, but there is no {needed[auth][0]}")
    cert, key = extra.get("client_cert") or None, extra.get("client_key") or None
    if key and not cert:
        raise bad_connection(connection, "there is a client_key without a client_cert")
    method = str(extra.get("method") or "POST").upper()
    if method not in ("POST", "GET"):
        raise bad_connection(connection, f"method is {method!r}; write POST or GET")
    return {
        "url": _url(connection),
        "timeout": (read_number(connection, extra, "connect_timeout", 5.0), read_number(connection, extra, "read_timeout", 60.0)),
        "max_seconds": read_number(connection, extra, "max_seconds", 120.0),
        "retries": int(read_number(connection, extra, "retries", 2, least=0)),
        "headers": {str(name): str(text) for name, text in read_object(connection, extra.get("headers"), "headers").items()},
        "params": {str(name): str(text) for name, text in read_object(connection, extra.get("params"), "params").items()},
        "basic": (connection.login or "", connection.password or "") if auth == "basic" else None,
        "bearer": str(extra["token"]) if auth == "bearer" else None,
        "verify": read_verify(connection, extra),
        "cert": (cert, key) if cert and key else cert,
        "method": method,
    }


def _url(connection: ConnectionFields) -> str:
    from urllib.parse import urlsplit

    host = (connection.host or "").strip().rstrip("/")
    if not host:
        raise bad_connection(connection, "there is no host; write the server's URL there")
    scheme = (connection.schema or "http").strip().lower()
    url = host if "://" in host else f"{scheme}://{host}"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise bad_connection(connection, f"the host is no URL: {error}") from None
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
        raise bad_connection(connection, "the host is not of the form http://name:port/prefix or https://name:port/prefix")
    if connection.port and not port:
        url = parts._replace(netloc=f"{parts.netloc}:{connection.port}").geturl()
    return url
