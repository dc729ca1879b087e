"""Setting images and scaling, in Airflow's task runner."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_slo_provider.ledger import Ledger
from airflow_slo_provider.operators.kubernetes import (
    DeploymentRollbackOperator,
    DeploymentScaleOperator,
    DeploymentSetImageOperator,
)
from airflow_slo_provider.results import Verdict
from tests.airflow.deployments import SOON, V1, V2, complete_when_patched, connected, last, own_ledger, rollback
from tests.airflow.task_runs import run_task
from tests.services.kube_states import released
from tests.services.kube_world import NAME, World


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    yield from connected(tmp_path, monkeypatch)


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    return own_ledger(tmp_path, monkeypatch)


class TestSetImage:
    def operator(self, world: World, **arguments: Any) -> DeploymentSetImageOperator:
        arguments = {"images": {"server": "registry.local/model-server:v{{ dag_run.conf['v'] }}"}, **SOON, **arguments}
        return DeploymentSetImageOperator(task_id="release", name=NAME, namespace=world.namespace, **arguments)

    def test_set_image_changes_image_and_waits(self, world: World, ledger: Ledger) -> None:
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

    @pytest.mark.parametrize(
        ("url", "state"),
        [("postgresql://nobody@127.0.0.1:1/nothing", "up_for_retry"), ("sqlite:////no/such/directory/ledger.db", "failed")],
    )
    def test_set_image_without_ledger_changes_nothing(
        self, world: World, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, url: str, state: str
    ) -> None:
        released(world, 1)
        complete_when_patched(world)
        with monkeypatch.context() as broken:
            broken.setenv("AIRFLOW__SLO__LEDGER_URL", url)
            ran = run_task(self.operator(world, retries=1), conf={"v": 2})
        assert (ran.state, world.images(), ledger.checks()) == (state, [V1], [])
        assert run_task(self.operator(world, retries=1), conf={"v": 2}, try_number=2).state == "success"
        (row,) = ledger.checks()
        assert (world.images(), row.result.verdict, row.result.evidence["from_revision"]) == ([V2], "pass", 1)

    def test_retry_does_not_restore_rolled_back_image(self, world: World, ledger: Ledger) -> None:
        released(world, 1)
        complete_when_patched(world)
        assert run_task(self.operator(world), conf={"v": 2}).state == "success"
        assert run_task(rollback(world), run_id="incident").state == "success"
        ran = run_task(self.operator(world), conf={"v": 2}, try_number=2)
        assert (ran.state, world.images()) == ("failed", [V1])
        assert "set the image before, leaving revision 1; the Deployment was changed by somebody else since" in str(ran.error)
        # What it says it set is what it set, and not what is there by now.
        change = ran.xcoms["change"]
        assert (change["from_images"], change["to_images"], change["changed"]) == ({"server": V1}, {"server": V2}, False)

    @pytest.mark.parametrize("rolled_back", [False, True])
    def test_cleared_run_with_other_image_fails(self, world: World, ledger: Ledger, rolled_back: bool) -> None:
        released(world, 1)
        complete_when_patched(world)
        variables = {"MODEL_VERSION": "{{ dag_run.conf['v'] }}"}
        assert run_task(self.operator(world, variables=variables), conf={"v": 2}).state == "success"
        assert run_task(self.operator(world, variables=variables), conf={"v": 2}, try_number=2).state == "success"
        if rolled_back:
            assert run_task(rollback(world), run_id="incident").state == "success"
        there = world.images()
        ran = run_task(self.operator(world, variables=variables, retries=5), conf={"v": 3}, try_number=3)
        assert (ran.state, world.images()) == ("failed", there)
        assert f"other images or variables before (server: {V2}), and is asked for server: " in str(ran.error)
        assert "start a new run" in str(ran.error)
        assert last(ledger, world).verdict is Verdict.FAIL
        # The same image with another value of a variable is another question, too.
        ran = run_task(self.operator(world, variables={"MODEL_VERSION": "x"}), conf={"v": 2}, try_number=4)
        assert (ran.state, world.images()) == ("failed", there)


class TestScale:
    def operator(self, world: World, **arguments: Any) -> DeploymentScaleOperator:
        arguments = {"replicas": 3, **SOON, **arguments}
        return DeploymentScaleOperator(task_id="scale", name=NAME, namespace=world.namespace, **arguments)

    def test_scale_sets_replicas(self, world: World, ledger: Ledger) -> None:
        released(world, 1)
        complete_when_patched(world)
        ran = run_task(self.operator(world, replicas="{{ 2 + 2 }}", maximum=4))
        assert (ran.state, world.deployment()["spec"]["replicas"]) == ("success", 4)
        done = ran.xcoms["return_value"]
        assert (done["from_replicas"], done["to_replicas"], done["changed"]) == (1, 4, True)

    @pytest.mark.parametrize("rendered", [None, "None", "", True, 2.9, float("nan"), [2]])
    def test_invalid_replicas_fail(self, world: World, ledger: Ledger, rendered: Any) -> None:
        """What a template gives for an XCom that is not there would otherwise take everything down."""
        released(world, 1)
        operator = self.operator(world, minimum=0, retries=2)
        operator.replicas = rendered
        ran = run_task(operator)
        assert (ran.state, world.emulator.writes()) == ("failed", 0)
        assert f"replicas is {rendered!r}, not a whole number" in str(ran.error)

    def test_whole_float_is_accepted(self, world: World, ledger: Ledger) -> None:
        released(world, 1)
        complete_when_patched(world)
        operator = self.operator(world)
        operator.replicas = 2.0  # type: ignore[assignment]
        assert (run_task(operator).state, world.deployment()["spec"]["replicas"]) == ("success", 2)

    def test_deployment_with_autoscaler_is_not_scaled(self, world: World, ledger: Ledger) -> None:
        released(world, 1)
        target = {"kind": "Deployment", "name": NAME}
        item = {"metadata": {"name": "hpa", "namespace": world.namespace}, "spec": {"scaleTargetRef": target}}
        world.emulator.objects.seed("horizontalpodautoscalers", item)
        complete_when_patched(world)
        ran = run_task(self.operator(world))
        assert (ran.state, world.emulator.writes()) == ("failed", 0)
        assert 'HorizontalPodAutoscaler "hpa" manages the replicas' in str(ran.error)
        assert run_task(self.operator(world, despite_autoscaler=True)).state == "success"

    @pytest.mark.parametrize(("replicas", "text"), [(0, "outside of the bounds 1 to 5"), (6, "bounds"), ("many", "whole number")])
    def test_replicas_outside_bounds_fail(self, world: World, ledger: Ledger, replicas: Any, text: str) -> None:
        released(world, 1)
        ran = run_task(self.operator(world, replicas=replicas, maximum=5))
        assert (ran.state, world.emulator.writes()) == ("failed", 0)
        assert text in str(ran.error)


@pytest.mark.parametrize(
    "make",
    [
        lambda: DeploymentSetImageOperator(task_id="t", name="n", namespace="s", images={}),
        lambda: DeploymentScaleOperator(task_id="t", name="n", namespace="s", replicas=1, minimum=3, maximum=2),
        lambda: DeploymentRollbackOperator(task_id="t", name="n", namespace="s", poll_interval=timedelta(0)),
    ],
)
def test_invalid_arguments_are_rejected_at_parse_time(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="t: "):
        make()
