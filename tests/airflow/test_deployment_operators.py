"""The rollback operator in Airflow's task runner, against the emulated API server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_slo_provider.deployment.kubernetes import rollback as roll_back
from airflow_slo_provider.exceptions import DeploymentError
from airflow_slo_provider.ledger import Ledger
from airflow_slo_provider.operators.kubernetes import (
    DeploymentRollbackOperator,
)
from airflow_slo_provider.results import Verdict
from tests.airflow.deployments import V1, V2, complete_when_patched, connected, fire, last, own_ledger, rollback
from tests.airflow.task_runs import resume, run_task
from tests.services.kube_server import Fault
from tests.services.kube_states import released
from tests.services.kube_world import NAME, World


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


@pytest.mark.parametrize("deferrable", [False, True])
def test_rollback_waits_for_rollout(world: World, ledger: Ledger, deferrable: bool) -> None:
    released(world, 1, 2)
    operator = rollback(world, deferrable=deferrable, evidence={"outcome": "frozen", "slo": "{{ ti.task_id }}"})
    if deferrable:
        ran = run_task(operator)
        assert ran.state == "deferred"
        assert last(ledger, world).verdict is Verdict.UNKNOWN
        world.complete()
        ran = resume(operator, ran.deferral, fire(ran))
    else:
        complete_when_patched(world)
        ran = run_task(operator)
    assert ran.state == "success"
    assert world.images() == [V1]
    done = ran.xcoms["return_value"]
    wanted = {
        "action": "rollback",
        "changed": True,
        "from_revision": 2,
        "to_revision": 1,
        "from_version": "2",
        "progress": "done",
    }
    assert wanted.items() <= done.items()
    assert done["to_images"] == [V1]
    recorded = last(ledger, world)
    assert (recorded.verdict, recorded.model_version) == (Verdict.PASS, "1")
    assert recorded.evidence["because"] == {"outcome": "frozen", "slo": "roll_back"}
    assert "successfully rolled out" in recorded.message
    assert len(ledger.checks()) == 1


@pytest.mark.parametrize("deferrable", [False, True])
def test_retry_only_waits(world: World, ledger: Ledger, deferrable: bool) -> None:
    released(world, 1, 2)
    operator = rollback(world, deferrable=deferrable, rollout_timeout=timedelta(seconds=0.2))
    first = run_task(operator)
    if deferrable:
        first = resume(operator, first.deferral, fire(first))
    assert first.state == "failed"
    assert last(ledger, world).verdict is Verdict.FAIL
    assert "not rolled out within 0.2 s: Waiting for deployment" in str(first.error)
    world.complete()
    second = run_task(operator, try_number=2)
    if deferrable:
        second = resume(operator, second.deferral, fire(second), try_number=2)
    assert second.state == "success"
    assert (second.xcoms["return_value"]["changed"], world.emulator.writes(), world.images()) == (False, 1, [V1])
    assert last(ledger, world).verdict is Verdict.PASS


def test_run_that_began_before_rollback_only_reports(world: World, ledger: Ledger) -> None:
    released(world, 1, 2)
    complete_when_patched(world)

    def other_run(context: Any) -> None:
        assert roll_back(world.api, world.namespace, NAME, "previous", "a_dag/other_run/roll_back/-1").changed

    ran = run_task(rollback(world, pre_execute=other_run))
    assert (ran.state, ran.xcoms["return_value"]["changed"]) == ("success", False)
    assert "nothing left to do: a_dag/other_run/roll_back/-1 rolled it back from revision 2 to 1" in ran.log
    assert (world.images(), world.emulator.writes()) == ([V1], 1)
    # A later run decided later: it may go on.
    assert run_task(rollback(world, to=2), run_id="next").xcoms["return_value"]["changed"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"to": "{{ 'latest' }}"}, "is not a revision"),
        ({"to": "99"}, "unable to find specified revision 99 in history"),
        ({"bad_revision": "{{ none }}"}, "bad_revision is set in the DAG and is 'None'"),
        ({"bad_revision": "{{ 'r7' }}"}, "not a whole number"),
        ({"bad_revision": "{{ 1 }}"}, "the deployment has moved on"),
        ({"bad_version": "1"}, "the deployment has moved on"),
        ({"name": "nope"}, 'deployments.apps "nope" not found'),
    ],
)
def test_permanent_errors_are_not_retried(world: World, ledger: Ledger, arguments: dict[str, Any], text: str) -> None:
    released(world, 1, 2)
    arguments = {"to": "previous", "name": NAME, "namespace": world.namespace, **arguments}
    ran = run_task(DeploymentRollbackOperator(task_id="t", retries=3, **arguments))
    assert isinstance(ran.error, AirflowFailException)
    assert text in str(ran.error)
    assert (ran.state, world.images()) == ("failed", [V2])


@pytest.mark.parametrize("how", [503, "reset", "half"])
def test_transient_faults_are_retried(world: World, ledger: Ledger, how: int | str) -> None:
    released(world, 1, 2)
    complete_when_patched(world)
    world.emulator.faults.append(Fault("PATCH", "deployments", how, times=1))
    ran = run_task(rollback(world))
    assert isinstance(ran.error, DeploymentError)
    assert (ran.state, last(ledger, world).verdict) == ("up_for_retry", Verdict.UNKNOWN)
    assert run_task(rollback(world), try_number=2).state == "success"
    assert (world.images(), last(ledger, world).verdict) == ([V1], Verdict.PASS)


def test_invalid_connection_fails(world: World, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {"kube_config_path": "/nowhere/at/all"}
    monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps({"conn_type": "kubernetes", "extra": extra}))
    ran = run_task(rollback(world))
    assert ran.state == "failed"
    assert "connection kubernetes_default leads to no cluster" in str(ran.error)


def test_unrecorded_rollback_is_retried(world: World, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    released(world, 1, 2)
    complete_when_patched(world)
    with monkeypatch.context() as broken:
        broken.setenv("AIRFLOW__SLO__LEDGER_URL", "postgresql://nobody@127.0.0.1:1/nothing")
        ran = run_task(rollback(world))
    assert (ran.state, world.images()) == ("up_for_retry", [V1])
    assert run_task(rollback(world), try_number=2).state == "success"
    assert world.emulator.writes() == 1
    assert last(ledger, world).verdict is Verdict.PASS


def test_dry_run_changes_nothing(world: World, ledger: Ledger) -> None:
    released(world, 1, 2)
    before = world.deployment()
    ran = run_task(rollback(world, dry_run=True, deferrable=True))
    assert (ran.state, ran.xcoms["return_value"]["progress"], world.deployment()) == ("success", "dry run", before)
    assert last(ledger, world).message.endswith("(server dry run)")


@pytest.mark.parametrize(
    ("mark", "who"),
    [
        (lambda m: m["labels"].update({"argocd.argoproj.io/instance": "x"}), "Argo CD (label argocd.argoproj.io/instance)"),
        (lambda m: m["annotations"].update({"argocd.argoproj.io/tracking-id": "x"}), "Argo CD (annotation"),
        (lambda m: m["labels"].update({"kustomize.toolkit.fluxcd.io/name": "x"}), "Flux (kustomize-controller)"),
        (lambda m: m.update(managedFields=[{"manager": "argocd-controller"}]), "Argo CD (managedFields of argocd-controller)"),
    ],
)
def test_gitops_managed_deployment_warns_or_fails(
    world: World, ledger: Ledger, mark: Callable[[dict[str, Any]], object], who: str
) -> None:
    released(world, 1, 2)
    world.edit(lambda item: mark(item["metadata"]))
    complete_when_patched(world)
    ran = run_task(rollback(world, refuse_if_gitops_managed=True))
    assert (ran.state, world.images()) == ("failed", [V2])
    assert who in str(ran.error)
    ran = run_task(rollback(world))
    assert (ran.state, world.images()) == ("success", [V1])
    assert f"{who}" in ran.log


def test_kubectl_apply_and_helm_are_warned_about(world: World, ledger: Ledger) -> None:
    released(world, 1, 2)
    annotation = {"kubectl.kubernetes.io/last-applied-configuration": "{}"}
    world.edit(lambda item: item["metadata"]["annotations"].update(annotation))
    world.edit(lambda item: item["metadata"].update(managedFields=[{"manager": "helm"}]))
    complete_when_patched(world)
    ran = run_task(rollback(world, refuse_if_gitops_managed=True))
    assert ran.state == "success"
    assert "the next apply of the same manifest" in ran.log
    assert "the next 'helm upgrade'" in ran.log


def test_importing_operators_loads_no_kubernetes() -> None:
    code = (
        "import sys\n"
        "from airflow_slo_provider.operators.kubernetes import DeploymentRollbackOperator as R, DeploymentScaleOperator as S\n"
        "from airflow_slo_provider.triggers.rollout import RolloutTrigger\n"
        "R(task_id='t', name='n', namespace='s'), S(task_id='t', name='n', namespace='s', replicas=1)\n"
        "loaded = [name for name in sys.modules if name.split('.')[0] in ('kubernetes', 'kubernetes_asyncio', 'aiohttp')]\n"
        "loaded += [name for name in sys.modules if name.startswith('airflow.providers.cncf.kubernetes.hooks')]\n"
        "sys.exit(repr(loaded[:3]) if loaded else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
