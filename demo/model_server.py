"""A small model server over HTTP: ``POST /predict``, ``GET /health``, ``GET /metrics``; every prediction goes into a log.

The prediction log, a SQLite table ``predictions(request_id, ts, model_version, prediction, latency_ms, status, trace_id)``,
is the source of the demo's SLOs. A request contains its features, or the ``entity_id`` under which they are looked up in a
SQLite file (``--features``). ``--traces`` sets the destination of spans: a collector, or ``file:///...`` for an OTLP-JSON file.
``--zero-is-missing`` starts the release with the bug: a check that was meant for missing
features uses ``if not value`` and so rejects every tumour whose measured concavity is 0.0 - 13 of 569.
"""

from __future__ import annotations

import argparse
import json
import signal
import sqlite3
import threading
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from airflow_slo_provider import tracing
from airflow_slo_provider.tracing import MLRequestTracer
from demo.model import measured_rows

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
SCHEMA = """
CREATE TABLE IF NOT EXISTS predictions (
    request_id TEXT PRIMARY KEY,
    ts TEXT NOT NULL,               -- UTC, YYYY-MM-DD HH:MM:SS.ffffff: sorts as it should
    model_version TEXT NOT NULL,
    prediction TEXT,                -- NULL where there was none
    latency_ms REAL NOT NULL,
    status INTEGER NOT NULL,        -- of the HTTP answer
    trace_id TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS predictions_ts ON predictions (ts);
"""


