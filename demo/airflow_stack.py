"""A real Airflow on this machine: API server, scheduler, DAG processor and triggerer on free ports. Standard library only.

``airflow standalone`` would start 32 workers and leave child processes behind. Here each of the four components is the leader of
its own process group and is ended with all its child processes.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from demo import processes
from demo.airflow_client import AirflowClient

ROOT = Path(__file__).resolve().parent.parent
COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
HEALTHY = ("metadatabase", "scheduler", "dag_processor", "triggerer")
USER = "demo"


def free_ports(count: int) -> list[int]:
    """Find TCP ports that nothing listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for listener in sockets:
            listener.bind(("127.0.0.1", 0))
        return [int(listener.getsockname()[1]) for listener in sockets]
    finally:
        for listener in sockets:
            listener.close()


class AirflowStack:
    """The four components, one metadata database and one user.

    :param home: AIRFLOW_HOME; created if missing
    :param dags: the DAG folders
    :param settings: more environment for all components, e.g. ``AIRFLOW_CONN_...``; with
        ``AIRFLOW__DATABASE__SQL_ALCHEMY_CONN`` another metadata database than SQLite
    :param parallelism: maximum number of concurrent tasks
    :param report: called with each line of progress
    """

    def __init__(
        self,
        home: Path,
        dags: Sequence[Path],
        *,
        settings: Mapping[str, str] | None = None,
        parallelism: int = 2,
        report: Callable[[str], None] = print,
    ) -> None:
        self.home = home.resolve()
        self.report = report
        self.password = secrets.token_urlsafe(12)
        port, worker_logs, trigger_logs = free_ports(3)
        self.url = f"http://127.0.0.1:{port}"
        self.client = AirflowClient(self.url, USER, self.password)
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.env = _environment(self.home, dags, port, worker_logs, trigger_logs, parallelism)
        self.env.update(settings or {})

    def start(self, *, timeout: float = 240) -> None:
        """Create the metadata database, start the components and wait until all are healthy.

        :param timeout: maximum duration in seconds
        :raises RuntimeError: if a component exits or does not become healthy; with the end of its log
        """
        deadline = time.monotonic() + timeout
        try:
            self.start_components(timeout=timeout)
            self.wait_until_healthy(timeout=deadline - time.monotonic())
        except BaseException:
            self.stop()
            raise

    def start_components(self, *, timeout: float = 240) -> None:
        """Create the metadata database and start the components, without waiting for them."""
        self.home.mkdir(parents=True, exist_ok=True)
        passwords = Path(self.env["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
        passwords.touch(mode=0o600)
        passwords.write_text(json.dumps({USER: self.password}))
        self.report("creating Airflow's metadata database")
        self.airflow("db", "migrate", timeout=timeout)
        self.report("starting " + ", ".join(COMPONENTS))
        for name in COMPONENTS:
            self.start_component(name)

    def airflow(self, *arguments: str, timeout: float = 120) -> str:
        """Run one ``airflow`` command in this stack's environment and return its output.

        :raises RuntimeError: if it fails or takes longer than ``timeout`` seconds; with the end of its output
        """
        # The first line of the `airflow` script cannot contain a path with a space.
        command = [sys.executable, "-m", "airflow", *arguments]
        try:
            done = subprocess.run(
                command, env=self.env, cwd=self.home, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(
                f"airflow {' '.join(arguments)} did not end within {timeout:.0f} s:\n{_last_lines(str(error.output))}"
            ) from error
        if done.returncode:
            raise RuntimeError(f"airflow {' '.join(arguments)} ended with {done.returncode}:\n{_last_lines(done.stdout)}")
        return done.stdout

    def start_component(self, name: str) -> None:
        """Start one of the components."""
        arguments = ["--host", "127.0.0.1"] if name == "api-server" else []
        command = [sys.executable, "-m", "airflow", name, *arguments]
        self.running[name] = processes.start(command, log=self.component_log(name), env=self.env, cwd=self.home)

    def component_log(self, name: str) -> Path:
        """Return the log file of a component."""
        return self.home / "components" / f"{name}.log"

    def wait_until_healthy(self, *, timeout: float = 120, parts: Sequence[str] = HEALTHY) -> None:
        """Wait until the API server reports ``parts`` as healthy.

        :raises RuntimeError: if a component exits, or after ``timeout`` seconds
        """
        deadline, reported = time.monotonic() + timeout, ""
        while True:
            for name, process in self.running.items():
                if process.poll() is not None:
                    raise RuntimeError(
                        f"{name} ended with {process.returncode}:\n{_last_lines(self.component_log(name).read_text())}"
                    )
            health = self.client.health()
            waiting = [part for part in parts if health.get(part) != "healthy"]
            if not waiting:
                return
            if time.monotonic() > deadline:
                logs = "\n".join(f"--- {name}\n{_last_lines(self.component_log(name).read_text(), 15)}" for name in self.running)
                raise RuntimeError(f"not healthy after {timeout:.0f} s: {', '.join(waiting)}\n{logs}")
            status = "waiting for " + (", ".join(waiting) if health else "the API server")
            if status != reported:
                self.report(status)
                reported = status
            time.sleep(0.5)

    def kill_component(self, name: str, sig: signal.Signals = signal.SIGKILL) -> None:
        """End one component and its child processes, with SIGKILL by default."""
        process = self.running.pop(name)
        if sig is signal.SIGKILL:
            for pid in processes.process_tree([process.pid]):
                os.kill(pid, sig)
            process.wait(timeout=10)
        else:
            left = processes.end([process])
            if left:
                raise RuntimeError(f"{name}: processes {left} could not be ended")

    def restart_component(self, name: str, sig: signal.Signals = signal.SIGKILL) -> None:
        """Kill a component and start it again."""
        self.kill_component(name, sig)
        self.start_component(name)

    def members(self) -> dict[int, processes.ProcessInfo]:
        """Return all processes of this stack."""
        return processes.process_tree(process.pid for process in self.running.values())

    def stop(self) -> None:
        """End every process of this stack.

        :raises RuntimeError: if one cannot be ended
        """
        left = processes.end(list(self.running.values()))
        self.running.clear()
        if left:
            raise RuntimeError(f"processes {left} could not be ended")

    def __enter__(self) -> AirflowStack:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def _environment(
    home: Path, dags: Sequence[Path], port: int, worker_logs: int, trigger_logs: int, parallelism: int
) -> dict[str, str]:
    """Return the environment of the components: that of this process without its Airflow settings."""
    bundles = [
        {
            "name": f"dags-{number}" if number else "dags",
            "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
            "kwargs": {"path": str(folder.resolve()), "refresh_interval": 5},
        }
        for number, folder in enumerate(dags)
    ]
    url = f"http://127.0.0.1:{port}"
    env = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    env |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags[0].resolve()),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": str(parallelism),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundles),
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "30",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(trigger_logs),
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(worker_logs),
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
        "NO_PROXY": "127.0.0.1,localhost",
        "PYTHONPATH": os.pathsep.join(part for part in (str(ROOT), os.environ.get("PYTHONPATH")) if part),
        "PYTHONUNBUFFERED": "1",
    }
    if sys.platform == "darwin":  # without these settings, macOS stops Airflow's processes after fork()
        env |= {"OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES", "no_proxy": "*"}
    return env


def _last_lines(text: str, lines: int = 40) -> str:
    return "\n".join(text.splitlines()[-lines:])
