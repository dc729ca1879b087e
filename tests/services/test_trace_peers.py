"""Round trips through real trace stores: spans sent over OTLP are read back with their exact durations."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airflow_slo_provider import tracing
from airflow_slo_provider.tracing.stores import MlflowStore, PhoenixStore, TraceStore
from demo import processes
from tests.peers import peer
from tests.services.test_trace_stores import SERVICE, assert_equal_breakdowns, span_times
from tests.services.trace_replay import recorded, truth, truth_by_trace


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


@contextmanager
def _running(command: list[str], url: str, home: Path, **env: str) -> Iterator[None]:
    """Run a server until its health page answers; its last words are in the failure when it does not."""
    log = home / "server.log"
    process = processes.start(command, log=log, env={**os.environ, **env})
    try:
        deadline = time.monotonic() + 240
        while True:
            try:
                with urllib.request.urlopen(url, timeout=5) as answer:
                    if answer.status == 200:
                        break
            except (urllib.error.URLError, OSError):
                pass
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{command[0]} did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.3)
        yield
    finally:
        processes.end([process])


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="slo-traces-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def mlflow(home: Path) -> Iterator[str]:
    port = str(_free_port())
    url = f"http://127.0.0.1:{port}"
    command = [
        str(peer("mlflow") / "mlflow"), "server", "--workers", "1", "--host", "127.0.0.1", "--port", port,
        "--backend-store-uri", f"sqlite:///{home}/mlflow.db", "--artifacts-destination", str(home / "artifacts"),
    ]  # fmt: skip
    with _running(command, f"{url}/health", home, MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false"):
        yield url


@pytest.fixture(scope="module")
def phoenix(home: Path) -> Iterator[str]:
    port = _free_port()
    command = [str(peer("phoenix") / "phoenix"), "serve"]
    env = {
        "PHOENIX_WORKING_DIR": str(home), "PHOENIX_HOST": "127.0.0.1", "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(_free_port()), "PHOENIX_TELEMETRY_ENABLED": "false",
    }  # fmt: skip
    with _running(command, f"http://127.0.0.1:{port}/healthz", home, **env):
        yield f"http://127.0.0.1:{port}"


def send_truth(url: str, headers: dict[str, str] | None = None) -> None:
    """Send the recorded spans as a collector would."""
    from google.protobuf.json_format import ParseDict
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    body = ParseDict(recorded("otlp"), ExportTraceServiceRequest()).SerializeToString()
    request = urllib.request.Request(
        f"{url}/v1/traces", data=body, headers={"Content-Type": "application/x-protobuf", **(headers or {})}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 200


def wait_for(store: TraceStore, service: str, start: object, end: object, traces: int) -> list[tracing.Span]:
    """Read until all traces are there: servers take spans in before they can be found."""
    deadline = time.monotonic() + 60
    while True:
        spans = list(store.spans(service, start, end))
        if len({span.trace_id for span in spans}) >= traces or time.monotonic() > deadline:
            return spans
        time.sleep(0.5)


def test_mlflow_is_exact_to_the_nanosecond(mlflow):
    send_truth(mlflow, {"x-mlflow-experiment-id": "0"})
    store = MlflowStore(mlflow)
    told = truth()
    spans = wait_for(store, SERVICE, told["start_ns"], told["end_ns"], 240)
    assert span_times(spans) == truth_by_trace()
    assert_equal_breakdowns(tracing.breakdown(spans), tracing.breakdown(recorded("otlp")))
    cut = tracing.breakdown(store.spans(SERVICE, told["start_ns"], told["end_ns"], {"model_version": "v2"}, 20))
    assert (cut.traces, cut.truncated, cut.versions) == (20, True, ("v2",))
    assert list(store.spans("nobody", told["start_ns"], told["end_ns"])) == []
    assert len(store.trace("e4e417168deab89abf0cf4839b4f7482")) == 5
    assert store.trace("1") == []
    assert "MLflow answers" in store.check()


def test_phoenix_is_exact_to_the_microsecond(phoenix):
    send_truth(phoenix)
    store = PhoenixStore(phoenix)
    told = truth()
    spans = wait_for(store, SERVICE, told["start_ns"], told["end_ns"], 240)
    found, expected = span_times(spans), truth_by_trace()
    assert found.keys() == expected.keys()
    # Both ends of a span are rounded to a microsecond.
    worst = max(abs(found[trace][name] - ns) for trace, parts in expected.items() for name, ns in parts.items())
    assert worst < 2000
    assert {span.resolution_ns for span in spans} == {1000}
    assert tracing.breakdown(spans).resolution == 1e-6
    cut = tracing.breakdown(store.spans(SERVICE, told["start_ns"], told["end_ns"], {"model_version": "v2"}, 20))
    assert (cut.traces, cut.truncated, cut.versions) == (20, True, ("v2",))
    assert len(store.trace("e4e417168deab89abf0cf4839b4f7482")) == 5
    assert store.trace("1") == []
    assert "default is there" in store.check()


@pytest.mark.parametrize("ratio", [1.0, 0.0])
def test_mlflow_round_trip_of_the_request_tracer(mlflow, ratio):
    """What a model server traces is what the breakdown reads: over OTLP, with the head sampler on and off."""
    service = f"traced-{ratio:g}"
    begun = datetime.now(UTC) - timedelta(seconds=1)
    tracing.configure(
        service, endpoint=mlflow, sample_ratio=ratio, keep_slow_ms=0, headers={"x-mlflow-experiment-id": "0"}, delay_ms=50
    )
    tracers = []
    try:
        for number in range(20):
            tracer = tracing.MLRequestTracer(f"r{number}", "v7")
            with tracer.trace_request():
                with tracer.span_feature_fetch(["a"], 3):
                    pass
                with tracer.span_model_inference(batch_size=1):
                    time.sleep(0.002)
            tracers.append(tracer)
        assert tracing.flush()
    finally:
        tracing.shutdown()
    end = datetime.now(UTC) + timedelta(seconds=1)
    spans = wait_for(MlflowStore(mlflow), service, begun, end, 20)
    assert {span.trace_id for span in spans} == {tracer.trace_id for tracer in tracers}
    found = tracing.breakdown(spans)
    assert (found.versions, found.missing_parents, found.kept) == (("v7",), 0, 0 if ratio else 20)
    assert {row.span: row.count for row in found.rows} == dict.fromkeys(
        ("ml_prediction_request", "feature_fetch", "model_inference"), 20
    )
    assert 0.002 <= found.row("model_inference").p50 < 0.1
