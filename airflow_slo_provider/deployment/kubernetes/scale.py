"""Set the number of replicas of a Deployment within bounds, unless an autoscaler manages it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_slo_provider.deployment.kubernetes.api import JSON, Cluster, PatchConflict
from airflow_slo_provider.deployment.kubernetes.state import ATTEMPTS, version_lock
from airflow_slo_provider.exceptions import DeploymentError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient, AppsV1Api  # type: ignore[import-untyped]


@dataclass(frozen=True, kw_only=True)
class ScaleResult:
    """The result of scaling.

    :param changed: whether this call changed the number
    :param from_replicas: number of replicas before
    :param to_replicas: number of replicas after
    :param message: the result, one sentence
    :param autoscaler: the HorizontalPodAutoscaler that will set the number again, if there is one
    """

    changed: bool
    from_replicas: int
    to_replicas: int
    message: str
    dry_run: bool = False
    autoscaler: str | None = None


def scale(
    api: AppsV1Api | ApiClient,
    namespace: str,
    name: str,
    replicas: int,
    dry_run: bool = False,
    *,
    minimum: int = 1,
    maximum: int | None = None,
    despite_autoscaler: bool = False,
) -> ScaleResult:
    """Set the number of replicas through the ``scale`` subresource. The operation is idempotent.

    :param api: client for the cluster
    :param namespace: namespace of the Deployment
    :param name: name of the Deployment
    :param replicas: number of replicas
    :param dry_run: validate the patch on the server without storing it
    :param minimum: smallest accepted number
    :param maximum: largest accepted number; None for no bound
    :param despite_autoscaler: set the number even if a HorizontalPodAutoscaler manages it and will set it again
    :raises DeploymentError: for a refusal (``transient`` False) or an infrastructure failure (``transient`` True)
    """
    if replicas < minimum or (maximum is not None and replicas > maximum):
        bounds = f"{minimum} to {'any number' if maximum is None else maximum}"
        raise DeploymentError(f"{replicas} replicas are outside of the bounds {bounds}", reason="out_of_bounds")
    cluster = Cluster(api)
    for _ in range(ATTEMPTS):
        before = cluster.scale(namespace, name)
        autoscaler = _autoscaler(cluster.autoscalers(namespace), name)
        if autoscaler and not despite_autoscaler:
            raise DeploymentError(
                f'the HorizontalPodAutoscaler "{autoscaler}" manages the replicas of deployment "{name}" and would reset them: '
                "change its minReplicas or maxReplicas instead",
                reason="autoscaled",
            )
        # A Scale object leaves out replicas when the number is 0.
        present = "replicas" in (before.get("spec") or {})
        now = int((before.get("spec") or {}).get("replicas") or 0)
        if now == replicas:
            message = f"there are {replicas} replicas already"
        else:
            operation = {"op": "replace" if present else "add", "path": "/spec/replicas", "value": replicas}
            try:
                cluster.patch_scale(namespace, name, [version_lock(before), operation], dry_run=dry_run)
            except PatchConflict:
                continue
            message = f"scaled from {now} to {replicas} replicas{' (server dry run)' if dry_run else ''}"
        return ScaleResult(
            changed=now != replicas and not dry_run,
            from_replicas=now,
            to_replicas=replicas,
            message=message,
            dry_run=dry_run,
            autoscaler=autoscaler,
        )
    raise DeploymentError(
        f'deployment "{name}" in {namespace} changed {ATTEMPTS} times while it was read; it was not scaled',
        reason="conflict",
        transient=True,
    )


def _autoscaler(items: list[JSON], name: str) -> str | None:
    for item in items:
        target = item["spec"].get("scaleTargetRef") or {}
        if (target.get("kind"), target.get("name")) == ("Deployment", name):
            return str(item["metadata"]["name"])
    return None
