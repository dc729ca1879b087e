"""What the emulated API server keeps: objects with versions and generations, and the Deployment controller's bookkeeping.

The controller part does what the recordings in ``acceptance/kubernetes`` show of the real one: revisions, copied annotations,
adoption of orphans, one ReplicaSet per template. Pods do not exist; a test says when a rollout is complete.
"""

from __future__ import annotations

import copy
import hashlib
import json
import threading
import time
from typing import Any

JSON = dict[str, Any]
PREFIX = "deployment.kubernetes.io/"
NOT_COPIED = {
    "kubectl.kubernetes.io/last-applied-configuration", f"{PREFIX}revision", f"{PREFIX}revision-history",
    f"{PREFIX}desired-replicas", f"{PREFIX}max-replicas", "deprecated.deployment.rollback.to",
}  # fmt: skip


class ApiError(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "message": message,
            "reason": reason,
            "code": status,
        }


def json_patch(target: JSON, operations: list[JSON]) -> JSON:
    """Apply a JSON-Patch (RFC 6902: add, remove, replace, test)."""
    root = {"": copy.deepcopy(target)}
    for operation in operations:
        parts = [""] + [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        parent: Any = root
        for part in parts[:-1]:
            parent = parent[int(part)] if isinstance(parent, list) else parent.get(part)
            if parent is None:
                raise ApiError(
                    422, "Invalid", f"the server rejected our request due to an error in our request: {operation['path']}"
                )
        last: Any = int(parts[-1]) if isinstance(parent, list) and parts[-1] != "-" else parts[-1]
        exists = last in parent if isinstance(parent, dict) else isinstance(last, int) and last < len(parent)
        if operation["op"] != "add" and not exists:
            raise ApiError(422, "Invalid", f"the server rejected our request: {operation['path']} is missing")
        if operation["op"] == "test":
            if parent[last] != operation["value"]:
                raise ApiError(422, "Invalid", f"testing value {operation['path']} failed")
        elif operation["op"] == "remove":
            del parent[last]
        elif isinstance(parent, list) and operation["op"] == "add":
            parent.insert(len(parent) if last == "-" else last, operation["value"])
        else:
            parent[last] = operation["value"]
    return root[""]


def merge_patch(target: Any, patch: Any) -> Any:
    """Apply a merge patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def strategic_patch(target: Any, patch: Any) -> Any:
    """Apply a strategic merge patch: a merge patch in which items of lists are merged by their name."""
    if isinstance(patch, list) and all(isinstance(item, dict) and "name" in item for item in patch):
        changed = {item["name"]: item for item in patch}
        merged = [strategic_patch(item, changed.pop(item["name"], {})) for item in target or []]
        return [*merged, *changed.values()]
    if not isinstance(patch, dict) or not isinstance(target, dict):
        return patch
    merged_dict = {**target}
    for key, value in patch.items():
        if not key.startswith("$"):
            merged_dict[key] = strategic_patch(target.get(key), value)
    return merged_dict


def bare(template: JSON) -> JSON:
    """A template as the server stores it: without nulls, with resources; and without the controller's label, to compare."""
    stored = json.loads(json.dumps(template), object_hook=lambda item: {k: v for k, v in item.items() if v is not None})
    stored.setdefault("metadata", {}).get("labels", {}).pop("pod-template-hash", None)
    for container in [*(stored["spec"].get("containers") or []), *(stored["spec"].get("initContainers") or [])]:
        container.setdefault("resources", {})
    return {**stored, "metadata": {key: value for key, value in stored["metadata"].items() if value}}


def matches(selector: JSON, labels: JSON) -> bool:
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for need in selector.get("matchExpressions") or []:
        value, values = labels.get(need["key"]), need.get("values") or []
        holds = {"In": value in values, "NotIn": value not in values, "Exists": value is not None, "DoesNotExist": value is None}
        if not holds[need["operator"]]:
            return False
    return True


class Objects:
    """Every object of the cluster, by (plural, namespace, name). One lock: each change is atomic."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.items: dict[tuple[str, str, str], JSON] = {}
        self._version = 100
        self.controlled = True

    def get(self, plural: str, namespace: str, name: str) -> JSON:
        with self.lock:
            try:
                return copy.deepcopy(self.items[plural, namespace, name])
            except KeyError:
                group = {"deployments": ".apps", "replicasets": ".apps"}.get(plural, "")
                raise ApiError(404, "NotFound", f'{plural}{group} "{name}" not found') from None

    def list(self, plural: str, namespace: str) -> list[JSON]:
        with self.lock:
            found = [key for key in self.items if key[0] == plural and key[1] == namespace]
            return [copy.deepcopy(self.items[key]) for key in sorted(found)]

    def seed(self, plural: str, item: JSON) -> None:
        """Put an object there as it is; the controller does not look at it."""
        with self.lock:
            metadata = item["metadata"]
            self._version = max(self._version, int(metadata.get("resourceVersion") or 0)) + 1
            self.items[plural, metadata.get("namespace", ""), metadata["name"]] = copy.deepcopy(item)

    def create(self, plural: str, namespace: str, item: JSON) -> JSON:
        with self.lock:
            metadata = item["metadata"]
            if (plural, namespace, metadata["name"]) in self.items:
                raise ApiError(409, "AlreadyExists", f'{plural} "{metadata["name"]}" already exists')
            metadata |= {
                "namespace": namespace,
                "generation": 1,
                "uid": f"uid-{plural}-{namespace}-{metadata['name']}-{self._version}",
            }
            metadata["creationTimestamp"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(1_700_000_000 + self._version))
            if plural in ("deployments", "replicasets"):
                item["spec"]["template"] = bare(item["spec"]["template"])
            self._store(plural, item)
            self.reconcile(namespace)
            return self.get(plural, namespace, metadata["name"])

    def update(self, plural: str, before: JSON, after: JSON, *, dry_run: bool = False, status: bool = False) -> JSON:
        """Store a new state of an object, unless it was made from an old one."""
        with self.lock:
            metadata = before["metadata"]
            after = json.loads(json.dumps(after))
            stored = self.get(plural, metadata["namespace"], metadata["name"])
            if after["metadata"].get("resourceVersion") != stored["metadata"]["resourceVersion"]:
                message = (
                    f'Operation cannot be fulfilled on {plural}.apps "{metadata["name"]}": the object has been modified; '
                    "please apply your changes to the latest version and try again"
                )
                raise ApiError(409, "Conflict", message)
            if plural == "deployments":
                after["spec"]["template"] = {**bare(after["spec"]["template"])}
                if not after["spec"]["template"]["spec"].get("containers"):
                    raise ApiError(422, "Invalid", "spec.template.spec.containers: Required value")
            annotations = after["metadata"].get("annotations") or {}
            if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) > 256 * 1024:
                raise ApiError(422, "Invalid", "metadata.annotations: Too long: may not be more than 262144 bytes")
            if after["spec"] != stored["spec"]:
                after["metadata"]["generation"] = stored["metadata"]["generation"] + 1
            if dry_run:
                return after
            if after != stored:
                self._store(plural, after)
            if not status:
                self.reconcile(metadata["namespace"])
            return self.get(plural, metadata["namespace"], metadata["name"])

    def delete(self, plural: str, namespace: str, name: str) -> JSON:
        with self.lock:
            item = self.get(plural, namespace, name)
            del self.items[plural, namespace, name]
            return item

    def reconcile(self, namespace: str) -> None:
        """Let the controller look at every Deployment of a namespace."""
        if not self.controlled:
            return
        for deployment in self.list("deployments", namespace):
            self._control(deployment)

    def complete(self, namespace: str, name: str) -> None:
        """Let a rollout be complete: all pods new and available."""
        with self.lock:
            deployment = self.get("deployments", namespace, name)
            replicas = deployment["spec"].get("replicas", 1)
            counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
            deployment["status"] = dict.fromkeys(counts, replicas) | {"observedGeneration": deployment["metadata"]["generation"]}
            self._store("deployments", deployment)

    def _store(self, plural: str, item: JSON) -> None:
        self._version += 1
        item["metadata"]["resourceVersion"] = str(self._version)
        self.items[plural, item["metadata"]["namespace"], item["metadata"]["name"]] = copy.deepcopy(item)

    def _control(self, deployment: JSON) -> None:
        metadata, spec = deployment["metadata"], deployment["spec"]
        owned = []
        for replica_set in self.list("replicasets", metadata["namespace"]):
            if not matches(spec["selector"], replica_set["metadata"].get("labels") or {}):
                continue
            owners = replica_set["metadata"].setdefault("ownerReferences", [])
            if not any(owner.get("controller") for owner in owners):
                owners.append({"kind": "Deployment", "name": metadata["name"], "uid": metadata["uid"], "controller": True})
                self._store("replicasets", replica_set)
            if any(owner["uid"] == metadata["uid"] for owner in owners):
                owned.append(replica_set)
        owned.sort(key=lambda one: (one["metadata"]["creationTimestamp"], one["metadata"]["name"]))
        wanted = bare(spec["template"])
        current = next((one for one in owned if bare(one["spec"]["template"]) == wanted), None)
        old = [one for one in owned if one is not current]
        if current is None and spec.get("paused"):
            return
        revision = 1 + max((_revision(one) for one in old), default=0)
        if current is None:
            current = self._new_replica_set(deployment, wanted)
        before = copy.deepcopy(current)
        annotations = current["metadata"].setdefault("annotations", {})
        copied = {key: value for key, value in (metadata.get("annotations") or {}).items() if key not in NOT_COPIED}
        annotations |= copied | {f"{PREFIX}desired-replicas": str(spec.get("replicas", 1))}
        annotations[f"{PREFIX}max-replicas"] = str(spec.get("replicas", 1) + 1)
        numbered = _revision(current)
        if numbered < revision:
            if numbered:
                history = annotations.get(f"{PREFIX}revision-history")
                annotations[f"{PREFIX}revision-history"] = f"{history},{numbered}" if history else str(numbered)
            annotations[f"{PREFIX}revision"] = str(revision)
        if current != before:
            self._store("replicasets", current)
        changed = copy.deepcopy(deployment)
        changed["metadata"].setdefault("annotations", {})[f"{PREFIX}revision"] = annotations[f"{PREFIX}revision"]
        observed = (changed.get("status") or {}).get("observedGeneration")
        if observed != metadata["generation"]:
            replicas = spec.get("replicas", 1)
            changed["status"] = {"observedGeneration": metadata["generation"], "replicas": replicas, "updatedReplicas": replicas}
            changed["status"] |= {"unavailableReplicas": replicas} if replicas else {}
        if changed != deployment:
            self._store("deployments", changed)

    def _new_replica_set(self, deployment: JSON, template: JSON) -> JSON:
        digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:9]
        template = copy.deepcopy(template)
        labels = template.setdefault("metadata", {}).setdefault("labels", {})
        labels["pod-template-hash"] = digest
        metadata = deployment["metadata"]
        owner = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": metadata["name"],
            "uid": metadata["uid"],
            "controller": True,
        }
        item: JSON = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {"name": f"{metadata['name']}-{digest}", "labels": dict(labels), "ownerReferences": [owner]},
            "spec": {
                "replicas": deployment["spec"].get("replicas", 1),
                "selector": {
                    "matchLabels": {**(deployment["spec"]["selector"].get("matchLabels") or {}), "pod-template-hash": digest}
                },
                "template": template,
            },
        }
        item["metadata"] |= {"namespace": metadata["namespace"], "generation": 1, "uid": f"uid-{digest}-{self._version}"}
        item["metadata"]["creationTimestamp"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(1_700_000_000 + self._version))
        self._store("replicasets", item)
        return item


def _revision(item: JSON) -> int:
    text = (item["metadata"].get("annotations") or {}).get(f"{PREFIX}revision", "0")
    return int(text) if text.lstrip("-").isdigit() else 0
