"""Detect GitOps controllers that manage a Deployment and would revert a change."""

from __future__ import annotations

from airflow_slo_provider.deployment.kubernetes.api import JSON
from airflow_slo_provider.exceptions import DeploymentError

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

#: Labels and annotations that controllers set on managed objects.
_MARKS = {
    "argocd.argoproj.io/instance": "Argo CD",
    "argocd.argoproj.io/tracking-id": "Argo CD",
    "kustomize.toolkit.fluxcd.io/name": "Flux (kustomize-controller)",
    "helm.toolkit.fluxcd.io/name": "Flux (helm-controller)",
    "fleet.cattle.io/bundle-id": "Rancher Fleet",
    "configmanagement.gke.io/managed": "Config Sync",
}
#: Field manager names of controllers (``metadata.managedFields[].manager``).
_WRITERS = {
    "argocd-controller": "Argo CD",
    "argocd-application-controller": "Argo CD",
    "kustomize-controller": "Flux (kustomize-controller)",
    "helm-controller": "Flux (helm-controller)",
    "fleetagent": "Rancher Fleet",
    "configsync": "Config Sync",
}


def reverting_managers(deployment: JSON) -> tuple[str, ...]:
    """Return the GitOps controllers that manage a Deployment, each with the evidence; empty if none is detected.

    An empty result is no proof: a controller may use any field manager name, and Argo CD can track by a custom label.
    """
    metadata = deployment["metadata"]
    found: dict[str, str] = {}
    for kind in ("labels", "annotations"):
        for mark in metadata.get(kind) or {}:
            if mark in _MARKS:
                found.setdefault(_MARKS[mark], f"{kind[:-1]} {mark}")
    for entry in metadata.get("managedFields") or []:
        writer = entry.get("manager", "")
        if writer in _WRITERS and not entry.get("subresource"):
            found.setdefault(_WRITERS[writer], f"managedFields of {writer}")
    return tuple(f"{who} ({why})" for who, why in found.items())


def refuse_if_managed(deployment: JSON, change: str) -> None:
    """Raise an error if a GitOps controller would revert a change.

    :param deployment: raw JSON of the Deployment
    :param change: what would be reverted, and what to do instead
    :raises DeploymentError: reason ``gitops_managed``
    """
    managers = reverting_managers(deployment)
    if managers:
        name = deployment["metadata"]["name"]
        message = f'deployment "{name}" is managed by {"; ".join(managers)}, which would revert {change}'
        raise DeploymentError(message, reason="gitops_managed")


def warnings(deployment: JSON) -> tuple[str, ...]:
    """Return warnings about controllers that may revert a change; empty if none is detected."""
    found = [f"{manager} manages it and will revert a change made here" for manager in reverting_managers(deployment)]
    if LAST_APPLIED in (deployment["metadata"].get("annotations") or {}):
        found.append("it was made with 'kubectl apply': the next apply of the same manifest brings the old template back")
    if any(entry.get("manager") == "helm" for entry in deployment["metadata"].get("managedFields") or []):
        found.append("it was made with Helm: the next 'helm upgrade' brings the chart's template back")
    return tuple(found)
