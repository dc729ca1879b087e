"""What an evaluation needs of Airflow: files through ObjectStoragePath, tables through SQL connections, model servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from airflow.sdk import ObjectStoragePath

    from airflow_slo_provider.http.settings import HttpSettings


def object_path(uri: str, conn_id: str | None = None) -> ObjectStoragePath:
    """Return the path of a file, local or remote.

    :param uri: a local path, or e.g. ``s3://bucket/key`` (``s3://conn_id@bucket/key`` names the connection)
    """
    from airflow.sdk import ObjectStoragePath

    return ObjectStoragePath(uri, conn_id=conn_id) if conn_id else ObjectStoragePath(uri)


def read_sql(query: str, conn_id: str) -> pd.DataFrame:
    """Return the rows of a query as a table.

    :param query: one SELECT; it runs in a read-only transaction, where the database has them
    :param conn_id: an Airflow SQL connection
    :raises QueryError: when it is no one SELECT, the connection is no SQL database, or the database refuses the query
    """
    from contextlib import closing

    import pandas as pd

    from airflow_slo_provider.drift.engines.sql_connection import ConnectionRunner
    from airflow_slo_provider.exceptions import QueryError
    from airflow_slo_provider.runtime.connections.sql_runner import HookRunner, one_reading_statement

    runner = HookRunner(conn_id, windowed=False)
    one_reading_statement(query, runner.dialect)
    with closing(runner.connect()) as opened:
        try:
            names, rows = ConnectionRunner(opened, runner.dialect)(query, {})
        except QueryError as error:
            # Not chained: a driver may quote the connection string, and a traceback would print it.
            raise QueryError(
                f"connection {conn_id}: the database refused the query ({error.message.partition(':')[0]})",
                reason=error.reason, transient=error.transient, query=query,
            ) from None  # fmt: skip
    return pd.DataFrame([list(row) for row in rows], columns=list(names))


def http_server(conn_id: str) -> HttpSettings:
    """Return the server of a connection of type ``http``: a model server, a Pushgateway.

    Host is the server's URL or name, login and password are sent as basic authentication, a password without a login as a bearer
    token. The extra may hold ``headers`` (a mapping) and ``verify`` (false, or the file of a CA); every other key that is text is
    a header, as Airflow's HTTP provider has it.

    :raises QueryError: reason ``bad_connection``
    """
    from airflow.sdk import BaseHook
    from airflow.sdk.log import mask_secret

    from airflow_slo_provider.core.redaction import user_info
    from airflow_slo_provider.exceptions import QueryError
    from airflow_slo_provider.http.settings import HttpSettings

    connection = BaseHook.get_connection(conn_id)
    host = (connection.host or "").strip().rstrip("/")
    if not host:
        raise QueryError(f"connection {conn_id}: there is no host; write the server's URL there", reason="bad_connection")
    url = host if "://" in host else f"{connection.schema or 'http'}://{host}"
    if connection.port and ":" not in url.partition("://")[2].partition("/")[0].rpartition("@")[2]:
        scheme, _, rest = url.partition("://")
        name, slash, path = rest.partition("/")
        url = f"{scheme}://{name}:{connection.port}{slash}{path}"
    extra: dict[str, Any] = dict(connection.extra_dejson)
    verify = extra.pop("verify", True)
    headers = extra.pop("headers", None) or {name: text for name, text in extra.items() if isinstance(text, str)}
    if not isinstance(headers, dict):
        raise QueryError(f"connection {conn_id}: headers is not a mapping", reason="bad_connection")
    basic = (connection.login, connection.password or "") if connection.login else user_info(url)
    if connection.password and basic is None:
        headers = {"Authorization": f"Bearer {connection.password}", **headers}
    named = {str(name): str(text) for name, text in headers.items()}
    server = HttpSettings(url=url, headers=named, basic=basic, verify=verify, max_seconds=None)
    for secret in {*server.secrets, *named.values(), connection.password or ""} - {""}:
        mask_secret(secret)
    return server
