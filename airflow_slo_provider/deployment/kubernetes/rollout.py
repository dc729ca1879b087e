"""How far a rollout is, in the words and by the rules of ``kubectl rollout status``."""

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
    """State of a rollout."""

    WAITING = "waiting"
    #: The controller's progress deadline has passed. It goes on trying, and may still succeed.
    STALLED = "stalled"
    DONE = "done"
    #: The template is no longer the one that is waited for.
    SUPERSEDED = "superseded"


@dataclass(frozen=True)
class Rollout:
    """How far a rollout is.

    :param progress: its state
    :param message: one sentence for a person
    """

    progress: Progress
    message: str

    @property
    def over(self) -> bool:
        """Whether waiting longer can change nothing."""
        return self.progress in (Progress.DONE, Progress.SUPERSEDED)


def rollout_of(deployment: JSON, expected: str | None = None) -> Rollout:
    """Judge a Deployment (kubectl's ``DeploymentStatusViewer``), with one difference: a passed progress deadline is not the end.

    :param deployment: raw JSON
    :param expected: digest of the template that is waited for; None for whichever it has
    """
    metadata, spec, status = deployment["metadata"], deployment["spec"], deployment.get("status") or {}
    name = metadata["name"]
    if expected is not None and digest(spec["template"]) != expected:
        return Rollout(Progress.SUPERSEDED, f'deployment "{name}" was given another template while its rollout was waited for')
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


def follow(
    api: AppsV1Api | ApiClient,
    namespace: str,
    name: str,
    *,
    expected: str | None = None,
    timeout: float = 600.0,
    interval: float = 5.0,
    say: Callable[[str], object] = lambda message: None,
) -> Rollout:
    """Look at a rollout until it is over or the time is up, and return the last look.

    A fault that may pass (the server restarts) is told and waited out.

    :param expected: digest of the template that is waited for; None for whichever it has
    :param timeout: seconds to wait at most
    :param interval: seconds between two looks
    :param say: takes each message that differs from the one before, e.g. ``log.info``
    :raises DeploymentError: when the Deployment cannot be read: at once for a refusal, at the end of the time for a fault
    """
    cluster, deadline, told = Cluster(api), time.monotonic() + timeout, ""
    while True:
        fault: DeploymentError | None = None
        try:
            rollout = rollout_of(cluster.deployment(namespace, name), expected)
            message = rollout.message
        except DeploymentError as error:
            if not error.transient:
                raise
            fault, message = error, str(error)
        if message != told:
            say(message)
            told = message
        left = deadline - time.monotonic()
        if fault is None and (rollout.over or left <= 0):
            return rollout
        if fault is not None and left <= 0:
            raise fault
        time.sleep(min(interval, max(left, 0.0)))
