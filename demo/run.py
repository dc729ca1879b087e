"""`make demo`: a real Airflow promotes a model whose service is healthy, and freezes the next one, whose service is not.

Nothing is simulated: the model is trained on real rows, served over HTTP, asked for predictions, and the error budget is
measured on the log of these predictions. Everything stays in ``.demo``; every process is ended, unless ``--keep`` is given.
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
RECORD = HOME / "processes.json"
DAG = "gated_model_promotion"
STARTED = time.monotonic()


class Unexpected(Exception):
    """The demo did not end as it must."""


def say(text: str) -> None:
    """Print a line of progress with the seconds since the start."""
    print(f"demo {time.monotonic() - STARTED:4.0f} s  {text}", flush=True)


class Demo:
    """One demonstration and the processes it started."""

    def __init__(self) -> None:
        self.server: subprocess.Popen[bytes] | None = None
        self.server_url = ""
        connection = {"conn_type": "sqlite", "host": str(HOME / "predictions.db")}
        settings = {"AIRFLOW_CONN_PREDICTION_LOG": json.dumps(connection), "SLO_DEMO_HOME": str(HOME)}
        self.stack = AirflowStack(HOME / "airflow", [ROOT / "dags"], settings=settings, say=say)

    def run(self) -> None:
        """Do everything, from an empty directory to the second decision.

        :raises Unexpected: when a decision is not the one that the numbers ask for
        """
        say("starting Airflow in .demo/airflow")
        self.stack.begin()
        self.remember()
        self.train("1", regularisation=1.0)
        self.serve(zero_is_missing=False)
        self.stack.wait_until_healthy(timeout=200)
        self.stack.client.wait_for_dag(DAG)
        self.stack.client.unpause(DAG)
        say(f"Airflow is up: {self.stack.url}")

        title("1. The service is healthy")
        self.ask(passes=1)
        self.decide("healthy", expected={"gate": "success", "promote": "success", "hold": "skipped", "ask_a_person": "skipped"})
        self.expect_champion("1")

        title("2. The next release has a bug: it takes a measured 0.0 for a missing value")
        self.train("2", regularisation=0.1)
        self.serve(zero_is_missing=True)
        self.ask(passes=2)
        self.decide("faulty", expected={"gate": "success", "promote": "skipped", "hold": "success", "ask_a_person": "skipped"})
        self.expect_champion("1")

    def train(self, version: str, *, regularisation: float) -> None:
        """Train the candidate and put it where the DAG looks for it."""
        card = model.train(HOME / "candidate", version=version, regularisation=regularisation)
        say(f"trained candidate version {version}: accuracy {card['accuracy']} on held-out rows")

    def serve(self, *, zero_is_missing: bool) -> None:
        """Start the model server with the candidate, in place of the one that runs."""
        self.stop_server()
        port = free_ports(1)[0]
        self.server_url = f"http://127.0.0.1:{port}"
        arguments = ["--model", str(HOME / "candidate"), "--log", str(HOME / "predictions.db"), "--port", str(port)]
        command = [sys.executable, "-m", "demo.model_server", *arguments, *(["--zero-is-missing"] if zero_is_missing else [])]
        log = HOME / "model_server.log"
        self.server = processes.start(command, log=log, env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=ROOT)
        self.remember()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + 60
        while True:
            with suppress(OSError), opener.open(f"{self.server_url}/health", timeout=5) as answer:
                version = json.load(answer)["model_version"]
                break
            if self.server.poll() is not None or time.monotonic() > deadline:
                raise Unexpected(f"the model server did not start:\n{log.read_text()}")
            time.sleep(0.1)
        say(f"serving version {version} at {self.server_url}")

    def ask(self, *, passes: int) -> None:
        """Ask the server for predictions."""
        rows = model.measured_rows()
        say(f"asking for {passes * len(rows)} predictions")
        answers = load.send(self.server_url, rows, passes=passes, rate=200)
        say("answers by HTTP status: " + ", ".join(f"{status}: {count}" for status, count in sorted(answers.items())))

    def decide(self, name: str, *, expected: dict[str, str]) -> None:
        """Run the DAG and show how it decided.

        :param expected: the states its tasks must end in
        """
        client = self.stack.client
        run_id = client.trigger(DAG, run_id=name)
        say(f"running the DAG {DAG}, run {run_id}")
        state = client.wait_for_run(DAG, run_id, timeout=150)
        states = client.task_states(DAG, run_id)
        log = client.log(DAG, run_id, "gate")
        print("\n" + decision_of(log) + "\n", flush=True)
        say(
            "tasks: "
            + ", ".join(f"{task} {states[task]}" for task in ("evaluate", "gate", "promote", "ask_a_person", "hold", "report"))
        )
        wrong = {task: states.get(task) for task, wanted in expected.items() if states.get(task) != wanted}
        if state != "success" or wrong:
            raise Unexpected(f"run {run_id} is {state}, with {wrong} where {expected} was expected; the gate's log:\n{log}")

    def expect_champion(self, version: str) -> None:
        """Check which model is the champion.

        :raises Unexpected: when it is another one
        """
        record: dict[str, Any] = json.loads((HOME / "champion" / "champion.json").read_text())
        if record["version"] != version or not (HOME / "champion" / record["directory"] / "model.joblib").exists():
            raise Unexpected(f"the champion is {record}, not version {version}")
        say(f"the champion is version {version}, promoted by run {record['run_id']}")

    def remember(self) -> None:
        """Write down which processes run, so that a later call can end them."""
        leaders = [*self.stack.running.values(), *([self.server] if self.server else [])]
        table = processes.table()
        RECORD.write_text(json.dumps({process.pid: table[process.pid].started for process in leaders if process.pid in table}))

    def stop_server(self) -> None:
        """End the model server, if one runs."""
        if self.server is not None:
            left = processes.end([self.server])
            self.server = None
            if left:
                raise Unexpected(f"the model server's processes {left} could not be ended")

    def stop(self) -> None:
        """End everything, and make sure of it.

        :raises Unexpected: when a process cannot be ended
        """
        for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(sig, signal.SIG_IGN)  # an impatient second Ctrl-C must not leave half of them behind
        leaders = [*self.stack.running.values(), *([self.server] if self.server else [])]
        members = processes.family(process.pid for process in leaders)
        with suppress(OSError):  # whoever read our output may be gone; the processes must go all the same
            say(f"stopping {len(members)} processes")
        left = set(processes.end(leaders)) | set(processes.alive(members))
        if left:
            raise Unexpected(f"processes {sorted(left)} are left")
        RECORD.unlink(missing_ok=True)
        say("no process is left")


def title(text: str) -> None:
    print(f"\n== {text}", flush=True)


def decision_of(log: str) -> str:
    """Cut the decision table out of the gate's log: the last one, where a task was tried more than once.

    :raises Unexpected: when there is none
    """
    _, begin, rest = log.rpartition(table.BEGIN)
    text, end, _ = rest.partition(table.END)
    if not begin or not end:
        raise Unexpected(f"the gate's log holds no decision:\n{log}")
    return text.strip("\n")


def stop_earlier() -> bool:
    """End what an earlier demo left running. Return whether there was anything."""
    if not RECORD.exists():
        return False
    recorded = {int(pid): started for pid, started in json.loads(RECORD.read_text()).items()}
    table = processes.table()
    # A process id that another program has taken over since is left alone.
    leaders = [pid for pid, started in recorded.items() if pid not in table or table[pid].started == started]
    members = processes.family(leaders)
    left = processes.end_members(members, leaders=leaders)
    if left:
        raise Unexpected(f"processes {left} of an earlier demo could not be ended")
    RECORD.unlink()
    return bool(members)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave Airflow and the model server running")
    parser.add_argument("--stop", action="store_true", help="end what --keep left running, and do nothing else")
    options = parser.parse_args()
    for sig in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, lambda number, _frame: sys.exit(128 + number))
    if stop_earlier():
        say("stopped an earlier demo")
    if options.stop:
        say("nothing is running")
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
        say(f"FAILED: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    finally:
        if not kept:
            demo.stop()
    say("done: promoted while healthy, frozen when the budget was spent")
    return 0


if __name__ == "__main__":
    sys.exit(main())
