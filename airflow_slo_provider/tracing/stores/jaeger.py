"""Read traces from Jaeger, or from a server with Jaeger's query API such as VictoriaTraces.

Version 3 of the API is tried first (Jaeger 2; OTLP-JSON, times in nanoseconds). If it is not available, the classic JSON API is
used (Jaeger 1 to 2.20, VictoriaTraces under ``/select/jaeger``; times in microseconds).

https://www.jaegertracing.io/docs/latest/architecture/apis/
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from airflow_slo_provider.core.redaction import server_text
from airflow_slo_provider.http.settings import HttpSettings
from airflow_slo_provider.tracing import otlp
from airflow_slo_provider.tracing.span_ids import parse_parent_id, parse_span_id, parse_trace_id
from airflow_slo_provider.tracing.spans import Span, SpanStream, check_duration, check_span, to_datetime
from airflow_slo_provider.tracing.stores.protocol import (
    Search,
    StoredTrace,
    as_text,
    group_by_trace,
    page_through,
)
from airflow_slo_provider.tracing.stores.store_client import ServerStore, StoreAnswer

_MICROSECOND = 1000
_VICTORIA = "/select/jaeger"


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

    def _search(self, stream: SpanStream, search: Search) -> Iterator[Span]:
        traces = page_through(
            lambda low, high, count: self._query(stream, search.service, low, high, search.attributes, count),
            stream, search, page=self._page, smallest=1_000_000, largest=7 * 86_400 * 10**9,
        )  # fmt: skip
        for trace in traces:
            # Not every server with version 3 filters by attributes.
            if search.matches(trace.spans):
                yield from trace.spans

    def trace(self, trace_id: str) -> list[Span]:
        """Return all spans of one trace; empty if Jaeger has no such trace."""
        identity = parse_trace_id(trace_id)
        if self._api != "classic":
            answer = self._http.request(f"/api/v3/traces/{identity}", expect=(200, 404))
            if answer.status == 200 and _is_v3(answer):
                return [span for span in self._read_v3(answer) if span.trace_id == identity]
            if _is_v3(answer) or self._api == "v3":
                return []
        answer = self._http.request(f"{self._prefix}/api/traces/{identity}", expect=(200, 404))
        traces = [] if answer.status == 404 else self._read_classic(answer, None)
        return [span for trace in traces for span in trace.spans]

    def check(self) -> str:
        """Request the names of services; return a sentence that describes the server."""
        if self._api != "classic":
            answer = self._http.request("/api/v3/services", expect=(200, 404))
            if answer.status == 200 and isinstance(answer.body, dict) and "services" in answer.body:
                with self._convert_read_errors():
                    return f"Jaeger answers; it has traces of {len(answer.body.get('services') or ())} services"
        answer = self._classic("/api/services")
        if not isinstance(answer.body, dict) or not isinstance(answer.body.get("data", 0), list | None):
            raise self._wrong_server_error()
        with self._convert_read_errors():
            return f"Jaeger answers (classic API); it has traces of {len(answer.body['data'] or ())} services"

    def _classic(self, path: str, params: Mapping[str, Any] | None = None, *, query: str | None = None) -> StoreAnswer:
        """Query the classic API, at Jaeger's path or at that of VictoriaTraces."""
        if self._prefix:
            return self._http.request(self._prefix + path, params, query=query)
        # VictoriaTraces answers 400 for an unknown path.
        answer = self._http.request(path, params, expect=(200, 400, 404), query=query)
        if answer.status == 200:
            return answer
        elsewhere = self._http.request(_VICTORIA + path, params, expect=(200, 400, 404), query=query)
        if elsewhere.status != 200:
            return self._http.request(path, params, query=query)
        self._prefix = _VICTORIA
        return elsewhere

    def _query(
        self, stream: SpanStream, service: str, low: int, high: int, attributes: dict[str, Any], count: int
    ) -> list[StoredTrace]:
        if self._api != "classic":
            params: dict[str, Any] = {
                # Most versions accept snake case.
                "query.service_name": service,
                "query.start_time_min": _rfc3339(low),
                "query.start_time_max": _rfc3339(high),
                "query.search_depth": count,
                "query.num_traces": count,
            }
            if attributes:
                params["query.attributes"] = json.dumps({key: as_text(value) for key, value in attributes.items()})
            expect = (200, 400, 404) if self._api == "auto" else (200, 404)
            answer = self._http.request("/api/v3/traces", params, expect=expect, query=f"service {service}")
            if _is_v3(answer):
                if answer.status == 400:
                    self._http.request("/api/v3/traces", params, query=f"service {service}")  # raises with the server's message
                self._api = "v3"
                return [] if answer.status == 404 else group_by_trace(self._read_v3(answer))
            if self._api == "v3":
                raise self._http.error("/api/v3/traces is not served", "not_found", None, 404)
        params = {"service": service, "start": low // 1000, "end": -(-high // 1000), "limit": count}
        if attributes:
            params["tags"] = json.dumps({key: as_text(value) for key, value in attributes.items()})
        answer = self._classic("/api/traces", params, query=f"service {service}")
        self._api = "classic"
        return self._read_classic(answer, stream)

    def _read_v3(self, answer: StoreAnswer) -> Iterator[Span]:
        with self._convert_read_errors():
            for part in answer.body if isinstance(answer.body, list) else [answer.body]:
                yield from otlp.read_document(part.get("result") or part if "resourceSpans" in part else part.get("result") or {})

    def _read_classic(self, answer: StoreAnswer, stream: SpanStream | None) -> list[StoredTrace]:
        body = answer.body
        if not isinstance(body, dict) or "data" not in body:
            raise self._http.error("the answer holds no traces", "bad_answer", None)
        errors = body.get("errors") or ()
        if errors and not body["data"]:
            raise self._http.error(server_text(errors), "server_error", None, transient=True)
        if errors and stream is not None:
            stream.lack(f"Jaeger reports errors beside its answer: {server_text(errors, limit=200)}")
        with self._convert_read_errors():
            return [StoredTrace.of(spans) for trace in body["data"] or () if (spans := _classic_spans(trace))]


def _rfc3339(nanoseconds: int) -> str:
    return f"{to_datetime(nanoseconds):%Y-%m-%dT%H:%M:%S}.{nanoseconds % 10**9:09d}Z"


def _is_v3(answer: StoreAnswer) -> bool:
    """Whether API version 3 answered: spans, or its own "not found" rather than a web server's."""
    body = answer.body
    if not isinstance(body, dict):
        return isinstance(body, list) and bool(body) and all(isinstance(part, dict) and "result" in part for part in body)
    error = body.get("error")
    return "result" in body or "resourceSpans" in body or (isinstance(error, dict) and "httpCode" in error)


def _classic_spans(trace: Mapping[str, Any]) -> list[Span]:
    processes = trace.get("processes") or {}
    spans = []
    for span in trace.get("spans") or ():
        tags = {tag["key"]: tag.get("value") for tag in span.get("tags") or ()}
        error = tags.pop("error", None)
        status = str(tags.get("otel.status_code") or "").upper()
        process = span.get("process") or processes.get(span.get("processID")) or {}
        length = span.get("duration")
        duration, timed = check_duration(None if length is None else int(length))
        read = Span(
            trace_id=parse_trace_id(span.get("traceID") or trace["traceID"]), span_id=parse_span_id(span["spanID"]),
            parent_id=_classic_parent(span), name=str(span.get("operationName") or ""),
            service=str(process.get("serviceName") or ""), start_ns=int(span["startTime"]) * _MICROSECOND,
            duration_ns=duration * _MICROSECOND, timed=timed, resolution_ns=_MICROSECOND,
            # VictoriaTraces sets the tag on every span: "unset", "ok" or "true".
            error=str(error).lower() == "true" or status == "ERROR", attributes=tags,
        )  # fmt: skip
        spans.append(check_span(read))
    return spans


def _classic_parent(span: Mapping[str, Any]) -> str | None:
    """Return the parent's id: the first CHILD_OF reference into the same trace, else a FOLLOWS_FROM one, else the old field."""
    trace = parse_trace_id(span["traceID"]) if span.get("traceID") else None
    references = span.get("references") or ()
    inside = [ref for ref in references if trace is None or parse_trace_id(ref.get("traceID") or trace) == trace]
    for kind in ("CHILD_OF", "FOLLOWS_FROM"):
        for reference in inside:
            if reference.get("refType") == kind:
                return parse_parent_id(reference.get("spanID"))
    return parse_parent_id(span.get("parentSpanID"))
