"""The table of wire faults, and how every client reports each."""

from __future__ import annotations

import contextlib
import gzip
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.unit.http.faulty_server import Exchange, FaultyServer, Serve, answer

#: User info of every address here, and the path, which of a webhook is a secret.
LOGIN, PASSWORD, SECRET_PATH = "robot", "s3cr3t-Robot-77", "h00k-T0ken-abc123"
#: The limits of faults that keep a client waiting, and those of all others: (connect, silence), and the whole body.
SHORT, LONG = ((0.5, 0.5), 1.0), ((20.0, 20.0), 20.0)
MAX_BYTES = 1 << 20
#: 10 MB of JSON in 9 kB: 6.7 million values.
BOMB = gzip.compress(b"[" + b"[]," * 3_333_333 + b"0]")
DEEP = b"[" * 5_000 + b"]" * 5_000


_NOT_FOUND = answer(404)
_OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
_REDIRECT = b"HTTP/1.1 302 Found\r\nConnection: close\r\nLocation: https://login.example/\r\n"
_CHUNK = b"10000\r\n" + b" " * 65_536 + b"\r\n"
_CHUNKED = _OK + b"Transfer-Encoding: chunked\r\n\r\n"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One way to fail, and what every client makes of it.

    :param name: id of the test
    :param reason: of the error
    :param transient: of the error
    :param serve: what the server does after a request
    :param slow: the client's limits end it
    :param at_connect: do it before a request has come in
    :param url: of the server; names: ``address`` and ``closed``, hosts with a port
    :param env: variables of the environment, with the same names
    :param tls: serve https
    :param in_json: only who reads JSON sees it; others take the answer
    :param in_age: only who asks for values sees it: a cache answers no PUT and no POST of a notification
    :param unlike: kinds of clients that differ: their reason and transience, and why
    """

    name: str
    reason: str
    transient: bool
    serve: Serve = _NOT_FOUND
    slow: bool = False
    at_connect: bool = False
    url: str = "http://{user}@{address}"
    env: Mapping[str, str] = field(default_factory=dict)
    tls: bool = False
    in_json: bool = False
    in_age: bool = False
    unlike: Mapping[str, tuple[str, bool, str]] = field(default_factory=dict)


_PROXIED = "{user}@wire-fault.invalid"
_PAGE = {
    "store": ("bad_answer", False, "an older release answers a page where an API is not served: another path is tried"),
    "model": ("not_json", True, "a gateway answers a page while the model's server starts, and one batch in many must not fail"),
}
_ROWS = {"model": ("wrong_answer", True, "a NaN in predictions is a row without an answer, and such rows are counted")}
_204 = {"writer": ("", False, "every 2xx says that it was taken")}


def _status(code: int, reason: str, transient: bool, name: str = "", **more: Any) -> Fault:
    return Fault(name=name or f"status_{code}", reason=reason, transient=transient, serve=answer(code), **more)


FAULTS = (
    # No connection
    Fault(name="refused", reason="connection_refused", transient=True, url="http://{user}@{closed}"),
    Fault(name="unknown_host", reason="dns", transient=True, url="http://{user}@wire-fault.invalid"),
    Fault(name="closed_at_once", reason="connection_reset", transient=True, at_connect=True, serve=lambda exchange: None),
    Fault(name="reset", reason="connection_reset", transient=True, serve=Exchange.reset),
    Fault(name="silence_after_connect", reason="timeout", transient=True, slow=True, serve=Exchange.wait),
    # TLS
    Fault(name="tls_unknown_authority", reason="tls", transient=False, tls=True, url="https://{user}@{address}"),
    Fault(name="tls_to_plain_http", reason="tls", transient=False, at_connect=True, url="https://{user}@{address}",
          serve=lambda exchange: exchange.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
    # Proxies of the environment
    Fault(name="proxy_gone", reason="connection_refused", transient=True, url=f"http://{_PROXIED}",
          env={"HTTP_PROXY": "http://{user}@{closed}"}),
    Fault(name="proxy_gone_for_https", reason="connection_refused", transient=True, url=f"https://{_PROXIED}",
          env={"HTTPS_PROXY": "http://{user}@{closed}"}),
    Fault(name="proxy_for_all_gone", reason="connection_refused", transient=True, url=f"http://{_PROXIED}",
          env={"ALL_PROXY": "{closed}"}),
    _status(407, "http_error", False, "proxy_wants_a_login", url=f"http://{_PROXIED}", env={"HTTP_PROXY": "http://{address}"}),
    _status(407, "proxy", True, "proxy_refuses_connect", url=f"https://{_PROXIED}", env={"HTTPS_PROXY": "http://{address}"}),
    Fault(name="no_proxy_host", reason="not_found", transient=False,
          env={"HTTP_PROXY": "http://{closed}", "NO_PROXY": "127.0.0.1"}),
    Fault(name="no_proxy_network", reason="not_found", transient=False,
          env={"HTTP_PROXY": "http://{closed}", "NO_PROXY": "example.com,127.0.0.0/8"}),
    Fault(name="no_proxy_host_and_port", reason="not_found", transient=False, url="http://{user}@localhost:{port}",
          env={"HTTP_PROXY": "http://{closed}", "NO_PROXY": "localhost:{port}"}),
    Fault(name="no_proxy_other_host", reason="connection_refused", transient=True,
          env={"HTTP_PROXY": "http://{closed}", "NO_PROXY": "10.0.0.0/8,7.0.0.1,example.com"}),
    # Status line and headers
    Fault(name="garbage_status_line", reason="connection_reset", transient=True,
          serve=lambda exchange: exchange.send(b"\x00\xff\xfe garbage\r\n\r\n")),
    Fault(name="http_0_9", reason="connection_reset", transient=True,
          serve=lambda exchange: exchange.send(b"hello\r\nworld\r\n")),
    Fault(name="header_dripped", reason="timeout", transient=True, slow=True,
          serve=lambda exchange: exchange.drip(_OK + b"X-Long: ", b"x")),
    Fault(name="header_of_100_kB", reason="too_large", transient=False,
          serve=answer(200, b"{}", {"X-Long": "x" * 100_000})),
    Fault(name="header_of_a_megabyte", reason="too_large", transient=False,
          serve=answer(200, b"{}", {"X-Long": "x" * 1_000_000})),
    Fault(name="headers_by_the_hundred", reason="too_large", transient=False,
          serve=answer(200, b"{}", {f"X-{number}": "1" for number in range(200)})),
    Fault(name="age_of_an_hour", reason="cached_answer", transient=True, in_age=True, serve=answer(200, b"{}", {"Age": "3600"})),
    # Body
    Fault(name="silence_after_headers", reason="timeout", transient=True, slow=True,
          serve=lambda exchange: exchange.wait(_OK + b"Content-Length: 10\r\n\r\n")),
    Fault(name="body_dripped", reason="timeout", transient=True, slow=True,
          serve=lambda exchange: exchange.drip(_OK + b"Content-Length: 100000\r\n\r\n", b" ")),
    Fault(name="chunk_size_dripped", reason="timeout", transient=True, slow=True,
          serve=lambda exchange: exchange.drip(_CHUNKED, b"0")),
    Fault(name="cut", reason="truncated", transient=True, serve=answer(200, b'{"status"', length=1000)),
    Fault(name="chunks_cut", reason="truncated", transient=True,
          serve=lambda exchange: exchange.send(_CHUNKED + b"5\r\n[1,2,\r\n")),
    Fault(name="chunk_size_broken", reason="truncated", transient=True,
          serve=lambda exchange: exchange.send(_CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n")),
    Fault(name="gzip_cut", reason="truncated", transient=True,
          serve=answer(200, gzip.compress(bytes(range(256)) * 8)[:-40], {"Content-Encoding": "gzip"})),
    Fault(name="gzip_of_nothing_yet", reason="truncated", transient=True,
          serve=answer(200, gzip.compress(b"{}")[:8], {"Content-Encoding": "gzip"})),
    Fault(name="gzip_broken", reason="truncated", transient=True, serve=answer(200, b"no gzip", {"Content-Encoding": "gzip"})),
    Fault(name="gzip_bomb", reason="too_large", transient=False, serve=answer(200, BOMB, {"Content-Encoding": "gzip"})),
    Fault(name="unknown_encoding", reason="unknown_encoding", transient=False,
          serve=answer(200, b"{}", {"Content-Encoding": "br"})),
    Fault(name="larger_than_the_limit", reason="too_large", transient=False, serve=answer(200, b" " * (2 * MAX_BYTES))),
    Fault(name="endless", reason="too_large", transient=False,
          serve=lambda exchange: exchange.pour(_CHUNKED, _CHUNK)),
    # A redirect: its body says nothing that its address does not, and is not read
    Fault(name="redirect_endless", reason="redirected", transient=False,
          serve=lambda exchange: exchange.pour(_REDIRECT + b"Transfer-Encoding: chunked\r\n\r\n", _CHUNK)),
    Fault(name="redirect_dripped", reason="redirected", transient=False,
          serve=lambda exchange: exchange.drip(_REDIRECT + b"Content-Length: 100000\r\n\r\n", b" ")),
    Fault(name="redirect_cut", reason="redirected", transient=False,
          serve=lambda exchange: exchange.send(_REDIRECT + b"Content-Length: 100000\r\n\r\n")),
    # JSON
    Fault(name="json_never_closed", reason="too_deep", transient=False, in_json=True, serve=answer(200, b"[" * 100_000)),
    Fault(name="json_5000_deep", reason="too_deep", transient=False, in_json=True, serve=answer(200, DEEP)),
    Fault(name="json_repeated_key", reason="repeated_key", transient=False, in_json=True, serve=answer(200, b'{"a": 1, "a": 2}')),
    Fault(name="json_nan", reason="not_a_number", transient=False, in_json=True, serve=answer(200, b'{"predictions": [NaN]}'),
          unlike=_ROWS),
    Fault(name="json_half", reason="truncated", transient=True, in_json=True,
          serve=answer(200, b'{"status": "success", "data": {')),
    Fault(name="html", reason="not_json", transient=False, in_json=True, serve=answer(200, b"<html>Please sign in</html>"),
          unlike=_PAGE),
    Fault(name="empty", reason="not_json", transient=False, in_json=True, serve=answer(200, b""), unlike=_PAGE),
    Fault(name="status_503_with_json_too_deep", reason="server_error", transient=True, serve=answer(503, DEEP)),
    Fault(name="status_503_with_half_a_json", reason="server_error", transient=True, serve=answer(503, b'{"error": "over')),
    # Status
    _status(204, "http_error", False, unlike=_204),
    _status(400, "bad_query", False),
    _status(401, "unauthorized", False),
    _status(403, "forbidden", False),
    _status(404, "not_found", False),
    _status(408, "timeout", True),
    _status(413, "request_too_large", False),
    _status(422, "query_failed", False),
    Fault(name="status_429_for_an_hour", reason="too_many_requests", transient=True,
          serve=answer(429, None, {"Retry-After": "3600"})),
    _status(500, "server_error", True),
    _status(502, "server_error", True),
    _status(503, "server_error", True),
    _status(504, "server_error", True),
)  # fmt: skip


@contextlib.contextmanager
def running(fault: Fault, monkeypatch: Any) -> Iterator[tuple[FaultyServer, str]]:
    """Run a fault's server in its environment; yield it, and the address with user info and path that a client is given."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", _resolver(socket.getaddrinfo))
    # Repetitions are not waited for: how long they wait is tested in test_retries.py.
    monkeypatch.setattr("airflow_slo_provider.http.retries.RETRY_AFTER_CAP", 0.05)
    monkeypatch.setattr("airflow_slo_provider.http.retries._FIRST_PAUSE", 0.01)
    with socket.socket() as closed, FaultyServer(fault.serve, at_connect=fault.at_connect, tls=fault.tls) as server:
        closed.bind(("127.0.0.1", 0))  # bound and never listening: connections are refused
        words = {
            "address": server.address, "closed": f"127.0.0.1:{closed.getsockname()[1]}", "user": f"{LOGIN}:{PASSWORD}",
            "port": server.address.partition(":")[2],
        }  # fmt: skip
        for name, text in fault.env.items():
            monkeypatch.setenv(name, text.format(**words))
        yield server, f"{fault.url.format(**words)}/{SECRET_PATH}"


def expected(fault: Fault, kind: str) -> tuple[str, bool]:
    """Return reason and transience of a client's error; no reason where the client takes the answer.

    :param kind: ``store``, ``model``, ``writer`` or another, see :attr:`Fault.unlike`
    """
    if kind in fault.unlike:
        return fault.unlike[kind][:2]
    if kind == "writer" and (fault.in_json or fault.in_age):
        return "", False
    return fault.reason, fault.transient


def _resolver(resolve: Callable[..., Any]) -> Callable[..., Any]:
    def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
        if str(host).strip("b'").endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *arguments, **options)

    return getaddrinfo
