"""What an evaluation needs of Airflow: files through ObjectStoragePath, tables through SQL connections, model servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from airflow.sdk import ObjectStoragePath

    from airflow_slo_provider.evaluation.model_server import Server


def object_path(uri: str, conn_id: str | None = None) -> ObjectStoragePath:
    """Return the path of a file, local or remote.

    :param uri: a local path, or e.g. ``s3://bucket/key`` (``s3://conn_id@bucket/key`` names the connection)
    """
    from airflow.sdk import ObjectStoragePath

    return ObjectStoragePath(uri, conn_id=conn_id) if conn_id else ObjectStoragePath(uri)


def read_sql(query: str, conn_id: str) -> pd.DataFrame:
    """Return the rows of a query as a table.

    :param query: one SELECT
    :param conn_id: an Airflow SQL connection
    :raises QueryError: when the connection is no SQL database, or the database refuses the query
    """
    from contextlib import closing

    import pandas as pd
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowException

    from airflow_slo_provider.database_faults import classify
    from airflow_slo_provider.exceptions import QueryError

    connection = BaseHook.get_connection(conn_id)
    try:
        hook: Any = connection.get_hook()  # type: ignore[no-untyped-call]
    except AirflowException:  # no provider that is installed knows the type
        hook = None
    if not hasattr(hook, "get_conn") or not hasattr(hook, "get_records"):
        kind = connection.conn_type
        raise QueryError(f"connection {conn_id} is of type {kind}, which is no SQL database", reason="bad_connection")
    try:
        with closing(hook.get_conn()) as opened, closing(opened.cursor()) as cursor:
            cursor.execute(query)
            names = [column[0] for column in cursor.description or ()]
            rows = [list(row) for row in cursor.fetchall()]
    except Exception as error:
        fault = classify(error)
        # Not chained: a driver may quote the connection string, and a traceback would print it.
        raise QueryError(
            f"connection {conn_id}: the database refused the query ({type(error).__name__})",
            reason=fault.reason, transient=fault.transient, query=query,
        ) from None  # fmt: skip
    return pd.DataFrame(rows, columns=names)


def model_server(conn_id: str) -> Server:
    """Return the model server of a connection of type ``http``.

    Host is the server's URL or name, login and password are sent as basic authentication, a password without a login as a bearer
    token. The extra may hold ``headers`` (a mapping) and ``verify`` (false, or the file of a CA); every other key that is text is
    a header, as Airflow's HTTP provider has it.

    :raises QueryError: reason ``bad_connection``
    """
    from airflow.sdk import BaseHook
    from airflow.sdk.log import mask_secret

    from airflow_slo_provider.evaluation.model_server import Server
    from airflow_slo_provider.exceptions import QueryError

    connection = BaseHook.get_connection(conn_id)
    host = (connection.host or "").strip().rstrip("/")
    if not host:
        raise QueryError(f"connection {conn_id}: there is no host; write the model server's URL there", reason="bad_connection")
    url = host if "://" in host else f"{connection.schema or 'http'}://{host}"
    if connection.port and ":" not in url.partition("://")[2].partition("/")[0]:
        scheme, _, rest = url.partition("://")
        name, slash, path = rest.partition("/")
        url = f"{scheme}://{name}:{connection.port}{slash}{path}"
    extra: dict[str, Any] = dict(connection.extra_dejson)
    verify = extra.pop("verify", True)
    headers = extra.pop("headers", None) or {name: text for name, text in extra.items() if isinstance(text, str)}
    if not isinstance(headers, dict):
        raise QueryError(f"connection {conn_id}: headers is not a mapping", reason="bad_connection")
    basic = (connection.login, connection.password or "") if connection.login else None
    if connection.password:
        mask_secret(connection.password)
        if basic is None:
            headers = {"Authorization": f"Bearer {connection.password}", **headers}
    for text in headers.values():
        mask_secret(str(text))
    return Server(url=url, headers={str(name): str(text) for name, text in headers.items()}, basic=basic, verify=verify)


def push_gauges(text: str, conn_id: str, *, job: str, grouping: dict[str, str]) -> None:
    """Replace a group of gauges on a Pushgateway.

    :param text: Prometheus' text format
    :param conn_id: a connection with the Pushgateway's URL as host
    :raises QueryError: when it does not take them
    """
    from base64 import urlsafe_b64encode

    import requests

    from airflow_slo_provider.exceptions import QueryError

    def part(name: str, value: str) -> str:
        return f"{name}@base64/{urlsafe_b64encode(value.encode()).decode() or '='}"

    server = model_server(conn_id)
    path = "/".join(part(name, value) for name, value in {"job": job, **grouping}.items())
    try:
        response = requests.put(
            f"{server.url}/metrics/{path}", data=text.encode(),
            headers={"Content-Type": "text/plain; version=0.0.4", **server.headers},
            auth=server.basic, verify=server.verify, timeout=(5, 30), allow_redirects=False,
        )  # fmt: skip
    except requests.exceptions.RequestException as error:
        message = f"the Pushgateway was not reached ({type(error).__name__})"
        raise QueryError(message, reason="connection", transient=True, source=server.url) from None
    if response.status_code not in (200, 202):
        raise QueryError(
            f"the Pushgateway answered HTTP {response.status_code}: {' '.join(response.text[:200].split())}",
            reason="http_status", transient=response.status_code >= 500, http_status=response.status_code, source=server.url,
        )  # fmt: skip
