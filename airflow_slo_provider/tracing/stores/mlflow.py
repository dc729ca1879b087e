"""Read traces from an MLflow tracking server, which receives OTLP at ``/v1/traces`` and stores traces by experiment.

A search returns data about whole traces; their spans are fetched in batches. MLflow stores one service name per trace.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.http.settings import HttpSettings
from airflow_slo_provider.tracing import otlp
from airflow_slo_provider.tracing.spans import Span, SpanStream, trace_id_of
from airflow_slo_provider.tracing.stores.protocol import Search, next_page, up_to
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
        self._experiments = tuple(str(one) for one in experiments)

    def _search(self, stream: SpanStream, asked: Search) -> Iterator[Span]:
        traces = (
            spans
            for spans in self._found(stream, asked)
            if asked.start <= min(span.start_ns for span in spans) < asked.end and asked.keeps(spans)
        )
        yield from up_to(asked.limit, traces, stream)

    def trace(self, trace_id: str) -> list[Span]:
        """Return all spans of one trace; empty if MLflow has no such trace."""
        return next(iter(self._batch([f"tr-{trace_id_of(trace_id)}"])), [])

    def check(self) -> str:
        """Search for one trace; return a sentence that describes the server."""
        body = self._page(int(datetime.now(UTC).timestamp() * 1000) - 60_000, 2**53, None, 1)
        # For an experiment without traces MLflow returns an empty object.
        if not isinstance(body, dict) or "error_code" in body or (body and not body.keys() & {"traces", "next_page_token"}):
            raise self._wrong_server()
        return f"MLflow answers searches in experiment {', '.join(self._experiments)}"

    def _found(self, stream: SpanStream, asked: Search) -> Iterator[list[Span]]:
        service = asked.service
        token: str | None = None
        seen: set[str] = set()
        while True:
            # Trace times are milliseconds: a slightly wider interval is requested, then filtered by the spans' times.
            body = self._page(asked.start // 10**6, asked.end // 10**6 + 1, token, _PAGE)
            with self._reading():
                infos = [info for info in body.get("traces") or () if _service(info) in ("", service) or not service]
                names = [info["trace_id"] for info in infos]
            for place in range(0, len(names), _AT_ONCE):
                wanted = names[place : place + _AT_ONCE]
                answered = self._batch(wanted)
                if len(answered) < len(wanted):
                    stream.lack(f"{len(wanted) - len(answered)} traces were found, but their spans are not there (yet)")
                yield from answered
            token = next_page(body.get("next_page_token"), seen, "MLflow", self._http.source)
            if token is None:
                return

    def _page(self, first: int, last: int, token: str | None, count: int) -> dict[str, Any]:
        query = f"timestamp_ms >= {first} AND timestamp_ms <= {last}"
        locations = [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": one}} for one in self._experiments]
        asked = {"locations": locations, "filter": query, "max_results": count, "order_by": ["timestamp_ms ASC"]}
        if token:
            asked["page_token"] = token
        body = self._http.ask("POST", _SEARCH, body=asked, query=query).body
        if not isinstance(body, dict):
            raise QueryError("MLflow: the answer is no search result", reason="bad_answer", query=query, source=self._http.source)
        return body

    def _batch(self, trace_ids: list[str]) -> list[list[Span]]:
        body = self._http.get(_BATCH, {"trace_ids": trace_ids}).body
        found = []
        with self._reading():
            for trace in body.get("traces") or ():
                service = _service(trace.get("trace_info") or {})
                spans = [otlp.read_span(span, service=service) for span in trace.get("spans") or ()]
                if spans:
                    found.append(spans)
        return found


def _service(info: Mapping[str, Any]) -> str:
    tags = info.get("tags") or {}
    return str(tags.get("service.name") or "") if isinstance(tags, Mapping) else ""
