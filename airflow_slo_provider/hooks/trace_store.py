"""An Airflow connection to the place where a team keeps its traces."""

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
    """Reads traces from Grafana Tempo, Jaeger (and what speaks its API), MLflow, Phoenix, or OTLP-JSON files.

    Host is the server's URL, with a path prefix where there is one; login and password are sent as basic authentication. All else
    stands in the extra: ``kind`` (``tempo``, ``jaeger``, ``mlflow``, ``phoenix``, ``otlp_json``), ``path``, ``auth``, ``token``,
    ``client_cert``, ``client_key``, ``verify``, ``ca_file``, ``connect_timeout``, ``read_timeout``, ``max_seconds``, ``retries``,
    ``headers``, ``experiments``, ``project``, ``api``, ``page``, ``spans_per_trace``, ``whole_traces``, ``blind_seconds``.

    :param trace_store_conn_id: the connection
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

        :param start: aware; a request belongs to the interval its first span starts in
        :param end: aware, exclusive
        :param attributes: keep the traces in which a span of the service has all of these
        :param limit: traces to read at most
        :param selected: attributes that spans must come with, e.g. those that hold the model version
        :raises QueryError: when the store does not answer, also while the stream is read
        """
        return self.get_conn().spans(service, start, end, attributes, limit, selected)

    def trace(self, trace_id: str) -> list[Span]:
        """Return one whole trace; empty when the store has none of that id.

        :raises QueryError: when the store does not answer
        """
        return self.get_conn().trace(trace_id)

    def test_connection(self) -> tuple[bool, str]:
        """Ask the store for something small."""
        try:
            return True, self.get_conn().check()
        except Exception as error:  # shown in the UI, whatever it is
            return False, str(error)
