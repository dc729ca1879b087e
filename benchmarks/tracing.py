"""Measure the cost of tracing in a model server, and the error rates of the comparison of two versions.

    python -m benchmarks.tracing [cost] [server] [dead-collector] [versions] [spans] [--requests N] [--repeat N]

``cost``: CPU time per request of ``MLRequestTracer`` beside bare OpenTelemetry spans of the same shape (the same names,
attributes and sampler, as ``start_as_current_span`` makes them). Both take turns, so that a busy machine slows both.
``server``: requests per second of the demo's model server at 0, 1 and 100 % sampling, spans sent to a collector that takes them.
``dead-collector``: memory while a million traced requests meet a collector that is not there.
``versions``: how often a 10 % slowdown of one span is found among 2,000 requests per version, and how often one is invented.
``spans``: a million spans through the breakdown. Without a name, all of them.
"""

from __future__ import annotations

import argparse
import gc
import http.client
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from airflow_slo_provider import tracing

REPO = Path(__file__).resolve().parents[1]
CHILDREN = (
    ("feature_fetch", {"entity_count": 8, "feature_count": 24, "model_version": "v1"}),
    ("cache_lookup", {"cache.hit": True, "model_version": "v1"}),
    ("model_inference", {"batch_size": 1, "model_version": "v1"}),
    ("post_process", {"model_version": "v1"}),
)
ENTITIES = list(range(8))


def ours() -> None:
    tracer = tracing.MLRequestTracer("r1", "v1")
    with tracer.trace_request():
        with tracer.span_feature_fetch(ENTITIES, 24):
            pass
        with tracer.span_cache_lookup(hit=True):
            pass
        with tracer.span_model_inference(batch_size=1):
            pass
        with tracer.span_post_process():
            pass


