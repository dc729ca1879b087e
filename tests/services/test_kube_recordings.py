"""Recordings of ``kubectl rollout undo`` on a real 1.36 cluster: the emulator and this provider do the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from airflow_slo_provider.deployment.kubernetes import RollbackResult, rollback
from airflow_slo_provider.deployment.kubernetes.changes import ANNOTATION
from airflow_slo_provider.exceptions import DeploymentError
from tests.services.kube_server import KubeServer
from tests.services.kube_world import World
from tests.support import acceptance

SCENARIOS = [
    "adopted-replicaset", "annotations-since-then", "dry-run-server", "missing-revision", "not-found", "one-revision", "paused",
    "target-equals-current", "to-named-revision", "two-revisions",
]  # fmt: skip


def steps(scenario: str) -> list[tuple[str, str, dict[str, Any]]]:
    recorded = json.loads(acceptance("kubernetes", f"{scenario}.json").read_text())
    return [(recorded["namespace"], recorded["deployment"], step) for step in recorded["steps"]]


def seeded(server: KubeServer, step: dict[str, Any]) -> None:
    if step["before"]["deployment"]:
        server.objects.seed("deployments", step["before"]["deployment"])
    for item in step["before"]["replicasets"]:
        server.objects.seed("replicasets", item)


def without_ours(item: dict[str, Any]) -> dict[str, Any]:
    metadata = item["metadata"]
    annotations = {key: value for key, value in metadata["annotations"].items() if key != ANNOTATION}
    return {"annotations": annotations, "labels": metadata["labels"], "template": item["spec"]["template"]}


def assert_as_recorded(server: KubeServer, namespace: str, name: str, step: dict[str, Any]) -> None:
    if step["after"]["deployment"] is None:
        return
    found, recorded = server.objects.get("deployments", namespace, name), step["after"]["deployment"]
    assert without_ours(found) == without_ours(recorded)
    assert found["spec"] == recorded["spec"]
    assert found["metadata"]["generation"] == recorded["metadata"]["generation"]
    for item in step["after"]["replicasets"]:
        assert without_ours(server.objects.get("replicasets", namespace, item["metadata"]["name"])) == without_ours(item)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_kubectl_on_the_emulator_gives_the_recorded_states(scenario: str, tmp_path: Path) -> None:
    for namespace, name, step in steps(scenario):
        with KubeServer() as server:
            seeded(server, step)
            config = tmp_path / "kubeconfig"
            config.write_text(json.dumps(server.kubeconfig()))
            world = World(config, server, namespace=namespace)
            code, out, err = world.kubectl("rollout", "undo", f"deployment/{name}", *step["args"])
            assert (code, out) == (step["exit_code"], step["stdout"])
            assert step["stderr"] in err
            assert_as_recorded(server, namespace, name, step)


@pytest.mark.parametrize("as_client", [client.ApiClient, lambda configuration: client.AppsV1Api(client.ApiClient(configuration))])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_rollback_gives_the_recorded_states_of_kubectl(scenario: str, as_client: Any) -> None:
    for namespace, name, step in steps(scenario):
        with KubeServer() as server:
            seeded(server, step)
            configuration = client.Configuration()
            configuration.host = server.url
            numbers = [int(one.partition("=")[2]) for one in step["args"] if one.startswith("--to-revision=")]
            to: str | int = numbers[0] if numbers else "previous"
            dry_run = "--dry-run=server" in step["args"]
            try:
                outcome: RollbackResult | DeploymentError = rollback(as_client(configuration), namespace, name, to, "k", dry_run)
            except DeploymentError as error:
                outcome = error
            if step["exit_code"]:
                assert isinstance(outcome, DeploymentError)
                assert not outcome.transient
                assert str(outcome) == step["stderr"].removeprefix("error: ").removeprefix("Error from server (NotFound): ")
            else:
                assert isinstance(outcome, RollbackResult)
                assert outcome.changed == (step["before"]["deployment"]["spec"] != step["after"]["deployment"]["spec"])
                assert ("skipped rollback" in outcome.message) == ("skipped rollback" in step["stdout"])
            assert_as_recorded(server, namespace, name, step)
            assert all(patch[0]["path"] == "/metadata/resourceVersion" for patch in server.patches)


def test_previous_restores_an_unreleased_template_and_last_known_good_does_not() -> None:
    ((namespace, name, step),) = steps("adopted-replicaset")
    for to, known_good, image in (
        ("previous", None, "registry.local/evil:1"),
        ("last_known_good", ["1"], "registry.local/model-server:v1"),
        ("last_known_good", ["registry.local/model-server:v1"], "registry.local/model-server:v1"),
        ("last_known_good", [1], "registry.local/model-server:v1"),
        ("last_known_good", lambda one: one.model_version == "1", "registry.local/model-server:v1"),
    ):
        with KubeServer() as server:
            seeded(server, step)
            configuration = client.Configuration()
            configuration.host = server.url
            result = rollback(client.ApiClient(configuration), namespace, name, to, "k", known_good=known_good)
            after = server.objects.get("deployments", namespace, name)
            assert after["spec"]["template"]["spec"]["containers"][0]["image"] == image
            assert result.to_images == (image,)


@pytest.mark.parametrize(
    ("known_good", "reason"), [(None, "nothing_known"), ([], "nothing_known"), (["2", "9"], "no_known_good")]
)
def test_last_known_good_without_good_revisions_is_rejected(known_good: list[str] | None, reason: str) -> None:
    ((namespace, name, step),) = steps("adopted-replicaset")
    with KubeServer() as server:
        seeded(server, step)
        configuration = client.Configuration()
        configuration.host = server.url
        with pytest.raises(DeploymentError) as refusal:
            rollback(client.ApiClient(configuration), namespace, name, "last_known_good", "k", known_good=known_good)
        assert (refusal.value.reason, refusal.value.transient, server.patches) == (reason, False, [])
