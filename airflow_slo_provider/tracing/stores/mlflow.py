"""Read traces from an MLflow tracking server, which receives OTLP at ``/v1/traces`` and stores traces by experiment.

A search returns data about whole traces; their spans are fetched in batches. MLflow stores one service name per trace.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from airflow_slo_provider.http.settings import HttpSettings
from airflow_slo_provider.tracing import otlp
from airflow_slo_provider.tracing.span_ids import parse_trace_id
from airflow_slo_provider.tracing.spans import Span, SpanStream
from airflow_slo_provider.tracing.stores.protocol import Search, limit_traces, next_page
from airflow_slo_provider.tracing.stores.store_client import ServerStore

_SEARCH, _BATCH = "/api/3.0/mlflow/traces/search", "/api/3.0/mlflow/traces/batchGet"
_PAGE = 500  # maximum number of traces per search
_AT_ONCE = 50


class MlflowStore(ServerStore):
    """An MLflow tracking server.

    :param settings: HTTP settings, or the server's address
    :param experiments: ids of the experiments that hold the traces
    """

    kind = "MLflow"

    def __init__(self, settings: HttpSettings | str, *, experiments: Sequence[str] = ("0",)) -> None:
        super().__init__(settings)
        self._experiments = tuple(str(experiment) for experiment in experiments)

    def _search(self, stream: SpanStream, search: Search) -> Iterator[Span]:
        traces = (
            spans
            for spans in self._traces(stream, search)
            if search.start <= min(span.start_ns for span in spans) < search.end and search.matches(spans)
        )
        yield from limit_traces(search.limit, traces, stream)

    def trace(self, trace_id: str) -> list[Span]:
        """Return all spans of one trace; empty if MLflow has no such trace."""
        return next(iter(self._get_traces([f"tr-{parse_trace_id(trace_id)}"])), [])

    def check(self) -> str:
        """Search for one trace; return a sentence that describes the server."""
        body = self._page(int(datetime.now(UTC).timestamp() * 1000) - 60_000, 2**53, None, 1)
        # For an experiment without traces MLflow returns an empty object.
        if not isinstance(body, dict) or "error_code" in body or (body and not body.keys() & {"traces", "next_page_token"}):
            raise self._wrong_server_error()
        return f"MLflow answers searches in experiment {', '.join(self._experiments)}"

    def _traces(self, stream: SpanStream, search: Search) -> Iterator[list[Span]]:
        service = search.service
        token: str | None = None
        seen: set[str] = set()
        while True:
            # Trace times are milliseconds: a slightly wider interval is requested, then filtered by the spans' times.
            body = self._page(search.start // 10**6, search.end // 10**6 + 1, token, _PAGE)
            with self._convert_read_errors():
                infos = [info for info in body.get("traces") or () if _service(info) in ("", service) or not service]
                names = [info["trace_id"] for info in infos]
            for index in range(0, len(names), _AT_ONCE):
                batch = names[index : index + _AT_ONCE]
                traces = self._get_traces(batch)
                if len(traces) < len(batch):
                    stream.lack(f"{len(batch) - len(traces)} traces were found, but their spans are missing so far")
                yield from traces
            token = next_page(body.get("next_page_token"), seen, "MLflow", self._http.source)
            if token is None:
                return

    def _page(self, first: int, last: int, token: str | None, count: int) -> dict[str, Any]:
        query = f"timestamp_ms >= {first} AND timestamp_ms <= {last}"
        locations = [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": key}} for key in self._experiments]
        fields = {"locations": locations, "filter": query, "max_results": count, "order_by": ["timestamp_ms ASC"]}
        if token:
            fields["page_token"] = token
        body = self._http.request(_SEARCH, body=fields, query=query).body
        if not isinstance(body, dict):
            raise self._http.error("the answer is not a search result", "bad_answer", query)
        return body

    def _get_traces(self, trace_ids: list[str]) -> list[list[Span]]:
        body = self._http.request(_BATCH, {"trace_ids": trace_ids}).body
        found = []
        with self._convert_read_errors():
            for trace in body.get("traces") or ():
                service = _service(trace.get("trace_info") or {})
                spans = [otlp.read_span(span, service=service) for span in trace.get("spans") or ()]
                if spans:
                    found.append(spans)
        return found


def _service(info: Mapping[str, Any]) -> str:
    tags = info.get("tags") or {}
    return str(tags.get("service.name") or "") if isinstance(tags, Mapping) else ""
