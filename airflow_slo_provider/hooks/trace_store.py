"""Airflow hook for a trace store: Tempo, Jaeger, MLflow, Phoenix or OTLP-JSON files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from airflow_slo_provider.hooks.connection_forms.trace_store import store_settings, trace_store_connection_type

if TYPE_CHECKING:
    from airflow_slo_provider.tracing.spans import Span, SpanStream
    from airflow_slo_provider.tracing.stores import TraceStore

__all__ = ["TraceStoreHook", "trace_store_connection_type"]


class TraceStoreHook(BaseHook):
    """Read traces from Grafana Tempo, Jaeger (and servers with its API), MLflow, Phoenix, or OTLP-JSON files.

    Host is the server's URL, with a path prefix if there is one; login and password are sent as basic authentication. The other
    settings are in the extra: ``kind`` (``tempo``, ``jaeger``, ``mlflow``, ``phoenix``, ``otlp_json``), ``path``, ``auth``,
    ``token``, ``client_cert``, ``client_key``, ``verify``, ``ca_file``, ``connect_timeout``, ``read_timeout``, ``max_seconds``,
    ``retries``, ``headers``, ``experiments``, ``project``, ``api``, ``page``, ``spans_per_trace``, ``whole_traces``,
    ``blind_seconds``.

    :param trace_store_conn_id: the Airflow connection
    """

    conn_name_attr = "trace_store_conn_id"
    default_conn_name = "trace_store_default"
    conn_type = "trace_store"
    hook_name = "Trace store"

    def __init__(self, trace_store_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.trace_store_conn_id = trace_store_conn_id
        self._store: TraceStore | None = None

    def get_conn(self) -> TraceStore:
        """Return the store; the connection is read once.

        :raises QueryError: reason ``bad_connection``
        """
        if self._store is None:
            from airflow_slo_provider.runtime.secret_masks import mask
            from airflow_slo_provider.tracing.stores import open_store

            settings = store_settings(self.get_connection(self.trace_store_conn_id))
            mask(settings["http"].secrets if "http" in settings else ())
            self._store = open_store(**settings)
        return self._store

    def spans(
        self,
        service: str,
        start: datetime,
        end: datetime,
        attributes: Mapping[str, Any] | None = None,
        limit: int = 10_000,
        selected: Sequence[str] = (),
    ) -> SpanStream:
        """Stream the spans of a service's requests.

        :param service: ``service.name`` of the service
        :param start: start of the interval (aware); a request belongs to the interval in which its first span starts
        :param end: end of the interval (aware), exclusive
        :param attributes: keep only traces in which a span of the service has all of these attributes
        :param limit: maximum number of traces to read
        :param selected: attributes to fetch with the spans, e.g. those that hold the model version
        :raises QueryError: if the store does not answer, also while the stream is read
        """
        return self.get_conn().spans(service, start, end, attributes, limit, selected)

    def trace(self, trace_id: str) -> list[Span]:
        """Return all spans of a trace; empty if the store has no trace with this id.

        :param trace_id: the trace id
        :raises QueryError: if the store does not answer
        """
        return self.get_conn().trace(trace_id)

    def test_connection(self) -> tuple[bool, str]:
        """Test the connection with a small query."""
        try:
            return True, self.get_conn().check()
        except Exception as error:  # every error is shown in the UI
            return False, str(error)
