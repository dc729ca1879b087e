"""A real Airflow on this machine: API server, scheduler, DAG processor and triggerer on free ports. Standard library only.

``airflow standalone`` would start 32 workers and leave children behind, so the four components are started here, each the
leader of its own process group, and ended with everything they forked.
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
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


class AirflowStack:
    """The four components, one metadata database and one user.

    :param home: AIRFLOW_HOME; made if it is not there
    :param dags: the DAG folders
    :param settings: more environment for all components, e.g. ``AIRFLOW_CONN_...``; with
        ``AIRFLOW__DATABASE__SQL_ALCHEMY_CONN`` a metadata database of your own instead of SQLite
    :param parallelism: tasks that may run at the same time
    :param say: where progress is told
    """

    def __init__(
        self,
        home: Path,
        dags: Sequence[Path],
        *,
        settings: Mapping[str, str] | None = None,
        parallelism: int = 2,
        say: Callable[[str], None] = print,
    ) -> None:
        self.home = home.resolve()
        self.say = say
        self.password = secrets.token_urlsafe(12)
        port, worker_logs, trigger_logs = free_ports(3)
        self.url = f"http://127.0.0.1:{port}"
        self.client = AirflowClient(self.url, USER, self.password)
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.env = _environment(self.home, dags, port, worker_logs, trigger_logs, parallelism)
        self.env.update(settings or {})

    def start(self, *, timeout: float = 240) -> None:
        """Make the metadata database, start the components and wait until all are healthy.

        :param timeout: seconds for everything together
        :raises RuntimeError: with the end of the log, when a component dies or does not become healthy
        """
        deadline = time.monotonic() + timeout
        try:
            self.begin(timeout=timeout)
            self.wait_until_healthy(timeout=deadline - time.monotonic())
        except BaseException:
            self.stop()
            raise

    def begin(self, *, timeout: float = 240) -> None:
        """Make the metadata database and start the components, without waiting for them."""
        self.home.mkdir(parents=True, exist_ok=True)
        passwords = Path(self.env["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
        passwords.touch(mode=0o600)
        passwords.write_text(json.dumps({USER: self.password}))
        self.say("making Airflow's metadata database")
        self.airflow("db", "migrate", timeout=timeout)
        self.say("starting " + ", ".join(COMPONENTS))
        for name in COMPONENTS:
            self.start_component(name)

    def airflow(self, *arguments: str, timeout: float = 120) -> str:
        """Run one ``airflow`` command in this stack's environment and return its output.

        :raises RuntimeError: with the end of its output, when it fails or takes longer than ``timeout`` seconds
        """
        # Not the `airflow` script: its first line cannot hold a path with a space.
        command = [sys.executable, "-m", "airflow", *arguments]
        try:
            done = subprocess.run(
                command, env=self.env, cwd=self.home, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(
                f"airflow {' '.join(arguments)} did not end within {timeout:.0f} s:\n{_end(str(error.output))}"
            ) from error
        if done.returncode:
            raise RuntimeError(f"airflow {' '.join(arguments)} ended with {done.returncode}:\n{_end(done.stdout)}")
        return done.stdout

    def start_component(self, name: str) -> None:
        """Start one of the components."""
        arguments = ["--host", "127.0.0.1"] if name == "api-server" else []
        command = [sys.executable, "-m", "airflow", name, *arguments]
        self.running[name] = processes.start(command, log=self.component_log(name), env=self.env, cwd=self.home)

    def component_log(self, name: str) -> Path:
        """Where a component's own output goes."""
        return self.home / "components" / f"{name}.log"

    def wait_until_healthy(self, *, timeout: float = 120, parts: Sequence[str] = HEALTHY) -> None:
        """Wait until the API server reports ``parts`` as healthy.

        :raises RuntimeError: when one of the components dies, or time is up
        """
        deadline, told = time.monotonic() + timeout, ""
        while True:
            for name, process in self.running.items():
                if process.poll() is not None:
                    raise RuntimeError(f"{name} ended with {process.returncode}:\n{_end(self.component_log(name).read_text())}")
            health = self.client.health()
            waiting = [part for part in parts if health.get(part) != "healthy"]
            if not waiting:
                return
            if time.monotonic() > deadline:
                logs = "\n".join(f"--- {name}\n{_end(self.component_log(name).read_text(), 15)}" for name in self.running)
                raise RuntimeError(f"not healthy after {timeout:.0f} s: {', '.join(waiting)}\n{logs}")
            news = "waiting for " + (", ".join(waiting) if health else "the API server")
            if news != told:
                self.say(news)
                told = news
            time.sleep(0.5)

    def kill_component(self, name: str, sig: signal.Signals = signal.SIGKILL) -> None:
        """End one component and everything it forked, without warning by default."""
        process = self.running.pop(name)
        if sig is signal.SIGKILL:
            for pid in processes.family([process.pid]):
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
        """Every process of this stack."""
        return processes.family(process.pid for process in self.running.values())

    def stop(self) -> None:
        """End every process of this stack.

        :raises RuntimeError: when one cannot be ended
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
    """The environment of the components: this one's, without any setting of another Airflow."""
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
    if sys.platform == "darwin":  # macOS refuses what Airflow does after fork() otherwise
        env |= {"OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES", "no_proxy": "*"}
    return env


def _end(text: str, lines: int = 40) -> str:
    return "\n".join(text.splitlines()[-lines:])
