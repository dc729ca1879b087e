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
from airflow_slo_provider.tracing.spans import KEPT, Span, SpanStream, checked, lasting, parent_id_of, span_id_of, trace_id_of
from airflow_slo_provider.tracing.stores.protocol import Found, Search, found, page_through
from airflow_slo_provider.tracing.stores.store_client import Answer, ServerStore

_SECOND = 10**9
#: Number of traces to try by id before giving up, if the first ones are not found.
_PATIENCE = 3
#: Attributes selected in every search; a search returns only selected attributes.
_SELECTED = ("model_version", "cache.hit", KEPT)
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

    def _search(self, stream: SpanStream, asked: Search) -> Iterator[Span]:
        return _Search(self, stream, asked).run()

    def trace(self, trace_id: str) -> list[Span]:
        """Return all spans of one trace; empty if Tempo has no such trace (one of the last seconds may not be found yet)."""
        return self._fetch(trace_id_of(trace_id))

    def check(self) -> str:
        """Run a small search; return a sentence that describes the server."""
        now = int(datetime.now(UTC).timestamp())
        answer = self._http.get("/api/search", {"q": "{}", "start": now - 60, "end": now, "limit": 1})
        if not isinstance(answer.body, dict) or "traces" not in answer.body:
            raise self._wrong_server()
        return "Tempo answers searches"

    def _fetch(self, trace_id: str) -> list[Span]:
        answer = self._http.get(f"/api/v2/traces/{trace_id}", expect=(200, 404))
        body = answer.body
        if answer.status == 404 or not isinstance(body, dict):
            # Before Tempo 2.7 there is no v2; both answer 404 for an unknown trace.
            answer = self._http.get(f"/api/traces/{trace_id}", expect=(200, 404))
            body = {"trace": answer.body} if answer.status == 200 and isinstance(answer.body, dict) else {}
        with self._reading():
            spans = [span for span in otlp.read_document(body.get("trace") or {}) if span.trace_id == trace_id]
        partial = str(body.get("status") or "").upper().endswith("PARTIAL")
        return [replace_whole(span) for span in spans] if partial else spans


def replace_whole(span: Span) -> Span:
    """Mark a span as one of an incomplete trace."""
    return span._replace(whole=False)


class _Search:
    """The queries of one stream, and what the server turned out to support."""

    def __init__(self, store: TempoStore, stream: SpanStream, asked: Search) -> None:
        self._store, self._stream, self._asked, self._service = store, stream, asked, asked.service
        self._fields = tuple(dict.fromkeys((*_SELECTED, *asked.attributes, *asked.selected)))
        self._http = store._http
        self._ask_parents = True
        self._misses = 0
        self._cut_off: datetime | None = None

    def run(self) -> Iterator[Span]:
        traces = page_through(
            self._ask, self._stream, self._asked, page=self._store._page, smallest=_SECOND, largest=86_400 * _SECOND
        )
        for trace in traces:
            spans = self._complete(trace)
            if self._asked.keeps(spans):
                yield from spans
        self._look_at_the_end(self._asked.end)

    def _ask(self, low: int, high: int, limit: int) -> list[Found]:
        query = self._query()
        params = {
            "q": query,
            "start": low // _SECOND,
            "end": -(-high // _SECOND),
            "limit": limit,
            "spss": self._store._per_trace,
        }
        answer = self._http.get("/api/search", params, expect=(200, 400) if self._ask_parents else (200,), query=query)
        if answer.status == 400:
            # The release may not support span:parentID; any other error is raised by the query without it.
            self._ask_parents = False
            return self._ask(low, high, limit)
        self._see_clock(answer)
        return self._read(answer, query)

    def _query(self) -> str:
        mine = f"resource.service.name = {json.dumps(self._service)}"
        spans = f"{{ {mine} }}"
        if self._asked.attributes:
            # Selects traces in which one span has all attributes; of these traces, all spans of the service.
            wanted = " && ".join(f"{_field(key)} = {_literal(value)}" for key, value in self._asked.attributes.items())
            spans = f"({spans} && {{ {mine} && {wanted} }})"
        chosen = ["name", "status", *(_field(key) for key in self._fields)]
        if self._ask_parents:
            chosen.append("span:parentID")
        return f"{spans} | select({', '.join(chosen)})"

    def _read(self, answer: Answer, query: str) -> list[Found]:
        body = answer.body
        # Releases that leave out empty fields still return "metrics".
        known = isinstance(body, dict) and ("traces" in body or "metrics" in body)
        if not known or not isinstance(body.get("traces") or [], list):
            raise QueryError("Tempo: the answer is no search result", reason="bad_answer", query=query, source=self._http.source)
        with self._store._reading(query):
            metrics = body.get("metrics") or {}
            done, jobs = int(metrics.get("completedJobs") or 0), int(metrics.get("totalJobs") or 0)
            if done < jobs:
                self._stream.lack(f"Tempo finished only {done} of {jobs} parts of a search")
            return [read for trace in body.get("traces") or () if (read := _read_trace(trace))]

    def _complete(self, trace: Found) -> list[Span]:
        """Fetch a trace by id if the search returned it incomplete or without parents."""
        spans = trace.spans
        wanted = self._store._whole or any(not span.whole or not span.parent_known for span in spans)
        if not wanted or self._misses >= _PATIENCE:
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

    def _see_clock(self, answer: Answer) -> None:
        now = min(answer.sent_at or datetime.max.replace(tzinfo=UTC), datetime.now(UTC))
        self._cut_off = min(self._cut_off or now, now)

    def _look_at_the_end(self, end: int) -> None:
        if self._cut_off is None or not self._store._blind:
            return
        seen_until = self._cut_off - self._store._blind
        if end > seen_until.timestamp() * _SECOND:
            self._stream.lack(
                f"Tempo leaves the last {self._store._blind.total_seconds():g} s out of a search without a word: nothing of this "
                f"interval after {seen_until.isoformat(timespec='seconds')} can be in it; ask again later, or for an earlier end"
            )


def _read_trace(trace: Mapping[str, Any]) -> Found | None:
    identity = trace_id_of(trace["traceID"])
    sets = trace.get("spanSets") or ([trace["spanSet"]] if trace.get("spanSet") else [])
    spans: dict[str, Span] = {}
    listed = matched = 0
    parents = False
    for one in sets:
        members = one.get("spans") or ()
        listed += len(members)
        matched += int(one.get("matched") or len(members))
        for member in members:
            span, told = _read_span(identity, member)
            parents = parents or told
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
        read = [replace_whole(span) for span in read]
    return found(read)


def _read_span(trace_id: str, span: Mapping[str, Any]) -> tuple[Span, bool]:
    attributes = {item["key"]: otlp.plain(item.get("value")) for item in span.get("attributes") or ()}
    service = str(attributes.pop("service.name", ""))
    status = attributes.pop("status", None)
    parent = next((attributes.pop(key) for key in list(attributes) if key.lower() in _PARENT), None)
    # As in protobuf JSON, Tempo leaves out a duration of 0. A duration that it could not compute is present, and huge.
    duration, timed = lasting(int(span.get("durationNanos") or 0))
    read = Span(
        trace_id=trace_id,
        span_id=span_id_of(span["spanID"]),
        parent_id=parent_id_of(parent),
        name=str(span.get("name") or attributes.pop("name", "")),
        service=service,
        start_ns=int(span["startTimeUnixNano"]),
        duration_ns=duration,
        error=status == "error",
        attributes=attributes,
        timed=timed,
    )
    return checked(read), parent is not None


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
