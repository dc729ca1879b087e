"""A real Prometheus server for tests, with a history loaded into it."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.services import histories
from tests.support import need

_START_SECONDS = 60


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def create_blocks(openmetrics: Path | Iterable[str], data: Path) -> None:
    """Load OpenMetrics text (or a file of it) into a data directory.

    :param openmetrics: a file, or pieces of text
    :param data: the server's ``--storage.tsdb.path``
    """
    data.mkdir(parents=True, exist_ok=True)
    path = openmetrics if isinstance(openmetrics, Path) else data.parent / f"{data.name}.om"
    if not isinstance(openmetrics, Path):
        with path.open("w") as file:
            file.writelines([openmetrics] if isinstance(openmetrics, str) else openmetrics)
    # One block for all: the default of two hours would make 360 of them, and minutes of work.
    command = [need("promtool"), "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=768h", str(path), str(data)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if path is not openmetrics:
        path.unlink()
    assert done.returncode == 0, done.stdout + done.stderr


@contextlib.contextmanager
def running_prometheus(
    directory: Path,
    *,
    blocks: Path | Iterable[str] | None = None,
    config: str = "",
    port: int | None = None,
    flags: Iterable[str] = (),
) -> Iterator[str]:
    """Run a server in a directory and yield its base URL; stop it at the end.

    :param directory: where its files go
    :param blocks: OpenMetrics text, or a file of it, to load first
    :param config: its configuration file; by default it scrapes nothing
    :param port: where it listens; any free port by default
    :param flags: further command-line flags
    """
    server = need("prometheus")
    directory.mkdir(parents=True, exist_ok=True)
    data = directory / "data"
    if blocks is not None:
        create_blocks(blocks, data)
    (directory / "prometheus.yml").write_text(config or "global: {}\n")
    port, log = port or free_port(), directory / "prometheus.log"
    command = [
        server,
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={data}",
        "--storage.tsdb.retention.time=10y",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
        *flags,
    ]
    url = f"http://127.0.0.1:{port}"
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            _wait_until_ready(url, process, log)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(30)


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/-/ready", timeout=2) as answer:
            if answer.status == 200:
                return
        time.sleep(0.1)
    raise AssertionError(f"Prometheus did not become ready at {url}:\n{log.read_text()[-2000:]}")


@pytest.fixture(scope="session")
def prometheus_history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Base URL of a server that holds the thirty days of ``tests.services.histories``."""
    with running_prometheus(tmp_path_factory.mktemp("prometheus"), blocks=histories.openmetrics()) as url:
        yield url
