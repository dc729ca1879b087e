"""Read Airflow connections as settings of HTTP servers and mask their secrets in Airflow's logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseHook

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.hooks.connection_forms.http import http_arguments, read_url
from airflow_slo_provider.runtime.secret_masks import amask, mask

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_slo_provider.freshness.sources.http_client import ApiSettings
    from airflow_slo_provider.http.settings import HttpSettings


def api_settings(conn_id: str, *, token_path: str | None = None) -> ApiSettings:
    """Read the connection of an HTTP API: Airflow's own, MLflow's, Feast's.

    Host is the URL, with a path prefix if there is one; login and password, or ``token`` in the extra, are the credentials.
    ``client_cert``, ``client_key``, ``verify``, ``ca_file``, ``connect_timeout``, ``read_timeout`` and ``headers`` of the extra
    have the same meaning as in a Prometheus connection.

    :param conn_id: the Airflow connection
    :param token_path: path at which the API issues a token for login and password; None if it does not
    :raises QueryError: reason ``bad_connection``
    """
    settings = _api_settings(BaseHook.get_connection(conn_id), token_path)
    mask(settings.secrets)
    return settings


async def async_api_settings(conn_id: str, *, token_path: str | None = None) -> ApiSettings:
    """Read a connection in a trigger; otherwise the same as :func:`api_settings`.

    :param conn_id: the Airflow connection
    :param token_path: path at which the API issues a token for login and password; None if it does not
    :raises QueryError: reason ``bad_connection``
    """
    settings = _api_settings(await BaseHook.aget_connection(conn_id), token_path)
    await amask(settings.secrets)
    return settings


def _api_settings(connection: Connection, token_path: str | None) -> ApiSettings:
    from airflow_slo_provider.freshness.sources.http_client import ApiSettings

    arguments = http_arguments(connection)
    names = ("url", "timeout", "headers", "basic", "bearer", "verify", "cert")
    return ApiSettings(token_path=token_path, **{name: arguments[name] for name in names})


def http_server(conn_id: str) -> HttpSettings:
    """Read a connection of Airflow's type ``http``: a model server, a Pushgateway.

    Host is the server's URL or name; login and password are sent as basic authentication, and a password without a login as a
    bearer token. The extra may hold ``headers`` (a mapping) and ``verify`` (false, or the path of a CA file). Without
    ``headers``, every other text value of the extra is a header, as in Airflow's HTTP provider.

    :param conn_id: the Airflow connection
    :raises QueryError: reason ``bad_connection``
    """
    from airflow_slo_provider.core.redaction import user_info
    from airflow_slo_provider.http.settings import HttpSettings

    connection = BaseHook.get_connection(conn_id)
    url = read_url(connection)
    extra = dict(connection.extra_dejson)
    verify = extra.pop("verify", True)
    headers = extra.pop("headers", None) or {name: text for name, text in extra.items() if isinstance(text, str)}
    if not isinstance(headers, dict):
        raise QueryError(f"connection {conn_id}: headers is not a mapping", reason="bad_connection")
    basic = (connection.login, connection.password or "") if connection.login else user_info(url)
    if connection.password and basic is None:
        headers = {"Authorization": f"Bearer {connection.password}", **headers}
    named = {str(name): str(text) for name, text in headers.items()}
    server = HttpSettings(url=url, headers=named, basic=basic, verify=verify, max_seconds=None)
    mask({*server.secrets, *named.values(), connection.password or ""})
    return server
