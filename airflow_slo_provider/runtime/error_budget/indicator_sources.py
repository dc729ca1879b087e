"""Open the indicator source that a DataSource document names, through Airflow's connections."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from airflow_slo_provider.exceptions import LedgerError, MeasurementError, QueryError

if TYPE_CHECKING:
    from airflow_slo_provider.ledger import Ledger
    from airflow_slo_provider.slo.budget.indicator_source import IndicatorSource
    from airflow_slo_provider.slo.budget.measurement_requests import SourceFactory
    from airflow_slo_provider.slo.model import DataSource


@contextmanager
def sources(ledger: Ledger | None = None) -> Iterator[SourceFactory]:
    """Yield the function from which ``SLOMonitor`` gets its sources; afterwards, close the ledgers that it opened.

    Each connection is opened once, even if several documents name it; one that cannot be opened is not tried again.

    :param ledger: ledger for a ``type: Ledger`` without a connection; it stays open. By default, the default ledger is opened.
    """
    opened: dict[tuple[str, str | None], IndicatorSource | MeasurementError] = {}
    with ExitStack() as stack:

        def source(kind: str, document: DataSource | None) -> IndicatorSource:
            key = (kind, document.conn_id if document else None)
            if key not in opened:
                try:
                    opened[key] = _open(kind, document, ledger, stack)
                except MeasurementError as error:
                    opened[key] = error
            found = opened[key]
            if isinstance(found, MeasurementError):
                raise found
            return found

        yield source


def source_for(kind: str, document: DataSource | None = None, *, ledger: Ledger | None = None) -> IndicatorSource:
    """Return the indicator source of a DataSource. Its connections are not closed: inside a task, use :func:`sources`.

    :param kind: ``Prometheus``, ``SQL`` or ``Ledger``
    :param document: the DataSource; its ``connectionDetails.airflowConnId`` names the connection. Without a document or a
        connection: the connection ``prometheus_default``, or the default ledger; for SQL a connection is required
    :param ledger: the default ledger, if it is already open
    :raises MeasurementError: if there is no such source, e.g. reason ``bad_connection``
    """
    return _open(kind, document, ledger, ExitStack())


def _open(kind: str, document: DataSource | None, ledger: Ledger | None, stack: ExitStack) -> IndicatorSource:
    conn_id = document.conn_id if document else None
    try:
        if kind == "Prometheus":
            return _prometheus(conn_id)
        if kind == "SQL":
            return _sql(conn_id, document)
        if kind == "Ledger":
            return _ledger(conn_id, ledger, stack)
    except LedgerError as error:
        raise QueryError(error.message, reason=error.reason, transient=error.transient) from error
    except MeasurementError:
        raise
    except Exception as error:  # Airflow's exceptions for an unknown connection or a missing hook
        from airflow_slo_provider.core.redaction import server_text

        # Not chained: the original error may quote the connection's secrets.
        raise QueryError(
            f"connection {conn_id or 'prometheus_default'} cannot be used ({type(error).__name__}: {server_text(error)}); "
            "define it in Airflow, or name another one: connectionDetails.airflowConnId of a DataSource document",
            reason="bad_connection",
        ) from None
    raise QueryError(f"data of type {kind!r} cannot be measured, only Prometheus, SQL and Ledger", reason="unknown_source")


def _prometheus(conn_id: str | None) -> IndicatorSource:
    from airflow_slo_provider.hooks.prometheus import PrometheusHook

    return PrometheusHook(conn_id or PrometheusHook.default_conn_name).source()


def _sql(conn_id: str | None, document: DataSource | None) -> IndicatorSource:
    from airflow_slo_provider.runtime.connections.sql import sql_source

    if conn_id is None:
        where = f"DataSource {document.name} names none" if document else "there is no DataSource document that names one"
        raise QueryError(
            f"a SQL indicator needs a database: {where}; write its Airflow connection into connectionDetails.airflowConnId",
            reason="bad_connection",
        )
    return sql_source(conn_id)


def _ledger(conn_id: str | None, ledger: Ledger | None, stack: ExitStack) -> IndicatorSource:
    from airflow_slo_provider.indicators.ledger import LedgerSource
    from airflow_slo_provider.runtime.recording.ledger_connection import connection_url, open_default_ledger, open_for_tasks

    if conn_id is not None:
        return LedgerSource(stack.enter_context(open_for_tasks(connection_url(conn_id))))
    return LedgerSource(ledger or stack.enter_context(open_default_ledger()))
