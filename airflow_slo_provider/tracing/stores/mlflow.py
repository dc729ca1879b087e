"""MLflow's tracking server, which takes OTLP at ``/v1/traces`` and keeps traces by experiment.

A search answers what is known of whole traces; their spans are fetched in batches. The service's name is kept once per trace.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.http.settings import HttpSettings
from airflow_slo_provider.tracing import otlp
from airflow_slo_provider.tracing.spans import Span, SpanStream, trace_id_of
from airflow_slo_provider.tracing.stores.http import StoreClient
from airflow_slo_provider.tracing.stores.protocol import LIMIT, carries, interval, next_page, reading

_SEARCH, _BATCH = "/api/3.0/mlflow/traces/search", "/api/3.0/mlflow/traces/batchGet"
_PAGE = 500  # the most a search answers
_AT_ONCE = 50


class MlflowStore:
    """An MLflow tracking server.

    :param settings: how it is reached, or its address
    :param experiments: ids of the experiments that hold the traces
    """

    def __init__(self, settings: HttpSettings | str, *, experiments: Sequence[str] = ("0",)) -> None:
        self._http = StoreClient(settings, kind="MLflow")
        self._experiments = tuple(str(one) for one in experiments)

    def spans(
        self,
        service: str,
        start: datetime | float,
        end: datetime | float,
        attributes: Mapping[str, Any] | None = None,
        limit: int = LIMIT,
        selected: Sequence[str] = (),
    ) -> SpanStream:
        """Stream the spans of a service's requests, see :class:`~airflow_slo_provider.tracing.stores.protocol.TraceStore`."""
        first, last = interval(start, end, limit)
        wanted = dict(attributes or {})

        def run(stream: SpanStream) -> Iterator[Span]:
            given = 0
            for spans in self._found(stream, service, first, last):
                begun = min(span.start_ns for span in spans)
                if not first <= begun < last or (wanted and not carries(spans, service, wanted)):
                    continue
                if given == limit:
                    stream.lack(f"the limit of {limit} traces is reached: there are more; raise the limit or narrow the interval")
                    return
                given += 1
                yield from spans

        return SpanStream(run)

    def trace(self, trace_id: str) -> list[Span]:
        """Return one whole trace; empty when MLflow has none of that id."""
        return next(iter(self._batch([f"tr-{trace_id_of(trace_id)}"])), [])

    def check(self) -> str:
        """Search for one trace."""
        body = self._search(int(datetime.now(UTC).timestamp() * 1000) - 60_000, 2**53, None, 1)
        # An experiment without traces is answered with an empty object.
        if not isinstance(body, dict) or "error_code" in body or (body and not body.keys() & {"traces", "next_page_token"}):
            raise QueryError(f"what answers at {self._http.source} is no MLflow", reason="not_mlflow", source=self._http.source)
        return f"MLflow answers searches in experiment {', '.join(self._experiments)}"

    def _found(self, stream: SpanStream, service: str, first: int, last: int) -> Iterator[list[Span]]:
        token: str | None = None
        seen: set[str] = set()
        while True:
            # Trace times are milliseconds: a little more is asked for, and sorted out by the spans.
            body = self._search(first // 10**6, last // 10**6 + 1, token, _PAGE)
            with reading("MLflow", self._http.source):
                infos = [info for info in body.get("traces") or () if _service(info) in ("", service) or not service]
                names = [info["trace_id"] for info in infos]
            for place in range(0, len(names), _AT_ONCE):
                asked = names[place : place + _AT_ONCE]
                answered = self._batch(asked)
                if len(answered) < len(asked):
                    stream.lack(f"{len(asked) - len(answered)} traces were found, but their spans are not there (yet)")
                yield from answered
            token = next_page(body.get("next_page_token"), seen, "MLflow", self._http.source)
            if token is None:
                return

    def _search(self, first: int, last: int, token: str | None, count: int) -> dict[str, Any]:
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
        with reading("MLflow", self._http.source):
            for trace in body.get("traces") or ():
                service = _service(trace.get("trace_info") or {})
                spans = [otlp.read_span(span, service=service) for span in trace.get("spans") or ()]
                if spans:
                    found.append(spans)
        return found


def _service(info: Mapping[str, Any]) -> str:
    tags = info.get("tags") or {}
    return str(tags.get("service.name") or "") if isinstance(tags, Mapping) else ""
