"""Where Airflow keeps the ledger, and which row of it belongs to a task instance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import URL

    from airflow_slo_provider.ledger import Ledger, RunKey


def open_default_ledger() -> Ledger:
    """Open the ledger that Airflow's configuration names.

    ``[slo] ledger_conn_id`` (an Airflow connection) wins over ``[slo] ledger_url`` (a SQLAlchemy URL); without either it is
    ``slo_ledger.db`` in ``AIRFLOW_HOME``.

    :raises LedgerError: when it cannot be opened
    """
    from airflow_slo_provider.ledger import open_ledger

    return open_ledger(default_ledger_url())


def default_ledger_url() -> str | URL:
    """Return the URL of the ledger that :func:`open_default_ledger` opens. It may hold a password: not for logs."""
    import os

    from airflow.sdk import conf

    from airflow_slo_provider.ledger.engine import default_url

    conn_id = conf.get("slo", "ledger_conn_id", fallback=None)
    if conn_id:
        return connection_url(conn_id)
    url = conf.get("slo", "ledger_url", fallback=None)
    if url:
        return str(url)
    return default_url(os.environ.get("AIRFLOW_HOME") or "~/airflow")


def connection_url(conn_id: str) -> URL:
    """Make the SQLAlchemy URL of an Airflow connection.

    :raises LedgerError: when there is no such connection, or its hook knows no SQLAlchemy URL
    """
    from airflow.sdk import BaseHook
    from sqlalchemy import URL, make_url

    from airflow_slo_provider.exceptions import LedgerError
    from airflow_slo_provider.redaction import server_text

    try:
        connection = BaseHook.get_connection(conn_id)
        if connection.conn_type == "sqlite":
            return URL.create("sqlite", database=connection.host or connection.schema)
        hook: Any = connection.get_hook()  # type: ignore[no-untyped-call]
    except Exception as error:  # Airflow knows no such connection, or no hook for its type
        raise LedgerError(
            f"connection {conn_id}, where the ledger is, cannot be used ({type(error).__name__}: {server_text(error)})",
            reason="bad_connection",
        ) from None
    try:
        url: URL = hook.sqlalchemy_url
    except (NotImplementedError, AttributeError):
        try:
            url = make_url(hook.get_uri())
        except Exception:  # the error's text may hold the password
            raise LedgerError(
                f"connection {conn_id} of type {connection.conn_type} has no SQLAlchemy URL; "
                "use a SQLite or PostgreSQL connection, or [slo] ledger_url",
                reason="bad_url",
            ) from None
    if url.get_backend_name() == "postgresql":
        # The hook's URL leaves out what get_conn() passes on from the extra: without it, sslmode would be lost.
        ignored = set(getattr(hook, "ignored_extra_options", ()))
        extra = {key: str(value) for key, value in connection.extra_dejson.items() if key not in ignored}
        url = url.update_query_dict(extra)
    return url


def run_key(context: Mapping[str, Any]) -> RunKey:
    """Return the key of the task instance a context belongs to.

    :param context: Airflow's task context
    """
    from airflow_slo_provider.ledger import RunKey

    instance = context["ti"]
    index = instance.map_index
    return RunKey(instance.dag_id, instance.run_id, instance.task_id, -1 if index is None else index, instance.try_number)


def map_label(context: Mapping[str, Any]) -> dict[str, str]:
    """Return what the ``map_index_template`` of a mapped task gave, as evidence; nothing where there is none.

    :param context: Airflow's task context
    """
    from airflow_slo_provider.ledger.mapped_names import LABEL

    label = getattr(context["ti"], "rendered_map_index", None)
    return {LABEL: label} if isinstance(label, str) and label else {}
