"""The HTTP client of a worker and that of a trigger: the same questions, the same answers, the same faults."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.freshness.sources.http_client import ApiClient, ApiSettings, AsyncApiClient
from airflow_slo_provider.freshness.sources.http_steps import Call

PASSWORD = "s3cr:t/@%word"


class Server(ThreadingHTTPServer):
    """Gives tokens that are good for some requests, and answers to whoever has one."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.logins = 0
        self.token_uses = 1_000
        self.left = 0
        self.seen: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/prefix"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/prefix/auth/token" or body != {"username": "u", "password": PASSWORD}:
            return self.answer(401, {"detail": f"wrong: {body}"})
        self.server.logins += 1
        self.server.left = self.server.token_uses
        return self.answer(201, {"access_token": f"token-{self.server.logins}"})

    def do_GET(self) -> None:
        given = self.headers.get("Authorization")
        self.server.seen.append((self.path, given))
        if self.path.startswith("/prefix/open"):
            return self.answer(200, {"hello": [1, 2]})
        if self.path == "/prefix/slow":
            time.sleep(1.5)
            return self.answer(200, {})
        if self.path == "/prefix/text":
            return self.answer(500, None, f"<h1>no {PASSWORD} and {given}</h1>")
        if given == "Bearer fixed":
            return self.answer(200, {"ok": True})
        if given == f"Bearer token-{self.server.logins}" and self.server.left > 0:
            self.server.left -= 1
            return self.answer(200, {"ok": True})
        return self.answer(401, {"detail": "no"})

    def answer(self, status: int, body: object, text: str | None = None) -> None:
        data = (text if text is not None else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments) -> None: ...


@pytest.fixture
def server():
    made = Server()
    threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture(params=["blocking", "async"])
def ask(request):
    """Send calls with one client, one after the other; return the replies."""

    def blocking(settings, *calls):
        with ApiClient(settings) as client:
            return [client.send(call) for call in calls]

    async def in_a_loop(settings, *calls):
        async with AsyncApiClient(settings) as client:
            return [await client.send(call) for call in calls]

    return blocking if request.param == "blocking" else lambda *a: asyncio.run(in_a_loop(*a))


def settings(server, **arguments):
    return ApiSettings(**{"url": server.url, "basic": ("u", PASSWORD), "token_path": "/auth/token", **arguments})


def test_request_returns_reply(server, ask):
    (reply,) = ask(settings(server, basic=None, token_path=None), Call("/open/a%2Fb", {"q": "x y&z"}))
    assert (reply.status, reply.body, reply.where) == (200, {"hello": [1, 2]}, server.url)
    assert server.seen == [("/prefix/open/a%2Fb?q=x+y%26z", None)] or server.seen == [("/prefix/open/a%2Fb?q=x%20y%26z", None)]


def test_client_with_token_path_logs_in_once(server, ask):
    assert [reply.status for reply in ask(settings(server), Call("/a"), Call("/b"), Call("/c"))] == [200] * 3
    assert server.logins == 1


def test_expired_token_is_renewed(server, ask):
    server.token_uses = 2
    assert [reply.status for reply in ask(settings(server), *[Call("/a")] * 5)] == [200] * 5
    assert server.logins == 3


def test_rejected_login_raises_without_password(server, ask):
    with pytest.raises(QueryError, match="check the connection's login and password") as caught:
        ask(settings(server, basic=("u", "hunter2")), Call("/a"))
    assert (caught.value.reason, caught.value.transient, caught.value.http_status) == ("unauthorized", False, 401)
    assert "hunter2" not in str(caught.value)


def test_fixed_token_and_basic_authentication_are_sent(server, ask):
    assert ask(settings(server, bearer="fixed"), Call("/a"))[0].status == 200
    assert server.logins == 0
    ask(settings(server, token_path=None), Call("/open"))
    assert server.seen[-1][1].startswith("Basic ")


def test_secrets_in_server_text_are_redacted(server, ask):
    (reply,) = ask(settings(server, bearer="fixed-token"), Call("/text"))
    assert (reply.status, reply.body) == (500, None)
    assert PASSWORD not in reply.text
    assert "fixed-token" not in reply.text


def test_silent_server_raises_transient_error(server, ask):
    with pytest.raises(QueryError, match="no answer within") as caught:
        ask(settings(server, bearer="fixed", timeout=(1.0, 0.3)), Call("/slow"))
    assert (caught.value.reason, caught.value.transient) == ("timeout", True)


def test_unreachable_server_raises_transient_error(ask):
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        url = f"http://u:hunter2@127.0.0.1:{one.getsockname()[1]}"
    with pytest.raises(QueryError, match="refused the connection") as caught:
        ask(ApiSettings(url=url), Call("/a"))
    assert (caught.value.reason, caught.value.transient) == ("connection_refused", True)
    assert "hunter2" not in str(caught.value)


def test_server_without_tls_raises(server, ask):
    with pytest.raises(QueryError) as caught:
        ask(ApiSettings(url=server.url.replace("http://", "https://")), Call("/a"))
    assert caught.value.reason in ("tls", "connection_reset", "connection_refused")


def test_missing_ca_file_raises(server, ask):
    with pytest.raises(QueryError, match=r"ca\.pem does not exist") as caught:
        ask(settings(server, verify="/nowhere/ca.pem"), Call("/a"))
    assert (caught.value.reason, caught.value.transient) == ("tls", False)


def test_concurrent_tasks_log_in_once(server):
    async def many():
        async with AsyncApiClient(settings(server)) as client:
            return await asyncio.gather(*(client.send(Call("/a")) for _ in range(20)))

    assert {reply.status for reply in asyncio.run(many())} == {200}
    assert server.logins == 1
