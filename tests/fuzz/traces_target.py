"""Fuzz target of traces: reading gives spans or an error, and the numbers about spans are possible.

An input is one byte that selects the store, and the store's content (a file, or the body of every response).
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.http.retries import HttpAnswer
from airflow_slo_provider.http.settings import HttpSettings
from airflow_slo_provider.tracing.analysis.breakdown import LatencyBreakdown, breakdown
from airflow_slo_provider.tracing.spans import Span, SpanStream
from airflow_slo_provider.tracing.stores.jaeger import JaegerStore
from airflow_slo_provider.tracing.stores.mlflow import MlflowStore
from airflow_slo_provider.tracing.stores.otlp_files import FileStore
from airflow_slo_provider.tracing.stores.phoenix import PhoenixStore
from airflow_slo_provider.tracing.stores.tempo import TempoStore
from tests.fuzz.targets import Finding

_TRACE, _SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
_START, _END = 1793534400, 1793534400 + 3600
_NANO = 1793534400_000_000_000


def _span(number: int, **more: Any) -> dict[str, Any]:
    return {
        "traceId": _TRACE,
        "spanId": f"{number:016x}",
        "parentSpanId": f"{number - 1:016x}" if number > 1 else "",
        "name": ("request", "model_inference", "feature_fetch")[number % 3],
        "startTimeUnixNano": str(_NANO + number * 1_000_000),
        "endTimeUnixNano": str(_NANO + 20_000_000 - number * 1_000_000),
        "flags": 0x101,
        "attributes": [
            {"key": "model_version", "value": {"stringValue": f"v{number}"}},
            {"key": "cache.hit", "value": {"boolValue": True}},
            {"key": "many", "value": {"arrayValue": {"values": [{"intValue": "3"}, {"doubleValue": 0.5}]}}},
        ],
        "status": {"code": 2},
        **more,
    }


def _otlp(*spans: dict[str, Any]) -> dict[str, Any]:
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "x"}, "spans": list(spans)}]}]}


_TEMPO = {
    "traces": [
        {
            "traceID": _TRACE.lstrip("0"),
            "spanSets": [
                {
                    "matched": 2,
                    "spans": [
                        {"spanID": _SPAN, "startTimeUnixNano": str(_NANO), "durationNanos": "5000000", "name": "request",
                         "attributes": [{"key": "span:parentID", "value": {"stringValue": ""}}]},
                    ],
                }
            ],
        }
    ],
    "metrics": {"completedJobs": 1, "totalJobs": 1},
    "trace": _otlp(_span(1)),
    "status": "PARTIAL",
}  # fmt: skip
_JAEGER = {
    "data": [
        {
            "traceID": _TRACE,
            "spans": [
                {"traceID": _TRACE, "spanID": _SPAN, "operationName": "request", "startTime": _NANO // 1000, "duration": 5000,
                 "references": [{"refType": "CHILD_OF", "traceID": _TRACE, "spanID": "1"}], "processID": "p1",
                 "tags": [{"key": "error", "type": "bool", "value": True}]},
            ],
            "processes": {"p1": {"serviceName": "shop"}},
        }
    ],
    "errors": None,
}  # fmt: skip
_MLFLOW = {
    "traces": [
        {"trace_id": "tr-1", "tags": {"service.name": "shop"}, "trace_info": {"tags": {}}, "spans": [_span(1), _span(2)]},
    ],
    "next_page_token": "",
}
_PHOENIX = {"data": [_span(1), _span(2)], "next_cursor": None}
SEEDS = [
    number + json.dumps(body)
    for number, body in (
        ("0", _otlp(_span(1), _span(2), _span(3))),
        ("0", _span(1, trace_id=_TRACE, span_id="1", start_time_unix_nano=1, end_time_unix_nano=2)),
        ("1", _TEMPO),
        ("2", _JAEGER),
        ("3", {"result": _otlp(_span(1), _span(2))}),
        ("4", _MLFLOW),
        ("5", _PHOENIX),
    )
] + ["0" + json.dumps(_otlp(_span(1))) + "\n" + json.dumps(_otlp(_span(2)))]

_FILE = Path(tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)) / "traces.json"
_SETTINGS = HttpSettings(url="http://user:hunter2@localhost:1", basic=("user", "hunter2"), retries=0)
#: Maximum number of requests to a server that always sends the same response.
_PATIENCE = 200


def _answering(store: Any, body: bytes) -> Any:
    """Connect a store's client to a server that always sends the same response."""
    left = _PATIENCE

    def once(*_: Any, **__: Any) -> HttpAnswer:
        nonlocal left
        left -= 1
        if left < 0:
            raise Finding("the store asks for more and more")
        return HttpAnswer(200, {}, body, datetime.now(UTC))

    store._http._http.request = once
    return store


