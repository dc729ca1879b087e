"""Tasks that our operators block do not run, in every form of task mapping, on Airflow's own scheduler."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.approvals import pause

pytestmark = pytest.mark.e2e

FROZEN, ALLOWED = "e2e_blocking_frozen", "e2e_blocking_allowed"
#: Task states in the DAG where the first model's budget is spent and the second one's is not. A mapped gate is skipped itself;
#: one with downstream tasks that would run after a skip fails.
HELD = {
    "plain": "success", "prep": "skipped", "deep[0]": "skipped", "deep[1]": "skipped",
    "over_xcom": "skipped", "behind.first": "skipped", "behind.second": "skipped",
    "mapped[0]": "skipped", "mapped[1]": "success", "after_mapped": "skipped", "after_mapped_2": "skipped",
    "mapped_kwargs[0]": "skipped", "mapped_kwargs[1]": "success", "after_kwargs[0]": "skipped", "after_kwargs[1]": "skipped",
    "literal.gate[0]": "skipped", "literal.promote[0]": "skipped", "literal.tail[0]": "skipped", "after_literal": "skipped",
    "over.gate[0]": "skipped", "over.promote[0]": "skipped", "over.tail[0]": "skipped", "after_over": "skipped",
    "tolerant.gate[0]": "failed", "tolerant.promote[0]": "upstream_failed", "tolerant.tail[0]": "upstream_failed",
    "branch": "success", "promote": "skipped", "hold": "success", "after_promote": "skipped", "join": "success",
    "branches.branch[0]": "success", "branches.promote[0]": "skipped", "branches.hold[0]": "success",
    "branches.branch[1]": "success", "branches.promote[1]": "success", "branches.hold[1]": "skipped",
    "mapped_branch[0]": "success", "mapped_branch[1]": "success", "go": "skipped", "stay": "skipped",
}  # fmt: skip
#: Tasks that run although a budget is spent: those of the other model, and those that a branch follows.
MARKS = {
    "branches.hold[0]", "branches.promote[1]", "literal.promote[1]", "literal.tail[1]", "over.tail[1]", "tolerant.tail[1]",
}  # fmt: skip
#: Tasks that are cleared alone.
CLEARED: list[Any] = [
    "prep", "over_xcom", "after_mapped", "after_mapped_2", "after_kwargs", "promote", "after_literal",
    ["literal.promote", 0], ["literal.tail", 0], ["over.promote", 0], ["over.tail", 0],
    ["tolerant.promote", 0], ["tolerant.tail", 0],
    "deep", "after_promote", "go", ["branches.promote", 0], ["branches.hold", 1],
]  # fmt: skip


class Runs:
    """Run each DAG once."""

    def __init__(self, client: Any, directory: Path) -> None:
        self.client, self.marks, self.ids = client, {}, {}
        for dag_id in (FROZEN, ALLOWED):
            self.marks[dag_id] = directory / dag_id
            self.marks[dag_id].mkdir()
            for one in (dag_id, f"{dag_id}_consumer"):
                client.wait_for_dag(one)
                client.unpause(one)
            self.ids[dag_id] = client.trigger(dag_id, conf={"marks": str(self.marks[dag_id])})

    def ended(self, dag_id: str) -> str:
        return self.client.wait_for_run(dag_id, self.ids[dag_id], timeout=300)

    def states(self, dag_id: str) -> dict[str, str | None]:
        return self.client.task_states(dag_id, self.ids[dag_id])

    def marked(self, dag_id: str) -> set[str]:
        return {one.name.removesuffix("[-1]") for one in self.marks[dag_id].iterdir()}

    def events(self, dag_id: str) -> set[tuple[str, str, int]]:
        """Return asset, task and map index of each event of the run."""
        found = self.client.call("GET", f"/api/v2/assets/events?source_dag_id={dag_id}&limit=100")["asset_events"]
        return {(one["name"].removeprefix(f"{dag_id}_"), one["source_task_id"], one["source_map_index"]) for one in found}

    def consumed(self, dag_id: str) -> int:
        return len(self.client.call("GET", f"/api/v2/dags/{dag_id}_consumer/dagRuns")["dag_runs"])


@pytest.fixture(scope="module")
def runs(airflow_stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    directory = tmp_path_factory.mktemp("blocking")
    client = airflow_stack.client
    client.add_connection("e2e_constants", "sqlite", host=str(directory / "constants.db"))
    found = Runs(client, directory)
    yield found
    pause(client, FROZEN, ALLOWED, f"{FROZEN}_consumer", f"{ALLOWED}_consumer")


def test_blocked_tasks_in_every_form_do_not_run(runs: Runs) -> None:
    state, states = runs.ended(FROZEN), runs.states(FROZEN)
    groups, tasks = ("literal", "over", "tolerant"), ("gate", "promote", "tail")
    others = {f"{group}.{task}[1]": "success" for group in groups for task in tasks}
    assert states == HELD | others | {"listed": "success"}
    assert runs.marked(FROZEN) == MARKS
    assert state == "failed", "a gate fails where a task behind it would run after a skip"


def test_allowed_tasks_in_every_form_run(runs: Runs) -> None:
    state, states = runs.ended(ALLOWED), runs.states(ALLOWED)
    skipped = {"hold", "stay", "branches.hold[0]", "branches.hold[1]"}
    assert {task: one for task, one in states.items() if one != ("skipped" if task in skipped else "success")} == {}
    assert state == "success"
    acted = {
        "deep", "over_xcom", "behind.second", "after_kwargs", "branches.promote", "literal.promote", "literal.tail", "over.tail",
        "tolerant.tail",
    }  # fmt: skip
    once = {"after_mapped_2", "after_literal", "after_promote", "go"}
    assert runs.marked(ALLOWED) == once | {f"{task}[{index}]" for task in acted for index in (0, 1)}


def test_asset_events_are_emitted_only_by_allowed_tasks(runs: Runs) -> None:
    runs.ended(FROZEN), runs.ended(ALLOWED)
    assert runs.events(ALLOWED) == {
        ("plain", "plain", -1), ("alias", "plain", -1), ("branch", "branch", -1),
        ("mapped", "mapped", 0), ("mapped", "mapped", 1),
    }  # fmt: skip
    assert runs.events(FROZEN) == {("mapped", "mapped", 1)}
    deadline = time.monotonic() + 120
    while not runs.consumed(ALLOWED):
        assert time.monotonic() < deadline, "no event has started anything"
        time.sleep(0.3)
    assert runs.consumed(FROZEN) == 0


def test_blocked_tasks_cleared_alone_do_not_run(runs: Runs) -> None:
    runs.ended(FROZEN)
    before = runs.states(FROZEN)
    runs.client.clear(FROZEN, runs.ids[FROZEN], *CLEARED)
    runs.ended(FROZEN)
    assert runs.states(FROZEN) == before
    assert runs.marked(FROZEN) == MARKS
