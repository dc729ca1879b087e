"""Measure the seconds from a burning budget (the condition first true in Prometheus) to the completed rollback.

    python -m benchmarks.incident_rollback [--runs 5] [--way trigger|alertmanager|both]

Everything is real and on this machine: Airflow's four components (two tasks at a time), a model server, Prometheus (scraping
every second), Alertmanager, and requests. In each run another service gets a bad model version. The DAG is that of
``tests/e2e/dags/e2e_incident.py``: open, measure, find the version, roll back, verify, write the post-mortem; nobody is asked.
When the condition was first true is read from Prometheus afterwards, to half a second, by an expression that knows nothing of
this package; when the rollback was applied, from the model registry.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from demo.airflow_stack import ROOT, AirflowStack, free_ports
from tests.e2e.incident_stage import Stage

_DAGS = {"trigger": ("e2e_incident", "svc"), "alertmanager": ("e2e_alerted", "alerted")}


def measure(stage: Stage, service: str) -> dict[str, float]:
    """Put a bad version into service and wait until it is rolled back; return seconds."""
    deployed = stage.point(service, "2")
    deadline = time.monotonic() + 180
    while stage.champion(service).kind != "rollback":
        if time.monotonic() > deadline:
            raise SystemExit(f"{service} was not rolled back within three minutes")
        time.sleep(0.2)
    applied = datetime.fromisoformat(stage.champion(service).at)
    burning = stage.burning_since(service, deployed, applied)
    return {"burning": (burning - deployed).total_seconds(), "applied": (applied - burning).total_seconds()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--way", choices=(*_DAGS, "both"), default="both")
    options = parser.parse_args()
    ways = [way for way in _DAGS if options.way in (way, "both")]
    runs = options.runs
    with tempfile.TemporaryDirectory(prefix="incident rollback ") as home:
        settings = {"SLO_E2E_SERVICES": str(runs), "SLO_E2E_ALERTED": str(runs)}
        stack = AirflowStack(Path(home) / "airflow", [ROOT / "tests" / "e2e" / "dags"], settings=settings)
        with stack:
            ports = free_ports(2)
            for name, port in zip(("prometheus", "alertmanager"), ports, strict=True):
                stack.client.add_connection(f"e2e_incident_{name}", "prometheus", host=f"http://127.0.0.1:{port}")
            services = {mode: [f"{_DAGS[mode][1]}{n}" for n in range(runs)] for mode in _DAGS}
            stage = Stage(stack.home / "incidents", services["trigger"], services["alertmanager"])
            with stage.running(Path(home) / "stage", prometheus_port=ports[0], alertmanager_port=ports[1]):
                stage.ask(*services["trigger"], *services["alertmanager"], rate=10)
                for way in ways:
                    stack.client.wait_for_dag(_DAGS[way][0])
                    stack.client.unpause(_DAGS[way][0])
                time.sleep(30)
                for way in ways:
                    report(way, [run(stack, stage, _DAGS[way][0], service) for service in services[way]])


def run(stack: AirflowStack, stage: Stage, dag_id: str, service: str) -> float:
    """Measure one incident, and wait until its run is over."""
    found = measure(stage, service)
    print(f"{dag_id} {service}: burns after {found['burning']:.1f} s, rolled back {found['applied']:.1f} s later", flush=True)
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        runs = stack.client.call("GET", f"/api/v2/dags/{dag_id}/dagRuns?limit=100")["dag_runs"]
        if all(one["state"] in ("success", "failed") for one in runs):
            break
        time.sleep(1)
    return found["applied"]


def report(mode: str, seconds: list[float]) -> None:
    """Print the result."""
    ordered = ", ".join(f"{one:.1f}" for one in sorted(seconds))
    at = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    print(f"{mode}: median {statistics.median(seconds):.1f} s of {len(seconds)} runs ({ordered}), {at}", flush=True)


if __name__ == "__main__":
    main()
