"""Read the revisions of a Deployment from its ReplicaSets, as ``kubectl rollout undo`` does."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_slo_provider.deployment.kubernetes.api import JSON
from airflow_slo_provider.deployment.kubernetes.gitops import LAST_APPLIED
from airflow_slo_provider.exceptions import DeploymentError

REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
HASH_LABEL = "pod-template-hash"

#: Annotations of the Deployment that an undo keeps; all others come from the target ReplicaSet (kubectl's
#: ``annotationsToSkip`` in polymorphichelpers/rollback.go).
KEPT_ANNOTATIONS = (
    LAST_APPLIED,
    REVISION,
    REVISION_HISTORY,
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
    "deprecated.deployment.rollback.to",
)

#: Labels of a template that may name its model version; environment variables are checked after them.
VERSION_LABELS = ("model-version", "model_version", "app.kubernetes.io/version")
VERSION_VARIABLES = ("MODEL_VERSION",)

#: Known good revisions: revision numbers, images or model versions, or a function that decides.
KnownGood = Callable[["Revision"], bool] | Collection[int | str]

_INT64 = re.compile(r"[+-]?[0-9]+\Z")


@dataclass(frozen=True, kw_only=True)
class Revision:
    """One ReplicaSet of a Deployment.

    :param number: its revision number; 0 if the controller has not set it yet, None if it cannot be parsed
    :param replica_set: name of the ReplicaSet
    :param history: earlier revision numbers, if it was reused
    :param images: images of its containers, init containers last
    :param model_version: the version that its template names by a label or an environment variable; None if it names none
    :param digest: digest of the template without ``pod-template-hash``
    :param current: whether it is the Deployment's current template
    :param template: the template, without ``pod-template-hash``
    :param annotations: annotations of the ReplicaSet
    """

    number: int | None
    replica_set: str
    history: tuple[int, ...] = ()
    images: tuple[str, ...] = ()
    model_version: str | None = None
    digest: str = ""
    current: bool = False
    template: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    annotations: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    def __str__(self) -> str:
        version = f", model version {self.model_version}" if self.model_version else ""
        return f"revision {self.number} ({', '.join(self.images) or 'no image'}{version})"

    def matches_any(self, names: Collection[int | str]) -> bool:
        """Whether the revision's number, image or model version is among the given ones."""
        numbers = {number for number in (self.number, *self.history) if number}
        texts = {*self.images, *([self.model_version] if self.model_version else [])}
        return any(name in texts if isinstance(name, str) else name in numbers for name in names)


