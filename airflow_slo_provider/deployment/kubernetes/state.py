"""One look at a Deployment, and the loop that changes it only while it is still what was looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from airflow_slo_provider.deployment.kubernetes.api import JSON, Cluster, Conflict
from airflow_slo_provider.deployment.kubernetes.changes import Change, changes, with_change
from airflow_slo_provider.deployment.kubernetes.revisions import (
    Revision,
    current_revision,
    digest,
    images_of,
    model_version_of,
    revisions,
    selector_text,
)
from airflow_slo_provider.exceptions import DeploymentError

#: How often a conflict is answered by looking again. Each conflict means that somebody else got through.
ATTEMPTS = 6

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class State:
    """A Deployment with its revisions and with the changes made here, as of one look.

    :param deployment: raw JSON
    :param revisions: in kubectl's order, the current one last
    :param changes: what was changed here before, oldest first
    """

    deployment: JSON
    revisions: tuple[Revision, ...]
    changes: tuple[Change, ...]

    @property
    def name(self) -> str:
        """Name of the Deployment."""
        return str(self.deployment["metadata"]["name"])

    @property
    def annotations(self) -> dict[str, str]:
        """Annotations of the Deployment."""
        return dict(self.deployment["metadata"].get("annotations") or {})

    @property
    def paused(self) -> bool:
        """Whether the controller is told not to roll out."""
        return bool(self.deployment["spec"].get("paused"))

    @property
    def digest(self) -> str:
        """Digest of the template the Deployment has now."""
        return digest(self.deployment["spec"]["template"])

    @property
    def current(self) -> Revision:
        """The revision the Deployment has now; without a ReplicaSet while the controller has not made one yet."""
        if self.revisions and self.revisions[-1].current:
            return self.revisions[-1]
        template = self.deployment["spec"]["template"]
        return Revision(
            number=current_revision(self.deployment),
            replica_set="",
            images=images_of(template),
            model_version=model_version_of(template),
            digest=digest(template),
            current=True,
            template=template,
        )

    def made_by(self, key: str) -> Change | None:
        """The change that was made under a key."""
        return next((change for change in self.changes if change.key == key), None)


@dataclass(frozen=True)
class Plan(Generic[_Result]):
    """What to change, and what to say once it is changed.

    :param operations: JSON-Patch
    :param result: makes the result once the patch went through, of the digest of the template that the server answered with:
        an admission webhook may have changed it
    """

    operations: list[dict[str, Any]]
    result: Callable[[str], _Result]


def look(cluster: Cluster, namespace: str, name: str) -> State:
    """Read a Deployment and its ReplicaSets.

    :raises DeploymentError: when one of them cannot be read
    """
    deployment = cluster.deployment(namespace, name)
    found = revisions(deployment, cluster.replica_sets(namespace, selector_text(deployment)))
    remembered = changes(*(one.annotations for one in found), deployment["metadata"].get("annotations") or {})
    return State(deployment, tuple(found), tuple(remembered))


def change(
    cluster: Cluster,
    namespace: str,
    name: str,
    decide: Callable[[State, State | None], Plan[_Result] | _Result],
    *,
    dry_run: bool,
) -> _Result:
    """Look, decide, and patch what was looked at; when somebody was faster, look and decide again.

    :param decide: takes what is there now and what was there at the first look (None at the first look); returns a plan, or a
        result where nothing is to be done; raises DeploymentError to refuse
    :raises DeploymentError: ``conflict`` (transient) when others were faster every time
    """
    first: State | None = None
    for _ in range(ATTEMPTS):
        state = look(cluster, namespace, name)
        decided = decide(state, first)
        if not isinstance(decided, Plan):
            return decided
        try:
            answer = cluster.patch(namespace, name, [locked(state.deployment), *decided.operations], dry_run=dry_run)
        except Conflict:
            first = first or state
            continue
        return decided.result(digest(answer["spec"]["template"]))
    raise DeploymentError(
        f'deployment "{name}" in {namespace} changed {ATTEMPTS} times while it was read; nothing was changed here. '
        "Something updates it all the time; try again, or stop that first",
        reason="conflict",
        transient=True,
    )


def locked(item: JSON) -> dict[str, Any]:
    """The operation that makes a patch fail with 409 once the object is no longer the one that was read.

    A ``test`` operation would do, and would be answered with 422 like any invalid object.
    """
    return {"op": "replace", "path": "/metadata/resourceVersion", "value": item["metadata"]["resourceVersion"]}


def annotate(state: State, annotations: dict[str, str], made: Change) -> dict[str, Any]:
    """The operation that sets annotations and remembers a change."""
    present = state.deployment["metadata"].get("annotations") is not None
    value = with_change(annotations, state.changes, made)
    return {"op": "replace" if present else "add", "path": "/metadata/annotations", "value": value}


def now_text() -> str:
    """Return this moment as a change remembers it."""
    return datetime.now(UTC).isoformat()
