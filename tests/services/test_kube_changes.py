"""Set images, scale, and compute the status of a rollout, compared with the real kubectl."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_slo_provider.deployment.kubernetes import rollback
from airflow_slo_provider.deployment.kubernetes.images import set_image
from airflow_slo_provider.deployment.kubernetes.rollout import Progress, rollout_status, wait_for_rollout
from airflow_slo_provider.deployment.kubernetes.scale import scale
from airflow_slo_provider.exceptions import DeploymentError
from tests.services.kube_server import Fault
from tests.services.kube_states import from_secrets, released, rich, sidecars
from tests.services.kube_world import NAME, World

IMAGES: list[dict[str, str]] = [
    {"server": "registry.local/model-server:v3"},
    {"server": "registry.local/model-server@sha256:" + "0" * 64},
    {"*": "registry.local/all:1"},
    {"server": "registry.local/model-server:v2"},
    {"nobody": "registry.local/x:1"},
]
FETCH = {"fetch": "registry.local/fetch:2", "server": "registry.local/model-server:v9"}


@pytest.mark.parametrize(
    ("base", "images"), [(rich, FETCH), *((base, images) for base in (rich, from_secrets, sidecars) for images in IMAGES)]
)
def test_set_image_gives_the_same_result_as_kubectl(world: World, base: Any, images: dict[str, str]) -> None:
    released(world, 1, 2, base=base)
    code, _, err = world.kubectl("set", "image", f"deployment/{NAME}", *(f"{name}={image}" for name, image in images.items()))
    theirs = world.seen()
    world.fresh()
    released(world, 1, 2, base=base)
    before = world.seen()
    if code:
        with pytest.raises(DeploymentError, match='unable to find container named "nobody"') as refusal:
            set_image(world.api, world.namespace, NAME, images, "k")
        assert (refusal.value.reason, refusal.value.transient) == ("no_such_container", False)
        assert 'unable to find container named "nobody"' in err
        assert world.seen() == before
        return
    result = set_image(world.api, world.namespace, NAME, images, "k")
    world.settle()
    if "*" in images and base is rich:
        # kubectl's star takes init containers too; ours is for what serves.
        theirs_init = theirs["deployments"][0]["spec"]["template"]["spec"]["initContainers"][0]["image"]
        assert (theirs_init, result.to_images["fetch"]) == ("registry.local/all:1", "registry.local/fetch:1")
    else:
        assert world.seen() == theirs
    assert result.changed == (world.seen() != before)
    again = set_image(world.api, world.namespace, NAME, images, "k")
    assert (again.changed, again.from_revision) == (False, 2)


def test_set_image_during_a_concurrent_change_is_rejected(world: World) -> None:
    released(world, 1)

    def race(method: str, resource: str) -> None:
        if (method, resource) == ("GET", "replicasets"):
            world.emulator.watchers.clear()
            world.release(7)

    world.emulator.watchers.append(race)
    with pytest.raises(DeploymentError, match=r"was changed from revision 1 .* to revision 2 .* at the same time") as refusal:
        set_image(world.api, world.namespace, NAME, {"server": "x:1"}, "k")
    assert (refusal.value.reason, refusal.value.transient) == ("moved", False)
    assert world.images() == ["registry.local/model-server:v7"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [({"variables": {"NOPE": "1"}}, "no_such_variable"), ({"variables": {"TOKEN": "1"}}, "no_such_variable")],
)
def test_set_image_with_missing_variable_is_rejected(world: World, arguments: dict[str, Any], reason: str) -> None:
    released(world, 1, base=from_secrets)
    with pytest.raises(DeploymentError) as refusal:
        set_image(world.api, world.namespace, NAME, {"server": "x:1"}, "k", **arguments)
    assert refusal.value.reason == reason


def test_set_image_on_paused_deployment_is_rejected_and_dry_run_changes_nothing(world: World) -> None:
    released(world, 1)
    before = world.deployment()
    assert not set_image(world.api, world.namespace, NAME, {"server": "x:1"}, "k", dry_run=True).changed
    assert world.deployment() == before
    world.edit(lambda item: item["spec"].update(paused=True))
    with pytest.raises(DeploymentError, match="is paused"):
        set_image(world.api, world.namespace, NAME, {"server": "x:1"}, "k")


def test_rollback_to_the_revision_returned_by_set_image_restores_it(world: World) -> None:
    released(world, 1, 2, 3)
    rollback(world.api, world.namespace, NAME, 1, "first")  # so that "previous" is not the number before
    world.settle()
    outgoing = set_image(world.api, world.namespace, NAME, {"server": "registry.local/model-server:v4"}, "release")
    world.settle()
    assert outgoing.from_revision == 4
    rollback(world.api, world.namespace, NAME, outgoing.from_revision, "back")
    assert world.images() == ["registry.local/model-server:v1"]


class TestScale:
    def test_scale_gives_the_same_result_as_kubectl(self, world: World) -> None:
        released(world, 1)
        for replicas in (3, 0, 2):
            world.kubectl("scale", f"deployment/{NAME}", f"--replicas={replicas}")
            theirs = world.deployment()["spec"]
            world.kubectl("scale", f"deployment/{NAME}", "--replicas=1")
            assert scale(world.api, world.namespace, NAME, replicas, minimum=0).changed
            world.settle()
            assert world.deployment()["spec"] == theirs
            assert not scale(world.api, world.namespace, NAME, replicas, minimum=0).changed

    def test_scale_overcomes_conflicts_and_reports_missing_permissions(self, world: World) -> None:
        released(world, 1)
        faults = world.emulator.faults
        faults.append(Fault("PATCH", "deployments/scale", 409, times=2))
        assert scale(world.api, world.namespace, NAME, 3).changed
        faults.append(Fault("PATCH", "deployments/scale", 409))
        with pytest.raises(DeploymentError, match="6 times") as conflict:
            scale(world.api, world.namespace, NAME, 4)
        assert conflict.value.transient
        faults.clear()
        for method, resource, verb in (
            ("GET", "deployments/scale", "get"),
            ("PATCH", "deployments/scale", "patch"),
            ("GET", "horizontalpodautoscalers", "list"),
        ):
            faults.append(Fault(method, resource, 403))
            with pytest.raises(DeploymentError, match=f"needs the verb '{verb}' on '{resource}'") as refusal:
                scale(world.api, world.namespace, NAME, 5)
            assert not refusal.value.transient
            faults.clear()
        assert world.deployment()["spec"]["replicas"] == 3

    def test_scale_dry_run_changes_nothing(self, world: World) -> None:
        released(world, 1)
        assert not scale(world.api, world.namespace, NAME, 3, dry_run=True).changed
        assert world.deployment()["spec"]["replicas"] == 1


#: Statuses of a Deployment of three replicas in its second generation.
STATUSES: list[tuple[dict[str, Any], Progress]] = [
    ({}, Progress.WAITING),
    ({"observedGeneration": 1, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3}, Progress.WAITING),
    ({"observedGeneration": 2}, Progress.WAITING),
    ({"observedGeneration": 2, "replicas": 4, "updatedReplicas": 1, "availableReplicas": 3}, Progress.WAITING),
    ({"observedGeneration": 2, "replicas": 4, "updatedReplicas": 3, "availableReplicas": 3}, Progress.WAITING),
    ({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 2}, Progress.WAITING),
    ({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3}, Progress.DONE),
    ({"observedGeneration": 3, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3}, Progress.DONE),
    (
        {"observedGeneration": 2, "replicas": 4, "updatedReplicas": 1, "conditions": [
            {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]},
        Progress.STALLED,
    ),
    (
        {"observedGeneration": 1, "conditions": [
            {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]},
        Progress.WAITING,
    ),
    (
        {"observedGeneration": 2, "replicas": 4, "updatedReplicas": 1, "conditions": [
            {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"}, {"type": "Available", "status": "False"}]},
        Progress.WAITING,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("status", "progress"), STATUSES)
def test_rollout_status_is_the_same_as_kubectls(world: World, status: dict[str, Any], progress: Progress) -> None:
    objects = world.emulator.objects
    released(world, 1, replicas=3)
    item = {**world.deployment(), "status": status}
    item["metadata"]["generation"] = 2
    objects.controlled = False
    objects.seed("deployments", item)
    code, out, err = world.kubectl("rollout", "status", f"deployment/{NAME}", "--watch=false", "--timeout=20s")
    rollout = rollout_status(world.deployment())
    assert rollout.progress is progress
    if progress is Progress.STALLED:
        assert code == 1
        assert err.splitlines()[-1].removeprefix("error: ") == rollout.message.partition(";")[0]
    else:
        assert (code, out) == (0, rollout.message)


def test_wait_for_rollout_reports_each_status_once(world: World) -> None:
    released(world, 1, 2)
    said: list[str] = []

    def collect(message: str) -> None:
        said.append(message)
        if len(said) == 2:
            world.complete()

    world.emulator.faults.append(Fault("GET", "deployments", 503, times=1))
    place = (world.api, world.namespace, NAME)
    rollout = wait_for_rollout(*place, timeout=5, interval=0.01, on_message=collect)
    assert rollout.progress is Progress.DONE
    assert [message.partition(":")[0] for message in said] == [
        f"get deployments {world.namespace}/{NAME}",
        f'Waiting for deployment "{NAME}" rollout to finish',
        f'deployment "{NAME}" successfully rolled out',
    ]
    with pytest.raises(DeploymentError, match="not found"):
        wait_for_rollout(world.api, world.namespace, "nope", timeout=5)
    world.emulator.faults.append(Fault("GET", "deployments", 503))
    with pytest.raises(DeploymentError, match="503") as fault:
        wait_for_rollout(*place, timeout=0.05, interval=0.01)
    assert fault.value.transient
