"""The recordings on a third-party emulator: kubectl and this provider leave the same Deployment."""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from airflow_slo_provider.deployment.kubernetes import rollback
from airflow_slo_provider.deployment.kubernetes.changes import ANNOTATION
from airflow_slo_provider.exceptions import DeploymentError
from tests.peers import peer
from tests.services.kube_world import World
from tests.services.test_kube_recordings import SCENARIOS, steps

#: kmock knows no dry run, and answers 404 in its own words.
CASES = [scenario for scenario in SCENARIOS if scenario not in ("dry-run-server", "not-found")]
ReadObject = Callable[[str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def kmock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ReadObject]]:
    """Its URL, and a look at a Deployment. Every step of every recording is there twice."""
    items = []
    for scenario in CASES:
        for number, (_, _, step) in enumerate(steps(scenario)):
            for who in ("kubectl", "ours"):
                for item in [step["before"]["deployment"], *step["before"]["replicasets"]]:
                    seeded = copy.deepcopy(item)
                    seeded["metadata"]["namespace"] = f"{scenario}-{number}-{who}"
                    items.append(seeded)
    seeds = tmp_path_factory.mktemp("kmock") / "seeds.json"
    seeds.write_text(json.dumps(items))
    python = peer("kmock") / "python"
    program = Path(__file__).with_name("kmock_program.py")
    process = subprocess.Popen([str(python), str(program), str(seeds)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin
    assert process.stdout

    def read_object(namespace: str, name: str) -> dict[str, Any]:
        print(namespace, name, file=process.stdin, flush=True)
        assert process.stdout
        found: dict[str, Any] = json.loads(process.stdout.readline())
        return found

    yield process.stdout.readline().strip().rstrip("/"), read_object
    process.stdin.close()
    process.wait(10)


@pytest.mark.parametrize("scenario", CASES)
def test_rollback_on_kmock_gives_the_recorded_deployment(kmock: tuple[str, ReadObject], scenario: str, tmp_path: Path) -> None:
    url, read_object = kmock
    configuration = client.Configuration()
    configuration.host = url
    config = tmp_path / "kubeconfig"
    context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
    cluster = {"name": "c", "cluster": {"server": url}}
    config.write_text(json.dumps({"clusters": [cluster], "contexts": [context], "current-context": "x", "users": []}))
    for number, (_, name, step) in enumerate(steps(scenario)):
        world = World(config, None, namespace=f"{scenario}-{number}-kubectl")
        world.settle = lambda: None  # type: ignore[method-assign]
        code, _, err = world.kubectl("rollout", "undo", f"deployment/{name}", *step["args"])
        assert code == step["exit_code"], err
        to = [int(one.partition("=")[2]) for one in step["args"] if one.startswith("--to-revision=")]
        try:
            rollback(client.ApiClient(configuration), f"{scenario}-{number}-ours", name, *(to or ["previous"]), "k")
            refused = ""
        except DeploymentError as refusal:
            refused = f"error: {refusal}"
        assert err.endswith(refused)
        assert bool(refused) == bool(code)
        theirs, ours = read_object(f"{scenario}-{number}-kubectl", name), read_object(f"{scenario}-{number}-ours", name)
        assert ours["metadata"]["annotations"].pop(ANNOTATION, "").count('"key":"k"') == (
            theirs["spec"] != step["before"]["deployment"]["spec"]
        )
        assert {**ours["metadata"], "namespace": ""} == {**theirs["metadata"], "namespace": ""}
        assert without_nulls(ours["spec"]) == without_nulls(theirs["spec"])


def without_nulls(value: Any) -> Any:
    """What a server drops, and kmock stores."""
    text = json.dumps(value)
    return json.loads(text, object_hook=lambda item: {key: one for key, one in item.items() if one is not None})