def _file(body: bytes) -> FileStore:
    _FILE.write_bytes(body)
    return FileStore(_FILE)


_STORES: tuple[Callable[[bytes], Any], ...] = (
    _file,
    lambda body: _answering(TempoStore(_SETTINGS), body),
    lambda body: _answering(JaegerStore(_SETTINGS, api="classic"), body),
    lambda body: _answering(JaegerStore(_SETTINGS, api="v3"), body),
    lambda body: _answering(MlflowStore(_SETTINGS), body),
    lambda body: _answering(PhoenixStore(_SETTINGS), body),
)


def run(data: bytes) -> None:
    number, body = (data[:1] or b"0")[0] % 48, data[1:]
    store = _STORES[number % len(_STORES)](body)
    stream = store.spans("shop", _START, _END)
    spans: list[Span] = []
    try:
        for span in stream:
            spans.append(span)
    except QueryError as error:
        if "hunter2" in str(error):
            raise Finding("a message shows the password") from None
        str(error).encode()
        return
    for span in spans:
        _check_span(span)
    if isinstance(store, FileStore):
        _check_file(store, stream, body)
    found = breakdown(spans)
    _check_numbers(found)


def _check_span(span: Span) -> None:
    if span.duration_ns < 0 or not isinstance(span.name, str) or not isinstance(span.service, str):
        raise Finding(f"a span that is none: {span}")
    (span.name + span.service).encode()  # can be encoded
    if len(span.trace_id) != 32 or len(span.span_id) != 16 or not isinstance(span.attributes, dict):
        raise Finding(f"a span that is none: {span}")


def _check_file(store: FileStore, stream: SpanStream, body: bytes) -> None:
    """A file with an incomplete JSON document is reported as such."""
    everything = sum(1 for _ in store._all_spans())
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        told = None
    if told is None and body.strip() and not stream.truncated and not _is_lines(body):
        raise Finding("a broken file taken for a whole one")
    if isinstance(told, dict) and "resourceSpans" in told:
        listed = sum(
            len(scope.get("spans") or ()) for one in told["resourceSpans"] or () for scope in one.get("scopeSpans") or ()
        )
        if everything < listed:
            raise Finding(f"{listed} spans stand in the file, {everything} were read")


def _is_lines(body: bytes) -> bool:
    """Return whether it is a sequence of JSON documents."""
    text, place, decoder = body.decode("utf-8", "replace"), 0, json.JSONDecoder()
    try:
        while (place := _skip(text, place)) < len(text):
            _, place = decoder.raw_decode(text, place)
    except (ValueError, RecursionError):
        return False
    return True


def _skip(text: str, place: int) -> int:
    while place < len(text) and text[place] in " \t\r\n,":
        place += 1
    return place


def _check_numbers(found: LatencyBreakdown) -> None:
    json.dumps(found.to_dict(), allow_nan=False).encode()
    for row in found.rows:
        if not 0 <= row.p50 <= row.p95 <= row.p99 <= row.longest:
            raise Finding(f"percentiles out of order: {row}")
        if not 0 <= row.error_rate <= 1 or (row.critical_share is not None and not 0 <= row.critical_share <= 1 + 1e-9):
            raise Finding(f"a share beyond all: {row}")
