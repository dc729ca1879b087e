"""A real Alertmanager for tests."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.services.prometheus_server import free_port
from tests.support import need

CONFIG = "route:\n  receiver: nobody\nreceivers:\n- name: nobody\n"


@contextlib.contextmanager
def running_alertmanager(directory: Path, *, port: int | None = None) -> Iterator[str]:
    """Run an Alertmanager that tells nobody, and yield its base URL; stop it at the end."""
    program = need("prometheus-alertmanager")
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "alertmanager.yml").write_text(CONFIG)
    port, log = port or free_port(), directory / "alertmanager.log"
    command = [
        program,
        f"--config.file={directory / 'alertmanager.yml'}",
        f"--storage.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        "--log.level=warn",
    ]
    url = f"http://127.0.0.1:{port}"
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + 30
            while True:
                with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/-/ready", timeout=2):
                    break
                assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-2000:]
                time.sleep(0.1)
            yield url
        finally:
            process.terminate()
            process.wait(30)


def fire(url: str, *, ends_at: str | None = None, starts_at: str | None = None, annotations: Any = None, **labels: str) -> None:
    """Post one alert, as Prometheus does."""
    alert: dict[str, Any] = {"labels": labels, "annotations": annotations or {}}
    if starts_at:
        alert["startsAt"] = starts_at
    if ends_at:
        alert["endsAt"] = ends_at
    request = urllib.request.Request(f"{url}/api/v2/alerts", json.dumps([alert]).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200
