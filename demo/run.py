"""`make demo`: a real Airflow promotes a model whose service is healthy, and freezes the next one, whose service is not.

Nothing is simulated: the model is trained on real rows and served over HTTP, requests are sent to it, and the error budget is
measured from the log of its predictions. All files are in ``.demo``; all processes are ended, unless ``--keep`` is set.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from typing import Any

from airflow_slo_provider.slo.budget import text_table as table
from demo import load, model, processes
from demo.airflow_stack import ROOT, USER, AirflowStack, free_ports

HOME = ROOT / ".demo"
PROCESS_RECORD = HOME / "processes.json"
DAG = "gated_model_promotion"
STARTED = time.monotonic()


class Unexpected(Exception):
    """The demo had an unexpected result."""


def print_progress(text: str) -> None:
    """Print a line of progress with the seconds since the start."""
    print(f"demo {time.monotonic() - STARTED:4.0f} s  {text}", flush=True)


class Demo:
    """One demonstration and the processes it started."""

    def __init__(self) -> None:
        self.server: subprocess.Popen[bytes] | None = None
        self.server_url = ""
        connection = {"conn_type": "sqlite", "host": str(HOME / "predictions.db")}
        settings = {"AIRFLOW_CONN_PREDICTION_LOG": json.dumps(connection), "SLO_DEMO_HOME": str(HOME)}
        self.stack = AirflowStack(HOME / "airflow", [ROOT / "dags"], settings=settings, report=print_progress)

    def run(self) -> None:
        """Run the demo from an empty directory to the second decision.

        :raises Unexpected: if a decision does not match the measured budget
        """
        print_progress("starting Airflow in .demo/airflow")
        self.stack.start_components()
        self.write_record()
        self.train("1", regularisation=1.0)
        self.serve(zero_is_missing=False)
        self.stack.wait_until_healthy(timeout=200)
        self.stack.client.wait_for_dag(DAG)
        self.stack.client.unpause(DAG)
        print_progress(f"Airflow is up: {self.stack.url}")

        title("1. The service is healthy")
        self.send_requests(passes=1)
        self.run_dag(
            "healthy", expected={"gate": "success", "promote": "success", "hold": "skipped", "request_review": "skipped"}
        )
        self.expect_champion("1")

        title("2. The next release has a bug: it treats a measured 0.0 as a missing value")
        self.train("2", regularisation=0.1)
        self.serve(zero_is_missing=True)
        self.send_requests(passes=2)
        self.run_dag("faulty", expected={"gate": "success", "promote": "skipped", "hold": "success", "request_review": "skipped"})
        self.expect_champion("1")

    def train(self, version: str, *, regularisation: float) -> None:
        """Train the candidate and store it in the directory that the DAG reads."""
        card = model.train(HOME / "candidate", version=version, regularisation=regularisation)
        print_progress(f"trained candidate version {version}: accuracy {card['accuracy']} on held-out rows")

    def serve(self, *, zero_is_missing: bool) -> None:
        """Start the model server with the candidate; a running server is stopped first."""
        self.stop_server()
        port = free_ports(1)[0]
        self.server_url = f"http://127.0.0.1:{port}"
        arguments = ["--model", str(HOME / "candidate"), "--log", str(HOME / "predictions.db"), "--port", str(port)]
        command = [sys.executable, "-m", "demo.model_server", *arguments, *(["--zero-is-missing"] if zero_is_missing else [])]
        log = HOME / "model_server.log"
        self.server = processes.start(command, log=log, env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=ROOT)
        self.write_record()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + 60
        while True:
            with suppress(OSError), opener.open(f"{self.server_url}/health", timeout=5) as answer:
                version = json.load(answer)["model_version"]
                break
            if self.server.poll() is not None or time.monotonic() > deadline:
                raise Unexpected(f"the model server did not start:\n{log.read_text()}")
            time.sleep(0.1)
        print_progress(f"serving version {version} at {self.server_url}")

    def send_requests(self, *, passes: int) -> None:
        """Send prediction requests to the server."""
        rows = model.measured_rows()
        print_progress(f"sending {passes * len(rows)} prediction requests")
        responses = load.send(self.server_url, rows, passes=passes, rate=200)
        print_progress(
            "responses by HTTP status: " + ", ".join(f"{status}: {count}" for status, count in sorted(responses.items()))
        )

    def run_dag(self, name: str, *, expected: dict[str, str]) -> None:
        """Run the DAG and print its decision.

        :param expected: the final states of its tasks
        """
        client = self.stack.client
        run_id = client.trigger(DAG, run_id=name)
        print_progress(f"running the DAG {DAG}, run {run_id}")
        state = client.wait_for_run(DAG, run_id, timeout=150)
        states = client.task_states(DAG, run_id)
        log = client.log(DAG, run_id, "gate")
        print("\n" + decision_of(log) + "\n", flush=True)
        print_progress(
            "tasks: "
            + ", ".join(f"{task} {states[task]}" for task in ("evaluate", "gate", "promote", "request_review", "hold", "report"))
        )
        wrong = {task: states.get(task) for task, wanted in expected.items() if states.get(task) != wanted}
        if state != "success" or wrong:
            raise Unexpected(f"run {run_id} is {state}, with {wrong}; expected {expected}; the gate's log:\n{log}")

    def expect_champion(self, version: str) -> None:
        """Check which model is the champion.

        :raises Unexpected: if it is another one
        """
        record: dict[str, Any] = json.loads((HOME / "champion" / "champion.json").read_text())
        if record["version"] != version or not (HOME / "champion" / record["directory"] / "model.joblib").exists():
            raise Unexpected(f"the champion is {record}, not version {version}")
        print_progress(f"the champion is version {version}, promoted by run {record['run_id']}")

    def write_record(self) -> None:
        """Write the running processes to a file, so that a later call can end them."""
        leaders = [*self.stack.running.values(), *([self.server] if self.server else [])]
        table = processes.read_table()
        PROCESS_RECORD.write_text(
            json.dumps({process.pid: table[process.pid].started for process in leaders if process.pid in table})
        )

    def stop_server(self) -> None:
        """End the model server, if it is running."""
        if self.server is not None:
            left = processes.end([self.server])
            self.server = None
            if left:
                raise Unexpected(f"the model server's processes {left} could not be ended")

    def stop(self) -> None:
        """End all processes.

        :raises Unexpected: if a process cannot be ended
        """
        for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(sig, signal.SIG_IGN)  # a second Ctrl-C must not interrupt the clean-up
        leaders = [*self.stack.running.values(), *([self.server] if self.server else [])]
        members = processes.process_tree(process.pid for process in leaders)
        with suppress(OSError):  # if standard output is closed, the processes are ended anyway
            print_progress(f"stopping {len(members)} processes")
        left = set(processes.end(leaders)) | set(processes.still_running(members))
        if left:
            raise Unexpected(f"processes {sorted(left)} are left")
        PROCESS_RECORD.unlink(missing_ok=True)
        print_progress("no process is left")


def title(text: str) -> None:
    print(f"\n== {text}", flush=True)


def decision_of(log: str) -> str:
    """Return the last decision table of the gate's log.

    :raises Unexpected: if there is none
    """
    _, begin, rest = log.rpartition(table.BEGIN)
    text, end, _ = rest.partition(table.END)
    if not begin or not end:
        raise Unexpected(f"the gate's log contains no decision:\n{log}")
    return text.strip("\n")


def stop_earlier() -> bool:
    """End the processes of an earlier demo. Return whether there were any."""
    if not PROCESS_RECORD.exists():
        return False
    recorded = {int(pid): started for pid, started in json.loads(PROCESS_RECORD.read_text()).items()}
    table = processes.read_table()
    # A process id that another program uses now is ignored.
    leaders = [pid for pid, started in recorded.items() if pid not in table or table[pid].started == started]
    members = processes.process_tree(leaders)
    left = processes.end_members(members, leaders=leaders)
    if left:
        raise Unexpected(f"processes {left} of an earlier demo could not be ended")
    PROCESS_RECORD.unlink()
    return bool(members)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave Airflow and the model server running")
    parser.add_argument("--stop", action="store_true", help="only end the processes of an earlier demo with --keep")
    options = parser.parse_args()
    for sig in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, lambda number, _frame: sys.exit(128 + number))
    if stop_earlier():
        print_progress("stopped an earlier demo")
    if options.stop:
        print_progress("no process is running")
        return 0
    if HOME.exists():
        shutil.rmtree(HOME)
    HOME.mkdir(mode=0o700)
    demo = Demo()
    kept = False
    try:
        demo.run()
        print(f"\nAirflow's UI: {demo.stack.url}/dags/{DAG}", end="")
        if options.keep:
            kept = True
            print(f"\n  user {USER}, password {demo.stack.password}")
            print(f"The model server: {demo.server_url}/metrics\nStop both with: make stop")
        else:
            print(" (gone when this ends; `make demo KEEP=1` leaves it up)")
    except (Unexpected, RuntimeError, TimeoutError, OSError) as error:
        print_progress(f"FAILED: {error}")
        return 1
    except KeyboardInterrupt:
        print_progress("interrupted")
        return 130
    finally:
        if not kept:
            demo.stop()
    print_progress("done: promoted while healthy, frozen when the budget was spent")
    return 0


if __name__ == "__main__":
    sys.exit(main())
