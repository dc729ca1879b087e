"""The same state twice: one is undone by the real kubectl, the other by this provider, with the same result."""

from __future__ import annotations

import pytest

from airflow_slo_provider.deployment.kubernetes import RollbackResult, rollback
from airflow_slo_provider.exceptions import DeploymentError
from tests.services.kube_states import CASES, build, future, released
from tests.services.kube_world import NAME, World


def roll_back(world: World, to: int | None) -> RollbackResult | DeploymentError:
    try:
        found = rollback(world.api, world.namespace, NAME, "previous" if to is None else to, "dag/run/task/-1")
    except DeploymentError as error:
        return error
    world.settle()
    return found


@pytest.mark.parametrize(("state", "to"), CASES)
def test_rollback_gives_the_same_result_as_kubectl(world: World, state: str, to: int | None) -> None:
    build(world, state)
    before = world.seen()
    code, out, err = world.kubectl("rollout", "undo", f"deployment/{NAME}", *([] if to is None else [f"--to-revision={to}"]))
    theirs = world.seen()
    world.fresh()
    build(world, state)
    assert world.seen() == before
    outcome = roll_back(world, to)
    assert world.seen() == theirs
    if code:
        assert isinstance(outcome, DeploymentError)
        assert (str(outcome), outcome.transient) == (err.removeprefix("error: "), False)
    else:
        assert isinstance(outcome, RollbackResult)
        assert outcome.changed == (theirs != before)
        assert outcome.changed == (f"deployment.apps/{NAME} rolled back" in out)
        assert ("skipped rollback" in outcome.message) == ("skipped rollback" in out)
    again = roll_back(world, to)
    if isinstance(outcome, RollbackResult) and outcome.changed:
        assert isinstance(again, RollbackResult)
        assert (again.changed, again.from_revision, again.to_revision) == (False, outcome.from_revision, outcome.to_revision)
    assert world.seen() == theirs


def test_rollback_dry_run_changes_nothing(world: World) -> None:
    released(world, 1, 2)
    before = world.deployment()
    result = rollback(world.api, world.namespace, NAME, "previous", "k", dry_run=True)
    world.settle()
    assert world.deployment() == before
    assert (result.changed, result.dry_run, result.from_revision, result.to_revision) == (False, True, 2, 1)
    assert rollback(world.api, world.namespace, NAME, "previous", "k").changed  # a dry run is no change that counts


def test_rollback_keeps_fields_that_are_newer_than_the_client(world: World) -> None:
    objects = world.emulator.objects
    for undo in ("kubectl", "ours"):
        world.fresh()
        released(world, 1)
        world.edit(lambda item: item["spec"].update(template=future(item["spec"]["template"])))
        newer = world.deployment()["spec"]["template"]
        world.release(2)
        if undo == "kubectl":
            world.kubectl("rollout", "undo", f"deployment/{NAME}")
        else:
            roll_back(world, None)
        after = objects.get("deployments", world.namespace, NAME)["spec"]["template"]
        assert (after == newer) == (undo == "ours")
        assert ("quantumIsolation" in after["spec"]) == (undo == "ours")


def test_rollback_before_the_controller_observed_the_template_restores_the_previous(world: World) -> None:
    objects, seen = world.emulator.objects, {}
    for undo in ("kubectl", "ours"):
        objects.controlled = True
        world.fresh()
        released(world, 1, 2, 3)
        objects.controlled = False
        world.release(4)
        if undo == "kubectl":
            world.kubectl("rollout", "undo", f"deployment/{NAME}")
        else:
            roll_back(world, None)
        seen[undo] = world.seen()
    assert seen["ours"] == seen["kubectl"]
