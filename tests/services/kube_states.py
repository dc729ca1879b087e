"""States a Deployment may be in before a rollback, each built the way it comes about, and what is asked of ``rollout undo``."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from tests.services.kube_world import NAME, World, manifest

JSON = dict[str, Any]
PREFIX = "deployment.kubernetes.io/"


def released(world: World, *versions: int, base: Callable[[JSON], object] = lambda item: None, **spec: Any) -> None:
    """Create the first version and release the others after it."""
    item = manifest(versions[0], **spec)
    base(item)
    world.create(item)
    for version in versions[1:]:
        world.release(version)


def rich(item: JSON) -> None:
    """Everything a template of a model server may have."""
    pod = item["spec"]["template"]["spec"]
    item["spec"]["template"]["metadata"]["annotations"] = {
        "prometheus.io/scrape": "true",
        "with/slash~tilde": 'quote " \n Ünïcode 🙂',
    }
    pod["initContainers"] = [
        {"name": "fetch", "image": "registry.local/fetch:1", "command": ["sh", "-c", "cp $A /m"], "restartPolicy": "Always"}
    ]
    pod["volumes"] = [
        {"name": "model", "emptyDir": {}},
        {"name": "conf", "configMap": {"name": "c", "items": [{"key": "k", "path": "p"}], "optional": True}},
        {"name": "claim", "persistentVolumeClaim": {"claimName": "models", "readOnly": True}},
    ]
    pod["securityContext"] = {"runAsNonRoot": True, "fsGroup": 1000}
    pod["tolerations"] = [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]
    pod["nodeSelector"] = {"gpu": "a100"}
    pod["topologySpreadConstraints"] = [
        {
            "maxSkew": 1,
            "topologyKey": "zone",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"app": NAME}},
        }
    ]
    container = pod["containers"][0]
    container["resources"] = {"limits": {"cpu": "1500m", "memory": "64Gi", "nvidia.com/gpu": "1"}, "requests": {"cpu": "1"}}
    container["readinessProbe"] = {"httpGet": {"path": "/v2/health/ready", "port": 8080}, "periodSeconds": 3}
    container["lifecycle"] = {"preStop": {"exec": {"command": ["sleep", "5"]}}}
    container["volumeMounts"] = [{"name": "model", "mountPath": "/m"}]
    container["ports"] = [{"containerPort": 8080, "protocol": "TCP"}]
    container["securityContext"] = {"capabilities": {"drop": ["ALL"]}, "allowPrivilegeEscalation": False}


def from_secrets(item: JSON) -> None:
    container = item["spec"]["template"]["spec"]["containers"][0]
    container["env"].append({"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "token", "optional": True}}})
    container["env"].append({"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}})
    container["env"].append({"name": "EMPTY"})
    container["envFrom"] = [{"secretRef": {"name": "all"}, "prefix": "X_"}, {"configMapRef": {"name": "c"}}]


def sidecars(item: JSON) -> None:
    item["spec"]["template"]["spec"]["containers"].append({"name": "proxy", "image": "registry.local/proxy:1"})


def annotated(**annotations: str) -> Callable[[JSON], object]:
    return lambda item: item["metadata"].setdefault("annotations", {}).update(annotations)


def expressions(item: JSON) -> None:
    item["spec"]["selector"] = {
        "matchExpressions": [
            {"key": "app", "operator": "In", "values": [NAME, "other"]},
            {"key": "tier", "operator": "NotIn", "values": ["db", "cache"]},
            {"key": "app", "operator": "Exists"},
            {"key": "legacy", "operator": "DoesNotExist"},
        ]
    }


def stray(world: World, name: str, revision: str | None, image: str) -> None:
    """A ReplicaSet that nobody rolled out; the controller adopts it."""
    labels = {"app": NAME, "stray": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "x", "image": image}]}}
    annotations = {f"{PREFIX}revision": revision} if revision else {}
    item = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": name, "labels": labels, "annotations": annotations},
    }
    world.create(item | {"spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}})


def neighbour(world: World) -> None:
    """Another Deployment whose ReplicaSets match the selector of ours."""
    item = manifest(9)
    item["metadata"]["name"] = "neighbour"
    item["spec"]["selector"] = {"matchLabels": {"app": NAME, "model-version": "9"}}
    world.create(item)


def numbered(number: int, text: str | None) -> Callable[[World], None]:
    """Give the ReplicaSet of a revision another number, or none."""

    def change(item: JSON) -> None:
        item["metadata"]["annotations"].pop(f"{PREFIX}revision")
        if text is not None:
            item["metadata"]["annotations"][f"{PREFIX}revision"] = text

    return lambda world: world.edit_replica_set(number, change)


def labelled_anew(item: JSON) -> None:
    labels = item["spec"]["template"]["metadata"]["labels"]
    labels.pop("model-version")
    labels["flavour"] = "b"


def restarted(item: JSON) -> None:
    item["spec"]["template"]["metadata"]["annotations"] = {"kubectl.kubernetes.io/restartedAt": "2026-11-24T05:00:00Z"}


def without_annotations(item: JSON) -> None:
    item["metadata"].pop("annotations")


def then(*parts: Callable[[World], object]) -> Callable[[World], None]:
    def build(world: World) -> None:
        for part in parts:
            part(world)

    return build


def undone(*arguments: str) -> Callable[[World], object]:
    return lambda world: world.kubectl("rollout", "undo", f"deployment/{NAME}", *arguments)


#: Name -> (how it comes about, the revisions that undo is told to go to; None for the previous one).
STATES: dict[str, tuple[Callable[[World], None], tuple[int | None, ...]]] = {
    "two": (lambda w: released(w, 1, 2), (None, 1, 2, 3, 0, -1)),
    "five": (lambda w: released(w, 1, 2, 3, 4, 5), (None, 1, 3, 5, 6)),
    "one": (lambda w: released(w, 1), (None, 1, 2)),
    "every field": (lambda w: released(w, 1, 2, base=rich), (None,)),
    "env from secrets": (lambda w: released(w, 1, 2, base=from_secrets), (None,)),
    "sidecar": (lambda w: released(w, 1, 2, base=sidecars), (None,)),
    "long annotations": (lambda w: released(w, 1, 2, base=annotated(long="x" * 100_000, **{"a.b/c~d": "~1/~0"})), (None,)),
    "annotations at the limit": (
        lambda w: released(w, 1, 2, base=annotated(long="x" * (256 * 1024 - 2_000))),
        (None,),
    ),
    "annotations since then": (
        then(lambda w: released(w, 1, 2), lambda w: w.edit(annotated(later="yes", **{"kubernetes.io/change-cause": "other"}))),
        (None,),
    ),
    "no annotations": (lambda w: released(w, 1, 2, base=without_annotations), (None,)),
    "selector with expressions": (lambda w: released(w, 1, 2, base=expressions), (None, 1)),
    "paused": (
        then(lambda w: released(w, 1, 2), lambda w: w.edit(lambda item: item["spec"].update(paused=True))),
        (None, 1, 2, 9),
    ),
    "paused, never released twice": (
        then(lambda w: released(w, 1), lambda w: w.edit(lambda item: item["spec"].update(paused=True))),
        (None,),
    ),
    "undone before": (then(lambda w: released(w, 1, 2, 3), undone()), (None, 1, 2, 3, 4)),
    "undone twice": (then(lambda w: released(w, 1, 2, 3), undone(), undone("--to-revision=1")), (None, 1, 4)),
    "history gone": (then(lambda w: released(w, 1, 2), lambda w: w.delete_replica_set(1)), (None, 1)),
    "hole in the history": (then(lambda w: released(w, 1, 2, 3), lambda w: w.delete_replica_set(2)), (None, 1, 2)),
    "adopted": (then(lambda w: released(w, 1, 2), lambda w: stray(w, "stray", "7", "registry.local/evil:1")), (None, 7)),
    "adopted without a number": (
        then(lambda w: released(w, 1), lambda w: stray(w, "aaa", None, "registry.local/x:1")),
        (None, 0),
    ),
    "tie of two strays": (
        then(
            lambda w: released(w, 1, 2),
            lambda w: stray(w, "s-b", "7", "registry.local/b:1"),
            lambda w: stray(w, "s-a", "7", "registry.local/a:1"),
        ),
        (None, 7),
    ),
    "tie of old ones": (then(lambda w: released(w, 1, 2, 3), numbered(2, "1")), (None, 1)),
    "a number that is none": (then(lambda w: released(w, 1, 2, 3), numbered(2, "two")), (None, 2)),
    "a negative number": (then(lambda w: released(w, 1, 2, 3), numbered(2, "-5")), (None, -5)),
    "a number that was taken away": (then(lambda w: released(w, 1, 2, 3), numbered(2, None)), (None, 2)),
    "a number beyond a double": (then(lambda w: released(w, 1, 2, 3), numbered(1, "9007199254740993")), (None, 9007199254740993)),
    "a neighbour in the selector": (then(lambda w: released(w, 1, 2), neighbour), (None,)),
    "other labels": (then(lambda w: released(w, 1), lambda w: w.edit(labelled_anew)), (None,)),
    "restarted": (then(lambda w: released(w, 1), lambda w: w.edit(restarted)), (None, 1)),
    "no replicas": (lambda w: released(w, 1, 2, replicas=0), (None,)),
    "recreate": (lambda w: released(w, 1, 2, strategy={"type": "Recreate"}), (None,)),
    "scaled since then": (
        then(lambda w: released(w, 1, 2), lambda w: w.edit(lambda item: item["spec"].update(replicas=4))),
        (None,),
    ),
}

CASES = [(state, to) for state, (_, targets) in STATES.items() for to in targets]


def build(world: World, state: str) -> None:
    STATES[state][0](world)


def future(template: JSON) -> JSON:
    """A template with fields that no client of today knows."""
    template = copy.deepcopy(template)
    template["spec"]["quantumIsolation"] = {"mode": "strict", "qubits": [1, 2]}
    template["spec"]["containers"][0]["accelerator"] = {"class": "tpu-9"}
    return template
