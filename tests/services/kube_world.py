"""A cluster to try rollbacks in: the emulator, or the real one that ``SLO_TEST_KUBECONFIG`` names. Tests treat both alike."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from airflow_slo_provider.deployment.kubernetes.changes import ANNOTATION
from tests.peers import peer
from tests.services.kube_server import KubeServer

JSON = dict[str, Any]
NAME = "model-server"


def manifest(version: int = 1, **spec: Any) -> JSON:
    """A Deployment of a model server, as a user would write it."""
    container = {
        "name": "server",
        "image": f"registry.local/model-server:v{version}",
        "env": [{"name": "MODEL_VERSION", "value": str(version)}],
    }
    template = {"metadata": {"labels": {"app": NAME, "model-version": str(version)}}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME, "labels": {"app": NAME}, "annotations": {"kubernetes.io/change-cause": f"v{version}"}},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": NAME}}, "template": template, **spec},
    }


@dataclass
class World:
    """One cluster and one namespace in it.

    :param server: the emulator; None for a real cluster
    """

    kubeconfig: Path
    server: KubeServer | None
    namespace: str = "test"
    used: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        from kubernetes import client, config

        configuration = client.Configuration()
        config.load_kube_config(str(self.kubeconfig), client_configuration=configuration)
        self.api = client.ApiClient(configuration)
        self.apps = client.AppsV1Api(self.api)
        self.core = client.CoreV1Api(self.api)

    @property
    def emulator(self) -> KubeServer:
        """The emulator, for what cannot be done to a real cluster."""
        if self.server is None:
            pytest.skip("needs a server that does what it is told")
        return self.server

    def fresh(self) -> None:
        """Go on in a namespace nothing is in."""
        self.namespace = f"slo-{uuid.uuid4().hex[:10]}"
        self.used.append(self.namespace)
        if self.server is None:
            self.core.create_namespace({"metadata": {"name": self.namespace}})

    def create(self, item: JSON) -> None:
        create = (
            self.apps.create_namespaced_replica_set if item["kind"] == "ReplicaSet" else self.apps.create_namespaced_deployment
        )
        create(self.namespace, copy.deepcopy(item), _preload_content=False)
        self.settle()

    def deployment(self, name: str = NAME) -> JSON:
        return _json(self.apps.read_namespaced_deployment(name, self.namespace, _preload_content=False))

    def replica_sets(self) -> list[JSON]:
        return _json(self.apps.list_namespaced_replica_set(self.namespace, _preload_content=False))["items"]

    def edit(self, change: Callable[[JSON], object], name: str = NAME) -> None:
        """Change a Deployment like a user who edits it: read, change, replace what differs."""
        from kubernetes.client import ApiException

        for attempt in range(5):
            after = self.deployment(name)
            change(after)
            operations = [{"op": "replace", "path": f"/{part}", "value": after[part]} for part in ("metadata", "spec")]
            try:
                self.apps.patch_namespaced_deployment(name, self.namespace, operations, _preload_content=False)
                break
            except ApiException as error:  # the controller was at it
                if error.status != 409 or attempt == 4:
                    raise
        self.settle()

    def release(self, version: int) -> None:
        """Roll another model version out."""

        def change(item: JSON) -> None:
            new = manifest(version)["spec"]["template"]
            item["spec"]["template"]["metadata"]["labels"] |= new["metadata"]["labels"]
            container = item["spec"]["template"]["spec"]["containers"][0]
            container["image"] = new["spec"]["containers"][0]["image"]
            for variable in container.get("env") or []:
                if variable["name"] == "MODEL_VERSION":
                    variable["value"] = str(version)
            item["metadata"].setdefault("annotations", {})["kubernetes.io/change-cause"] = f"v{version}"

        self.edit(change)

    def edit_replica_set(self, number: int, change: Callable[[JSON], object]) -> None:
        """Change the annotations of the ReplicaSet that has a revision."""
        item = next(one for one in self.replica_sets() if revision(one) == str(number))
        change(item)
        operations = [{"op": "replace", "path": "/metadata/annotations", "value": item["metadata"]["annotations"]}]
        self.apps.patch_namespaced_replica_set(item["metadata"]["name"], self.namespace, operations, _preload_content=False)
        self.settle()

    def delete_replica_set(self, number: int) -> None:
        item = next(one for one in self.replica_sets() if revision(one) == str(number))
        self.apps.delete_namespaced_replica_set(item["metadata"]["name"], self.namespace, _preload_content=False)
        self.settle()

    def settle(self) -> None:
        """Wait until the controller has seen everything."""
        if self.server is not None:
            return
        calm, seen = 0, ""
        for _ in range(200):
            items = _json(self.apps.list_namespaced_deployment(self.namespace, _preload_content=False))["items"]
            observed = all(one["metadata"]["generation"] == (one.get("status") or {}).get("observedGeneration") for one in items)
            now = json.dumps([one["metadata"]["resourceVersion"] for one in [*items, *self.replica_sets()]])
            calm, seen = (calm + 1 if observed and now == seen else 0), now
            if calm == 3:
                return
            time.sleep(0.1)
        raise AssertionError("the controller does not come to rest")

    def complete(self) -> None:
        """Let all pods of the current rollout be ready."""
        if self.server is not None:
            self.server.objects.complete(self.namespace, NAME)
            return
        condition = [{"type": "Ready", "status": "True"}]
        for _ in range(100):
            for pod in _json(self.core.list_namespaced_pod(self.namespace, _preload_content=False))["items"]:
                status = {"status": {"phase": "Running", "conditions": condition}}
                self.core.patch_namespaced_pod_status(pod["metadata"]["name"], self.namespace, status, _preload_content=False)
            status = self.deployment().get("status") or {}
            if status.get("availableReplicas") == status.get("updatedReplicas") == status.get("replicas"):
                return
            time.sleep(0.1)

    @cached_property
    def kubectl_program(self) -> Path:
        """The real kubectl. A test that runs it from another thread asks for it before."""
        return peer("kubectl") / "kubectl"

    def kubectl(self, *arguments: str) -> tuple[int, str, str]:
        """Run the real kubectl in the namespace: exit code, stdout, stderr."""
        cache = self.kubeconfig.parent / "kubectl-cache"
        command = [
            str(self.kubectl_program),
            "--kubeconfig",
            str(self.kubeconfig),
            "--cache-dir",
            str(cache),
            "-n",
            self.namespace,
            *arguments,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL)
        self.settle()
        return done.returncode, done.stdout.strip(), done.stderr.strip()

    def images(self) -> list[str]:
        return [one["image"] for one in self.deployment()["spec"]["template"]["spec"]["containers"]]

    def seen(self) -> JSON:
        """Everything about the namespace that two runs in two namespaces must have in common."""
        return {
            "deployments": [_comparable(self.deployment())],
            "replicasets": sorted((_comparable(one) for one in self.replica_sets()), key=json.dumps),
        }


def revision(item: JSON) -> str | None:
    return (item["metadata"].get("annotations") or {}).get("deployment.kubernetes.io/revision")


def _comparable(item: JSON) -> JSON:
    metadata = item["metadata"]
    annotations = {key: value for key, value in (metadata.get("annotations") or {}).items() if key != ANNOTATION}
    spec = copy.deepcopy(item["spec"])
    spec["template"] = {**spec["template"], "metadata": {k: v for k, v in spec["template"].get("metadata", {}).items() if v}}
    kept = {"name": metadata["name"], "labels": metadata.get("labels"), "annotations": annotations, "spec": spec}
    if item.get("kind") == "Deployment":
        kept["generation"] = metadata["generation"]
    else:
        spec.pop("replicas", None)  # how far the controller is with moving pods
    return kept


def _json(answer: Any) -> JSON:
    parsed: JSON = json.loads(answer.data)
    return parsed


def worlds() -> list[str]:
    """The clusters that tests run in."""
    return ["emulator", *(["cluster"] if os.environ.get("SLO_TEST_KUBECONFIG") else [])]


@pytest.fixture(params=worlds())
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A cluster with a namespace of its own for the test."""
    if request.param == "cluster":
        real = World(Path(os.environ["SLO_TEST_KUBECONFIG"]), None)
        real.fresh()
        yield real
        for namespace in real.used:
            real.core.delete_namespace(namespace)
        return
    yield from emulated(tmp_path)


def emulated(home: Path) -> Iterator[World]:
    """A namespace in an emulator that is started for it."""
    with KubeServer() as server:
        path = home / "kubeconfig"
        path.write_text(json.dumps(server.kubeconfig()))
        found = World(path, server)
        found.fresh()
        yield found
        found.api.close()
