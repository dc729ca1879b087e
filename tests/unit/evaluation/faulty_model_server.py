"""A model server over real HTTP that can be told to fail: every n-th request, in a way that is asked for."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: What can go wrong with an answer.
FAULTS = ("status", "hang", "short", "not_json", "no_outputs", "nan", "drip", "reset", "cut")


class ModelServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, score: Callable[[list[float]], float]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.score = score
        self.faults: tuple[str, ...] = ()
        self.every = 0  # each n-th request fails; 0: none, 1: all
        self.delay = 0.0  # seconds an answer takes
        self.requests = 0
        self.seen: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.busy = self.most_busy = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is part of the test."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: ModelServer

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.requests += 1
            server.busy += 1
            server.most_busy = max(server.most_busy, server.busy)
            server.seen.append((self.path, body))
            server.headers.append(dict(self.headers))
            number = server.requests
        if "nowhere" in self.path:
            self.send(404, b"no such model")
            return
        fault = None
        if server.every and server.faults and number % server.every == 0:
            fault = server.faults[(number // server.every) % len(server.faults)]
        try:
            self.answer(body, fault)
        finally:
            with server.lock:
                server.busy -= 1

    def answer(self, body: Any, fault: str | None) -> None:
        if fault == "status":
            self.send(503, b'{"error": "overloaded"}')
            return
        if fault == "hang":
            time.sleep(3)
        if fault == "reset":
            self.hang_up()
            return
        if fault == "not_json":
            self.send(200, b"<html>welcome</html>")
            return
        if fault == "no_outputs":
            self.send(200, b'{"result": "ok"}')
            return
        time.sleep(self.server.delay)
        answer = self.predict(body)
        if fault == "short":
            answer = self.predict(body, drop=1)
        if fault == "nan":
            answer = self.predict(body, nan=True)
        text = json.dumps(answer).encode()
        if fault in ("drip", "cut"):
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            if fault == "cut":
                self.wfile.write(text[: len(text) // 2])
                self.hang_up()
                return
            for place in range(min(len(text), 20)):
                self.wfile.write(text[place : place + 1])
                self.wfile.flush()
                time.sleep(0.2)
            return
        self.send(200, text)

    def hang_up(self) -> None:
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def predict(self, body: Any, *, drop: int = 0, nan: bool = False) -> Any:
        if "inputs" in body:
            tensor = body["inputs"][0]
            rows, columns = tensor["shape"]
            values = [tensor["data"][row * columns : (row + 1) * columns] for row in range(rows)]
            scores = self.scores(values, drop, nan)
            labels = [int(one is not None and one >= 0.5) for one in scores]
            return {
                "model_name": "fraud",
                "outputs": [
                    {"name": "predict", "shape": [len(labels), 1], "datatype": "INT64", "data": labels},
                    {"name": "predict_proba", "shape": [len(scores), 2], "datatype": "FP64",
                     "data": [part for one in scores for part in ((None, None) if one is None else (1 - one, one))]},
                ],
            }  # fmt: skip
        if "dataframe_split" in body:
            return {"predictions": self.scores(body["dataframe_split"]["data"], drop, nan)}
        rows = [list(row.values()) for row in body["instances"]]
        return {"predictions": [{"score": one} for one in self.scores(rows, drop, nan)]}

    def scores(self, rows: list[list[float]], drop: int, nan: bool) -> list[float | None]:
        found: list[float | None] = [self.server.score(row) for row in rows]
        if nan:
            found[0] = None
        return found[: len(found) - drop]

    def send(self, status: int, text: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def serving(score: Callable[[list[float]], float]) -> Iterator[ModelServer]:
    """Serve a model for as long as the block lasts."""
    server = ModelServer(score)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
