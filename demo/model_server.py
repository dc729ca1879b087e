"""A small model server over HTTP: ``POST /predict``, ``GET /health``, ``GET /metrics``; every prediction goes into a log.

The prediction log is a SQLite table ``predictions(request_id, ts, model_version, prediction, latency_ms, status)``. It is what
the demo's SLOs are measured on. ``--zero-is-missing`` starts the release with the bug: a check that was meant for missing
features says ``if not value`` and so refuses every tumour whose measured concavity is 0.0 - 13 of 569.
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

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
SCHEMA = """
CREATE TABLE IF NOT EXISTS predictions (
    request_id TEXT PRIMARY KEY,
    ts TEXT NOT NULL,               -- UTC, YYYY-MM-DD HH:MM:SS.ffffff: sorts as it should
    model_version TEXT NOT NULL,
    prediction TEXT,                -- NULL where there was none
    latency_ms REAL NOT NULL,
    status INTEGER NOT NULL         -- of the HTTP answer
);
CREATE INDEX IF NOT EXISTS predictions_ts ON predictions (ts);
"""


class PredictionLog:
    """Writes each prediction at once: a request that was answered is in the log."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, check_same_thread=False, timeout=30)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.executescript(SCHEMA)
        self._lock = threading.Lock()

    def write(self, *, request_id: str, model_version: str, prediction: str | None, latency: float, status: int) -> None:
        """Add one row; ``latency`` in seconds."""
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
        row = (request_id, now, model_version, prediction, round(latency * 1000, 3), status)
        with self._lock, self._connection:
            self._connection.execute("INSERT INTO predictions VALUES (?, ?, ?, ?, ?, ?)", row)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()


class Metrics:
    """Request counters and a latency histogram in Prometheus' text format."""

    def __init__(self, model_version: str) -> None:
        self._version = model_version
        self._requests: Counter[int] = Counter()
        self._buckets: Counter[float] = Counter()
        self._seconds = 0.0
        self._lock = threading.Lock()

    def observe(self, status: int, seconds: float) -> None:
        """Count one request."""
        with self._lock:
            self._requests[status] += 1
            self._seconds += seconds
            for bound in BUCKETS:
                self._buckets[bound] += seconds <= bound

    def text(self) -> str:
        """Return the page that Prometheus scrapes."""
        version = f'model_version="{self._version}"'
        with self._lock:
            total = sum(self._requests.values())
            # Both codes exist from the start: a series that appears with its first error loses that error to increase().
            counts = {200: 0, 500: 0} | self._requests
            lines = [
                "# HELP model_requests_total Predictions asked for, by HTTP status.",
                "# TYPE model_requests_total counter",
                *(f'model_requests_total{{{version},code="{code}"}} {count}' for code, count in sorted(counts.items())),
                "# HELP model_request_duration_seconds Time to answer a prediction request.",
                "# TYPE model_request_duration_seconds histogram",
                *(f'model_request_duration_seconds_bucket{{{version},le="{bound}"}} {self._buckets[bound]}' for bound in BUCKETS),
                f'model_request_duration_seconds_bucket{{{version},le="+Inf"}} {total}',
                f"model_request_duration_seconds_sum{{{version}}} {self._seconds:.6f}",
                f"model_request_duration_seconds_count{{{version}}} {total}",
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

    def predict(self, features: Mapping[str, Any]) -> str:
        """Return the predicted class.

        :raises ValueError: when a feature is missing
        """
        values = [features.get(name) for name in self._features]
        if self._zero_is_missing:
            missing = [name for name, value in zip(self._features, values, strict=True) if not value]  # the bug: 0.0 is a value
        else:
            missing = [name for name, value in zip(self._features, values, strict=True) if value is None]
        if missing:
            raise ValueError(f"missing features: {', '.join(missing)}")
        return self._classes[int(self._model.predict([values])[0])]


class Server(ThreadingHTTPServer):
    """The model server."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], model: Model, log: PredictionLog) -> None:
        super().__init__(address, Handler)
        self.model, self.log, self.metrics = model, log, Metrics(model.version)


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
        try:
            prediction = self.server.model.predict(json.loads(body)["features"])
            status, answer = 200, {"request_id": request_id, "model_version": self.server.model.version, "prediction": prediction}
        except Exception as error:  # as web frameworks do: what the code did not foresee is a 500
            status, answer = 500, {"request_id": request_id, "error": f"{type(error).__name__}: {error}"}
        seconds = time.perf_counter() - started
        self.server.log.write(
            request_id=request_id, model_version=self.server.model.version, prediction=prediction, latency=seconds, status=status
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
        """Say nothing: the prediction log is the record."""


def main() -> None:
    parser = argparse.ArgumentParser(description="serve a model over HTTP")
    parser.add_argument("--model", type=Path, required=True, help="directory with model.joblib and model.json")
    parser.add_argument("--log", type=Path, required=True, help="the prediction log, a SQLite file")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--zero-is-missing", action="store_true", help="start the release with the bug")
    options = parser.parse_args()
    log = PredictionLog(options.log)
    server = Server((options.host, options.port), Model(options.model, zero_is_missing=options.zero_is_missing), log)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"serving model version {server.model.version} on http://{options.host}:{server.server_address[1]}", flush=True)
    try:
        server.serve_forever(poll_interval=0.1)
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
        log.close()


if __name__ == "__main__":
    main()
