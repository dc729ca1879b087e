"""A server on a real socket that treats every connection the same: answers, breaks off, sends slowly, or is silent."""

from __future__ import annotations

import contextlib
import datetime as dt
import http
import ipaddress
import json
import socket
import ssl
import struct
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass
class Exchange:
    """One connection of a client.

    :param connection: the socket
    :param closing: set when the server ends
    :param head: status line and headers of the request
    """

    connection: socket.socket
    closing: threading.Event
    head: bytes = b""

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def drip(self, start: bytes, each: bytes) -> None:
        """Send a little now and then, until the client or the test gives up."""
        self.send(start)
        while not self.closing.wait(0.05):
            self.send(each)

    def pour(self, start: bytes, each: bytes) -> None:
        """Send as fast as it is read, until the client gives up."""
        self.send(start)
        while not self.closing.is_set():
            self.send(each)

    def wait(self, start: bytes = b"") -> None:
        self.send(start)
        self.closing.wait(30)

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


Serve = Callable[[Exchange], None]


def answer(
    status: int = 200, body: bytes | None = None, headers: Mapping[str, str] | None = None, *, length: int | None = None
) -> Serve:
    """Send one answer. Without a body it quotes the request, as a careless server does, credentials and all.

    :param length: the ``Content-Length``, where it is not that of the body
    """

    def serve(exchange: Exchange) -> None:
        sent = json.dumps({"error": exchange.head.decode("latin-1")}).encode() if body is None else body
        lines = {"Content-Type": "application/json", "Connection": "close", **(headers or {})}
        if status != 204:
            lines["Content-Length"] = str(len(sent) if length is None else length)
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        exchange.send(
            f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}\r\n{text}\r\n".encode() + (b"" if status == 204 else sent)
        )

    return serve


class FaultyServer:
    """Serves one fault; use it as ``with``.

    :param serve: what it does with each connection
    """

    def __init__(self, serve: Serve, *, at_connect: bool = False, tls: bool = False) -> None:
        self._serve, self._at_connect = serve, at_connect
        self._context = _certificate() if tls else None
        self._closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        #: Heads of the requests that came in.
        self.heads: list[bytes] = []
        self.connections = 0

    def __enter__(self) -> FaultyServer:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.settimeout(30)
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            with connection:
                head = b"" if self._at_connect else _read_request(connection)
                if head or self._at_connect:
                    self.heads.append(head)
                    self._serve(Exchange(connection, self._closing, head))


def _read_request(connection: socket.socket) -> bytes:
    """Return the head of a request, once its body has come in too: closing with unread bytes would reset the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65_536)
        if not part:
            return b""
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        body += connection.recv(65_536)
    return head


@cache
def _certificate() -> ssl.SSLContext:
    """Return a server's context with a certificate that it signed itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nobody's authority")])
    host = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(hours=1)).add_extension(host, critical=False).sign(key, hashes.SHA256())
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "server.pem")
        file.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context.load_cert_chain(file)
    return context
