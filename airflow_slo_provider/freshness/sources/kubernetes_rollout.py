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
from airflow_slo_provider.freshness.sources.http_steps import Call, Steps, in_path, mapping

_REVISION = "deployment.kubernetes.io/revision"
_NO_POD = "no pod of it is available, so it serves no model"


def current_rollout(namespace: str, name: str) -> Steps:
    """Query the completion time of a Deployment's current rollout.

    :param namespace: namespace of the Deployment
    :param name: name of the Deployment
    :return: steps for :func:`~airflow_slo_provider.freshness.sources.http_steps.run`
    :raises QueryError: (reason ``not_found``) for a Deployment that does not exist
    """
    base = f"/apis/apps/v1/namespaces/{in_path(namespace)}"
    call = Call(f"{base}/deployments/{in_path(name)}")
    reply = yield call
    missing = f"there is no Deployment {name} in namespace {namespace}"
    deployment = mapping(reply, call, missing=missing)
    meta, spec, status = (_part(deployment, key) for key in ("metadata", "spec", "status"))
    revision = _part(meta, "annotations").get(_REVISION)
    images = [str(one.get("image")) for one in _part(_part(spec, "template"), "spec").get("containers") or ()]
    about: dict[str, Any] = {
        "what": f"deployment {namespace}/{name}",
        "source": f"Kubernetes {reply.where}".rstrip(),
        "evidence": {"revision": revision, "images": images},
    }
    if status.get("observedGeneration", 0) < meta.get("generation", 0):
        return Observation(**about, note="the controller has not seen the latest change yet")
    conditions = {one.get("type"): one for one in status.get("conditions") or ()}
    progressing = conditions.get("Progressing")
    if progressing is not None and progressing.get("reason") != "DeploymentPaused":
        if progressing.get("status") != "True" or progressing.get("reason") != "NewReplicaSetAvailable":
            return Observation(**about, note=f"the rollout is not complete: {progressing.get('reason')}")
        if not _serves(status):
            return Observation(**about, note=_NO_POD)
        moment = read_timestamp(progressing.get("lastUpdateTime"), zone=None, what="condition Progressing: lastUpdateTime")
        return Observation(**about, observed_at=moment, note=f"rollout of revision {revision} complete")
    wanted = spec.get("replicas", 1)
    if status.get("updatedReplicas", 0) < wanted or status.get("replicas", 0) > status.get("updatedReplicas", 0):
        return Observation(**about, note="the rollout is not complete")
    if not _serves(status):
        return Observation(**about, note=_NO_POD)
    selector = ",".join(f"{key}={value}" for key, value in _part(_part(spec, "selector"), "matchLabels").items())
    call = Call(f"{base}/replicasets", {"labelSelector": selector})
    reply = yield call
    owned = [
        _part(one, "metadata")
        for one in mapping(reply, call).get("items") or ()
        if any(owner.get("uid") == meta.get("uid") for owner in _part(one, "metadata").get("ownerReferences") or ())
    ]
    current = next((one for one in owned if _part(one, "annotations").get(_REVISION) == revision), None)
    if current is None:
        return Observation(**about, note=f"no ReplicaSet of it has the revision {revision}")
    moment = read_timestamp(current.get("creationTimestamp"), zone=None, what="ReplicaSet: creationTimestamp")
    return Observation(**about, observed_at=moment, note=f"ReplicaSet of revision {revision} made then")


def _serves(status: Mapping[str, Any]) -> bool:
    """Whether any pod is available; a rollout stays complete even if all pods crash later or it is scaled to 0."""
    return bool(status.get("availableReplicas"))


def _part(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = value.get(key)
    return found if isinstance(found, Mapping) else {}
