"""Model servers, Prometheus, Alertmanager and requests for the tests of incidents, all real, on one machine."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow_slo_provider.deployment.registries.directory import DirectoryRegistry
from airflow_slo_provider.deployment.registries.history import Move
from airflow_slo_provider.deployment.registries.names import CHAMPION, PROMOTE
from airflow_slo_provider.deployment.registries.registry import MoveRequest
from demo import load, model, processes
from tests.services.alertmanager_server import running_alertmanager
from tests.services.prometheus_server import free_port, running_prometheus
from tests.support import REPO

_ALERT = """
  - alert: {service}Burns
    expr: >-
      (1 - sum(increase(model_requests_total{{service="{service}",code="200"}}[5m]))
         / sum(increase(model_requests_total{{service="{service}"}}[5m]))) / 0.01 > 1
      and (1 - sum(increase(model_requests_total{{service="{service}",code="200"}}[1h]))
         / sum(increase(model_requests_total{{service="{service}"}}[1h]))) / 0.01 > 1
    labels: {{severity: page, slo: {service}}}
    annotations: {{summary: the error budget of {service} burns}}
"""
#: The condition of the page rule in PromQL. (Its factor for one day would be 0.48, which does not exhaust a budget.)
BURNING = (
    '((1 - sum(increase(model_requests_total{service="%s",code="200"}[5m]))'
    ' / sum(increase(model_requests_total{service="%s"}[5m])))'
    ' / 0.01 > 1) and ((1 - sum(increase(model_requests_total{service="%s",code="200"}[1h]))'
    ' / sum(increase(model_requests_total{service="%s"}[1h]))) / 0.01 > 1)'
)


class Stage:
    """The servers and their files.

    :param home: directory with the model registry: one model for each service
    """

    def __init__(self, home: Path, services: Sequence[str], alerted: Sequence[str]) -> None:
        self.home, self.services, self.alerted = home, list(services), list(alerted)
        self._registry = DirectoryRegistry(home)
        self.ports = {service: free_port() for service in [*services, *alerted]}
        self.prometheus = ""
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        rows = model.measured_rows()
        zeros = [row for row in rows if 0.0 in row.values()]
        others = [row for row in rows if 0.0 not in row.values()]
        # One row in five is rejected by the release with the bug.
        self._rows = [row for number, zero in enumerate(zeros) for row in (zero, *others[4 * number : 4 * number + 4])]

    def prepare(self) -> None:
        """Train both versions, and promote the good one for all services."""
        good, bad = self.home / "models" / "version-1", self.home / "models" / "version-2"
        model.train(good, version="1")
        model.train(bad, version="2", regularisation=0.1)
        card = json.loads((bad / "model.json").read_text())
        (bad / "model.json").write_text(json.dumps({**card, "zero_is_missing": True}))
        for service in self.ports:
            for version, directory in (("1", good), ("2", bad)):
                self._registry.register(service, version, directory)
            self.point(service, "1")

    def point(self, service: str, version: str) -> datetime:
        """Promote a version; return the time."""
        wanted = MoveRequest(kind=PROMOTE, alias=CHAMPION, key=f"test/{time.time_ns()}", to=version, by="test")
        self._registry.move(service, wanted)
        return datetime.now(UTC)

    def champion(self, service: str) -> Move:
        """Return the last move of the champion's alias."""
        return self._registry.moves(service)[-1]

    def serving(self, service: str) -> str:
        """Return the version that responds."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[service]}/health", timeout=5) as answer:
            return str(json.load(answer)["model_version"])

    def ask(self, *services: str, rate: float = 25) -> None:
        """Send requests to each service until the stage is closed."""
        for service in services:
            thread = threading.Thread(target=self._ask, args=(service, rate), daemon=True)
            thread.start()
            self._threads.append(thread)

    def _ask(self, service: str, rate: float) -> None:
        rows = self._rows[:]
        while not self._stop.is_set():
            part, rows = rows[:15], rows[15:] or self._rows[:]
            with contextlib.suppress(OSError):
                load.send(f"http://127.0.0.1:{self.ports[service]}", part, workers=1, rate=rate)

    def query(self, query: str) -> list[Any]:
        """Query Prometheus."""
        address = f"{self.prometheus}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        with urllib.request.urlopen(address, timeout=10) as answer:
            return list(json.load(answer)["data"]["result"])

    def burning_since(self, service: str, start: datetime, end: datetime) -> datetime:
        """Return when the condition was first true in Prometheus, to half a second."""
        parameters = {
            "query": BURNING % ((service,) * 4), "start": start.timestamp(), "end": end.timestamp(), "step": "0.5",
        }  # fmt: skip
        address = f"{self.prometheus}/api/v1/query_range?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(address, timeout=30) as answer:
            (series,) = json.load(answer)["data"]["result"]
        return datetime.fromtimestamp(series["values"][0][0], UTC)

    @contextlib.contextmanager
    def running(self, directory: Path, *, prometheus_port: int, alertmanager_port: int) -> Iterator[Stage]:
        """Run all servers."""
        self.prepare()
        arguments = [f"{service}={port}" for service, port in self.ports.items()]
        log = directory / "champions.log"
        command = [sys.executable, "-m", "tests.e2e.champions", str(self.home), *arguments]
        env = {**os.environ, "PYTHONPATH": str(REPO)}
        servers = processes.start(command, log=log, env=env, cwd=REPO)
        try:
            self._wait_for_servers(servers, log)
            with contextlib.ExitStack() as stack:
                stack.enter_context(running_alertmanager(directory / "alertmanager", port=alertmanager_port))
                (directory / "rules.yml").write_text(self._rules())
                config = self._config(directory / "rules.yml", alertmanager_port)
                self._enter = lambda: running_prometheus(directory / "prometheus", config=config, port=prometheus_port)
                self._prometheus = contextlib.ExitStack()
                stack.callback(lambda: self._prometheus.close())
                self.start_prometheus()
                try:
                    yield self
                finally:
                    self._stop.set()
                    for thread in self._threads:
                        thread.join(10)
        finally:
            processes.end([servers])

    def start_prometheus(self) -> None:
        """Start Prometheus, with its history of an earlier run."""
        self.prometheus = self._prometheus.enter_context(self._enter())

    def stop_prometheus(self) -> None:
        """Stop Prometheus."""
        self._prometheus.close()

    def _wait_for_servers(self, servers: subprocess.Popen[bytes], log: Path) -> None:
        deadline = time.monotonic() + 60
        for service in self.ports:
            while True:
                with contextlib.suppress(OSError):
                    self.serving(service)
                    break
                assert servers.poll() is None and time.monotonic() < deadline, log.read_text()[-2000:]
                time.sleep(0.2)

    def _rules(self) -> str:
        alerts = "".join(_ALERT.format(service=service) for service in self.alerted)
        return f"groups:\n- name: alerts\n  interval: 2s\n  rules:\n{alerts}"

    def _config(self, rules: Path, alertmanager_port: int) -> str:
        jobs = "".join(
            f"- targets: ['127.0.0.1:{port}']\n      labels: {{service: {service}}}\n    " for service, port in self.ports.items()
        ).rstrip()
        return (
            "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 2s}\n"
            f"rule_files: ['{rules}']\n"
            "alerting:\n  alertmanagers:\n  - static_configs:\n"
            f"    - targets: ['127.0.0.1:{alertmanager_port}']\n"
            f"scrape_configs:\n- job_name: models\n  static_configs:\n    {jobs}\n"
        )
