"""Faults of Airflow's real components: scheduler, API server and metadata database stop during a promotion."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_slo_provider.deployment.registries.directory import DirectoryRegistry
from airflow_slo_provider.deployment.registries.registry import MoveRequest
from airflow_slo_provider.ledger import open_ledger
from demo.airflow_client import FINISHED, AirflowAPIError
from demo.airflow_stack import AirflowStack
from tests.airflow.gates import RequestLog
from tests.services.postgres import PostgresServer

pytestmark = pytest.mark.e2e

PROMOTION, EVENT = "e2e_faults_promotion", "e2e_faults_event"
#: Timeout in seconds. No assertion depends on how soon something happens.
NEVER = 300


class Scene:
    """A healthy service, a model registry, and DAGs that wait at steps chosen by the test.

    :param stack: the real Airflow
    """

    def __init__(self, stack: AirflowStack, home: Path) -> None:
        self.stack, self.client, self.home = stack, stack.client, home
        self.registry = DirectoryRegistry(home / "registry")
        log = RequestLog(home / "requests.db")
        log.write(1000, 0)
        self.client.add_connection("e2e_faults_log", "sqlite", host=str(log.path))
        for dag_id in (PROMOTION, EVENT):
            self.client.wait_for_dag(dag_id)
            self.client.unpause(dag_id)

    def model(self, name: str, *serving: str) -> str:
        """Register versions 1 to 3 of a model, and promote some of them in order."""
        (self.home / "model.bin").write_bytes(b"weights")
        for version in "123":
            self.registry.register(name, version, self.home / "model.bin")
        for version in serving:
            self.registry.move(name, MoveRequest(kind="promote", alias="champion", key=f"by hand {version}", to=version))
        return name

    def promotion(self, name: str, *, hold: str = "", run_id: str | None = None) -> Path:
        """Start a run that promotes version 2 of a model, and return the file that marks it as waiting."""
        mark = self.home / f"mark {name}"
        conf = {"model": name, "registry": str(self.home / "registry"), "hold": hold, "mark": str(mark) if hold else ""}
        self.client.trigger(PROMOTION, conf=conf, run_id=run_id or name)
        return mark

    def held(self, name: str) -> Path:
        """Start a promotion, and wait until it has moved the alias but not recorded it."""
        self.model(name, "1")
        mark = self.promotion(name, hold="moved")
        self.until(mark.exists)
        assert self.moves(name) == [("1", "2")]
        return mark

    def moves(self, name: str) -> list[tuple[str | None, str]]:
        """Return the moves, without the first promotion."""
        return [(move.before, move.after) for move in self.registry.moves(name)][1:]

    def rows(self, run_id: str | None = None) -> list[Any]:
        """Return the ledger's rows of a run, or of all runs."""
        with open_ledger(f"sqlite:///{self.stack.home / 'slo_ledger.db'}") as ledger:
            return [row for row in ledger.checks(limit=100_000) if run_id in (None, row.key.run_id)]

    def until(self, happened: Callable[[], Any], seconds: float = NEVER) -> Any:
        """Wait for a condition. Meanwhile, restart components that have exited, as a supervisor does."""
        deadline = time.monotonic() + seconds
        while True:
            for name, process in list(self.stack.running.items()):
                if process.poll() is not None:
                    self.stack.start_component(name)
            try:
                if found := happened():
                    return found
            except AirflowAPIError as error:
                if error.status not in (0, 500, 503):
                    raise
            assert time.monotonic() < deadline, f"not within {seconds} s"
            time.sleep(0.3)

    def beating(self, since: datetime) -> bool:
        """Return whether all components have sent a heartbeat after a time."""
        health = self.client.call("GET", "/api/v2/monitor/health", login=False)
        beats = [
            (health[name]["status"], datetime.fromisoformat(health[name][f"latest_{name}_heartbeat"]))
            for name in ("scheduler", "triggerer", "dag_processor")
        ]
        return all(status == "healthy" and beat > since for status, beat in beats)

    def promoted_once(self, name: str) -> int:
        """Wait for the end of a run whose model was moved and recorded once. Return the number of the promotion's last try."""
        state = self.until(lambda: (found := self.client.run_state(PROMOTION, name)) in FINISHED and found)
        assert state == "success", self.client.task_states(PROMOTION, name)
        assert self.moves(name) == [("1", "2")]
        rows = self.rows(name)
        assert Counter(row.result.kind for row in rows) == {"slo": 1, "decision": 1, "promote": 1}
        assert {str(row.result.verdict) for row in rows} == {"pass"}
        (last,) = [one["try_number"] for one in self.client.task_instances(PROMOTION, name) if one["task_id"] == "promote"]
        return int(last)


