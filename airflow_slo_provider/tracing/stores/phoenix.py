"""Read traces from Arize Phoenix, which stores spans by project, with times in microseconds and without resources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from airflow_slo_provider.http.settings import HttpSettings
from airflow_slo_provider.tracing import otlp
from airflow_slo_provider.tracing.span_ids import parse_trace_id
from airflow_slo_provider.tracing.spans import Span, SpanStream, to_datetime
from airflow_slo_provider.tracing.stores.protocol import Search, group_by_trace, limit_traces, next_page
from airflow_slo_provider.tracing.stores.store_client import ServerStore

_MICROSECOND = 1000
_PAGE = 1000  # maximum number of spans per request
_AT_ONCE = 40
#: A trace that began up to this long before the interval is recognised as belonging to the previous interval.
_BEFORE_NS = 300 * 10**9


class PhoenixStore(ServerStore):
    """A Phoenix server. It stores no service names: the project is the service, under the name that the search gives.

    :param settings: HTTP settings, or the server's address
    :param project: name or id of the project that holds the traces
    """

    kind = "Phoenix"

    def __init__(self, settings: HttpSettings | str, *, project: str = "default") -> None:
        super().__init__(settings)
        self._project, self._path = project, f"/v1/projects/{quote(project, safe='')}/spans/otlpv1"

    def _search(self, stream: SpanStream, search: Search) -> Iterator[Span]:
        starts: dict[str, int] = {}
        times = {
            "start_time": to_datetime(search.start - _BEFORE_NS).isoformat(),
            "end_time": to_datetime(search.end).isoformat(),
        }
        for span in self._query(search.service, times):
            starts[span.trace_id] = min(starts.get(span.trace_id, span.start_ns), span.start_ns)
        # Rounded down to the store's resolution of a microsecond.
        low = search.start // _MICROSECOND * _MICROSECOND
        inside = [trace_id for start, trace_id in sorted((at, key) for key, at in starts.items()) if low <= start < search.end]
        traces = (
            trace.spans
            for index in range(0, len(inside), _AT_ONCE)
            for trace in group_by_trace(self._query(search.service, {"trace_id": inside[index : index + _AT_ONCE]}))
            if search.matches(trace.spans)
        )
        yield from limit_traces(search.limit, traces, stream)

    def trace(self, trace_id: str) -> list[Span]:
        """Return all spans of one trace; empty if Phoenix has no such trace."""
        return list(self._query("", {"trace_id": [parse_trace_id(trace_id)]}))

    def check(self) -> str:
        """Request one span; return a sentence that describes the server."""
        body = self._http.request(self._path, {"limit": 1}).body
        if not isinstance(body, dict) or not isinstance(body.get("data"), list):
            raise self._wrong_server_error()
        return f"Phoenix answers; project {self._project} is there"

    def _query(self, service: str, params: Mapping[str, Any]) -> Iterator[Span]:
        cursor: str | None = None
        seen: set[str] = set()
        while True:
            page = {**params, "limit": _PAGE, **({"cursor": cursor} if cursor else {})}
            body = self._http.request(self._path, page).body
            with self._convert_read_errors():
                for item in body["data"]:
                    yield _round_times(otlp.read_span(item, service=service))
                following = body.get("next_cursor")
            cursor = next_page(following, seen, "Phoenix", self._http.source)
            if cursor is None:
                return


def _round_times(span: Span) -> Span:
    """Round times to microseconds, to undo the inexactness of floats."""
    start, end = ((time + 500) // _MICROSECOND * _MICROSECOND for time in (span.start_ns, span.end_ns))
    return span._replace(start_ns=start, duration_ns=max(0, end - start), resolution_ns=_MICROSECOND)
