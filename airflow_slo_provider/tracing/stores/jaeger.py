"""Read traces from Jaeger, or from a server with Jaeger's query API such as VictoriaTraces.

Version 3 of the API is tried first (Jaeger 2; OTLP-JSON, times in nanoseconds). If it is not available, the classic JSON API is
used (Jaeger 1 to 2.20, VictoriaTraces under ``/select/jaeger``; times in microseconds).

https://www.jaegertracing.io/docs/latest/architecture/apis/
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_slo_provider.core.redaction import server_text
from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.http.settings import HttpSettings
from airflow_slo_provider.tracing import otlp
from airflow_slo_provider.tracing.spans import Span, SpanStream, checked, lasting, parent_id_of, span_id_of, trace_id_of
from airflow_slo_provider.tracing.stores.protocol import (
    Found,
    Search,
    as_text,
    by_trace,
    found,
    page_through,
    reading,
)
from airflow_slo_provider.tracing.stores.store_client import Answer, ServerStore

_MICROSECOND = 1000
_VICTORIA = "/select/jaeger"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class JaegerStore(ServerStore):
    """A Jaeger query server.

    :param settings: HTTP settings, or the server's address (with ``/select/jaeger`` for VictoriaTraces)
    :param api: ``v3``, ``classic``, or ``auto`` for the first that is available
    :param page: maximum number of traces per search request
    """

    kind = "Jaeger"

    def __init__(self, settings: HttpSettings | str, *, api: str = "auto", page: int = 1000) -> None:
        if api not in ("auto", "v3", "classic"):
            raise ValueError(f"api is {api!r}; write auto, v3 or classic")
        super().__init__(settings)
        self._api, self._page = api, page
        self._prefix = ""

    def _search(self, stream: SpanStream, asked: Search) -> Iterator[Span]:
        traces = page_through(
            lambda low, high, count: self._ask(stream, asked.service, low, high, asked.attributes, count),
            stream, asked, page=self._page, smallest=1_000_000, largest=7 * 86_400 * 10**9,
        )  # fmt: skip
        for trace in traces:
            # Not every server with version 3 filters by attributes.
            if asked.keeps(trace.spans):
                yield from trace.spans

    def trace(self, trace_id: str) -> list[Span]:
        """Return all spans of one trace; empty if Jaeger has no such trace."""
        identity = trace_id_of(trace_id)
        if self._api != "classic":
            answer = self._http.get(f"/api/v3/traces/{identity}", expect=(200, 404))
            if answer.status == 200 and _is_v3(answer):
                return [span for span in _read_v3(answer, self._http.source) if span.trace_id == identity]
            if _is_v3(answer) or self._api == "v3":
                return []
        answer = self._http.get(f"{self._prefix}/api/traces/{identity}", expect=(200, 404))
        return (
            [] if answer.status == 404 else [span for one in _read_classic(answer, self._http.source, None) for span in one.spans]
        )

    def check(self) -> str:
        """Request the names of services; return a sentence that describes the server."""
        if self._api != "classic":
            answer = self._http.get("/api/v3/services", expect=(200, 404))
            if answer.status == 200 and isinstance(answer.body, dict) and "services" in answer.body:
                with self._reading():
                    return f"Jaeger answers; it knows {len(answer.body.get('services') or ())} services"
        answer = self._classic("/api/services")
        if not isinstance(answer.body, dict) or not isinstance(answer.body.get("data", 0), list | None):
            raise self._wrong_server()
        with self._reading():
            return f"Jaeger answers (classic API); it knows {len(answer.body['data'] or ())} services"

    def _classic(self, path: str, params: Mapping[str, Any] | None = None, *, query: str | None = None) -> Answer:
        """Query the classic API, at Jaeger's path or at that of VictoriaTraces."""
        if self._prefix:
            return self._http.get(self._prefix + path, params, query=query)
        # VictoriaTraces answers 400 for an unknown path.
        answer = self._http.get(path, params, expect=(200, 400, 404), query=query)
        if answer.status == 200:
            return answer
        elsewhere = self._http.get(_VICTORIA + path, params, expect=(200, 400, 404), query=query)
        if elsewhere.status != 200:
            return self._http.get(path, params, query=query)
        self._prefix = _VICTORIA
        return elsewhere

    def _ask(self, stream: SpanStream, service: str, low: int, high: int, wanted: dict[str, Any], count: int) -> list[Found]:
        if self._api != "classic":
            params: dict[str, Any] = {
                # Most versions accept snake case.
                "query.service_name": service,
                "query.start_time_min": _rfc3339(low),
                "query.start_time_max": _rfc3339(high),
                "query.search_depth": count,
                "query.num_traces": count,
            }
            if wanted:
                params["query.attributes"] = json.dumps({key: as_text(value) for key, value in wanted.items()})
            expect = (200, 400, 404) if self._api == "auto" else (200, 404)
            answer = self._http.get("/api/v3/traces", params, expect=expect, query=f"service {service}")
            if _is_v3(answer):
                if answer.status == 400:
                    self._http.get("/api/v3/traces", params, query=f"service {service}")  # raises with the server's message
                self._api = "v3"
                return [] if answer.status == 404 else by_trace(_read_v3(answer, self._http.source))
            if self._api == "v3":
                raise QueryError(
                    "Jaeger: /api/v3/traces is not served", reason="not_found", http_status=404, source=self._http.source
                )
        params = {"service": service, "start": low // 1000, "end": -(-high // 1000), "limit": count}
        if wanted:
            params["tags"] = json.dumps({key: as_text(value) for key, value in wanted.items()})
        answer = self._classic("/api/traces", params, query=f"service {service}")
        self._api = "classic"
        return _read_classic(answer, self._http.source, stream)


def _rfc3339(nanoseconds: int) -> str:
    moment = _EPOCH + timedelta(seconds=nanoseconds // 10**9)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds % 10**9:09d}Z"


def _is_v3(answer: Answer) -> bool:
    """Whether API version 3 answered: spans, or its own "not found" rather than a web server's."""
    body = answer.body
    if isinstance(body, list):
        return bool(body) and all(isinstance(part, dict) and "result" in part for part in body)
    if not isinstance(body, dict):
        return False
    error = body.get("error")
    return "result" in body or "resourceSpans" in body or (isinstance(error, dict) and "httpCode" in error)


def _read_v3(answer: Answer, source: str) -> Iterator[Span]:
    with reading("Jaeger", source):
        for part in answer.body if isinstance(answer.body, list) else [answer.body]:
            yield from otlp.read_document(part.get("result") or part if "resourceSpans" in part else part.get("result") or {})


def _read_classic(answer: Answer, source: str, stream: SpanStream | None) -> list[Found]:
    body = answer.body
    if not isinstance(body, dict) or "data" not in body:
        raise QueryError("Jaeger: the answer holds no traces", reason="bad_answer", source=source)
    errors = body.get("errors") or ()
    if errors and not body["data"]:
        raise QueryError(f"Jaeger: {server_text(errors)}", reason="server_error", transient=True, source=source)
    if errors and stream is not None:
        stream.lack(f"Jaeger reports errors beside its answer: {server_text(errors, limit=200)}")
    with reading("Jaeger", source):
        return [found(spans) for trace in body["data"] or () if (spans := _classic_spans(trace))]


def _classic_spans(trace: Mapping[str, Any]) -> list[Span]:
    processes = trace.get("processes") or {}
    spans = []
    for span in trace.get("spans") or ():
        tags = {tag["key"]: tag.get("value") for tag in span.get("tags") or ()}
        error = tags.pop("error", None)
        status = str(tags.get("otel.status_code") or "").upper()
        process = span.get("process") or processes.get(span.get("processID")) or {}
        told = span.get("duration")
        duration, timed = lasting(None if told is None else int(told))
        read = Span(
            trace_id=trace_id_of(span.get("traceID") or trace["traceID"]),
            span_id=span_id_of(span["spanID"]),
            parent_id=_classic_parent(span),
            name=str(span.get("operationName") or ""),
            service=str(process.get("serviceName") or ""),
            start_ns=int(span["startTime"]) * _MICROSECOND,
            duration_ns=duration * _MICROSECOND,
            # VictoriaTraces sets the tag on every span: "unset", "ok" or "true".
            error=str(error).lower() == "true" or status == "ERROR",
            attributes=tags,
            resolution_ns=_MICROSECOND,
            timed=timed,
        )
        spans.append(checked(read))
    return spans


def _classic_parent(span: Mapping[str, Any]) -> str | None:
    """Return the parent's id: the first CHILD_OF reference into the same trace, else a FOLLOWS_FROM one, else the old field."""
    trace = trace_id_of(span["traceID"]) if span.get("traceID") else None
    inside = [one for one in span.get("references") or () if trace is None or trace_id_of(one.get("traceID") or trace) == trace]
    for kind in ("CHILD_OF", "FOLLOWS_FROM"):
        for reference in inside:
            if reference.get("refType") == kind:
                return parent_id_of(reference.get("spanID"))
    return parent_id_of(span.get("parentSpanID"))
