"""Read traces from Arize Phoenix, which stores spans by project, with times in microseconds and without resources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from airflow_slo_provider.http.settings import HttpSettings
from airflow_slo_provider.tracing import otlp
from airflow_slo_provider.tracing.spans import Span, SpanStream, trace_id_of
from airflow_slo_provider.tracing.stores.protocol import Search, by_trace, next_page, up_to
from airflow_slo_provider.tracing.stores.store_client import ServerStore

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
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
        self._project = project

    def _search(self, stream: SpanStream, asked: Search) -> Iterator[Span]:
        begun: dict[str, int] = {}
        times = {"start_time": _iso(asked.start - _BEFORE_NS), "end_time": _iso(asked.end)}
        for span in self._ask(asked.service, times):
            begun[span.trace_id] = min(begun.get(span.trace_id, span.start_ns), span.start_ns)
        # Rounded down to the store's resolution of a microsecond.
        low = asked.start // _MICROSECOND * _MICROSECOND
        inside = [one for at, one in sorted((at, one) for one, at in begun.items()) if low <= at < asked.end]
        traces = (
            trace.spans
            for place in range(0, len(inside), _AT_ONCE)
            for trace in by_trace(self._ask(asked.service, {"trace_id": inside[place : place + _AT_ONCE]}))
            if asked.keeps(trace.spans)
        )
        yield from up_to(asked.limit, traces, stream)

    def trace(self, trace_id: str) -> list[Span]:
        """Return all spans of one trace; empty if Phoenix has no such trace."""
        return list(self._ask("", {"trace_id": [trace_id_of(trace_id)]}))

    def check(self) -> str:
        """Request one span; return a sentence that describes the server."""
        body = self._http.get(self._path(), {"limit": 1}).body
        if not isinstance(body, dict) or not isinstance(body.get("data"), list):
            raise self._wrong_server()
        return f"Phoenix answers; project {self._project} is there"

    def _path(self) -> str:
        return f"/v1/projects/{quote(self._project, safe='')}/spans/otlpv1"

    def _ask(self, service: str, params: Mapping[str, Any]) -> Iterator[Span]:
        cursor: str | None = None
        seen: set[str] = set()
        while True:
            asked = {**params, "limit": _PAGE, **({"cursor": cursor} if cursor else {})}
            body = self._http.get(self._path(), asked).body
            with self._reading():
                for item in body["data"]:
                    yield _rounded(otlp.read_span(item, service=service))
                told = body.get("next_cursor")
            cursor = next_page(told, seen, "Phoenix", self._http.source)
            if cursor is None:
                return


def _rounded(span: Span) -> Span:
    """Round times to microseconds, to undo the inexactness of floats."""
    start, end = ((moment + 500) // _MICROSECOND * _MICROSECOND for moment in (span.start_ns, span.end_ns))
    return span._replace(start_ns=start, duration_ns=max(0, end - start), resolution_ns=_MICROSECOND)


def _iso(nanoseconds: int) -> str:
    return (_EPOCH + timedelta(microseconds=nanoseconds // 1000)).isoformat()
