"""Compute the status of a rollout by the rules and messages of ``kubectl rollout status``, and wait for its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from airflow_slo_provider.deployment.kubernetes.api import JSON, Cluster
from airflow_slo_provider.deployment.kubernetes.revisions import digest
from airflow_slo_provider.exceptions import DeploymentError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient, AppsV1Api  # type: ignore[import-untyped]


class Progress(StrEnum):
    """The states of a rollout."""

    WAITING = "waiting"
    #: The controller's progress deadline has passed. The rollout continues, and may still succeed.
    STALLED = "stalled"
    DONE = "done"
    #: The Deployment's template is no longer the expected one.
    SUPERSEDED = "superseded"


@dataclass(frozen=True)
class Rollout:
    """The status of a rollout.

    :param progress: its state
    :param message: the status, one sentence
    """

    progress: Progress
    message: str

    @property
    def over(self) -> bool:
        """Whether the state is final."""
        return self.progress in (Progress.DONE, Progress.SUPERSEDED)


def rollout_status(deployment: JSON, expected: str | None = None) -> Rollout:
    """Compute a rollout's status like kubectl's ``DeploymentStatusViewer``, except that a passed progress deadline is not final.

    :param deployment: raw JSON
    :param expected: digest of the expected template; None for the current one
    """
    metadata, spec, status = deployment["metadata"], deployment["spec"], deployment.get("status") or {}
    name = metadata["name"]
    if expected is not None and digest(spec["template"]) != expected:
        return Rollout(Progress.SUPERSEDED, f'deployment "{name}" got another template during its rollout')
    if (metadata.get("generation") or 0) > (status.get("observedGeneration") or 0):
        return Rollout(Progress.WAITING, "Waiting for deployment spec update to be observed...")
    wanted = spec.get("replicas", 1)
    updated, total, available = (status.get(key) or 0 for key in ("updatedReplicas", "replicas", "availableReplicas"))
    waiting = f'Waiting for deployment "{name}" rollout to finish: '
    if updated < wanted:
        message = f"{waiting}{updated} out of {wanted} new replicas have been updated..."
    elif total > updated:
        message = f"{waiting}{total - updated} old replicas are pending termination..."
    elif available < updated:
        message = f"{waiting}{available} of {updated} updated replicas are available..."
    else:
        return Rollout(Progress.DONE, f'deployment "{name}" successfully rolled out')
    for condition in status.get("conditions") or []:
        if condition.get("type") == "Progressing" and condition.get("reason") == "ProgressDeadlineExceeded":
            return Rollout(Progress.STALLED, f'deployment "{name}" exceeded its progress deadline; {message}')
    return Rollout(Progress.WAITING, message)


def wait_for_rollout(
    api: AppsV1Api | ApiClient,
    namespace: str,
    name: str,
    *,
    expected: str | None = None,
    timeout: float = 600.0,
    interval: float = 5.0,
    on_message: Callable[[str], object] = lambda message: None,
) -> Rollout:
    """Poll a rollout until it ends or the timeout expires; return the last status.

    A transient error (the server restarts) is logged, and polling continues.

    :param api: client for the cluster
    :param namespace: namespace of the Deployment
    :param name: name of the Deployment
    :param expected: digest of the expected template; None for the current one
    :param timeout: maximum number of seconds to wait
    :param interval: seconds between two polls
    :param on_message: called with each message that differs from the previous one, e.g. ``log.info``
    :raises DeploymentError: when the Deployment cannot be read: at once for a refusal, after the timeout for a transient error
    """
    cluster, deadline, last = Cluster(api), time.monotonic() + timeout, ""
    while True:
        fault: DeploymentError | None = None
        try:
            rollout = rollout_status(cluster.deployment(namespace, name), expected)
            message = rollout.message
        except DeploymentError as error:
            if not error.transient:
                raise
            fault, message = error, str(error)
        if message != last:
            on_message(message)
            last = message
        left = deadline - time.monotonic()
        if fault is None and (rollout.over or left <= 0):
            return rollout
        if fault is not None and left <= 0:
            raise fault
        time.sleep(min(interval, max(left, 0.0)))
