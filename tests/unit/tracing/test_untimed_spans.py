"""Spans that never ended, or ended before they began: their duration is unknown, and never counted as 0."""

from __future__ import annotations

import json
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext

from airflow_slo_provider import tracing
from airflow_slo_provider.results import Verdict
from airflow_slo_provider.tracing.analysis.assessment import LatencyAssessment, LatencyRules, assess
from airflow_slo_provider.tracing.analysis.breakdown import LatencyBreakdown
from airflow_slo_provider.tracing.analysis.trace_tree import analyse
from airflow_slo_provider.tracing.report.html import to_html
from airflow_slo_provider.tracing.span_formats import read_spans
from airflow_slo_provider.tracing.spans import KEPT_ATTRIBUTE, Span
from airflow_slo_provider.tracing.stores import FileStore, JaegerStore, TempoStore
from airflow_slo_provider.tracing.stores.store_client import StoreAnswer, StoreClient
from tests.unit.tracing.builders import MS, T0, span

NAME = "ml_prediction_request"


def assess_latency(found: LatencyBreakdown, **rules: Any) -> LatencyAssessment:
    return assess(found, LatencyRules(budgets={NAME: {"p99": 0.1}}, **rules), service="shop")


def otlp_document(number: int, **end: Any) -> dict[str, Any]:
    told = {"traceId": f"{number + 1:032x}", "spanId": f"{number + 1:016x}", "name": NAME}
    return {**told, "startTimeUnixNano": str(T0 + number * 10 * MS), **end}


def end_of(number: int, milliseconds: float) -> str:
    return str(T0 + number * 10 * MS + round(milliseconds * MS))


NO_END = {
    "zero": lambda number: {"endTimeUnixNano": "0"},
    "null": lambda number: {"endTimeUnixNano": None},
    "left out": lambda number: {},
    "before its start": lambda number: {"endTimeUnixNano": end_of(number, -5)},
}


@pytest.mark.parametrize("form", NO_END)
@pytest.mark.parametrize("every", [1, 2, 33])
def test_assess_untimed_spans_are_unknown(tmp_path, form, every):
    spans = [
        otlp_document(one, **(NO_END[form](one) if one % every == 0 else {"endTimeUnixNano": end_of(one, 20)}))
        for one in range(200)
    ]
    file = tmp_path / "spans.jsonl"
    file.write_text("".join(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [one]}]}]}) + "\n" for one in spans))
    found = tracing.breakdown(FileStore(file).spans())
    untimed = len(range(0, 200, every))
    assert (found.truncated, found.untimed, found.spans) == (True, untimed, 200)
    assert found.to_dict()["untimed"] == untimed
    assert [row.count for row in found.rows] == [200 - untimed] * (untimed < 200), "no number is made of them"
    assessment = assess_latency(found)
    assert assessment.verdict is Verdict.UNKNOWN
    assert f"{untimed} of 200 spans have no usable end" in assessment.why
    assert "200 spans have no usable end" in assess(found, LatencyRules(), service="shop").why
    # With allow_truncated the other spans are assessed, if there are any.
    assert assess_latency(found, allow_truncated=True).verdict is (Verdict.PASS if untimed < 200 else Verdict.UNKNOWN)


def test_breakdown_span_of_zero_duration_counts():
    found = tracing.breakdown([otlp_document(one, endTimeUnixNano=end_of(one, 0)) for one in range(200)])
    assert (found.truncated, found.untimed, assess_latency(found).verdict) == (False, 0, Verdict.PASS)


def test_own_times_beside_an_untimed_span_are_unknown():
    spans = [
        span("request", 0, 30),
        span("fetch", 5, 5, "request", service="store", timed=False),
        span("infer", 10, 20, "request"),
    ]
    trace = analyse(spans)
    assert (trace.untimed, trace.skewed, trace.whole) == (1, 0, True)
    assert {(placed.self_ns, placed.critical_ns) for placed in trace.spans} == {(None, None)}
    found = tracing.breakdown(spans)
    assert {row.span: row.p99 for row in found.rows} == {"request": 0.030, "infer": 0.010}
    assert "duration unknown" in to_html(assess_latency(found), "one request")


def test_untimed_span_with_a_timed_copy_is_timed():
    begun, ended = span("request", 0, 0, timed=False), span("request", 0, 0)
    for copies in ([begun, ended], [ended, begun]):
        assert analyse(copies).untimed == 0


def test_untimed_span_of_a_kept_trace_is_ignored():
    kept = span("request", 0, 0, trace="kept", timed=False, attributes={KEPT_ATTRIBUTE: "error"})
    found = tracing.breakdown([span("request", 0, 20), kept])
    assert (found.truncated, found.untimed) == (False, 0)


def test_untimed_spans_of_the_sdk():
    def made(end: int) -> ReadableSpan:
        return ReadableSpan("x", SpanContext(1, 1, is_remote=False), resource=Resource({}), start_time=T0, end_time=end)

    assert [one.timed for one in read_spans([made(T0 + 1), made(T0), made(T0 - 1)])] == [True, True, False]


def read_answer(monkeypatch: pytest.MonkeyPatch, store: Any, body: Any) -> list[Span]:
    monkeypatch.setattr(StoreClient, "request", lambda *_, **__: StoreAnswer(200, body, None))
    return list(store.spans("shop", T0 - MS, T0 + 1000 * MS))


#: What a server that keeps durations without a sign makes of -5 ms.
WRAPPED = 2**64 - 5 * MS


@pytest.mark.parametrize(
    ("told", "timed"),
    [
        ({"duration": 0}, True),
        ({"duration": 7}, True),
        ({}, False),
        ({"duration": None}, False),
        ({"duration": -7}, False),
        ({"duration": 2**64 - 5000}, False),
    ],
)
def test_untimed_spans_of_jaeger(monkeypatch, told, timed):
    one = {"traceID": "1", "spanID": "1", "operationName": "x", "startTime": T0 // 1000, "processID": "p", **told}
    body = {"data": [{"traceID": "1", "processes": {"p": {"serviceName": "shop"}}, "spans": [one]}]}
    found = read_answer(monkeypatch, JaegerStore("http://jaeger", api="classic"), body)
    assert [(one.timed, one.duration_ns) for one in found] == [(timed, told["duration"] * 1000 if timed else 0)]


@pytest.mark.parametrize(
    ("told", "timed"), [({}, True), ({"durationNanos": "7"}, True), ({"durationNanos": str(WRAPPED)}, False)]
)
def test_untimed_spans_of_tempo(monkeypatch, told, timed):
    one = {"spanID": "1", "name": "x", "startTimeUnixNano": str(T0), **told}
    body = {"traces": [{"traceID": "1", "spanSets": [{"spans": [one], "matched": 1}]}], "metrics": {}}
    found = read_answer(monkeypatch, TempoStore("http://tempo"), body)
    assert [(one.timed, one.duration_ns) for one in found] == [(timed, int(told.get("durationNanos", 0)) if timed else 0)]
