"""Declare and read the fields of connection forms. Imports no Airflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from airflow_slo_provider.exceptions import QueryError


class ConnectionFields(Protocol):
    """The attributes of an Airflow connection that are read here."""

    conn_id: str
    host: str | None
    port: int | None
    schema: str | None
    login: str | None
    password: str | None
    extra: str | None


def form_field(label: str, kind: str, description: str = "", **schema: Any) -> dict[str, Any]:
    """Declare a field of ``conn-fields``; every field may be left empty.

    :param label: label of the field in the UI
    :param kind: JSON schema type, e.g. ``string``
    :param description: help text; none by default
    :param schema: further keys of the JSON schema
    """
    field: dict[str, Any] = {"label": label, "schema": {"type": [kind, "null"], **schema}}
    return {**field, "description": description} if description else field


def read_object(connection: ConnectionFields, value: Any, name: str) -> Mapping[str, Any]:
    """Read a JSON object; return an empty one if the value is not set.

    :param connection: the connection, for error messages
    :param value: JSON text or a mapping
    :param name: name of the field, for error messages
    :raises QueryError: reason ``bad_connection``, for text that is not JSON and for other JSON values
    """
    from airflow_slo_provider.core import strict_json

    if isinstance(value, str) and value.strip():
        try:
            value = strict_json.loads(value, constants=True)  # numbers are checked where they are used
        except strict_json.JSONContradiction as error:
            raise bad_connection(connection, f"{name}: {error}") from None
        except ValueError:
            value = "not JSON"
    if not value:
        return {}
    if not isinstance(value, Mapping):
        raise bad_connection(connection, f"{name} is not a JSON object")
    return value


def read_number(
    connection: ConnectionFields, extra: Mapping[str, Any], name: str, default: float, *, least: float = 0.001
) -> float:
    """Read a number of at least ``least`` and below 1e6; return the default if it is not set.

    :param connection: the connection, for error messages
    :param extra: the connection's extra
    :param name: key in the extra
    :param default: value if the key is not set
    :param least: smallest accepted value
    :raises QueryError: reason ``bad_connection``
    """
    value = extra.get(name)
    if value is None or value == "":
        return default
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if isinstance(value, bool) or not least <= number < 1e6:
        raise bad_connection(connection, f"{name} is {value!r}, not a number from {least:g}")
    return number


def read_boolean(connection: ConnectionFields, extra: Mapping[str, Any], name: str, default: bool) -> bool:
    """Read a boolean; return the default if it is not set.

    :param connection: the connection, for error messages
    :param extra: the connection's extra
    :param name: key in the extra
    :param default: value if the key is not set
    :raises QueryError: reason ``bad_connection``
    """
    value = extra.get(name)
    if value is None or value == "":
        return default
    known = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
    if str(value).lower() not in known:
        raise bad_connection(connection, f"{name} is {value!r}, neither true nor false")
    return known[str(value).lower()]


def read_verify(connection: ConnectionFields, extra: Mapping[str, Any]) -> str | bool:
    """Read how to verify the server's certificate: with a CA file, with the system's authorities (True), or not at all (False).

    :param connection: the connection, for error messages
    :param extra: the connection's extra, with ``verify`` and ``ca_file``
    :raises QueryError: reason ``bad_connection``, for a ``ca_file`` although ``verify`` is off
    """
    verify = read_boolean(connection, extra, "verify", True)
    if extra.get("ca_file") and not verify:
        raise bad_connection(connection, "there is a ca_file, but verify is off, so the certificate would not be checked")
    return extra.get("ca_file") or verify


def bad_connection(connection: ConnectionFields, message: str) -> QueryError:
    """Return the error for connection fields that contradict each other or have the wrong type.

    :param connection: the connection
    :param message: what is wrong
    """
    return QueryError(f"connection {connection.conn_id}: {message}", reason="bad_connection")
