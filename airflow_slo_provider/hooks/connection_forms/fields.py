"""What the forms of our connection types share: how a field is declared, and how it is read. Imports no Airflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from airflow_slo_provider.exceptions import QueryError


class ConnectionFields(Protocol):
    """What is read of an Airflow connection."""

    conn_id: str
    host: str | None
    port: int | None
    schema: str | None
    login: str | None
    password: str | None
    extra: str | None


def form_field(label: str, kind: str, description: str = "", **schema: Any) -> dict[str, Any]:
    """Declare a field of ``conn-fields``; it may be left empty."""
    field: dict[str, Any] = {"label": label, "schema": {"type": [kind, "null"], **schema}}
    return {**field, "description": description} if description else field


def read_object(connection: ConnectionFields, value: Any, name: str) -> Mapping[str, Any]:
    """Read a JSON object; empty where there is none."""
    from airflow_slo_provider.core import strict_json

    if isinstance(value, str) and value.strip():
        try:
            value = strict_json.loads(value, constants=True)  # a number is looked at where it is read
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
    """Read a number from ``least`` up; the default where there is none."""
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
    """Read true or false; the default where there is none."""
    value = extra.get(name)
    if value is None or value == "":
        return default
    known = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
    if str(value).lower() not in known:
        raise bad_connection(connection, f"{name} is {value!r}, neither true nor false")
    return known[str(value).lower()]


def read_verify(connection: ConnectionFields, extra: Mapping[str, Any]) -> str | bool:
    """Read how the server's certificate is checked: against a file of authorities, the system's, or not at all."""
    verify = read_boolean(connection, extra, "verify", True)
    if extra.get("ca_file") and not verify:
        raise bad_connection(connection, "there is a ca_file, but verify is off: the certificate would not be checked at all")
    return extra.get("ca_file") or verify


def bad_connection(connection: ConnectionFields, message: str) -> QueryError:
    """Make the error of a connection whose fields contradict each other or are of the wrong kind."""
    return QueryError(f"connection {connection.conn_id}: {message}", reason="bad_connection")
