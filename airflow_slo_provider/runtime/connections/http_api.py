"""An Airflow connection as the address and credentials of an HTTP API: Airflow's own, MLflow's, Feast's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseHook

from airflow_slo_provider.hooks.connection_forms.prometheus import client_settings

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_slo_provider.freshness.sources.http_client import ApiSettings


def api_settings(conn_id: str, *, token_path: str | None = None) -> ApiSettings:
    """Read a connection.

    Host is the URL, with a path prefix where there is one; login and password, or ``token`` in the extra, are the credentials.
    ``client_cert``, ``client_key``, ``verify``, ``ca_file``, ``connect_timeout``, ``read_timeout`` and ``headers`` of the extra
    mean what they mean in a Prometheus connection.

    :param token_path: where the API gives a token for login and password
    :raises QueryError: reason ``bad_connection``
    """
    from airflow.sdk.log import mask_secret

    settings = _settings(BaseHook.get_connection(conn_id), token_path)
    for secret in settings.secrets:
        mask_secret(secret)
    return settings


async def async_api_settings(conn_id: str, *, token_path: str | None = None) -> ApiSettings:
    """Read a connection in a trigger."""
    from airflow.sdk import log

    settings = _settings(await BaseHook.aget_connection(conn_id), token_path)
    for secret in settings.secrets:
        if hasattr(log, "amask_secret"):  # since Airflow 3.3
            await log.amask_secret(secret)
        else:
            log.mask_secret(secret)
    return settings


def _settings(connection: Connection, token_path: str | None) -> ApiSettings:
    from airflow_slo_provider.freshness.sources.http_client import ApiSettings

    # Other connection types keep their schemes and databases in `schema`: only http and https are meant here.
    fields = client_settings(connection)
    names = ("url", "timeout", "headers", "basic", "bearer", "verify", "cert")
    return ApiSettings(token_path=token_path, **{name: fields[name] for name in names})
