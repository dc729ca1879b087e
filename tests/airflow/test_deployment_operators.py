"""Operators that change Deployments, in Airflow's task runner, against the emulated API server."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_slo_provider.deployment.kubernetes import rollback as roll_back
from airflow_slo_provider.exceptions import DeploymentError
from airflow_slo_provider.ledger import Ledger, RunKey, open_ledger
from airflow_slo_provider.operators.kubernetes import (
    DeploymentRollbackOperator,
    DeploymentScaleOperator,
    DeploymentSetImageOperator,
)
from airflow_slo_provider.results import CheckResult, Verdict
from airflow_slo_provider.triggers.rollout import RolloutTrigger
from tests.airflow.running import Ran, resume, run_task
from tests.services.kube_server import Fault
from tests.services.kube_states import released, stray
from tests.services.kube_world import NAME, World, emulated

V1, V2 = "registry.local/model-server:v1", "registry.local/model-server:v2"
SOON = {"rollout_timeout": timedelta(seconds=5), "poll_interval": timedelta(seconds=0.05)}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """The emulator, also where a real cluster is named: rollouts must be complete when a test says so."""
    yield from emulated(tmp_path)


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", url)
    return open_ledger(url)


@pytest.fixture(autouse=True)
def connection(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {"kube_config_path": str(world.kubeconfig)}
    monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps({"conn_type": "kubernetes", "extra": extra}))


def rollback(world: World, **arguments: Any) -> DeploymentRollbackOperator:
    arguments = {"to": "previous", "retries": 2, **SOON, **arguments}
    return DeploymentRollbackOperator(task_id="roll_back", name=NAME, namespace=world.namespace, **arguments)


def complete_when_patched(world: World) -> None:
    """Let each rollout be complete as soon as it begins."""

    def watch(method: str, resource: str) -> None:
        if method == "PATCH":
            world.complete()

    world.emulator.watchers.append(watch)


def fire(ran: Ran) -> dict[str, Any]:
    """Run the trigger a task deferred to, as a triggerer does, and return its event."""
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
    ledger: Ledger, version: str, verdict: str, *, name: str = "checkout", minutes: int = 5, kind: str = "golden_set"
) -> None:
    at = datetime.now(UTC) - timedelta(minutes=minutes)
    result = CheckResult(kind=kind, name=name, verdict=Verdict(verdict), model_version=version, checked_at=at)
    ledger.record([result], RunKey("evaluate", at.isoformat(), f"{kind}-{name}-{version}"))


def last(ledger: Ledger, world: World) -> CheckResult:
    found = ledger.latest("deployment", f"{world.namespace}/{NAME}")
    assert found is not None
    return found.result


@pytest.mark.parametrize("deferrable", [False, True])
def test_roll_back_and_wait(world: World, ledger: Ledger, deferrable: bool) -> None:
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
def test_a_retry_only_waits(world: World, ledger: Ledger, deferrable: bool) -> None:
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


def test_another_run_that_began_before_only_reports(world: World, ledger: Ledger) -> None:
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


class TestLastKnownGood:
    def test_is_the_default_and_the_ledger_knows(self, world: World, ledger: Ledger) -> None:
        released(world, 1, 2)
        stray(world, "stray", "1", "registry.local/evil:1")
        complete_when_patched(world)
        judged(ledger, "1", "pass")
        judged(ledger, "2", "pass", minutes=60)
        judged(ledger, "2", "fail")
        ran = run_task(DeploymentRollbackOperator(task_id="t", name=NAME, namespace=world.namespace, **SOON))
        assert (ran.state, world.images()) == ("success", [V1])
        assert "Known to be good, by the ledger: 1" in ran.log

    @pytest.mark.parametrize(
        ("judgements", "reason"),
        [
            ([], "no check of it has passed"),
            ([("1", "fail")], "no check of it has passed"),
            ([("1", "unknown")], "no check of it has passed"),
            ([("1", "warn")], "no check of it has passed"),
            ([("7", "pass")], "no revision to go back to that is known to have been good"),
            ([("2", "pass")], "is the current one"),
        ],
    )
    def test_nothing_known_is_a_refusal(
        self, world: World, ledger: Ledger, judgements: list[tuple[str, str]], reason: str
    ) -> None:
        released(world, 1, 2)
        for version, verdict in judgements:
            judged(ledger, version, verdict)
        ran = run_task(rollback(world, to="last_known_good"))
        assert (ran.state, world.images(), world.emulator.writes()) == ("failed", [V2], 0)
        assert reason in str(ran.error)
        assert last(ledger, world).verdict is Verdict.FAIL

    def test_two_models_in_one_ledger(self, world: World, ledger: Ledger) -> None:
        released(world, 1, 2)
        complete_when_patched(world)
        judged(ledger, "1", "pass", name="checkout")
        judged(ledger, "1", "fail", name="search")
        ran = run_task(rollback(world, to="last_known_good"))
        assert ran.state == "failed"
        assert "golden_set checks checkout, search" in str(ran.error)
        for checks in (["search"], ["golden_set/search"]):
            assert "no check of it has passed" in str(run_task(rollback(world, to="last_known_good", checks=checks)).error)
        assert run_task(rollback(world, to="last_known_good", checks=["golden_set/checkout"])).state == "success"

    def test_a_name_with_a_slash(self, world: World, ledger: Ledger) -> None:
        released(world, 1, 2)
        complete_when_patched(world)
        judged(ledger, "1", "pass", name="shop/checkout")
        judged(ledger, "1", "fail", name="checkout", kind="shop")
        operator = rollback(world, to="last_known_good", checks=["golden_set/shop/checkout"])
        assert "no check of it has passed" not in str(run_task(operator).error)
        assert world.images() == [V1]

    def test_said_by_the_dag(self, world: World, ledger: Ledger) -> None:
        released(world, 1, 2, 3)
        complete_when_patched(world)
        operator = rollback(world, to="last_known_good", known_good=["{{ dag_run.conf['good'] }}"])
        assert run_task(operator, conf={"good": "1"}).state == "success"
        assert world.images() == [V1]

    def test_a_ledger_that_cannot_be_read(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        released(world, 1, 2)
        monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", "postgresql://nobody@127.0.0.1:1/nothing")
        ran = run_task(rollback(world, to="last_known_good"))
        assert (ran.state, world.images()) == ("up_for_retry", [V2])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"to": "{{ 'latest' }}"}, "is no revision"),
        ({"to": "99"}, "unable to find specified revision 99 in history"),
        ({"bad_revision": "{{ none }}"}, "which is no number"),
        ({"bad_revision": "{{ 1 }}"}, "the world has moved"),
        ({"bad_version": "1"}, "the world has moved"),
        ({"name": "nope"}, 'deployments.apps "nope" not found'),
    ],
)
def test_verdicts_are_not_retried(world: World, ledger: Ledger, arguments: dict[str, Any], text: str) -> None:
    released(world, 1, 2)
    arguments = {"to": "previous", "name": NAME, "namespace": world.namespace, **arguments}
    ran = run_task(DeploymentRollbackOperator(task_id="t", retries=3, **arguments))
    assert isinstance(ran.error, AirflowFailException)
    assert text in str(ran.error)
    assert (ran.state, world.images()) == ("failed", [V2])


@pytest.mark.parametrize("how", [503, "reset", "half"])
def test_faults_are_retried(world: World, ledger: Ledger, how: int | str) -> None:
    released(world, 1, 2)
    complete_when_patched(world)
    world.emulator.faults.append(Fault("PATCH", "deployments", how, times=1))
    ran = run_task(rollback(world))
    assert isinstance(ran.error, DeploymentError)
    assert (ran.state, last(ledger, world).verdict) == ("up_for_retry", Verdict.UNKNOWN)
    assert run_task(rollback(world), try_number=2).state == "success"
    assert (world.images(), last(ledger, world).verdict) == ([V1], Verdict.PASS)


def test_a_connection_to_no_cluster(world: World, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {"kube_config_path": "/nowhere/at/all"}
    monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps({"conn_type": "kubernetes", "extra": extra}))
    ran = run_task(rollback(world))
    assert ran.state == "failed"
    assert "connection kubernetes_default leads to no cluster" in str(ran.error)


def test_without_a_record_it_does_not_count(world: World, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    released(world, 1, 2)
    complete_when_patched(world)
    with monkeypatch.context() as broken:
        broken.setenv("AIRFLOW__SLO__LEDGER_URL", "postgresql://nobody@127.0.0.1:1/nothing")
        ran = run_task(rollback(world))
    assert (ran.state, world.images()) == ("up_for_retry", [V1])
    assert run_task(rollback(world), try_number=2).state == "success"
    assert world.emulator.writes() == 1
    assert last(ledger, world).verdict is Verdict.PASS


def test_a_dry_run(world: World, ledger: Ledger) -> None:
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
def test_gitops(world: World, ledger: Ledger, mark: Callable[[dict[str, Any]], object], who: str) -> None:
    released(world, 1, 2)
    world.edit(lambda item: mark(item["metadata"]))
    complete_when_patched(world)
    ran = run_task(rollback(world, refuse_if_gitops_managed=True))
    assert (ran.state, world.images()) == ("failed", [V2])
    assert who in str(ran.error)
    ran = run_task(rollback(world))
    assert (ran.state, world.images()) == ("success", [V1])
    assert f"{who}" in ran.log


def test_kubectl_apply_and_helm_are_warned_of(world: World, ledger: Ledger) -> None:
    released(world, 1, 2)
    annotation = {"kubectl.kubernetes.io/last-applied-configuration": "{}"}
    world.edit(lambda item: item["metadata"]["annotations"].update(annotation))
    world.edit(lambda item: item["metadata"].update(managedFields=[{"manager": "helm"}]))
    complete_when_patched(world)
    ran = run_task(rollback(world, refuse_if_gitops_managed=True))
    assert ran.state == "success"
    assert "the next apply of the same manifest" in ran.log
    assert "the next 'helm upgrade'" in ran.log


class TestWaiting:
    def status(self, world: World, **status: Any) -> None:
        item = world.deployment()
        item["status"] = {**item["status"], **status}
        world.emulator.objects.seed("deployments", item)

    def test_a_passed_progress_deadline_is_told_and_may_be_overcome(self, world: World, ledger: Ledger) -> None:
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

    def test_somebody_else_changes_it_meanwhile(self, world: World, ledger: Ledger) -> None:
        released(world, 1, 2)
        operator = rollback(world, deferrable=True)
        ran = run_task(operator)
        world.release(3)
        event = fire(ran)
        assert event["progress"] == "superseded"
        ended = resume(operator, ran.deferral, event)
        assert (ended.state, last(ledger, world).verdict) == ("failed", Verdict.FAIL)
        assert "was given another template" in str(ended.error)

    def test_a_server_that_is_away_for_a_while(self, world: World, ledger: Ledger) -> None:
        released(world, 1, 2)
        operator = rollback(world, deferrable=True)
        ran = run_task(operator)
        world.complete()
        world.emulator.faults += [Fault("GET", "deployments", how, times=1) for how in (503, "reset", "half", "half_json", 429)]
        assert fire(ran)["progress"] == "done"

    @pytest.mark.parametrize(("how", "reason", "state"), [(403, "forbidden", "failed"), (404, "not_found", "failed")])
    def test_what_no_waiting_mends(self, world: World, ledger: Ledger, how: int, reason: str, state: str) -> None:
        released(world, 1, 2)
        operator = rollback(world, deferrable=True, rollout_timeout=timedelta(minutes=5))
        ran = run_task(operator)
        world.emulator.faults.append(Fault("GET", "deployments", how))
        event = fire(ran)
        assert (event["progress"], event["reason"]) == ("unknown", reason)
        assert resume(operator, ran.deferral, event).state == state

    def test_a_server_that_stays_away_is_a_fault(self, world: World, ledger: Ledger) -> None:
        released(world, 1, 2)
        operator = rollback(world, deferrable=True, rollout_timeout=timedelta(seconds=0.3))
        ran = run_task(operator)
        world.emulator.faults.append(Fault("GET", "deployments", "reset"))
        event = fire(ran)
        assert event["transient"]
        ended = resume(operator, ran.deferral, event)
        assert (ended.state, last(ledger, world).verdict) == ("up_for_retry", Verdict.UNKNOWN)

    def test_the_trigger_survives_a_restart(self) -> None:
        trigger = RolloutTrigger(
            namespace="n",
            name="d",
            expected="x",
            deadline="2026-11-24T05:00:00+00:00",
            interval=3.0,
            kubernetes_conn_id="k",
            in_cluster=True,
            cluster_context="c",
        )
        path, arguments = trigger.serialize()
        assert path == "airflow_slo_provider.triggers.rollout.RolloutTrigger"
        assert RolloutTrigger(**json.loads(json.dumps(arguments))).serialize() == (path, arguments)


class TestSetImage:
    def operator(self, world: World, **arguments: Any) -> DeploymentSetImageOperator:
        arguments = {"images": {"server": "registry.local/model-server:v{{ dag_run.conf['v'] }}"}, **SOON, **arguments}
        return DeploymentSetImageOperator(task_id="release", name=NAME, namespace=world.namespace, **arguments)

    def test_release(self, world: World, ledger: Ledger) -> None:
        released(world, 1)
        complete_when_patched(world)
        variables = {"MODEL_VERSION": "{{ dag_run.conf['v'] }}"}
        ran = run_task(self.operator(world, variables=variables, change_cause="because"), conf={"v": 2})
        assert (ran.state, world.images()) == ("success", [V2])
        done = ran.xcoms["return_value"]
        assert (done["from_revision"], done["from_images"], done["to_images"]) == (1, {"server": V1}, {"server": V2})
        assert world.deployment()["metadata"]["annotations"]["kubernetes.io/change-cause"] == "because"
        container = world.deployment()["spec"]["template"]["spec"]["containers"][0]
        assert container["env"] == [{"name": "MODEL_VERSION", "value": "2"}]

    def test_a_retry_does_not_bring_back_what_was_rolled_back(self, world: World, ledger: Ledger) -> None:
        released(world, 1)
        complete_when_patched(world)
        assert run_task(self.operator(world), conf={"v": 2}).state == "success"
        assert run_task(rollback(world), run_id="incident").state == "success"
        ran = run_task(self.operator(world), conf={"v": 2}, try_number=2)
        assert (ran.state, world.images()) == ("failed", [V1])
        assert "set the image before, leaving revision 1; the Deployment was changed by somebody else since" in str(ran.error)


class TestScale:
    def operator(self, world: World, **arguments: Any) -> DeploymentScaleOperator:
        arguments = {"replicas": 3, **SOON, **arguments}
        return DeploymentScaleOperator(task_id="scale", name=NAME, namespace=world.namespace, **arguments)

    def test_scale(self, world: World, ledger: Ledger) -> None:
        released(world, 1)
        complete_when_patched(world)
        ran = run_task(self.operator(world, replicas="{{ 2 + 2 }}", maximum=4))
        assert (ran.state, world.deployment()["spec"]["replicas"]) == ("success", 4)
        done = ran.xcoms["return_value"]
        assert (done["from_replicas"], done["to_replicas"], done["changed"]) == (1, 4, True)

    def test_an_autoscaler_owns_the_number(self, world: World, ledger: Ledger) -> None:
        released(world, 1)
        target = {"kind": "Deployment", "name": NAME}
        item = {"metadata": {"name": "hpa", "namespace": world.namespace}, "spec": {"scaleTargetRef": target}}
        world.emulator.objects.seed("horizontalpodautoscalers", item)
        complete_when_patched(world)
        ran = run_task(self.operator(world))
        assert (ran.state, world.emulator.writes()) == ("failed", 0)
        assert 'HorizontalPodAutoscaler "hpa" owns the replicas' in str(ran.error)
        assert run_task(self.operator(world, despite_autoscaler=True)).state == "success"

    @pytest.mark.parametrize(("replicas", "text"), [(0, "outside of the bounds 1 to 5"), (6, "bounds"), ("many", "no number")])
    def test_bounds(self, world: World, ledger: Ledger, replicas: Any, text: str) -> None:
        released(world, 1)
        ran = run_task(self.operator(world, replicas=replicas, maximum=5))
        assert (ran.state, world.emulator.writes()) == ("failed", 0)
        assert text in str(ran.error)


@pytest.mark.parametrize(
    "make",
    [
        lambda: DeploymentSetImageOperator(task_id="t", name="n", namespace="s", images={}),
        lambda: DeploymentScaleOperator(task_id="t", name="n", namespace="s", replicas=1, minimum=3, maximum=2),
        lambda: DeploymentRollbackOperator(task_id="t", name="n", namespace="s", known_good="1"),
        lambda: DeploymentRollbackOperator(task_id="t", name="n", namespace="s", poll_interval=timedelta(0)),
    ],
)
def test_arguments_that_cannot_work_are_refused_when_the_dag_is_read(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="t: "):
        make()


def test_importing_loads_no_kubernetes() -> None:
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
