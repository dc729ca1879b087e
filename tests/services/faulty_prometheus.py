"""A server on a real socket that answers Prometheus queries wrongly, in one chosen way.

``with FaultyPrometheus("503") as server: ask(server.url)``. Mode ``ok`` is the control: the same server, answering well.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

_VALUES = {"nan": "NaN", "inf": "+Inf", "not_a_number": "twelve"}
_ERRORS = {
    "400": ("bad_data", 'invalid parameter "query": 1:5: parse error: unexpected end of input'),
    "422": ("execution", "found duplicate series for the match group"),
    "503": ("timeout", "query timed out in expression evaluation"),
}
#: What stands in an answer beside its success.
_BESIDE_SUCCESS: dict[str, dict[str, Any]] = {
    "warnings": {"warnings": ["store gateway 10.0.0.7:10901 did not answer: partial response"]},
    "is_partial": {"isPartial": True},  # as VictoriaMetrics' cluster has it
    "error_type": {"errorType": "execution", "error": "vmstorage-2 is gone"},
    "nan_literal": {"stats": {"seriesFetched": float("nan")}},
}
#: Headers by which a cache says that its answer is an old one.
_CACHED = {"aged": {"Age": "3600"}, "stale_warning": {"Warning": '110 - "Response is Stale"'}}
#: Seconds that the samples of the mode ``another_time`` are late.
_LATE = 600
_LOGIN_PAGE = "<!doctype html><html><head><title>Sign in</title></head><body>Please sign in</body></html>"

#: Every way to be wrong.
MODES = (
    "refuse", "hang", "reset", "redirect", "400", "401", "403", "404", "422", "429", "500", "502", "503", "504", "html",
    "warnings", "empty", "two_series", "nan", "inf", "not_a_number", "truncated", "truncated_chunks", "drip", "wrong_json",
    "not_an_object", "no_result", "status_error", "is_partial", "error_type", "repeated_key", "nan_literal", "another_time",
    "aged", "stale_warning", "twice",
)  # fmt: skip


@dataclass(frozen=True)
class Received:
    """One request that came in."""

    method: str
    path: str
    form: dict[str, str]
    headers: dict[str, str]


class FaultyPrometheus:
    """A context manager that runs the server.

    :param mode: one of :data:`MODES`, or ``ok``
    :param failures: answer this many requests wrongly and all later ones well; None for all
    :param retry_after: the header of 429 and 503
    :param value: the value of every series in a good answer
    :param tls: serve https
    :param clock_ahead: how far its clock is ahead of ours
    """

    def __init__(
        self,
        mode: str,
        *,
        failures: int | None = None,
        retry_after: str | None = "1",
        value: str = "1000",
        tls: ssl.SSLContext | None = None,
        clock_ahead: timedelta = timedelta(0),
    ) -> None:
        if mode != "ok" and mode not in MODES:
            raise ValueError(f"no mode {mode!r}")
        self.mode = mode
        self.requests: list[Received] = []
        self._failures = failures
        self._retry_after = retry_after
        self._value = value
        self._tls = tls
        self._clock_ahead = clock_ahead
        self._closing = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self.url = ""

    def __enter__(self) -> FaultyPrometheus:
        if self.mode == "refuse":
            with socket.socket() as taken:  # bound, never listening, then closed: connections are refused
                taken.bind(("127.0.0.1", 0))
                self.url = f"http://127.0.0.1:{taken.getsockname()[1]}"
            return self
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                owner._serve(self)

            do_POST = do_GET

            def date_time_string(self, timestamp: float | None = None) -> str:
                return super().date_time_string(time.time() + owner._clock_ahead.total_seconds())

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if self._tls is not None:
            # Shaking hands on the first read keeps a client that refuses to from stopping the server.
            self._server.socket = self._tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._closing.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    @property
    def queries(self) -> list[str]:
        """The PromQL that was asked."""
        return [request.form["query"] for request in self.requests if "query" in request.form]

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        length = int(handler.headers.get("Content-Length") or 0)
        text = "&".join(filter(None, [parts.query, handler.rfile.read(length).decode()]))
        form = {name: values[-1] for name, values in parse_qs(text, keep_blank_values=True).items()}
        self.requests.append(Received(handler.command, parts.path, form, dict(handler.headers.items())))
        mode = self.mode if self._failures is None or len(self.requests) <= self._failures else "ok"
        try:
            self._answer(handler, mode, parts.path, form)
        except OSError:
            handler.close_connection = True  # the client gave up, as it should

    def _answer(self, handler: BaseHTTPRequestHandler, mode: str, path: str, form: dict[str, str]) -> None:
        good = json.dumps(self._envelope(mode, path, form)).encode()
        if mode == "hang":
            self._closing.wait(120)
            handler.close_connection = True
        elif mode == "reset":
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.connection.close()
            handler.close_connection = True
        elif mode == "redirect":
            _send(handler, 302, b"", Location="https://user:hunter2@login.example/sign-in?next=secret")
        elif mode in _ERRORS:
            kind, message = _ERRORS[mode]
            body = json.dumps({"status": "error", "errorType": kind, "error": message}).encode()
            _send(handler, int(mode), body, **self._wait(mode))
        elif mode.isdigit():
            _send(handler, int(mode), f"status {mode} from a proxy".encode(), kind="text/plain", **self._wait(mode))
        elif mode == "html":
            _send(handler, 200, _LOGIN_PAGE.encode(), kind="text/html")
        elif mode == "truncated":
            _send(handler, 200, good[: len(good) // 2], length=len(good))
        elif mode == "truncated_chunks":
            handler.send_response(200)
            handler.send_header("Transfer-Encoding", "chunked")
            handler.end_headers()
            half = good[: len(good) // 2]
            handler.wfile.write(f"{len(half):x}\r\n".encode() + half + b"\r\n")
            handler.close_connection = True
        elif mode == "drip":
            self._drip(handler, good)
        elif mode == "wrong_json":
            _send(handler, 200, b'{"status": "success", "data": {"resultType": "vector", "result": [{"value": 1}]}}')
        elif mode == "not_an_object":
            _send(handler, 200, b"[1, 2, 3]")
        elif mode == "no_result":
            _send(handler, 200, b'{"status": "success", "data": {}}')
        elif mode == "status_error":
            _send(handler, 200, b'{"status": "error", "errorType": "bad_data", "error": "proxied error"}')
        elif mode == "repeated_key":
            _send(handler, 200, b'{"status": "error", ' + good[1:])
        else:
            _send(handler, 200, good, **_CACHED.get(mode, {}))

    def _wait(self, mode: str) -> dict[str, str]:
        return {"Retry-After": self._retry_after} if self._retry_after and mode in ("429", "503") else {}

    def _drip(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body) + 100_000))
        handler.end_headers()
        for byte in b" " * 100_000 + body:
            if self._closing.wait(0.05):
                return
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()

    def _envelope(self, mode: str, path: str, form: dict[str, str]) -> dict[str, Any]:
        value = _VALUES.get(mode, self._value)
        rows = _rows(form.get("query", ""))
        if mode == "two_series":
            rows = [row | {"instance": name} for row in rows for name in ("a", "b")]
        elif mode == "twice":
            rows = [row for row in rows for _ in range(2)]
        elif mode == "empty":
            rows = []
        late = _LATE if mode == "another_time" else 0
        if path.endswith("/query_range"):
            start, end, step = (float(form[name]) for name in ("start", "end", "step"))
            moments = [start - late + step * number for number in range(int((end - start) / step) + 1)]
            result = [{"metric": row, "values": [[moment, value] for moment in moments]} for row in rows]
            data: Any = {"resultType": "matrix", "result": result}
        elif path.endswith("/query"):
            moment = float(form.get("time") or 0) - late
            data = {"resultType": "vector", "result": [{"metric": row, "value": [moment, value]} for row in rows]}
        else:
            data = []
        envelope: dict[str, Any] = {"status": "success", "data": data}
        return envelope | _BESIDE_SUCCESS.get(mode, {})


def _rows(query: str) -> list[dict[str, str]]:
    """Return the labels a real server would answer: one series for each joined query, or for each value asked for."""
    if numbers := re.findall(r'"slo_q","(\d+)"', query):
        return [{"slo_q": number} for number in numbers]
    for label, values in re.findall(r'(\w+)=~"([^"]+)"', query):
        if (grouped := re.match(r"sum by \(([\w,]+)\)", query)) and label in grouped[1].split(","):
            return [{label: value} for value in values.split("|")]
    return [{}]


def _send(
    handler: BaseHTTPRequestHandler,
    status: int,
    body: bytes,
    *,
    kind: str = "application/json",
    length: int | None = None,
    **headers: str,
) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    for name, text in headers.items():
        handler.send_header(name, text)
    handler.end_headers()
    handler.wfile.write(body)
    if length is not None and length != len(body):
        handler.close_connection = True