@pytest.fixture(scope="module")
def scene(airflow_stack: AirflowStack, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(airflow_stack, tmp_path_factory.mktemp("faults of airflow"))


def test_killed_scheduler_loses_no_run(scene: Scene, seen: Callable[[str], None]) -> None:
    """Its workers are killed too, so the result of the task is not reported to Airflow."""
    mark = scene.held("scheduler")
    scene.stack.restart_component("scheduler")
    Path(f"{mark}.go").touch()
    assert scene.promoted_once("scheduler") == 2
    seen("try 2; 1 move, 1 row")


def test_killed_api_server_loses_no_run(scene: Scene, seen: Callable[[str], None]) -> None:
    """The task ends while the API server is down."""
    mark = scene.held("api-server")
    scene.stack.kill_component("api-server")
    Path(f"{mark}.go").touch()
    time.sleep(2)
    scene.stack.start_component("api-server")
    last = scene.promoted_once("api-server")
    seen(f"try {last}; 1 move, 1 row")


def test_restarted_postgresql_loses_no_run(
    scene: Scene, metadata_server: PostgresServer | None, seen: Callable[[str], None]
) -> None:
    if metadata_server is None:
        pytest.skip("Airflow's metadata is not in PostgreSQL here: initdb is not installed")
    mark = scene.held("postgresql")
    metadata_server.stop()
    try:
        Path(f"{mark}.go").touch()
        time.sleep(2)
    finally:
        metadata_server.start()
    back = datetime.now(UTC)
    last = scene.promoted_once("postgresql")
    # A component may detect its lost connections late and exit then; later tests must not be affected.
    scene.until(lambda: scene.beating(back + timedelta(seconds=10)))
    seen(f"try {last}; 1 move, 1 row")


def test_asset_event_delivered_twice_rolls_back_once(scene: Scene, seen: Callable[[str], None]) -> None:
    """Once before a run has started, and once after: a rollback that is delivered twice goes back one version, not two."""
    client = scene.client
    (asset,) = client.call("GET", "/api/v2/assets?name_pattern=e2e_faults_burning")["assets"]

    def runs() -> list[dict[str, Any]]:
        return list(client.call("GET", f"/api/v2/dags/{EVENT}/dagRuns?limit=100")["dag_runs"])

    def deliver(name: str) -> None:
        place = {"slo": name, "model": name, "registry": str(scene.home / "registry")}
        incident = {
            "id": f"{name}-1", "kind": "burning", "subject": name, "severity": "page", "message": "it burns",
            "started_at": datetime(2026, 11, 25, tzinfo=UTC).isoformat(), "evidence": place,
        }  # fmt: skip
        client.call("POST", "/api/v2/assets/events", {"asset_id": asset["id"], "extra": {"payload": incident}})

    for name in ("twice-at-once", "twice-apart"):
        scene.model(name, "1", "2", "3")
        before = {run["dag_run_id"] for run in runs()}
        deliver(name)
        if name == "twice-apart":
            scene.until(lambda: len(runs()) > len(before))  # noqa: B023 - called at once
        deliver(name)
        wanted = len(before) + (2 if name == "twice-apart" else 1)
        scene.until(lambda: len(found := runs()) >= wanted and all(run["state"] in FINISHED for run in found))  # noqa: B023
        mine = [run for run in runs() if run["dag_run_id"] not in before]
        assert {run["state"] for run in mine} == {"success"}
        acted = Counter(client.task_states(EVENT, run["dag_run_id"])["roll_back"] for run in mine)
        assert acted == {"success": 1, **({"skipped": len(mine) - 1} if len(mine) > 1 else {})}
        assert scene.moves(name) == [("1", "2"), ("2", "3"), ("3", "2")]
        rolled = [row for row in scene.rows() if row.result.kind == "rollback" and row.result.name == f"{name}@champion"]
        assert [str(row.result.verdict) for row in rolled] == ["pass"]
        seen(f"{len(mine)} {'run' if len(mine) == 1 else 'runs'}, 1 rollback")


@pytest.mark.long
def test_two_hundred_runs_lose_and_repeat_nothing(scene: Scene, seen: Callable[[str], None]) -> None:
    """Two hundred runs promote version 2 of one model instead of 1. One succeeds; the others report that 1 has been replaced."""
    began = time.monotonic()
    scene.model("many", "1")
    names = [f"many-{number}" for number in range(200)]
    for name in names:
        scene.promotion("many", run_id=name)
    states: dict[str, str] = {}

    def over() -> bool:
        time.sleep(2)  # every request slows down the runs
        told = 0
        while page := scene.client.call("GET", f"/api/v2/dags/{PROMOTION}/dagRuns?limit=100&offset={told}")["dag_runs"]:
            told += len(page)
            states.update({run["dag_run_id"]: run["state"] for run in page if run["dag_run_id"] in names})
        return len(states) == len(names) and set(states.values()) <= set(FINISHED)

    scene.until(over, 1800)
    assert Counter(states.values()) == {"success": 1, "failed": 199}
    assert scene.moves("many") == [("1", "2")]
    rows = [row for row in scene.rows() if row.key.run_id in states]
    kinds = Counter((row.result.kind, str(row.result.verdict)) for row in rows)
    assert kinds == {("slo", "pass"): 200, ("decision", "pass"): 200, ("promote", "pass"): 1, ("promote", "fail"): 199}
    assert {one["try_number"] for name in names for one in scene.client.task_instances(PROMOTION, name)} == {1}
    seen(f"200 runs in {time.monotonic() - began:.0f} s: 200 decisions and 200 records of promotions, 1 move")
