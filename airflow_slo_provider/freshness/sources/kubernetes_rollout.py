"""Query when the current rollout of a Kubernetes Deployment was completed.

The Deployment controller writes the condition ``Progressing`` with the reason ``NewReplicaSetAvailable`` once, when the rollout
is complete; scaling does not change it [kubernetes/pkg/controller/deployment/progress.go, syncRolloutStatus]. While a rollout is
in progress or has failed, old and new pods may both serve: the age is unknown. It is also unknown while no pod is available. A
Deployment that is paused, or whose progress deadline is disabled, has no such condition; the creation time of the current
ReplicaSet is used instead, which is never later, and earlier after a rollback. Resuming a paused Deployment writes the condition
again, with the time of the resumption.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_slo_provider.core.timestamps import read_timestamp
from airflow_slo_provider.freshness.observation import Observation
from airflow_slo_provider.freshness.sources.http_steps import Call, Steps, quote_segment, read_object

_REVISION = "deployment.kubernetes.io/revision"
_NO_POD = "no pod of it is available, so it serves no model"


def current_rollout(namespace: str, name: str) -> Steps:
    """Query the completion time of a Deployment's current rollout.

    :param namespace: namespace of the Deployment
    :param name: name of the Deployment
    :return: steps for :func:`~airflow_slo_provider.freshness.sources.http_steps.run`
    :raises QueryError: (reason ``not_found``) for a Deployment that does not exist
    """
    base = f"/apis/apps/v1/namespaces/{quote_segment(namespace)}"
    call = Call(f"{base}/deployments/{quote_segment(name)}")
    reply = yield call
    missing = f"there is no Deployment {name} in namespace {namespace}"
    deployment = read_object(reply, call, missing=missing)
    meta, spec, status = (_get_object(deployment, key) for key in ("metadata", "spec", "status"))
    revision = _get_object(meta, "annotations").get(_REVISION)
    pod = _get_object(_get_object(spec, "template"), "spec")
    images = [str(container.get("image")) for container in pod.get("containers") or ()]
    about: dict[str, Any] = {
        "what": f"deployment {namespace}/{name}",
        "source": f"Kubernetes {reply.where}".rstrip(),
        "evidence": {"revision": revision, "images": images},
    }
    if status.get("observedGeneration", 0) < meta.get("generation", 0):
        return Observation(**about, note="the controller has not seen the latest change yet")
    conditions = {condition.get("type"): condition for condition in status.get("conditions") or ()}
    progressing = conditions.get("Progressing")
    if progressing is not None and progressing.get("reason") != "DeploymentPaused":
        if progressing.get("status") != "True" or progressing.get("reason") != "NewReplicaSetAvailable":
            return Observation(**about, note=f"the rollout is not complete: {progressing.get('reason')}")
        if not _has_available_pod(status):
            return Observation(**about, note=_NO_POD)
        updated = read_timestamp(progressing.get("lastUpdateTime"), zone=None, what="condition Progressing: lastUpdateTime")
        return Observation(**about, observed_at=updated, note=f"rollout of revision {revision} complete")
    updated_replicas = status.get("updatedReplicas", 0)
    if updated_replicas < spec.get("replicas", 1) or status.get("replicas", 0) > updated_replicas:
        return Observation(**about, note="the rollout is not complete")
    if not _has_available_pod(status):
        return Observation(**about, note=_NO_POD)
    selector = ",".join(f"{key}={value}" for key, value in _get_object(_get_object(spec, "selector"), "matchLabels").items())
    call = Call(f"{base}/replicasets", {"labelSelector": selector})
    reply = yield call
    replica_sets = [_get_object(item, "metadata") for item in read_object(reply, call).get("items") or ()]
    current = next((item for item in replica_sets if _is_current(item, meta.get("uid"), revision)), None)
    if current is None:
        return Observation(**about, note=f"no ReplicaSet of it has the revision {revision}")
    created = read_timestamp(current.get("creationTimestamp"), zone=None, what="ReplicaSet: creationTimestamp")
    return Observation(**about, observed_at=created, note=f"ReplicaSet of revision {revision} created then")


def _is_current(replica_set: Mapping[str, Any], owner: Any, revision: Any) -> bool:
    owners = [reference.get("uid") for reference in replica_set.get("ownerReferences") or ()]
    return owner in owners and _get_object(replica_set, "annotations").get(_REVISION) == revision


def _has_available_pod(status: Mapping[str, Any]) -> bool:
    """Whether any pod is available; a rollout stays complete even if all pods crash later or it is scaled to 0."""
    return bool(status.get("availableReplicas"))


def _get_object(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = value.get(key)
    return found if isinstance(found, Mapping) else {}
