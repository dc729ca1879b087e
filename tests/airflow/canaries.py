"""Recognizable credentials, servers that repeat requests, and a search for the credentials in all output."""

from __future__ import annotations

import base64
import json
import socket
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote

from airflow.sdk.execution_time import comms

from airflow_slo_provider.ledger import open_ledger
from tests.airflow.task_runs import Ran

LOGIN = "someone"
#: With characters that URLs, JSON, HTML and base64 encode differently.
PASSWORD = "Zk3vQ9xLm2Tt/+&\"<é' ?"
TOKEN = "Tk7wRb4Yc8NnUu3eKd"
HEADER = "Hd5sPq6Jf1GgMm4aVx"
_LEAST = 8

#: Credentials of others that a server may quote, by form: the secret that must not be found, and the text around it.
FOREIGN = {
    "Fb1xBearerOfAnother": "Authorization: Bearer Fb1xBearerOfAnother",
    "Fq2yQueryToken": "GET /v1/series?limit=1&token=Fq2yQueryToken&x=1",
    "Fp3zPasswordInUrl": "postgresql://reader:Fp3zPasswordInUrl@db.internal:5432/metrics",
    "Fk4wApiKey": "api_key=Fk4wApiKey",
    "AKIAFAKEFAKEFAKE1234": "credentials AKIAFAKEFAKEFAKE1234 were refused",
    "Fs5vAwsSecret/abc": "aws_secret_access_key: Fs5vAwsSecret/abc",
}
#: Failures of a server that has read the whole request. ``warnings`` and ``labels`` are successful responses of Prometheus.
MODES = ("refused", "401", "500", "302", "garbage", "error", "cut", "warnings", "labels")


def needles() -> list[str]:
    """Return the first part of every secret, because a partial secret must not appear either."""
    pairs = [base64.b64encode(f"{LOGIN}:{PASSWORD}".encode(code)).decode() for code in ("utf-8", "latin-1")]
    # The base64 starts with the login, which is not secret.
    start = len(LOGIN) * 4 // 3 + 3
    ours = [text[:_LEAST] for text in (PASSWORD, TOKEN, HEADER)] + [pair[start : start + 12] for pair in pairs]
    return ours + [text[:_LEAST] for text in FOREIGN]


def found_in(text: str) -> list[str]:
    return [needle for needle in needles() if needle in text]


class _Repeating(BaseHTTPRequestHandler):
    """Repeats the request with decoded credentials; the first part of the path selects the response."""

    def _answer(self) -> None:
        mode = self.path.split("/")[1]
        size = int(self.headers.get("Content-Length") or 0)
        sent = self.rfile.read(size).decode("utf-8", "replace")
        said = self.headers.get("Authorization", "")
        known = base64.b64decode(said[6:]).decode("latin-1") if said.startswith("Basic ") else ""
        self.server.seen.append(f"{self.path} {dict(self.headers)} {known} {sent}")  # type: ignore[attr-defined]
        text = f"you sent {known} {self.headers} {self.path} {sent} to http://{known}@{self.headers.get('Host')}/; "
        text += "; ".join(FOREIGN.values())
        body, status = text.encode(), int(mode) if mode.isdigit() else 200
        if mode in ("401", "error"):
            told = {"status": "error", "errorType": text, "error": text, "error_code": "INTERNAL_ERROR", "message": text}
            body = json.dumps(told).encode()
        elif mode in ("warnings", "labels"):
            body = json.dumps(_prometheus(mode, text, sent)).encode()
        self.send_response(status)
        if mode == "302":
            self.send_header("Location", f"http://{LOGIN}:{quote(PASSWORD, safe='')}@127.0.0.1:1/?token={TOKEN}")
        self.send_header("Content-Length", str(len(body) + (1000 if mode == "cut" else 0)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = _answer

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def _prometheus(mode: str, text: str, sent: str) -> dict[str, Any]:
    """Return a successful response of Prometheus that quotes the request in its warnings or labels."""
    at = float(parse_qs(sent).get("time", ["0"])[0])
    # Label names can contain secrets too.
    names = {"reason": text, "api_key": "Fk4wApiKey", "auth_token": TOKEN, "password": PASSWORD}
    rows = [{"metric": {**names, "n": number}, "value": [at, "1"]} for number in "12"] if mode == "labels" else []
    answer: dict[str, Any] = {"status": "success", "data": {"resultType": "vector", "result": rows}}
    return {**answer, "warnings": [text]} if mode == "warnings" else answer


@dataclass(frozen=True)
class RepeatingServer:
    """The addresses of the servers."""

    port: int
    dead: int
    seen: list[str]

    def connection(self, mode: str, form: str, conn_type: str, **extra: Any) -> dict[str, Any]:
        """Return an Airflow connection with secrets.

        :param mode: one of :data:`MODES`
        :param form: place of the secret: ``url``, ``basic`` or ``token``; a secret header is always set
        """
        place = f"127.0.0.1:{self.dead if mode == 'refused' else self.port}/{mode}"
        user = f"{LOGIN}:{quote(PASSWORD, safe='')}@" if form == "url" else ""
        fields: dict[str, Any] = {"conn_type": conn_type, "host": f"http://{user}{place}"}
        if form == "basic":
            fields |= {"login": LOGIN, "password": PASSWORD}
        token = {"token": TOKEN} if form == "token" else {}
        return {**fields, "extra": {"headers": {"X-Api-Key": HEADER}, "retries": 0, **token, **extra}}


@contextmanager
def repeating_server() -> Iterator[RepeatingServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Repeating)
    server.seen = []  # type: ignore[attr-defined]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield RepeatingServer(server.server_address[1], taken.getsockname()[1], server.seen)  # type: ignore[attr-defined]
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def left_behind(ran: Ran, home: Path) -> dict[str, str]:
    """Return everything readable that a task leaves, by place."""
    told = [msg for msg in ran.messages if not isinstance(msg, comms.MaskSecret)]
    places = {
        "log": ran.log,
        "log entries": "\n".join(_entry(entry) for entry in ran.entries),
        "messages (XComs, rendered fields, deferral)": "\n".join(map(repr, told)),
        "messages as JSON": "\n".join(msg.model_dump_json() for msg in told),
    }
    if ran.error is not None:
        places["exception"] = f"{ran.error!r} {vars(ran.error)}\n" + "".join(traceback.format_exception(ran.error))
    return places | files_in(home)


def _entry(entry: Any) -> str:
    error = entry.get("exc_info")
    shown = "".join(traceback.format_exception(error)) if isinstance(error, BaseException) else ""
    if isinstance(error, tuple):
        shown = "".join(traceback.format_exception(*error))
    return f"{entry!r}\n{shown}"


def files_in(home: Path) -> dict[str, str]:
    """Return reports, rows of the ledger and the bytes of its file."""
    found = {}
    for path in sorted(home.rglob("*")):
        if path.is_file():
            found[str(path.relative_to(home))] = path.read_bytes().decode("utf-8", "replace")
    ledger = home / "ledger.db"
    if ledger.exists():
        with open_ledger(f"sqlite:///{ledger}") as opened:
            found["ledger rows"] = "\n".join(map(repr, opened.checks()))
    return found