class PredictionLog:
    """Writes each prediction at once, so that every answered request is in the log."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, check_same_thread=False, timeout=30)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.executescript(SCHEMA)
        if "trace_id" not in {row[1] for row in self._connection.execute("PRAGMA table_info(predictions)")}:
            self._connection.execute("ALTER TABLE predictions ADD COLUMN trace_id TEXT NOT NULL DEFAULT ''")
        self._lock = threading.Lock()

    def write(
        self, *, request_id: str, model_version: str, prediction: str | None, latency: float, status: int, trace_id: str = ""
    ) -> None:
        """Add one row; ``latency`` in seconds."""
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
        row = (request_id, now, model_version, prediction, round(latency * 1000, 3), status, trace_id)
        columns = "request_id, ts, model_version, prediction, latency_ms, status, trace_id"
        with self._lock, self._connection:
            self._connection.execute(f"INSERT INTO predictions ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()


class FeatureStore:
    """Measured rows by the id of the tumour, in a SQLite file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()

    def fill(self, rows: list[dict[str, float]]) -> None:
        """Put rows in, under ``0``, ``1``, ..."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._connection() as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS features (entity_id TEXT PRIMARY KEY, vector TEXT NOT NULL)")
            values = [(str(number), json.dumps(row)) for number, row in enumerate(rows)]
            connection.executemany("INSERT OR REPLACE INTO features VALUES (?, ?)", values)

    def get(self, entity_id: str) -> dict[str, float]:
        """Return the features of one entity.

        :raises KeyError: when there are none
        """
        query = "SELECT vector FROM features WHERE entity_id = ?"
        found = self._connection().execute(query, (entity_id,)).fetchone()
        if found is None:
            raise KeyError(f"no features of entity {entity_id}")
        vector: dict[str, float] = json.loads(found[0])
        return vector

    def _connection(self) -> sqlite3.Connection:
        if not hasattr(self._local, "connection"):
            self._local.connection = sqlite3.connect(self._path, timeout=30)
        connection: sqlite3.Connection = self._local.connection
        return connection


class Metrics:
    """Request counters and latency histograms in Prometheus' text format, by model version.

    :param model_version: the first serving version
    """

    def __init__(self, model_version: str) -> None:
        self._requests: Counter[tuple[str, int]] = Counter()
        self._buckets: Counter[tuple[str, float]] = Counter()
        self._seconds: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.serve(model_version)

    def serve(self, version: str) -> None:
        """Start counting for a version."""
        with self._lock:
            self.serving = version
            for status in (200, 500):  # created at the start: increase() ignores the first error of a series that appears with it
                self._requests[version, status] += 0

    def observe(self, status: int, seconds: float) -> None:
        """Count one request."""
        with self._lock:
            self._requests[self.serving, status] += 1
            self._seconds[self.serving] += seconds
            for bound in BUCKETS:
                self._buckets[self.serving, bound] += seconds <= bound

    def text(self) -> str:
        """Return the page that Prometheus scrapes."""
        name = "model_request_duration_seconds"
        with self._lock:
            requests = sorted(self._requests.items())
            lines = [
                "# HELP model_requests_total Predictions asked for, by model version and HTTP status.",
                "# TYPE model_requests_total counter",
                *(
                    f'model_requests_total{{model_version="{version}",code="{code}"}} {count}'
                    for (version, code), count in requests
                ),
                f"# HELP {name} Time to answer a prediction request.",
                f"# TYPE {name} histogram",
            ]
            for version in sorted({version for version, _ in self._requests}):
                label, total = f'model_version="{version}"', sum(count for (of, _), count in requests if of == version)
                lines += [f'{name}_bucket{{{label},le="{bound}"}} {self._buckets[version, bound]}' for bound in BUCKETS]
                lines += [
                    f'{name}_bucket{{{label},le="+Inf"}} {total}',
                    f"{name}_sum{{{label}}} {self._seconds[version]:.6f}",
                    f"{name}_count{{{label}}} {total}",
                ]
        return "\n".join(lines) + "\n"


class Model:
    """The model and the code that turns a request into its input.

    :param zero_is_missing: start the release with the bug
    """

    def __init__(self, directory: Path, *, zero_is_missing: bool = False) -> None:
        import joblib

        self._model = joblib.load(directory / "model.joblib")
        card = json.loads((directory / "model.json").read_text())
        self.version: str = card["version"]
        self._features: list[str] = card["features"]
        self._classes: list[str] = card["classes"]
        self._zero_is_missing = zero_is_missing

    @property
    def feature_count(self) -> int:
        """Return the number of features of a prediction."""
        return len(self._features)

    def vector(self, features: Mapping[str, Any]) -> list[Any]:
        """Return the model's input.

        :raises ValueError: when a feature is missing
        """
        values = [features.get(name) for name in self._features]
        if self._zero_is_missing:
            missing = [name for name, value in zip(self._features, values, strict=True) if not value]  # the bug: 0.0 is a value
        else:
            missing = [name for name, value in zip(self._features, values, strict=True) if value is None]
        if missing:
            raise ValueError(f"missing features: {', '.join(missing)}")
        return values

    def infer(self, vector: list[Any]) -> int:
        """Return the number of the predicted class."""
        return int(self._model.predict([vector])[0])

    def name_of(self, number: int) -> str:
        """Return the name of a class."""
        return self._classes[number]


class Server(ThreadingHTTPServer):
    """The model server."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], model: Model, log: PredictionLog, features: FeatureStore | None = None) -> None:
        super().__init__(address, Handler)
        self.model, self.log, self.metrics, self.features = model, log, Metrics(model.version), features

    def predict(self, tracer: MLRequestTracer, request: Mapping[str, Any]) -> str:
        """Predict: read the features of the named entity, if any, and call the model.

        :raises KeyError: when the entity has no features
        :raises ValueError: when a feature is missing
        """
        if "features" in request or self.features is None:
            found = request["features"]
        else:
            entity = str(request["entity_id"])
            with tracer.span_feature_fetch([entity], self.model.feature_count):
                found = self.features.get(entity)
        vector = self.model.vector(found)
        with tracer.span_model_inference(batch_size=1):
            number = self.model.infer(vector)
        with tracer.span_post_process():
            return self.model.name_of(number)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # without it, header and body wait 40 ms for each other
    server: Server

    def do_GET(self) -> None:
        if self.path == "/health":
            self._send(200, json.dumps({"status": "ok", "model_version": self.server.model.version}))
        elif self.path == "/metrics":
            self._send(200, self.server.metrics.text(), kind="text/plain; version=0.0.4; charset=utf-8")
        else:
            self._send(404, json.dumps({"error": "there are /predict, /health and /metrics"}))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path != "/predict":
            self._send(404, json.dumps({"error": "there are /predict, /health and /metrics"}))
            return
        started = time.perf_counter()
        request_id, prediction = uuid.uuid4().hex, None
        tracer = MLRequestTracer(request_id, self.server.model.version)
        try:
            with tracer.trace_request(dict(self.headers)):
                prediction = self.server.predict(tracer, json.loads(body))
            status, answer = 200, {"request_id": request_id, "model_version": self.server.model.version, "prediction": prediction}
        except Exception as error:  # as in web frameworks, an unexpected exception is a 500
            status, answer = 500, {"request_id": request_id, "error": f"{type(error).__name__}: {error}"}
        seconds = time.perf_counter() - started
        self.server.log.write(
            request_id=request_id,
            model_version=self.server.model.version,
            prediction=prediction,
            latency=seconds,
            status=status,
            trace_id=tracer.trace_id,
        )
        self.server.metrics.observe(status, seconds)
        self._send(status, json.dumps(answer))

    def _send(self, status: int, text: str, *, kind: str = "application/json") -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Log nothing, because the prediction log has all requests."""


def main() -> None:
    parser = argparse.ArgumentParser(description="serve a model over HTTP")
    parser.add_argument("--model", type=Path, required=True, help="directory with model.joblib and model.json")
    parser.add_argument("--log", type=Path, required=True, help="the prediction log, a SQLite file")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--zero-is-missing", action="store_true", help="start the release with the bug")
    parser.add_argument("--features", type=Path, help="SQLite file of features by entity_id, made where it is not there")
    parser.add_argument("--traces", help="where spans go: http://collector:4318, or file:///path/traces.jsonl")
    parser.add_argument("--sample-ratio", type=float, default=1.0, help="share of requests that are traced")
    options = parser.parse_args()
    if options.traces:
        tracing.configure("model-server", endpoint=options.traces, sample_ratio=options.sample_ratio, keep_slow_ms=250)
    features = None
    if options.features:
        features = FeatureStore(options.features)
        if not options.features.exists():
            features.fill(measured_rows())
    log = PredictionLog(options.log)
    model = Model(options.model, zero_is_missing=options.zero_is_missing)
    server = Server((options.host, options.port), model, log, features)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"serving model version {server.model.version} on http://{options.host}:{server.server_address[1]}", flush=True)
    try:
        server.serve_forever(poll_interval=0.1)
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
        log.close()
        tracing.shutdown()


if __name__ == "__main__":
    main()
