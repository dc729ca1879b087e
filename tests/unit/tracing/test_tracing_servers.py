"""Tracing inside servers: the ASGI middleware under a real FastAPI, and spans into files without a collector."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from airflow_slo_provider import tracing
from airflow_slo_provider.tracing.recording.asgi import TracingMiddleware
from airflow_slo_provider.tracing.stores import FileStore

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def traced(tmp_path) -> Path:
    path = tmp_path / "a b" / "traces.jsonl"
    tracing.configure("asgi", endpoint=f"file://{path}", delay_ms=20, sample_ratio=1.0)
    yield path
    tracing.shutdown()


@pytest.fixture
def client():
    fastapi = pytest.importorskip("fastapi")
    import httpx

    app = fastapi.FastAPI()

    # FastAPI reads annotations; this module's are text.
    async def predict(request):
        with request.state.ml_tracer.span_model_inference(batch_size=1):
            await asyncio.sleep(0.001)
        return {"trace_id": request.state.ml_tracer.trace_id}

    async def broken(request):
        raise ValueError("no such feature")

    async def busy(request):
        return fastapi.Response(status_code=503)

    for name, function in (("predict", predict), ("broken", broken), ("busy", busy), ("health", busy)):
        function.__annotations__["request"] = fastapi.Request
        app.get(f"/{name}" if name != "predict" else "/predict/now")(function)
    app.add_middleware(TracingMiddleware, model_version=lambda: "v42", paths=("/predict", "/broken", "/busy"))

    def get(path: str, **headers: str):
        async def ask():
            transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as session:
                return await session.get(path, headers=headers)

        return asyncio.run(ask())

    return get


def test_middleware_traces_a_request_and_returns_its_trace_id(client, traced):
    answer = client("/predict/now", traceparent=f"00-{TRACE}-{CALLER}-01", **{"x-request-id": "r1"})
    assert answer.status_code == 200
    assert answer.json()["trace_id"] == answer.headers["x-trace-id"] == TRACE
    assert answer.headers["x-request-id"] == "r1"
    assert tracing.flush()
    spans = {span.name: span for span in FileStore(traced).spans("asgi")}
    assert set(spans) == {"ml_prediction_request", "model_inference"}
    root = spans["ml_prediction_request"]
    assert (root.parent_id, root.remote_parent, root.error) == (CALLER, True, False)
    assert root.attributes == {
        "request_id": "r1", "model_version": "v42", "http.request.method": "GET", "url.path": "/predict/now",
    }  # fmt: skip
    assert spans["model_inference"].parent_id == root.span_id
    assert tracing.breakdown(spans.values()).missing_parents == 0


@pytest.mark.parametrize(("path", "error"), [("/broken", "ValueError: no such feature"), ("/busy", "HTTP 503")])
def test_middleware_exceptions_and_server_errors_are_failures(client, traced, path, error):
    answer = client(path)
    assert answer.status_code in (500, 503)
    assert tracing.flush()
    (document,) = [json.loads(line) for line in traced.read_text().splitlines()]
    (span,) = document["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert span["status"] == {"code": "STATUS_CODE_ERROR", "message": error}
    assert len(span["traceId"]) == 32


def test_middleware_other_paths_are_not_traced(client, traced):
    answer = client("/health")
    assert "x-trace-id" not in answer.headers
    assert tracing.flush()
    assert not traced.exists()


def test_file_exporter_files_are_rotated_and_read_back(tmp_path):
    from airflow_slo_provider.tracing.recording.file_exporter import FileExporter

    path = tmp_path / "traces.jsonl"
    tracing.configure("filed", exporter=FileExporter(path, most_bytes=20_000))
    try:
        for _ in range(3):
            for number in range(30):
                tracer = tracing.MLRequestTracer(f"r{number}", "v1")
                with tracer.trace_request(), tracer.span_post_process():
                    pass
            assert tracing.flush()
    finally:
        tracing.shutdown()
    assert path.with_name("traces.jsonl.1").exists()
    for place in (path, tmp_path, str(tmp_path / "*.jsonl"), str(tmp_path / "*")):
        found = tracing.breakdown(FileStore(place).spans("filed"))
        assert (found.traces, found.spans, found.missing_parents) == (60, 120, 0), "the file that was moved and the one after it"
        assert found.row("post_process").count == 60
        assert found.truncated, "the first thirty are gone"
        assert "older spans may have been overwritten" in found.notes[0]
    second = sorted(span.start_ns for span in FileStore(path).spans("filed") if span.parent_id is None)[1]
    kept = tracing.breakdown(FileStore(path).spans("filed", second))
    assert (kept.traces, kept.truncated, kept.notes) == (59, False, ())
    path.unlink()
    assert tracing.breakdown(FileStore(path).spans("filed")).traces == 30, "moved, and nothing was written since"


def test_file_store_file_moved_while_read_is_reported(tmp_path):
    from airflow_slo_provider.tracing.recording.file_exporter import FileExporter

    path = tmp_path / "traces.jsonl"
    tracing.configure("filed", exporter=FileExporter(path))
    for number in range(2):
        with tracing.MLRequestTracer(f"r{number}", "v1").trace_request():
            pass
    tracing.shutdown()
    stream = FileStore(path).spans("filed")
    spans = iter(stream)
    next(spans)
    path.rename(tmp_path / "traces.jsonl.1")
    path.write_text("")
    list(spans)
    assert stream.truncated
    assert "moved away while they were read" in stream.notes[0]


def test_file_exporter_two_processes_rotate_once(tmp_path, monkeypatch):
    from opentelemetry.sdk.trace import TracerProvider

    from airflow_slo_provider.tracing.recording.file_exporter import FileExporter

    path = tmp_path / "traces.jsonl"
    path.write_text("x" * 1000 + "\n")
    one, other = (FileExporter(path, most_bytes=900) for _ in range(2))
    span = TracerProvider().get_tracer("t").start_span("s")
    span.end()
    move = Path.replace
    others: list[object] = []

    def interrupted(self: Path, target: Path) -> Path:
        if not others:  # between the look and the move
            others.append(other.export([span]))
        return move(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    one.export([span])
    moved = path.with_name("traces.jsonl.1").read_text()
    assert moved.startswith("x" * 1000)
    assert moved.count("\n") + path.read_text().count("\n") == 3, "nothing is lost"


def test_file_exporter_disk_errors_raise_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    tracing.configure("s", endpoint=f"file://{tmp_path}/traces.jsonl")
    try:
        (tmp_path / "traces.jsonl").mkdir()
        tracer = tracing.MLRequestTracer("r", "v")
        with tracer.trace_request():
            pass
        tracing.flush()
    finally:
        tracing.shutdown()


def test_grpc_exporter_sends_spans():
    """A collector that speaks gRPC, of the protocol's own generated code."""
    from concurrent.futures import ThreadPoolExecutor

    grpc = pytest.importorskip("grpc")
    from google.protobuf.json_format import MessageToDict
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

    class Collector(trace_service_pb2_grpc.TraceServiceServicer):
        def __init__(self) -> None:
            self.documents: list[dict] = []
            self.metadata: dict[str, str] = {}

        def Export(self, request, context):
            self.documents.append(MessageToDict(request))
            self.metadata = dict(context.invocation_metadata())
            return trace_service_pb2.ExportTraceServiceResponse()

    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        tracing.configure("over-grpc", endpoint=f"http://127.0.0.1:{port}", protocol="grpc", headers={"X-Scope-OrgID": "a"})
        tracer = tracing.MLRequestTracer("r1", "v1")
        with tracer.trace_request(), tracer.span_model_inference(3):
            pass
        assert tracing.flush()
    finally:
        tracing.shutdown()
        server.stop(0).wait()
    found = tracing.breakdown(collector.documents)
    assert {row.span: row.service for row in found.rows} == dict.fromkeys(
        ("ml_prediction_request", "model_inference"), "over-grpc"
    )
    assert collector.metadata["x-scope-orgid"] == "a"
