"""No task resumes before Airflow has seen its worker leave."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from airflow.sdk.serde import deserialize

from airflow_slo_provider.hooks import deferral
from airflow_slo_provider.ledger import Ledger
from tests.airflow.deployments import connected, fire, own_ledger, rollback
from tests.airflow.running import run_task
from tests.services.kube_states import released


def test_a_trigger_waits_for_its_moment_and_for_none_that_has_passed() -> None:
    for seconds, least, most in ((0.3, 0.25, 5), (-60, 0, 0.2)):
        began = time.monotonic()
        asyncio.run(deferral.wait_until((datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()))
        assert least <= time.monotonic() - began < most
    asyncio.run(deferral.wait_until(None))


def test_a_rollout_that_is_over_at_once_is_told_no_sooner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert timedelta(seconds=10) <= deferral.SHORTEST
    monkeypatch.setattr(deferral, "SHORTEST", timedelta(seconds=2))
    for world in connected(tmp_path, monkeypatch):
        ledger: Ledger = own_ledger(tmp_path, monkeypatch)
        released(world, 1, 2)
        before = datetime.now(UTC)
        ran = run_task(rollback(world, deferrable=True))
        assert ran.deferral is not None
        moment = datetime.fromisoformat(deserialize(ran.deferral.trigger_kwargs)["not_before"])
        assert moment - before >= timedelta(seconds=2)
        world.complete()
        event = fire(ran)
        assert event["progress"] == "done"
        assert datetime.now(UTC) >= moment
        ledger.close()
