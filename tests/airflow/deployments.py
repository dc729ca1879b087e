"""Helpers of the tests of operators that change Deployments."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_slo_provider.ledger import Ledger, RunKey, open_ledger
from airflow_slo_provider.operators.kubernetes import DeploymentRollbackOperator
from airflow_slo_provider.results import CheckResult, Verdict
from airflow_slo_provider.triggers.rollout import RolloutTrigger
from tests.airflow.task_runs import Ran
from tests.services.kube_world import NAME, World, emulated

V1, V2 = "registry.local/model-server:v1", "registry.local/model-server:v2"
SOON = {"rollout_timeout": timedelta(seconds=5), "poll_interval": timedelta(seconds=0.05)}


def connected(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Start the emulator, also if a real cluster is configured, because tests complete rollouts; add a connection to it."""
    for world in emulated(home):
        extra = {"kube_config_path": str(world.kubeconfig)}
        monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps({"conn_type": "kubernetes", "extra": extra}))
        yield world


def own_ledger(home: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """Create a separate ledger and configure it as the default."""
    url = f"sqlite:///{home / 'ledger.db'}"
    monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", url)
    return open_ledger(url)


def rollback(world: World, **arguments: Any) -> DeploymentRollbackOperator:
    arguments = {"to": "previous", "retries": 2, **SOON, **arguments}
    return DeploymentRollbackOperator(task_id="roll_back", name=NAME, namespace=world.namespace, **arguments)


def complete_when_patched(world: World) -> None:
    """Complete each rollout as soon as it starts."""

    def watch(method: str, resource: str) -> None:
        if method == "PATCH":
            world.complete()

    world.emulator.watchers.append(watch)


def fire(ran: Ran) -> dict[str, Any]:
    """Run the trigger of a deferred task, as a triggerer does, and return its event."""
    assert ran.deferral is not None
    assert ran.deferral.classpath == "airflow_slo_provider.triggers.rollout.RolloutTrigger"
    from airflow.sdk.serde import deserialize

    trigger = RolloutTrigger(**deserialize(ran.deferral.trigger_kwargs))

    async def first() -> dict[str, Any]:
        async for event in trigger.run():
            found: dict[str, Any] = event.payload
            return found
        raise AssertionError("the trigger ended without an event")

    return asyncio.run(first())


def judged(
    ledger: Ledger,
    version: str | None,
    verdict: str,
    *,
    name: str = "checkout",
    minutes: int = 5,
    kind: str = "golden_set",
    evidence: Mapping[str, Any] | None = None,
) -> None:
    at = datetime.now(UTC) - timedelta(minutes=minutes)
    result = CheckResult(
        kind=kind, name=name, verdict=Verdict(verdict), model_version=version, checked_at=at, evidence=evidence or {}
    )
    ledger.record([result], RunKey("evaluate", at.isoformat(), f"{kind}-{name}-{version}"))


def last(ledger: Ledger, world: World) -> CheckResult:
    found = ledger.latest("deployment", f"{world.namespace}/{NAME}")
    assert found is not None
    return found.result
