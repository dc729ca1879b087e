"""No task resumes before Airflow has seen its worker leave."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from airflow.sdk.serde import deserialize

from airflow_slo_provider.ledger import Ledger
from airflow_slo_provider.runtime import deferral
from airflow_slo_provider.triggers import rollout as rollout_trigger
from tests.airflow.deployments import connected, fire, own_ledger, rollback
from tests.airflow.task_runs import run_task
from tests.services.kube_states import released
from tests.support import Clock


def test_wait_until_sleeps_only_for_future_timestamp(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, waited = Clock(monkeypatch, deferral), []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    for moment in (clock.now + timedelta(seconds=0.3), clock.now - timedelta(seconds=60), None):
        asyncio.run(deferral.wait_until(moment and moment.isoformat()))
    assert waited == [0.3, 0]


def test_rollout_trigger_fires_not_before_minimum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert timedelta(seconds=10) <= deferral.MIN_DEFERRAL
    waited_for: list[str | None] = []

    async def wait_until(moment: str | None) -> None:
        waited_for.append(moment)

    monkeypatch.setattr(rollout_trigger, "wait_until", wait_until)
    for world in connected(tmp_path, monkeypatch):
        ledger: Ledger = own_ledger(tmp_path, monkeypatch)
        released(world, 1, 2)
        before = datetime.now(UTC)
        ran = run_task(rollback(world, deferrable=True))
        assert ran.deferral is not None
        moment = deserialize(ran.deferral.trigger_kwargs)["not_before"]
        assert datetime.fromisoformat(moment) - before >= deferral.MIN_DEFERRAL
        world.complete()
        assert fire(ran)["progress"] == "done"
        assert waited_for == [moment]
        ledger.close()
