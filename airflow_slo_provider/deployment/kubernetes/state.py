"""Read the state of a Deployment, and change it by optimistic concurrency: only while it is still as read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from airflow_slo_provider.deployment.kubernetes.api import JSON, Cluster, PatchConflict
from airflow_slo_provider.deployment.kubernetes.changes import RecordedChange, read_changes, with_change
from airflow_slo_provider.deployment.kubernetes.revisions import (
    Revision,
    current_revision,
    digest,
    revisions,
    selector_text,
    template_facts,
)
from airflow_slo_provider.exceptions import DeploymentError

#: Maximum number of attempts after conflicts. Each conflict means that another client has changed the object.
ATTEMPTS = 6

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class DeploymentState:
    """A Deployment with its revisions and this provider's recorded changes, at the time of one read.

    :param deployment: raw JSON
    :param revisions: in kubectl's order, the current one last
    :param changes: changes made by this provider, oldest first
    """

    deployment: JSON
    revisions: tuple[Revision, ...]
    changes: tuple[RecordedChange, ...]

    @property
    def name(self) -> str:
        """The name of the Deployment."""
        return str(self.deployment["metadata"]["name"])

    @property
    def annotations(self) -> dict[str, str]:
        """The annotations of the Deployment."""
        return dict(self.deployment["metadata"].get("annotations") or {})

    @property
    def paused(self) -> bool:
        """Whether rollouts of the Deployment are paused."""
        return bool(self.deployment["spec"].get("paused"))

    @property
    def digest(self) -> str:
        """The digest of the Deployment's current template."""
        return digest(self.deployment["spec"]["template"])

    @property
    def current(self) -> Revision:
        """The current revision; it has no ReplicaSet until the controller has created one."""
        if self.revisions and self.revisions[-1].current:
            return self.revisions[-1]
        template = self.deployment["spec"]["template"]
        number = current_revision(self.deployment)
        return Revision(number=number, replica_set="", current=True, template=template, **template_facts(template))

    def change_of_key(self, key: str) -> RecordedChange | None:
        """Return the change that was made with a key; None if there is none."""
        return next((change for change in self.changes if change.key == key), None)


@dataclass(frozen=True)
class PatchPlan(Generic[_Result]):
    """A planned change, and a function that builds its result.

    :param operations: operations of the JSON Patch
    :param result: builds the result after the patch, from the digest of the template that the server returned: an admission
        webhook may have changed it
    """

    operations: list[dict[str, Any]]
    result: Callable[[str], _Result]


def read_state(cluster: Cluster, namespace: str, name: str) -> DeploymentState:
    """Read the state of a Deployment and its ReplicaSets.

    :raises DeploymentError: when one of them cannot be read
    """
    deployment = cluster.deployment(namespace, name)
    found = revisions(deployment, cluster.replica_sets(namespace, selector_text(deployment)))
    changes = read_changes(*(revision.annotations for revision in found), deployment["metadata"].get("annotations") or {})
    return DeploymentState(deployment, tuple(found), tuple(changes))


def apply_change(
    cluster: Cluster,
    namespace: str,
    name: str,
    decide: Callable[[DeploymentState, DeploymentState | None], PatchPlan[_Result] | _Result],
    *,
    dry_run: bool,
) -> _Result:
    """Read, decide, and patch the object that was read; after a conflict, read and decide again.

    :param cluster: the cluster
    :param namespace: namespace of the Deployment
    :param name: name of the Deployment
    :param decide: called with the current state and that of the first read (None on the first read); returns a plan, or a
        result if nothing is to be done; raises DeploymentError to refuse
    :param dry_run: validate the patch on the server without storing it
    :raises DeploymentError: ``conflict`` (transient) when every attempt conflicted
    """
    first: DeploymentState | None = None
    for _ in range(ATTEMPTS):
        state = read_state(cluster, namespace, name)
        decided = decide(state, first)
        if not isinstance(decided, PatchPlan):
            return decided
        try:
            answer = cluster.patch(namespace, name, [version_lock(state.deployment), *decided.operations], dry_run=dry_run)
        except PatchConflict:
            first = first or state
            continue
        return decided.result(digest(answer["spec"]["template"]))
    raise DeploymentError(
        f'deployment "{name}" in {namespace} changed {ATTEMPTS} times while it was read; nothing was changed here. '
        "Something updates it all the time; try again, or stop that first",
        reason="conflict",
        transient=True,
    )


def version_lock(item: JSON) -> dict[str, Any]:
    """Return the operation that makes a patch fail with 409 if the object has changed since it was read.

    A ``test`` operation would also work, but fails with 422 like any invalid object.
    """
    return {"op": "replace", "path": "/metadata/resourceVersion", "value": item["metadata"]["resourceVersion"]}


def annotation_operation(
    state: DeploymentState, annotations: dict[str, str], *, key: str, action: str, became: str, to_revision: int | None = None
) -> dict[str, Any]:
    """Return the operation that sets annotations and records a change of the current revision.

    :param state: the Deployment as it was read
    :param annotations: its new annotations
    :param key: key of the change
    :param action: :data:`.changes.ROLLBACK` or :data:`.changes.SET_IMAGE`
    :param became: digest of the new template
    :param to_revision: number of the restored revision; None for a new one
    """
    at, revision = datetime.now(UTC).isoformat(), state.current.number
    change = RecordedChange(
        key=key, action=action, at=at, from_revision=revision, to_revision=to_revision, was=state.digest, became=became
    )
    present = state.deployment["metadata"].get("annotations") is not None
    value = with_change(annotations, state.changes, change)
    return {"op": "replace" if present else "add", "path": "/metadata/annotations", "value": value}
