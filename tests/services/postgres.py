"""A real PostgreSQL server for tests: its own cluster, port and socket directory."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.support import need

USER, PASSWORD = "slo", "s3cr:t/@%word"
_START_SECONDS = 60


@dataclass
class PostgresServer:
    """A running server."""

    port: int
    directory: Path
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """End it as a crash does: no session is finished, nothing is written at leisure (``pg_ctl stop -m immediate``)."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(30)

    def start(self) -> None:
        """Start it again, on the same data and port, and wait until it answers."""
        self.process = _started(self.directory, self.port)

    def connect(self, database: str = "postgres", **options: Any) -> Any:
        """Open a psycopg connection over TCP, with the password."""
        import psycopg

        return psycopg.connect(host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, dbname=database, **options)

    def url(self, database: str) -> str:
        """Return the SQLAlchemy URL of a database."""
        from sqlalchemy import URL

        made = URL.create("postgresql", USER, PASSWORD, "127.0.0.1", self.port, database)
        return made.render_as_string(hide_password=False)


def _as_user() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: become another user then."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    pytest.fail("running as root, and there is no user postgres or nobody to run PostgreSQL as")


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Run a server for the whole session."""
    with running_postgres() as server:
        yield server


@contextlib.contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Run a server: its own cluster in a new directory, which goes with it."""
    initdb = need("initdb")
    user = _as_user()
    directory = Path(tempfile.mkdtemp(prefix="slo-pg-"))
    if user:
        os.chown(directory, user["user"], user["group"])
    secret = directory / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)
    try:
        made = subprocess.run(
            [
                initdb,
                "-D",
                str(directory / "data"),
                "-U",
                USER,
                f"--pwfile={secret}",
                "--auth=scram-sha-256",
                "-E",
                "UTF8",
                "--no-locale",
                "--no-sync",
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd=directory,
            **user,
        )
        assert made.returncode == 0, made.stderr
        port = _free_port()
        server = PostgresServer(port, directory, _started(directory, port))
        try:
            yield server
        finally:
            if server.process.poll() is None:
                server.process.send_signal(signal.SIGINT)
            try:
                server.process.wait(30)
            except subprocess.TimeoutExpired:
                server.process.kill()
                server.process.wait()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _started(directory: Path, port: int) -> subprocess.Popen[bytes]:
    """Start the server of a cluster and wait until it takes connections."""
    options = {"listen_addresses": "127.0.0.1", "fsync": "off", "max_connections": "60", "timezone": "America/New_York"}
    command = [need("postgres"), "-D", str(directory / "data"), "-p", str(port), "-k", str(directory)]
    for name, value in options.items():
        command += ["-c", f"{name}={value}"]
    ready = [need("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    log = directory / "log"
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=directory, **_as_user())
    deadline = time.monotonic() + _START_SECONDS
    while subprocess.run(ready, check=False).returncode != 0:
        assert process.poll() is None, log.read_text()
        if time.monotonic() > deadline:
            process.kill()
            pytest.fail(log.read_text())
        time.sleep(0.1)
    return process


_numbers = count(1)


@pytest.fixture
def postgres_database(postgres: PostgresServer) -> Iterator[str]:
    """Make an empty database of its own for a test, and return its name."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    with postgres.connect(autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield name
    with postgres.connect(autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
