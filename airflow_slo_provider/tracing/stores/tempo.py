"""Read traces from Grafana Tempo by TraceQL searches.

Tempo's searches leave data out silently; this is how each case is handled:

- By default it returns 20 traces with 3 spans each: both limits are set explicitly, an answer that reaches the limit is treated
  as incomplete, and ``matched`` gives the real number of spans of a trace.
- It leaves out the last 30 seconds (``query_end_cutoff``): reported when the interval reaches into them.
- It returns spans without their parents unless ``span:parentID`` is selected, which older releases do not support: whole traces
  are then fetched by id.
- Trace ids lose their leading zeros: they are restored.

https://grafana.com/docs/tempo/latest/api_docs/
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.http.settings import HttpSettings
from airflow_slo_provider.tracing import otlp
from airflow_slo_provider.tracing.span_ids import parse_parent_id, parse_span_id, parse_trace_id
from airflow_slo_provider.tracing.spans import KEPT_ATTRIBUTE, Span, SpanStream, check_duration, check_span
from airflow_slo_provider.tracing.stores.protocol import Search, StoredTrace, page_through
from airflow_slo_provider.tracing.stores.store_client import ServerStore, StoreAnswer

_SECOND = 10**9
#: Number of traces to try by id before giving up, if the first ones are not found.
_MAX_MISSES = 3
#: Attributes selected in every search; a search returns only selected attributes.
_SELECTED = ("model_version", "cache.hit", KEPT_ATTRIBUTE)
_PARENT = frozenset({"span:parentid", "parentid"})


class TempoStore(ServerStore):
    """A Tempo server.

    :param settings: HTTP settings, or the server's address
    :param page: maximum number of traces per search request
    :param spans_per_trace: maximum number of spans per trace; servers reject more than their ``max_spans_per_span_set``, 100 by
        default
    :param whole_traces: fetch every trace by its id, including spans of other services; one request per trace
    :param blind: delay until a span appears in searches (the server's ``query_end_cutoff``)
    """

    kind = "Tempo"

    def __init__(
        self,
        settings: HttpSettings | str,
        *,
        page: int = 1000,
        spans_per_trace: int = 100,
        whole_traces: bool = False,
        blind: timedelta = timedelta(seconds=30),
    ) -> None:
        super().__init__(settings)
        self._page, self._per_trace = page, spans_per_trace
        self._whole, self._blind = whole_traces, blind

    def _search(self, stream: SpanStream, search: Search) -> Iterator[Span]:
        return _TempoSearch(self, stream, search).run()

    def trace(self, trace_id: str) -> list[Span]:
        """Return all spans of one trace; empty if Tempo has no such trace (one of the last seconds may not be found yet)."""
        return self._fetch(parse_trace_id(trace_id))

    def check(self) -> str:
        """Run a small search; return a sentence that describes the server."""
        now = int(datetime.now(UTC).timestamp())
        answer = self._http.request("/api/search", {"q": "{}", "start": now - 60, "end": now, "limit": 1})
        if not isinstance(answer.body, dict) or "traces" not in answer.body:
            raise self._wrong_server_error()
        return "Tempo answers searches"

    def _fetch(self, trace_id: str) -> list[Span]:
        answer = self._http.request(f"/api/v2/traces/{trace_id}", expect=(200, 404))
        body = answer.body
        if answer.status == 404 or not isinstance(body, dict):
            # Before Tempo 2.7 there is no v2; both answer 404 for an unknown trace.
            answer = self._http.request(f"/api/traces/{trace_id}", expect=(200, 404))
            body = {"trace": answer.body} if answer.status == 200 and isinstance(answer.body, dict) else {}
        with self._convert_read_errors():
            spans = [span for span in otlp.read_document(body.get("trace") or {}) if span.trace_id == trace_id]
        partial = str(body.get("status") or "").upper().endswith("PARTIAL")
        return [span._replace(whole=False) for span in spans] if partial else spans


class _TempoSearch:
    """The queries of one stream, and the features that the server supports."""

    def __init__(self, store: TempoStore, stream: SpanStream, search: Search) -> None:
        self._store, self._stream, self._parameters, self._service = store, stream, search, search.service
        self._fields = tuple(dict.fromkeys((*_SELECTED, *search.attributes, *search.selected)))
        self._http = store._http
        self._select_parents = True
        self._misses = 0
        self._earliest_query: datetime | None = None

    def run(self) -> Iterator[Span]:
        traces = page_through(
            self._query, self._stream, self._parameters, page=self._store._page, smallest=_SECOND, largest=86_400 * _SECOND
        )
        for trace in traces:
            spans = self._complete_trace(trace)
            if self._parameters.matches(spans):
                yield from spans
        self._report_cutoff(self._parameters.end)

    def _query(self, low: int, high: int, limit: int) -> list[StoredTrace]:
        query = self._traceql()
        params = {"q": query, "start": low // _SECOND, "end": -(-high // _SECOND), "limit": limit, "spss": self._store._per_trace}
        answer = self._http.request("/api/search", params, expect=(200, 400) if self._select_parents else (200,), query=query)
        if answer.status == 400:
            # The release may not support span:parentID; any other error is raised by the query without it.
            self._select_parents = False
            return self._query(low, high, limit)
        now = min(answer.sent_at or datetime.max.replace(tzinfo=UTC), datetime.now(UTC))
        self._earliest_query = min(self._earliest_query or now, now)
        return self._read(answer, query)

    def _traceql(self) -> str:
        service = f"resource.service.name = {json.dumps(self._service)}"
        spans = f"{{ {service} }}"
        if self._parameters.attributes:
            # Selects traces in which one span has all attributes; of these traces, all spans of the service.
            conditions = " && ".join(f"{_field(key)} = {_literal(value)}" for key, value in self._parameters.attributes.items())
            spans = f"({spans} && {{ {service} && {conditions} }})"
        parent = ["span:parentID"] if self._select_parents else []
        return f"{spans} | select({', '.join(['name', 'status', *map(_field, self._fields), *parent])})"

    def _read(self, answer: StoreAnswer, query: str) -> list[StoredTrace]:
        body = answer.body
        # Releases that leave out empty fields still return "metrics".
        known = isinstance(body, dict) and ("traces" in body or "metrics" in body)
        if not known or not isinstance(body.get("traces") or [], list):
            raise self._http.error("the answer is not a search result", "bad_answer", query)
        with self._store._convert_read_errors(query):
            metrics = body.get("metrics") or {}
            done, jobs = int(metrics.get("completedJobs") or 0), int(metrics.get("totalJobs") or 0)
            if done < jobs:
                self._stream.lack(f"Tempo finished only {done} of {jobs} parts of a search")
            return [read for trace in body.get("traces") or () if (read := _read_trace(trace))]

    def _complete_trace(self, trace: StoredTrace) -> list[Span]:
        """Fetch a trace by id if the search returned it incomplete or without parents."""
        spans = trace.spans
        incomplete = self._store._whole or any(not span.whole or not span.parent_known for span in spans)
        if not incomplete or self._misses >= _MAX_MISSES:
            return spans
        try:
            fetched = self._store._fetch(trace.trace_id)
        except QueryError as error:
            # Transient errors are left to the task's retry; a proxy that allows only searches is not transient.
            if error.transient:
                raise
            fetched = []
        if not self._store._whole:
            fetched = [span for span in fetched if span.service == self._service]
        if len(fetched) >= len(spans):
            self._misses = 0
            return fetched
        self._misses += 1
        return spans

    def _report_cutoff(self, end: int) -> None:
        if self._earliest_query is None or not self._store._blind:
            return
        seen_until = self._earliest_query - self._store._blind
        if end > seen_until.timestamp() * _SECOND:
            self._stream.lack(
                f"Tempo silently leaves the last {self._store._blind.total_seconds():g} s out of a search: spans of the interval "
                f"after {seen_until.isoformat(timespec='seconds')} are missing; read it again later, or set an earlier end"
            )


def _read_trace(trace: Mapping[str, Any]) -> StoredTrace | None:
    trace_id = parse_trace_id(trace["traceID"])
    sets = trace.get("spanSets") or ([trace["spanSet"]] if trace.get("spanSet") else [])
    spans: dict[str, Span] = {}
    listed = matched = 0
    parents = False
    for span_set in sets:
        members = span_set.get("spans") or ()
        listed += len(members)
        matched += int(span_set.get("matched") or len(members))
        for member in members:
            span, has_parent = _read_span(trace_id, member)
            parents = parents or has_parent
            spans.setdefault(span.span_id, span)
    if not spans:
        return None
    read = list(spans.values())
    whole = listed >= matched
    if parents:
        # The search left out other services: a parent that is not among these spans belongs to one of them.
        read = [
            span._replace(remote_parent=True) if whole and span.parent_id not in spans and span.parent_id else span
            for span in read
        ]
    elif len(read) > 1 or not whole:
        read = [span._replace(parent_known=False) for span in read]
    if not whole:
        read = [span._replace(whole=False) for span in read]
    return StoredTrace.of(read)


def _read_span(trace_id: str, span: Mapping[str, Any]) -> tuple[Span, bool]:
    attributes = {item["key"]: otlp.parse_value(item.get("value")) for item in span.get("attributes") or ()}
    service = str(attributes.pop("service.name", ""))
    status = attributes.pop("status", None)
    parent = next((attributes.pop(key) for key in list(attributes) if key.lower() in _PARENT), None)
    # As in protobuf JSON, Tempo leaves out a duration of 0. A duration that it could not compute is present, and huge.
    duration, timed = check_duration(int(span.get("durationNanos") or 0))
    read = Span(
        trace_id=trace_id, span_id=parse_span_id(span["spanID"]), parent_id=parse_parent_id(parent),
        name=str(span.get("name") or attributes.pop("name", "")), service=service,
        start_ns=int(span["startTimeUnixNano"]), duration_ns=duration, timed=timed,
        error=status == "error", attributes=attributes,
    )  # fmt: skip
    return check_span(read), parent is not None


def _field(name: str) -> str:
    """Write a span attribute's name in TraceQL, quoted if it is not a plain identifier."""
    plain_name = name.replace(".", "").replace("_", "").replace("-", "").isalnum()
    return f"span.{name}" if plain_name else f"span.{json.dumps(name)}"


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    return json.dumps(str(value))
