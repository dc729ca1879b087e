"""Waiting for a rollout, in the triggerer and on the worker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_slo_provider.ledger import Ledger
from airflow_slo_provider.results import Verdict
from airflow_slo_provider.triggers.rollout import RolloutTrigger
from tests.airflow.deployments import connected, fire, last, own_ledger, rollback
from tests.airflow.task_runs import resume, run_task
from tests.services.kube_server import Fault
from tests.services.kube_states import released
from tests.services.kube_world import World


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triggers fire as soon as they have something to say: no scheduler has to see a worker leave before."""
    monkeypatch.setattr("airflow_slo_provider.runtime.deferral.MIN_DEFERRAL", timedelta(0))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    yield from connected(tmp_path, monkeypatch)


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    return own_ledger(tmp_path, monkeypatch)


class TestWaiting:
    def status(self, world: World, **status: Any) -> None:
        item = world.deployment()
        item["status"] = {**item["status"], **status}
        world.emulator.objects.seed("deployments", item)

    def test_exceeded_progress_deadline_is_logged_and_wait_continues(self, world: World, ledger: Ledger) -> None:
        released(world, 1, 2)
        looks: list[str] = []

        def watch(method: str, resource: str) -> None:
            if method == "PATCH":
                condition = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
                self.status(world, conditions=[condition])
            elif looks.append(method) or len(looks) == 6:
                world.complete()

        world.emulator.watchers.append(watch)
        ran = run_task(rollback(world))
        assert ran.state == "success"
        assert "exceeded its progress deadline" in ran.log

    def test_rollout_replaced_by_other_change_fails(self, world: World, ledger: Ledger) -> None:
        released(world, 1, 2)
        operator = rollback(world, deferrable=True)
        ran = run_task(operator)
        world.release(3)
        event = fire(ran)
        assert event["progress"] == "superseded"
        ended = resume(operator, ran.deferral, event)
        assert (ended.state, last(ledger, world).verdict) == ("failed", Verdict.FAIL)
        assert "got another template" in str(ended.error)

    def test_transient_server_error_continues_wait(self, world: World, ledger: Ledger) -> None:
        released(world, 1, 2)
        operator = rollback(world, deferrable=True)
        ran = run_task(operator)
        world.complete()
        world.emulator.faults += [Fault("GET", "deployments", how, times=1) for how in (503, "reset", "half", "half_json", 429)]
        assert fire(ran)["progress"] == "done"

    @pytest.mark.parametrize(("how", "reason", "state"), [(403, "forbidden", "failed"), (404, "not_found", "failed")])
    def test_permanent_server_error_ends_wait(self, world: World, ledger: Ledger, how: int, reason: str, state: str) -> None:
        released(world, 1, 2)
        operator = rollback(world, deferrable=True, rollout_timeout=timedelta(minutes=5))
        ran = run_task(operator)
        world.emulator.faults.append(Fault("GET", "deployments", how))
        event = fire(ran)
        assert (event["progress"], event["reason"]) == ("unknown", reason)
        assert resume(operator, ran.deferral, event).state == state

    def test_unavailable_server_fails_try(self, world: World, ledger: Ledger) -> None:
        released(world, 1, 2)
        operator = rollback(world, deferrable=True, rollout_timeout=timedelta(seconds=0.3))
        ran = run_task(operator)
        world.emulator.faults.append(Fault("GET", "deployments", "reset"))
        event = fire(ran)
        assert event["transient"]
        ended = resume(operator, ran.deferral, event)
        assert (ended.state, last(ledger, world).verdict) == ("up_for_retry", Verdict.UNKNOWN)

    def test_trigger_survives_serialization(self) -> None:
        trigger = RolloutTrigger(
            namespace="n",
            name="d",
            expected="x",
            deadline="2026-11-24T05:00:00+00:00",
            interval=3.0,
            kubernetes_conn_id="k",
        )
        path, arguments = trigger.serialize()
        assert path == "airflow_slo_provider.triggers.rollout.RolloutTrigger"
        assert RolloutTrigger(**json.loads(json.dumps(arguments))).serialize() == (path, arguments)
