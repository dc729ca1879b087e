"""A real MLflow server with its registry, and a proxy before it that can hold one request back."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.peers import peer


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def call(url: str, what: str, body: dict[str, Any], method: str = "POST") -> Any:
    """Ask MLflow's REST API, not by our own client."""
    request = urllib.request.Request(f"{url}/api/2.0/mlflow/{what}", json.dumps(body).encode(), method=method)
    request.add_header("Content-Type", "application/json")
    return json.load(urllib.request.urlopen(request, timeout=60))


def make_model(url: str, name: str, versions: int = 3, champion: str | None = "1") -> None:
    """Register a model with some versions."""
    call(url, "registered-models/create", {"name": name})
    for _ in range(versions):
        call(url, "model-versions/create", {"name": name, "source": "s3://bucket/model"})
    if champion:
        call(url, "registered-models/alias", {"name": name, "alias": "champion", "version": champion})


@contextmanager
def mlflow_server(home: Path) -> Iterator[str]:
    """Run a server for as long as the block lasts."""
    program, port = peer("mlflow") / "mlflow", free_port()
    command = [str(program), "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{home}/mlflow.db", "--artifacts-destination", str(home / "artifacts")]
    env = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PATH": f"{program.parent}:{os.environ['PATH']}"}
    url = f"http://127.0.0.1:{port}"
    with (home / "log").open("w") as log:
        process = subprocess.Popen(command, env=env, cwd=home, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            deadline = time.monotonic() + 180
            while True:
                with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
                    if answer.status == 200:
                        break
                assert process.poll() is None and time.monotonic() < deadline, (home / "log").read_text()[-3000:]
                time.sleep(0.3)
            yield url
        finally:
            for stop in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, stop)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(10)


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as url:
        yield url


class Proxy(ThreadingHTTPServer):
    """Hands requests on, and holds back those that ``holds`` says, until ``release`` is set."""

    daemon_threads = True

    def __init__(self, target: str, holds: Callable[[str, str, bytes], bool]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target, self.holds = target, holds
        self.held, self.release = threading.Event(), threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is part of the test."""


class _Handler(BaseHTTPRequestHandler):
    server: Proxy

    def _hand_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.server.holds(self.command, self.path, body):
            self.server.held.set()
            self.server.release.wait(60)
            return  # the client is gone; MLflow never hears of it
        request = urllib.request.Request(self.server.target + self.path, body or None, method=self.command)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_DELETE = _hand_on

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def proxy(target: str, holds: Callable[[str, str, bytes], bool]) -> Iterator[Proxy]:
    server = Proxy(target, holds)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.release.set()
        server.shutdown()
        server.server_close()
        thread.join()
