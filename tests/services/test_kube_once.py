"""A rollback is made once: if its task is killed and retried, if two run at once, and if the server fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_slo_provider.deployment.kubernetes import RollbackResult, rollback
from airflow_slo_provider.deployment.kubernetes.changes import ANNOTATION
from airflow_slo_provider.deployment.kubernetes.images import set_image
from airflow_slo_provider.exceptions import DeploymentError
from tests.services.kube_server import Fault
from tests.services.kube_states import released
from tests.services.kube_world import NAME, World
from tests.support import REPO

V1, V2 = "registry.local/model-server:v1", "registry.local/model-server:v2"


class Worker:
    """Does orders in processes of their own."""

    def __init__(self, world: World) -> None:
        command = [sys.executable, "-m", "tests.services.kube_worker", str(world.kubeconfig)]
        environment = {**os.environ, "PYTHONPATH": str(REPO)}
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        self._world = world

    def order(self, key: str, *, to: str | int = "previous", **options: Any) -> dict[str, Any]:
        order = {"namespace": self._world.namespace, "name": NAME, "key": key, "to": to, **options}
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(10)


@pytest.fixture
def worker(world: World) -> Iterator[Worker]:
    found = Worker(world)
    yield found
    found.close()


def history(world: World) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(world.deployment()["metadata"]["annotations"].get(ANNOTATION, "[]"))
    return found


@pytest.mark.parametrize("die", ["before_patch", "after_patch", "waiting"])
def test_rollback_killed_at_any_step_is_completed_once_by_the_retry(world: World, worker: Worker, die: str) -> None:
    for _ in range(100 if world.server else 3):
        world.fresh()
        released(world, 1, 2)
        generation = world.deployment()["metadata"]["generation"]
        assert worker.order("run-1", die=die) == {"killed": True}
        world.settle()
        acted = die != "before_patch"
        assert world.images() == [V1 if acted else V2]
        world.complete()
        retried = worker.order("run-1", wait=0 if die == "before_patch" else 5)
        world.settle()
        assert (retried["changed"], retried["from"], retried["to"]) == (not acted, 2, 1)
        assert retried["progress"] == ("done" if acted else "waiting")
        world.complete()
        assert worker.order("run-1", wait=5) | {"message": ""} == {
            "changed": False,
            "message": "",
            "from": 2,
            "to": 1,
            "progress": "done",
        }
        assert world.images() == [V1]
        assert world.deployment()["metadata"]["generation"] == generation + 1
        assert [one["key"] for one in history(world)] == ["run-1"]


def test_retry_after_a_manual_undo_changes_nothing(world: World, worker: Worker) -> None:
    released(world, 1, 2)
    assert worker.order("run-1", die="after_patch") == {"killed": True}
    world.settle()
    world.kubectl("rollout", "undo", f"deployment/{NAME}")
    assert (world.images(), history(world)) == ([V2], [])
    retried = worker.order("run-1")
    assert (retried["changed"], retried["progress"]) == (False, "superseded")
    assert "changed by somebody else since" in retried["message"]
    assert world.images() == [V2]


def both_at_once(world: World, *, to: str | int, **options: Any) -> list[RollbackResult]:
    """Two tasks that have both read the Deployment before either of them patches it."""
    from kubernetes import client

    have_read = threading.Barrier(2)
    results: list[RollbackResult | DeploymentError] = []

    def task(key: str) -> None:
        from airflow_slo_provider.deployment.kubernetes.api import Cluster

        class Both(client.AppsV1Api):  # type: ignore[misc]
            waited = False

            def patch_namespaced_deployment(self, *arguments: Any, **kwargs: Any) -> Any:
                if not self.waited:
                    self.waited = True
                    have_read.wait(10)
                return super().patch_namespaced_deployment(*arguments, **kwargs)

        assert Cluster
        try:
            results.append(rollback(Both(world.api), world.namespace, NAME, to, key, **options))
        except DeploymentError as error:
            results.append(error)

    threads = [threading.Thread(target=task, args=(key,)) for key in ("run-1", "run-2")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    world.settle()
    return sorted((one for one in results if isinstance(one, RollbackResult)), key=lambda one: one.changed)


@pytest.mark.parametrize(("to", "known_good"), [("previous", None), (1, None), ("last_known_good", ["1"])])
def test_two_concurrent_rollbacks_change_the_deployment_once(world: World, to: str | int, known_good: list[str] | None) -> None:
    for _ in range(50 if world.server else 3):
        world.fresh()
        released(world, 1, 2)
        reports, acts = both_at_once(world, to=to, known_good=known_good)
        assert (acts.changed, reports.changed) == (True, False)
        assert reports.message.startswith("nothing left to do: run-")
        assert (reports.from_revision, reports.to_revision) == (2, 1)
        assert world.images() == [V1]
        assert len(history(world)) == 1


def test_concurrent_undo_during_a_rollback_is_kept(world: World) -> None:
    assert world.kubectl_program
    released(world, 1, 2, 3)
    raced: list[str] = []

    def race(method: str, resource: str) -> None:
        if (method, resource) == ("GET", "replicasets") and not raced:
            raced.append("x")
            world.emulator.watchers.clear()
            world.kubectl("rollout", "undo", f"deployment/{NAME}", "--to-revision=1")

    world.emulator.watchers.append(race)
    result = rollback(world.api, world.namespace, NAME, "previous", "run-1")
    assert not result.changed
    assert "at the same time" in result.message
    assert world.images() == [V1]


def test_conflict_with_the_same_template_is_decided_again(world: World) -> None:
    released(world, 1, 2)
    raced: list[str] = []

    def race(method: str, resource: str) -> None:
        if (method, resource) == ("GET", "replicasets") and len(raced) < 2:
            raced.append("x")
            world.edit(lambda item: item["spec"].update(replicas=3 + len(raced)))

    world.emulator.watchers.append(race)
    result = rollback(world.api, world.namespace, NAME, "previous", "run-1")
    assert result.changed
    assert world.images() == [V1]
    assert world.deployment()["spec"]["replicas"] == 5


def test_rollback_by_another_run_since_the_decision_makes_this_one_do_nothing(world: World) -> None:
    released(world, 1, 2, 3)
    decided = datetime.now(UTC)
    assert rollback(world.api, world.namespace, NAME, "previous", "dag/run-1/t/-1").changed
    world.settle()
    late = rollback(world.api, world.namespace, NAME, "previous", "dag/run-2/t/-1", since=decided)
    assert not late.changed
    assert late.message.startswith("nothing left to do: dag/run-1/t/-1 rolled it back from revision 3 to 2")
    assert world.images() == [V2]
    # The same plan may go on: a second step is no rival of the first.
    second = rollback(world.api, world.namespace, NAME, 1, "dag/run-1/u/-1", since=decided, plan="dag/run-1/")
    world.settle()
    assert second.changed
    assert world.images() == [V1]
    # And what was decided afterwards counts.
    assert rollback(world.api, world.namespace, NAME, 3, "dag/run-3/t/-1", since=datetime.now(UTC) + timedelta(seconds=1)).changed


def test_release_since_the_decision_does_not_stop_the_rollback(world: World) -> None:
    released(world, 1)
    run_began = datetime.now(UTC)
    assert set_image(world.api, world.namespace, NAME, {"server": V2}, "dag/release/t/-1").changed
    world.settle()
    result = rollback(world.api, world.namespace, NAME, "previous", "dag/run-1/t/-1", since=run_began)
    assert (result.changed, world.images()) == (True, [V1])


def test_last_known_good_skips_revisions_that_a_rollback_replaced(world: World) -> None:
    released(world, 1, 2, 3)
    assert rollback(world.api, world.namespace, NAME, "last_known_good", "a", known_good=["1", "2", "3"]).to_version == "2"
    world.settle()
    assert rollback(world.api, world.namespace, NAME, "last_known_good", "b", known_good=["1", "2", "3"]).to_version == "1"
    world.settle()
    with pytest.raises(DeploymentError, match=r"revision 3 .*was rolled back at") as refusal:
        rollback(world.api, world.namespace, NAME, "last_known_good", "c", known_good=["1", "2", "3"])
    assert refusal.value.reason == "no_known_good"
    world.release(3)  # repaired, and released again
    world.release(4)
    assert rollback(world.api, world.namespace, NAME, "last_known_good", "d", known_good=["1", "2", "3"]).to_version == "3"


@pytest.mark.parametrize(
    ("bad", "refused"),
    [
        ({"bad_revision": 2}, False),
        ({"bad_version": "2"}, False),
        ({"bad_version": V2}, False),
        ({"bad_revision": 1}, True),
        ({"bad_version": "1"}, True),
        ({"bad_version": V1}, True),
        ({"bad_revision": 2, "bad_version": "1"}, True),
    ],
)
def test_rollback_of_another_bad_revision_or_version_is_rejected(world: World, bad: dict[str, Any], refused: bool) -> None:
    released(world, 1, 2)
    if not refused:
        assert rollback(world.api, world.namespace, NAME, "previous", "k", **bad).changed
        return
    with pytest.raises(DeploymentError, match=r"the deployment has moved on: .* nothing was changed") as refusal:
        rollback(world.api, world.namespace, NAME, "previous", "k", **bad)
    assert (refusal.value.reason, refusal.value.transient) == ("moved", False)
    assert world.images() == [V2]


GET, LIST, PATCH = ("GET", "deployments"), ("GET", "replicasets"), ("PATCH", "deployments")
FAULTS = [
    *[(place, 403, "forbidden", False, f"needs the verb '{verb}' on '{place[1]}'")
      for place, verb in ((GET, "get"), (LIST, "list"), (PATCH, "patch"))],
    *[(place, 401, "unauthorized", True, "credentials") for place in (GET, LIST, PATCH)],
    *[(place, 404, "not_found", False, "not found") for place in (GET, LIST, PATCH)],
    *[(place, how, "server_error", True, str(how)) for place in (GET, LIST, PATCH) for how in (500, 503)],
    *[(place, 429, "too_many_requests", True, "429") for place in (GET, LIST, PATCH)],
    *[(place, "reset", "connection_reset", True, "no answer") for place in (GET, LIST, PATCH)],
    *[(place, how, "cut_off", True, text) for place in (GET, LIST, PATCH)
      for how, text in (("half", "broke off"), ("half_json", "a truncated body"))],
    (PATCH, "reset_after", "connection_reset", True, "is unknown"),
    (PATCH, 409, "conflict", True, "6 times"),
    (PATCH, 422, "invalid", False, "Required value"),
]  # fmt: skip


@pytest.mark.parametrize(("place", "how", "reason", "transient", "text"), FAULTS)
def test_every_fault_is_reported_and_leaves_no_partial_state(
    world: World, place: tuple[str, str], how: int | str, reason: str, transient: bool, text: str
) -> None:
    released(world, 1, 2)
    before = world.deployment()
    world.emulator.faults.append(Fault(*place, how))
    with pytest.raises(DeploymentError) as fault:
        rollback(world.api, world.namespace, NAME, "previous", "run-1")
    assert (fault.value.reason, fault.value.transient) == (reason, transient)
    assert text in str(fault.value)
    world.emulator.faults.clear()
    applied = place == PATCH and how in ("half", "half_json", "reset_after")
    assert world.images() == [V1 if applied else V2]
    assert applied or world.deployment() == before
    retried = rollback(world.api, world.namespace, NAME, "previous", "run-1")
    assert retried.changed == (not applied)
    assert (world.images(), [one["key"] for one in history(world)]) == ([V1], ["run-1"])
    assert world.deployment()["metadata"]["generation"] == before["metadata"]["generation"] + 1


def test_rollback_after_two_conflicts_succeeds(world: World) -> None:
    released(world, 1, 2)
    world.emulator.faults.append(Fault(*PATCH, 409, times=2))
    assert rollback(world.api, world.namespace, NAME, "previous", "run-1").changed
    assert world.images() == [V1]


def test_denial_by_admission_webhook_is_not_reported_as_missing_permission(world: World) -> None:
    released(world, 1, 2)
    world.emulator.faults.append(Fault(*PATCH, 403, message='admission webhook "policy.example" denied the request: frozen'))
    with pytest.raises(DeploymentError, match="denied the request: frozen") as refusal:
        rollback(world.api, world.namespace, NAME, "previous", "run-1")
    assert refusal.value.reason == "denied"
    assert "service account needs" not in str(refusal.value)


def test_unreachable_api_server_is_a_transient_error(world: World) -> None:
    from kubernetes import client

    for host in ("http://127.0.0.1:1", "https://127.0.0.1:1"):
        configuration = client.Configuration()
        configuration.host = host
        with pytest.raises(DeploymentError, match="no answer") as fault:
            rollback(client.ApiClient(configuration), "n", NAME, "previous", "k")
        assert (fault.value.reason, fault.value.transient) == ("connection_refused", True)


def test_tls_to_a_plain_server_is_a_transient_error(world: World) -> None:
    from kubernetes import client

    configuration = client.Configuration()
    configuration.host = world.emulator.url.replace("http:", "https:")
    with pytest.raises(DeploymentError, match=r"no answer: .*SSL") as fault:
        rollback(client.ApiClient(configuration), "n", NAME, "previous", "k")
    assert (fault.value.reason, fault.value.transient) == ("tls", False)


@pytest.mark.parametrize(
    ("to", "key", "text"),
    [
        ("latest", "k", "is not a revision"),
        (None, "k", "is not a revision"),
        (True, "k", "is not a revision"),
        (1.5, "k", "is not a revision"),
        ("previous", "", "key"),
    ],
)
def test_invalid_arguments_are_rejected(world: World, to: Any, key: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        rollback(world.api, world.namespace, NAME, to, key)