def selector_text(deployment: JSON) -> str:
    """Convert a Deployment's label selector to the query parameter of a list request.

    :param deployment: raw JSON of the Deployment
    :raises DeploymentError: for an unknown selector operator
    """
    selector = deployment.get("spec", {}).get("selector") or {}
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for term in selector.get("matchExpressions") or []:
        key, values = term["key"], ",".join(sorted(term.get("values") or []))
        forms = {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": key, "DoesNotExist": f"!{key}"}
        if term["operator"] not in forms:
            raise DeploymentError(f"the selector's operator {term['operator']!r} is unknown", reason="bad_selector")
        parts.append(forms[term["operator"]])
    return ",".join(parts)


def revisions(deployment: JSON, replica_sets: Iterable[JSON]) -> list[Revision]:
    """Return the revisions of a Deployment in kubectl's order: oldest ReplicaSet first, current last.

    Only ReplicaSets controlled by the Deployment are included, since others may match its selector.

    :param deployment: raw JSON of the Deployment
    :param replica_sets: raw JSON of the ReplicaSets that match its selector
    """
    uid = deployment["metadata"].get("uid")
    owned = sorted((item for item in replica_sets if uid and _controller(item) == uid), key=_age)
    expected = digest(deployment["spec"]["template"])
    current = next((item for item in owned if digest(item["spec"]["template"]) == expected), None)
    found = [_revision(item, current=False) for item in owned if item is not current]
    return found if current is None else [*found, _revision(current, current=True)]


def choose_revision(found: Sequence[Revision], to: str | int, *, name: str) -> Revision:
    """Choose the revision that ``kubectl rollout undo`` would restore.

    :param found: from :func:`revisions`
    :param to: ``previous`` (also 0) or a revision number
    :param name: name of the Deployment, for messages
    :raises DeploymentError: with kubectl's message, when there is no such revision
    """
    if to not in ("previous", 0):
        number = int(to)
        for revision in found:
            if number > 0 and revision.number == number:
                return revision
        raise DeploymentError(f"unable to find specified revision {number} in history", reason="no_such_revision")
    numbered = [revision for revision in found if revision.number is not None and revision.number >= 0]
    if len(numbered) < 2:
        raise DeploymentError(f'no rollout history found for deployment "{name}"', reason="no_history")
    # Sorting is stable: of several revisions with one number the first counts, as for kubectl.
    return sorted(numbered, key=lambda revision: -(revision.number or 0))[1]


def restored_annotations(deployment: JSON, target: Revision) -> dict[str, str]:
    """Return the annotations after an undo: the controller's own unchanged, all others from the target revision."""
    own = deployment["metadata"].get("annotations") or {}
    kept = {key: own[key] for key in KEPT_ANNOTATIONS if key in own}
    return kept | {key: value for key, value in target.annotations.items() if key not in KEPT_ANNOTATIONS}


def current_revision(deployment: JSON) -> int | None:
    """Return the revision number that the controller has set on the Deployment; None if unset."""
    return _number((deployment["metadata"].get("annotations") or {}).get(REVISION))


def bare_template(template: Mapping[str, Any]) -> JSON:
    """Copy a template without the controller's ``pod-template-hash`` label and without nulls, which have no meaning."""
    copy: JSON = _without_nulls(template)
    labels = (copy.get("metadata") or {}).get("labels")
    if isinstance(labels, dict):
        labels.pop(HASH_LABEL, None)
    return copy


def digest(template: Mapping[str, Any]) -> str:
    """Compute the digest of a template, ignoring ``pod-template-hash``, nulls and empty metadata."""
    bare = bare_template(template)
    metadata = {key: value for key, value in (bare.get("metadata") or {}).items() if value}
    text = json.dumps(bare | {"metadata": metadata}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def containers_of(template: Mapping[str, Any]) -> list[JSON]:
    """Return the containers of a template, init containers last."""
    spec = template.get("spec") or {}
    return [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]


def images_of(template: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the images of a template, init containers last."""
    return tuple(str(container["image"]) for container in containers_of(template) if container.get("image"))


def model_version_of(template: Mapping[str, Any]) -> str | None:
    """Return the model version that a template names, see :data:`VERSION_LABELS` and :data:`VERSION_VARIABLES`."""
    labels = (template.get("metadata") or {}).get("labels") or {}
    for label in VERSION_LABELS:
        if labels.get(label):
            return str(labels[label])
    for container in (template.get("spec") or {}).get("containers") or []:
        for variable in container.get("env") or []:
            if variable.get("name") in VERSION_VARIABLES and variable.get("value"):
                return str(variable["value"])
    return None


def _revision(replica_set: JSON, *, current: bool) -> Revision:
    metadata, template = replica_set["metadata"], bare_template(replica_set["spec"]["template"])
    annotations = metadata.get("annotations") or {}
    history = [_number(part) for part in (annotations.get(REVISION_HISTORY) or "").split(",") if part]
    return Revision(
        number=_number(annotations[REVISION]) if REVISION in annotations else 0,
        replica_set=metadata["name"],
        history=tuple(number for number in history if number is not None),
        current=current,
        template=template,
        annotations=annotations,
        **template_facts(template),
    )


def template_facts(template: Mapping[str, Any]) -> dict[str, Any]:
    """Return the images, model version and digest of a template, as arguments of :class:`Revision`."""
    return {"images": images_of(template), "model_version": model_version_of(template), "digest": digest(template)}


def _controller(item: JSON) -> str | None:
    owners = item["metadata"].get("ownerReferences") or []
    return next((owner.get("uid") for owner in owners if owner.get("controller")), None)


def _age(item: JSON) -> tuple[str, str]:
    return item["metadata"].get("creationTimestamp") or "", item["metadata"]["name"]


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and _INT64.match(text) else None


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
