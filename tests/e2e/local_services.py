"""Run services of docker-compose.yaml as local processes, with their commands, environment and configuration files.

Addresses and paths are replaced: ``name:port`` becomes a free local port, and all containers' paths are below one directory that
the services share, like named volumes. Instead of the image of PostgreSQL, the test starts a cluster.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from demo import processes
from demo.airflow_stack import free_ports
from tests.support import REPO

#: Addresses of services, as written in configuration files.
ADDRESSES = (
    "champion-server:8000",
    "candidate-server:8000",
    "mlflow:5000",
    "prometheus:9090",
    "localhost:9090",
    "alertmanager:9093",
    "pushgateway:9091",
    "tempo:4318",
    "tempo:3200",
    "api-server:8080",
)
#: Additional arguments of a server, which set its address.
LISTEN = {
    "champion-server": ("--host=127.0.0.1", "--port={port}"),
    "candidate-server": ("--host=127.0.0.1", "--port={port}"),
    "mlflow": ("--host=127.0.0.1", "--port={port}"),
    "prometheus": ("--web.listen-address=127.0.0.1:{port}",),
    "alertmanager": ("--web.listen-address=127.0.0.1:{port}",),
    "pushgateway": ("--web.listen-address=127.0.0.1:{port}",),
}
_PATHS = re.compile(r"(?<![\w.:/-])/(etc|srv|opt/airflow|opt/app|prometheus|alertmanager|docker-entrypoint-initdb\.d)\b")


class LocalServices:
    """Runs services.

    :param root: directory for the containers' file systems
    :param services: as :func:`tests.compose.services` returns them
    :param postgres: port of the PostgreSQL that replaces the service ``postgres``
    """

    def __init__(self, root: Path, services: Mapping[str, Mapping[str, Any]], postgres: int) -> None:
        self.root, self.services = root, services
        ports = free_ports(len(ADDRESSES))
        self.addresses = {one: f"127.0.0.1:{port}" for one, port in zip(ADDRESSES, ports, strict=True)}
        self.addresses["localhost:9090"] = self.addresses["prometheus:9090"]
        self.addresses["postgres:5432"] = f"127.0.0.1:{postgres}"
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._write_programs()
        self._write_files()

    def here(self, text: str) -> str:
        """Return ``text`` with local addresses and paths."""
        names = "|".join(map(re.escape, self.addresses))
        text = re.sub(rf"(?<=[/@\"])({names})\b", lambda found: self.addresses[found[1]], text)
        return _PATHS.sub(lambda found: str(REPO) if found[1] == "opt/app" else f"{self.root}/{found[1]}", text)

    def url(self, address: str) -> str:
        """Return the local URL of a service, e.g. of ``prometheus:9090``."""
        return f"http://{self.addresses[address]}"

    def path(self, path: str) -> Path:
        """Return the local path of a container's path."""
        return Path(self.here(path))

    def env(self, service: str) -> dict[str, str]:
        """Return a service's environment, without settings of another Airflow."""
        own = {name: self.here(str(value)) for name, value in self.services[service].get("environment", {}).items()}
        env = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        paths = {
            "PATH": f"{self.root}/bin:{os.environ['PATH']}",
            "PYTHONPATH": str(REPO),
            "AIRFLOW_HOME": f"{self.root}/opt/airflow",
        }
        return env | paths | {"NO_PROXY": "127.0.0.1,localhost", "PYTHONUNBUFFERED": "1"} | own

    def start(self, service: str, *program: str, **env: str) -> None:
        """Start a service.

        :param program: the image's entrypoint, if any
        """
        port = next((one.rpartition(":")[2] for name, one in self.addresses.items() if name.startswith(f"{service}:")), "")
        command = [*program, *self._command(service), *(word.format(port=port) for word in LISTEN.get(service, ()))]
        self.running[service] = processes.start(command, log=self.log(service), env=self.env(service) | env, cwd=self.root)

    def run(self, service: str, *command: str, timeout: float = 120, **env: str) -> str:
        """Run a service's command, or another command, to its end and return its output."""
        done = subprocess.run(
            command or self._command(service), env=self.env(service) | env, cwd=self.root, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{service}: {command} ended with {done.returncode}:\n{done.stdout[-6000:]}"
        return done.stdout

    def log(self, service: str) -> Path:
        """Return the log file of a service."""
        return self.root / "logs" / f"{service}.log"

    def wait_for(self, service: str, url: str, *, timeout: float = 60) -> None:
        """Wait until ``url`` responds."""
        deadline = time.monotonic() + timeout
        while True:
            with suppress(OSError), urllib.request.urlopen(url, timeout=5):
                return
            over = self.running[service].poll() is not None or time.monotonic() > deadline
            assert not over, f"{service} does not answer:\n{self.log(service).read_text()[-4000:]}"
            time.sleep(0.1)

    def finish(self, service: str, *, timeout: float = 120) -> None:
        """Wait until a service has exited successfully."""
        code = self.running[service].wait(timeout)
        assert code == 0, f"{service} ended with {code}:\n{self.log(service).read_text()[-4000:]}"

    def stop(self) -> None:
        """End everything."""
        left = processes.end(list(self.running.values()))
        assert not left, f"processes {left} are left"

    def _command(self, service: str) -> list[str]:
        return [self.here(str(word)) for word in self.services[service].get("command", ())]

    def _write_programs(self) -> None:
        programs = {"python": "", "airflow": "-m airflow "}
        (self.root / "bin").mkdir(parents=True)
        for name, how in programs.items():
            script = self.root / "bin" / name
            script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {how}"$@"\n')
            script.chmod(0o755)

    def _write_files(self) -> None:
        """Create the named volumes, and copy the mounted files with local addresses."""
        volumes: dict[str, Path] = {}
        for service in self.services.values():
            for mount in service.get("volumes", ()):
                source, inside = mount.split(":")[:2]
                target = self.path(inside)
                if not target.is_relative_to(self.root) or target.exists():
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                if source.startswith("./"):
                    _copy(REPO / source, target, self.here)
                elif source in volumes:
                    target.symlink_to(volumes[source])
                else:
                    target.mkdir()
                    volumes[source] = target


def _copy(source: Path, target: Path, change: Any) -> None:
    if source.is_dir():
        for one in source.iterdir():
            _copy(one, target / one.name, change)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(change(source.read_text()))
    shutil.copymode(source, target)
