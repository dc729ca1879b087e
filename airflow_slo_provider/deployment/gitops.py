"""Who else manages a Deployment, and would put back what a rollback takes away."""

from __future__ import annotations

from airflow_slo_provider.deployment.kubernetes_api import JSON

#: Labels and annotations that controllers put on what they manage.
_MARKS = {
    "argocd.argoproj.io/instance": "Argo CD",
    "argocd.argoproj.io/tracking-id": "Argo CD",
    "kustomize.toolkit.fluxcd.io/name": "Flux (kustomize-controller)",
    "helm.toolkit.fluxcd.io/name": "Flux (helm-controller)",
    "fleet.cattle.io/bundle-id": "Rancher Fleet",
    "configmanagement.gke.io/managed": "Config Sync",
}
#: Names under which controllers write (``metadata.managedFields[].manager``).
_WRITERS = {
    "argocd-controller": "Argo CD",
    "argocd-application-controller": "Argo CD",
    "kustomize-controller": "Flux (kustomize-controller)",
    "helm-controller": "Flux (helm-controller)",
    "fleetagent": "Rancher Fleet",
    "configsync": "Config Sync",
}


def reverting_managers(deployment: JSON) -> tuple[str, ...]:
    """Name the GitOps controllers that manage a Deployment, each with what gives it away; empty where none is seen.

    None seen is no proof: a controller may write under any name, and Argo CD can track by a label of the user's choice.
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
