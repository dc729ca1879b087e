"""Form fields and settings of connections to HTTP servers. Imports no Airflow."""

from __future__ import annotations

from collections.abc import Mapping
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

#: The form fields that :func:`http_arguments` reads, except ``headers``, which each form declares with its own example.
HTTP_FIELDS: Mapping[str, dict[str, Any]] = {
    "auth": form_field("Authentication", "string", "By default: bearer with a token, basic with a login.", enum=[*AUTHS, None]),
    "token": form_field("Bearer token", "string", format="password"),
    "client_cert": form_field("Client certificate", "string", "Path of a PEM file (mTLS)."),
    "client_key": form_field("Client key", "string", "Path of a PEM file, where the certificate's file does not hold the key."),
    "verify": form_field("Verify the server's certificate", "boolean", default=True),
    "ca_file": form_field("CA file", "string", "Path of a PEM file; by default the system's authorities."),
    "connect_timeout": form_field("Connect timeout (s)", "number", default=5, minimum=0.1),
    "read_timeout": form_field("Read timeout (s)", "number", "Silence before giving up.", default=60, minimum=0.1),
    "max_seconds": form_field("Answer timeout (s)", "number", "From an answer's first byte to its last.", default=120, minimum=1),
    "retries": form_field("Retries", "integer", "Quick attempts after the first.", default=2, minimum=0, maximum=10),
}


def connection_form(
    conn_type: str, hook: str, name: str, *, host: str = "URL", example: str, fields: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a connection form as ``get_provider_info`` declares it (``airflow/provider.yaml.schema.json``).

    :param conn_type: the connection type
    :param hook: module and class of the hook, below ``hooks``
    :param name: name of the connection type in the UI
    :param host: label of the host field
    :param example: placeholder of the host field
    :param fields: the fields besides those of every connection
    """
    return {
        "connection-type": conn_type,
        "hook-class-name": f"airflow_slo_provider.hooks.{hook}",
        "hook-name": name,
        "ui-field-behaviour": {
            "hidden-fields": [],
            "relabeling": {"host": host, "login": "Login (basic)", "password": "Password (basic)", "schema": "Scheme"},
            "placeholders": {"host": example, "schema": "http, where the URL names no scheme"},
        },
        "conn-fields": dict(fields),
    }


def headers_field(example: str) -> dict[str, Any]:
    """Declare the field ``headers``.

    :param example: example value, as JSON
    """
    return form_field("Headers", "string", f"JSON, e.g. {example}.", format="json")


def http_arguments(connection: ConnectionFields) -> dict[str, Any]:
    """Read a connection as arguments of :class:`~airflow_slo_provider.http.settings.HttpSettings`.

    :param connection: the connection
    :raises QueryError: reason ``bad_connection``, if its fields contradict each other or have the wrong type
    """
    extra = read_object(connection, connection.extra, "extra")
    auth = extra.get("auth") or ("bearer" if extra.get("token") else "basic" if connection.login else "none")
    if auth not in AUTHS:
        raise bad_connection(connection, f"auth has an unknown value; write one of {', '.join(AUTHS)}")
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
    return {
        "url": read_url(connection),
        "timeout": read_timeouts(connection, extra),
        "max_seconds": read_number(connection, extra, "max_seconds", 120.0),
        "retries": int(read_number(connection, extra, "retries", 2, least=0)),
        "headers": read_texts(connection, extra, "headers"),
        "basic": (connection.login or "", connection.password or "") if auth == "basic" else None,
        "bearer": str(extra["token"]) if auth == "bearer" else None,
        "verify": read_verify(connection, extra),
        "cert": (cert, key) if cert and key else cert,
    }


def read_timeouts(connection: ConnectionFields, extra: Mapping[str, Any], silence: float = 60.0) -> tuple[float, float]:
    """Read the connect timeout and the read timeout in seconds.

    :param connection: the connection, for error messages
    :param extra: the connection's extra
    :param silence: default of the read timeout, in seconds
    """
    return read_number(connection, extra, "connect_timeout", 5.0), read_number(connection, extra, "read_timeout", silence)


def read_texts(connection: ConnectionFields, extra: Mapping[str, Any], name: str) -> dict[str, str]:
    """Read a JSON object whose values are converted to text, e.g. headers or query parameters.

    :param connection: the connection, for error messages
    :param extra: the connection's extra
    :param name: key in the extra
    """
    return {str(key): str(text) for key, text in read_object(connection, extra.get(name), name).items()}


def read_url(connection: ConnectionFields) -> str:
    """Return the URL of a server, with its path prefix if it has one.

    :param connection: the connection; ``schema`` and ``port`` are used if the host does not contain them
    :raises QueryError: reason ``bad_connection``
    """
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
        raise bad_connection(connection, f"the host is not a URL: {error}") from None
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
        raise bad_connection(connection, "the host is not of the form http://name:port/prefix or https://name:port/prefix")
    if connection.port and not port:
        url = parts._replace(netloc=f"{parts.netloc}:{connection.port}").geturl()
    return url
