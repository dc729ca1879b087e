"""The request tracer: the spans of a prediction, the requests that rules keep, and errors that never reach the prediction."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from airflow_slo_provider import tracing
from airflow_slo_provider.tracing.recording import failure_log, unsampled_span
from tests.unit.tracing.traced_predictions import NAMES, predict


def test_tracer_records_the_spans_of_a_prediction(exported):
    exported.configure()
    tracer = tracing.MLRequestTracer("r1", "v42")
    assert (tracer.trace_id, tracer.exported) == ("", False)
    assert predict(tracer) == 0.85
    assert len(tracer.trace_id) == 32
    assert int(tracer.trace_id, 16) != 0
    spans = exported.spans()
    assert set(spans) == NAMES
    root = spans["ml_prediction_request"]
    assert f"{root.context.trace_id:032x}" == tracer.trace_id
    assert f"{root.context.span_id:016x}" == tracer.span_id
    assert tracer.exported
    assert dict(root.attributes) == {"request_id": "r1", "model_version": "v42"}
    assert root.status.status_code is StatusCode.OK
    assert root.resource.attributes["service.name"] == "model-server"
    expected = {
        "feature_fetch": {"entity_count": 2, "feature_count": 24},
        "cache_lookup": {"cache.hit": True},
        "model_inference": {"batch_size": 2},
        "post_process": {},
    }
    for name, attributes in expected.items():
        found = dict(spans[name].attributes)
        assert found.pop("duration_ms") >= 0
        assert found == {**attributes, "model_version": "v42"}
        assert spans[name].parent.span_id == root.context.span_id
        assert root.start_time <= spans[name].start_time <= spans[name].end_time <= root.end_time


@pytest.mark.parametrize("ratio", [1.0, 0.0])
def test_tracer_failure_is_recorded_raised_and_kept(exported, ratio):
    exported.configure(sample_ratio=ratio, keep_errors=True)
    tracer = tracing.MLRequestTracer("r1", "v42")
    with pytest.raises(MemoryError, match="out of memory"):
        predict(tracer, fail=True)
    spans = exported.spans()
    assert set(spans) == NAMES - {"post_process"}
    for name in ("ml_prediction_request", "model_inference"):
        assert spans[name].status.status_code is StatusCode.ERROR
        assert spans[name].status.description == "MemoryError: out of memory"
        (event,) = spans[name].events
        assert event.attributes["exception.type"] == "MemoryError"
        assert "raise MemoryError" in event.attributes["exception.stacktrace"]
    assert spans["feature_fetch"].status.status_code is StatusCode.UNSET
    assert spans["ml_prediction_request"].attributes.get("sampling.kept") == (None if ratio else "error")
    assert {f"{span.context.trace_id:032x}" for span in spans.values()} == {tracer.trace_id}
    assert all(span.context.trace_flags.sampled for span in spans.values())
    assert tracer.exported
    breakdown = tracing.breakdown(list(spans.values()))
    assert (breakdown.kept, breakdown.missing_parents) == (int(not ratio), 0)
    assert breakdown.row("model_inference").error_rate == 1


def test_tracer_unsampled_request_is_kept_only_when_slow(exported, monkeypatch):
    now = [time.time_ns()]
    monkeypatch.setattr(unsampled_span, "time", SimpleNamespace(time_ns=lambda: now[0], perf_counter=time.perf_counter))
    exported.configure(sample_ratio=0.0, keep_slow_ms=30, keep_errors=False)
    fast, slow, failed = (tracing.MLRequestTracer(name, "v1") for name in ("fast", "slow", "failed"))
    predict(fast)
    with pytest.raises(MemoryError):
        predict(failed, fail=True)
    assert exported.spans() == {}
    with slow.trace_request(), slow.span_model_inference(1), slow.span("gpu", device="0"):
        now[0] += 40_000_000
    spans = exported.spans()
    assert spans["ml_prediction_request"].attributes["sampling.kept"] == "slow"
    assert spans["gpu"].parent.span_id == spans["model_inference"].context.span_id
    assert spans["gpu"].attributes["device"] == "0"
    assert spans["gpu"].end_time - spans["gpu"].start_time == 40_000_000
    assert [one.exported for one in (fast, slow, failed)] == [False, True, False]
    assert all(int(one.trace_id, 16) for one in (fast, slow, failed))


def test_tracer_samples_its_share_and_propagates_the_decision(exported):
    exported.configure(sample_ratio=0.25, keep_errors=False)
    taken = 0
    for number in range(400):
        tracer = tracing.MLRequestTracer(str(number), "v1")
        with tracer.trace_request(), tracer.span_feature_fetch(3, 4):
            context = tracer.headers()["traceparent"].split("-")
        assert context[1] == tracer.trace_id
        assert bool(int(context[3], 16) & 1) is tracer.exported
        taken += tracer.exported
    assert 60 < taken < 140


@pytest.mark.parametrize(("flags", "sampled"), [("01", True), ("03", True), ("00", False), ("02", False)])
def test_tracer_follows_an_incoming_traceparent(exported, flags, sampled):
    exported.configure(sample_ratio=0.0 if sampled else 1.0, keep_errors=False)
    trace_id, caller = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    tracer = tracing.MLRequestTracer("r1", "v1")
    predict(tracer, {"Traceparent": f"00-{trace_id}-{caller}-{flags}", "TraceState": "vendor=1"})
    assert tracer.trace_id == trace_id
    spans = exported.spans()
    assert set(spans) == (NAMES if sampled else set())
    if sampled:
        root = spans["ml_prediction_request"]
        assert (f"{root.parent.span_id:016x}", root.parent.is_remote) == (caller, True)
        assert tracing.breakdown(list(spans.values())).missing_parents == 0


def test_tracer_kept_request_has_its_callers_span_as_parent(exported):
    exported.configure(sample_ratio=0.0, keep_slow_ms=0)
    tracer = tracing.MLRequestTracer("r1", "v1")
    predict(tracer, {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"})
    root = exported.spans()["ml_prediction_request"]
    assert f"{root.parent.span_id:016x}" == "00f067aa0ba902b7"


@pytest.mark.parametrize("headers", [{"traceparent": "nonsense"}, {"traceparent": "00-" + "0" * 32 + "-" + "0" * 16 + "-01"}, {}])
def test_tracer_invalid_traceparent_starts_a_trace(exported, headers):
    exported.configure()
    tracer = tracing.MLRequestTracer("r1", "v1")
    predict(tracer, headers)
    assert int(tracer.trace_id, 16)
    assert exported.spans()["ml_prediction_request"].parent is None


@pytest.mark.parametrize("ratio", [1.0, 0.0])
def test_tracer_spans_of_threads_and_tasks_belong_to_the_request(exported, ratio):
    exported.configure(sample_ratio=ratio, keep_slow_ms=0)
    tracer = tracing.MLRequestTracer("r1", "v1")

    def fetch(name: str) -> None:
        with tracer.span(name), tracer.span(f"{name} inside"):
            pass

    async def fetch_async(name: str) -> None:
        async with tracer.span(name):
            await asyncio.sleep(0)

    async def serve() -> None:
        async with tracer.trace_request():
            await asyncio.gather(fetch_async("a"), fetch_async("b"))
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(fetch, ["c", "d"]))

    asyncio.run(serve())
    spans = exported.spans()
    root = spans["ml_prediction_request"].context.span_id
    assert {name: spans[name].parent.span_id for name in "abcd"} == dict.fromkeys("abcd", root)
    assert spans["c inside"].parent.span_id == spans["c"].context.span_id
    assert {span.context.trace_id for span in spans.values()} == {int(tracer.trace_id, 16)}


def test_tracer_spans_as_decorators(exported):
    exported.configure()
    tracer = tracing.MLRequestTracer("r1", "v1")

    @tracer.span_feature_fetch(entity_ids=[1], feature_count=2)
    async def fetch(number: int) -> int:
        """Fetch."""
        return number + 1

    @tracer.span_model_inference(batch_size=1)
    def infer(number: int) -> int:
        return number * 2

    @tracer.trace_request
    async def serve(number: int) -> int:
        return infer(await fetch(number))

    assert asyncio.run(serve(4)) == 10
    assert fetch.__doc__ == "Fetch."
    spans = exported.spans()
    assert set(spans) == {"ml_prediction_request", "feature_fetch", "model_inference"}
    assert spans["feature_fetch"].parent.span_id == spans["ml_prediction_request"].context.span_id

    @tracer.trace_request()
    def again() -> str:
        return tracer.trace_id

    assert again() != again()


def test_tracer_cancelled_request_is_not_an_error(exported):
    exported.configure()
    tracer = tracing.MLRequestTracer("r1", "v1")

    async def serve() -> None:
        async with tracer.trace_request(), tracer.span_model_inference(1):
            await asyncio.sleep(60)

    async def leave() -> None:
        task = asyncio.create_task(serve())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(leave())
    spans = exported.spans()
    assert {span.attributes["cancelled"] for span in spans.values()} == {"CancelledError"}
    assert StatusCode.ERROR not in {span.status.status_code for span in spans.values()}


@pytest.mark.parametrize("ratio", [1.0, 0.0])
def test_tracer_fail_marks_the_request_as_failed(exported, ratio):
    exported.configure(sample_ratio=ratio)
    tracer = tracing.MLRequestTracer("r1", "v1")
    with tracer.trace_request():
        tracer.fail("fallback model answered")
    other = tracing.MLRequestTracer("r2", "v1")
    root = exported.spans()["ml_prediction_request"]
    assert (root.status.status_code, root.status.description) == (StatusCode.ERROR, "fallback model answered")
    with other.trace_request() as span:
        span.set_status(trace.Status(StatusCode.ERROR, "mine"))
    assert exported.spans()["ml_prediction_request"].status.status_code is StatusCode.ERROR


def test_tracer_sampling_applies_to_other_instrumentation(exported):
    exported.configure(sample_ratio=0.0, keep_slow_ms=0)
    tracer = tracing.MLRequestTracer("r1", "v1")
    with tracer.trace_request(), tracer.span_feature_fetch([1], 1):
        current = trace.get_current_span()
        assert current.get_span_context().is_valid
        assert not current.get_span_context().trace_flags.sampled
        current.set_attribute("from.outside", 7)
        current.add_event("retry", {"attempt": 2})
    span = exported.spans()["feature_fetch"]
    assert span.attributes["from.outside"] == 7
    assert [(event.name, dict(event.attributes)) for event in span.events] == [("retry", {"attempt": 2})]


def test_tracer_span_outside_of_a_request_is_recorded(exported):
    exported.configure()
    tracer = tracing.MLRequestTracer("r1", "v1")
    with tracer.span("warm_up"):
        pass
    with pytest.raises(KeyError), tracer.span("warm_up"):
        raise KeyError("x")
    assert tracing.flush()


def test_tracer_unsampled_spans_are_limited(exported):
    exported.configure(sample_ratio=0.0, keep_slow_ms=0, queue=10_000)
    tracer = tracing.MLRequestTracer("r1", "v1")
    with tracer.trace_request():
        for _ in range(5000):
            with tracer.span("part"):
                pass
        assert len(tracer._request._unsampled) == 500
    assert tracing.flush()


# --- never breaks a prediction


class Broken:
    """Fails whatever it is asked."""

    def __getattr__(self, name):
        raise RuntimeError("broken")

    def __len__(self):
        raise RuntimeError("no length")

    def __bool__(self):
        raise RuntimeError("neither")


@pytest.mark.parametrize("where", ["start_span", "attach", "detach", "active", "record"])
def test_tracer_errors_never_reach_the_prediction(exported, monkeypatch, caplog, where):
    from airflow_slo_provider.tracing.recording import pipeline
    from airflow_slo_provider.tracing.recording import request_spans as recording

    exported.configure(sample_ratio=0.0 if where == "record" else 1.0, keep_slow_ms=0)
    failure_log._logged.clear()

    def explode(*_args, **_kwargs):
        raise RuntimeError("broken")

    target = {
        "start_span": (pipeline.active().tracer, "start_span"),
        "attach": (recording.context_api, "attach"),
        "detach": (recording.context_api, "detach"),
        "active": (recording, "active"),
        "record": (pipeline.Pipeline, "keep"),
    }[where]
    monkeypatch.setattr(*target, explode)

    def serve() -> None:
        tracer = tracing.MLRequestTracer("r1", "v1")
        assert predict(tracer) == 0.85
        with pytest.raises(MemoryError):
            predict(tracer, fail=True)
        tracer.fail("x")
        tracer.headers()

    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            # A context that could not be detached would otherwise stay this thread's.
            contextvars.copy_context().run(serve)
    assert [record for record in caplog.records if "goes on without it" in record.message]
    assert len(caplog.records) < 12, "said once, not each time"


def test_tracer_invalid_arguments_never_reach_the_prediction(exported):
    exported.configure(sample_ratio=0.0, keep_slow_ms=0)
    tracer = tracing.MLRequestTracer(Broken(), Broken())
    with tracer.trace_request({"traceparent": "x"}, extra=Broken()):
        with tracer.span_feature_fetch(Broken(), Broken()), tracer.span("x", attributes=Broken()):
            pass
        with tracer.span_cache_lookup(hit=Broken()) as span, tracer.span("y", {"a.b": 1}):
            span.set_attribute("cache.hit", Broken())
        with tracer.span_feature_fetch(None, None), tracer.span_feature_fetch((n for n in range(3)), 1):
            pass
    with tracer.trace_request([("traceparent", "x")], Broken()):
        pass
    with tracer.trace_request(17):
        pass
    assert int(tracer.trace_id, 16)
    assert tracing.flush()


def test_tracer_unreachable_collector_loses_only_spans():
    tracing.configure("s", endpoint="http://127.0.0.1:1", queue=50, delay_ms=10)
    try:
        logging.disable(logging.CRITICAL)
        for number in range(300):
            assert predict(tracing.MLRequestTracer(str(number), "v1")) == 0.85
    finally:
        tracing.shutdown(timeout=0.5)
        logging.disable(logging.NOTSET)