def bare(sample_ratio: float) -> Callable[[], None]:
    """Return a function that records the same spans with OpenTelemetry alone, as its documentation shows."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(sample_ratio)))
    provider.add_span_processor(BatchSpanProcessor(sink(), max_queue_size=4096))
    tracer = provider.get_tracer("bare")

    def request() -> None:
        with tracer.start_as_current_span("ml_prediction_request", attributes={"request_id": "r1", "model_version": "v1"}):
            for name, attributes in CHILDREN:
                with tracer.start_as_current_span(name, attributes=attributes):
                    pass

    return request


def sink():
    """Return an exporter that discards all spans."""
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Sink(SpanExporter):
        def export(self, spans):
            return SpanExportResult.SUCCESS

        def shutdown(self) -> None:
            pass

    return Sink()


def cost(requests: int, repeat: int) -> None:
    logging.disable(logging.CRITICAL)  # a full queue logs a warning
    settings = {
        "sampled": {"sample_ratio": 1.0},
        "dropped, slow and failed ones kept": {"sample_ratio": 0.0, "keep_slow_ms": 1000.0, "keep_errors": True},
        "dropped, nothing kept": {"sample_ratio": 0.0, "keep_errors": False},
    }
    print("\n| CPU per request of 5 spans | MLRequestTracer µs | bare OpenTelemetry µs | ratio |\n|---|---|---|---|")
    for name, chosen in settings.items():
        tracing.configure("bench", exporter=sink(), **chosen)
        others = bare(chosen["sample_ratio"])
        taken: dict[str, list[float]] = {"ours": [], "bare": []}
        for run in range(repeat + 1):
            for which, function in (("ours", ours), ("bare", others)):
                began = time.process_time()
                for _ in range(requests):
                    function()
                if run:  # the first run is a warm-up
                    taken[which].append((time.process_time() - began) / requests * 1e6)
        ratio = median(one / other for one, other in zip(taken["ours"], taken["bare"], strict=True))
        print(f"| {name} | {median(taken['ours']):.1f} | {median(taken['bare']):.1f} | {ratio:.2f} |", flush=True)
        tracing.shutdown()
    logging.disable(logging.NOTSET)


@contextmanager
def collector():
    """Run a collector that accepts all spans, in a separate process."""
    code = (
        "from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer\n"
        "class H(BaseHTTPRequestHandler):\n"
        "    def do_POST(self):\n"
        "        self.rfile.read(int(self.headers['Content-Length'])); self.send_response(200)\n"
        "        self.send_header('Content-Length', '0'); self.end_headers()\n"
        "    def log_message(self, *a): pass\n"
        "s = ThreadingHTTPServer(('127.0.0.1', 0), H); print(s.server_address[1], flush=True); s.serve_forever()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.wait()


def server(requests: int, repeat: int) -> None:
    from demo import model

    with tempfile.TemporaryDirectory() as name, collector() as url:
        home = Path(name)
        model.train(home / "model", version="1")
        rates: dict[str, list[tuple[float, float]]] = {}
        modes = {"not configured": [], "0 %": ["0"], "1 %": ["0.01"], "100 %": ["1"]}
        for turn in range(repeat):
            # The order of the modes rotates.
            order = list(modes.items())
            for mode, ratio in order[turn % len(order) :] + order[: turn % len(order)]:
                traces = ["--traces", url, "--sample-ratio", *ratio] if ratio else []
                rates.setdefault(mode, []).append(throughput(home, traces, requests))
    print("\n| demo server, sampling | requests/s | its CPU µs per request | CPU against not configured |\n|---|---|---|---|")
    base = rates["not configured"]
    for mode, measured in rates.items():
        ratio = median(one / other for (_, one), (_, other) in zip(measured, base, strict=True))
        rate, used = (median(one[place] for one in measured) for place in (0, 1))
        print(f"| {mode} | {rate:.0f} | {used:.0f} | {ratio:.2f} |")


def throughput(home: Path, arguments: list[str], requests: int, clients: int = 4) -> tuple[float, float]:
    """Return requests per second and CPU microseconds per request; the latter is valid on a busy machine too."""
    command = [sys.executable, "-m", "demo.model_server", "--model", str(home / "model"), "--log", str(home / "log.db")]
    command += ["--port", "0", "--features", str(home / "features.db"), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=REPO)
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline().strip().rpartition(":")[2])

        def send_requests(count: int) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", port)
            for number in range(count):
                connection.request("POST", "/predict", body=json.dumps({"entity_id": number % 569}))
                answer = connection.getresponse()
                answer.read()
                assert answer.status == 200
            connection.close()

        send_requests(200)
        threads = [threading.Thread(target=send_requests, args=(requests // clients,)) for _ in range(clients)]
        began, used = time.monotonic(), cpu(process.pid)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rate = requests / (time.monotonic() - began)
        return rate, (cpu(process.pid) - used) / requests * 1e6
    finally:
        process.terminate()
        process.wait()


def cpu(pid: int) -> float:
    """Return the CPU seconds that a process has used."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident() -> float:
    """Return the resident memory of this process in MB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def dead_collector(requests: int) -> None:
    logging.disable(logging.CRITICAL)
    tracing.configure("bench", endpoint="http://127.0.0.1:1", sample_ratio=1.0)
    print("\n| requests, collector dead | memory MB | Python's allocated blocks |\n|---|---|---|")
    print(f"| 0 | {resident():.0f} | {sys.getallocatedblocks():,} |")
    for step in range(10):
        for _ in range(requests // 10):
            ours()
        gc.collect()
        print(f"| {(step + 1) * (requests // 10):,} | {resident():.0f} | {sys.getallocatedblocks():,} |", flush=True)
    tracing.shutdown(timeout=1)
    logging.disable(logging.NOTSET)


def versions(simulations: int) -> None:
    from tests.unit.tracing.simulated import MEDIANS, own_times, requests

    names = list(MEDIANS)
    found = Counter()
    for seed in range(simulations):
        guilty = names[seed % len(names)]
        compared = tracing.compare(own_times(seed, count=2000, slower={guilty: 1.1}))
        found[(compared.slower, compared.span) == ("v2", guilty)] += 1
    print(f"\nslower version and guilty span named: {found[True]} of {simulations} simulations (own times)")
    whole = 0
    for seed in range(simulations // 10):
        guilty = names[seed % len(names)]
        spans = [*requests(seed, count=2000, version="v1"), *requests(seed, count=2000, version="v2", slower={guilty: 1.1})]
        compared = tracing.compare(tracing.breakdown(spans))
        whole += (compared.slower, compared.span) == ("v2", guilty)
    print(f"the same from whole traces: {whole} of {simulations // 10}")
    invented = sum(tracing.compare(own_times(10**6 + seed, count=2000)).slower is not None for seed in range(5 * simulations))
    print(f"invented where nothing had changed: {invented} of {5 * simulations} ({invented / simulations / 5:.1%})")


def spans() -> None:
    from tests.unit.tracing.test_breakdown import a_million

    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    found = tracing.breakdown(a_million(200_000))
    taken = time.process_time() - began
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"\n{found.spans:,} spans broken down in {taken:.1f} s of CPU, {grown:.0f} MB more at the peak")


def main() -> None:
    parts = ("cost", "server", "dead-collector", "versions", "spans")
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", choices=[*parts, []], help="what to measure; everything by default")
    parser.add_argument("--requests", type=int, help="requests of cost (2,000), server (3,000) and dead-collector (1,000,000)")
    parser.add_argument("--repeat", type=int, default=9)
    options = parser.parse_args()
    chosen = options.parts or parts
    if "cost" in chosen:
        cost(options.requests or 2000, options.repeat)
    if "server" in chosen:
        server(options.requests or 3000, max(1, options.repeat // 2))
    if "dead-collector" in chosen:
        dead_collector(options.requests or 1_000_000)
    if "versions" in chosen:
        versions(200)
    if "spans" in chosen:
        spans()


if __name__ == "__main__":
    main()
