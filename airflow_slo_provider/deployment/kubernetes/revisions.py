"""The revisions of a Deployment, read from its ReplicaSets the way ``kubectl rollout undo`` reads them."""

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

#: Annotations that an undo leaves as the Deployment has them; all others come from the target ReplicaSet (kubectl's
#: ``annotationsToSkip`` in polymorphichelpers/rollback.go).
KEPT_ANNOTATIONS = (
    LAST_APPLIED,
    REVISION,
    REVISION_HISTORY,
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
    "deprecated.deployment.rollback.to",
)

#: Where a template says which model version it serves: labels, then environment variables.
VERSION_LABELS = ("model-version", "model_version", "app.kubernetes.io/version")
VERSION_VARIABLES = ("MODEL_VERSION",)

#: What is known to have been good: revision numbers, images or model versions, or a function that knows.
KnownGood = Callable[["Revision"], bool] | Collection[int | str]

_INT64 = re.compile(r"[+-]?[0-9]+\Z")


@dataclass(frozen=True, kw_only=True)
class Revision:
    """One ReplicaSet of a Deployment.

    :param number: its revision; 0 where the controller has not numbered it, None where the number cannot be read
    :param replica_set: name of the ReplicaSet
    :param history: numbers it had before it was used again
    :param images: images of its containers, init containers last
    :param model_version: the version its template names by a label or an environment variable; None where it names none
    :param digest: digest of the template without ``pod-template-hash``
    :param current: whether the Deployment's template is this one
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

    def is_any_of(self, names: Collection[int | str]) -> bool:
        """Whether one of these revision numbers, images or model versions is this revision."""
        numbers = {number for number in (self.number, *self.history) if number}
        texts = {*self.images, *([self.model_version] if self.model_version else [])}
        return any(name in texts if isinstance(name, str) else name in numbers for name in names)


def selector_text(deployment: JSON) -> str:
    """Write a Deployment's label selector as the query parameter of a list request.

    :raises DeploymentError: for an operator that label selectors do not have
    """
    selector = deployment.get("spec", {}).get("selector") or {}
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for need in selector.get("matchExpressions") or []:
        key, values = need["key"], ",".join(sorted(need.get("values") or []))
        forms = {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": key, "DoesNotExist": f"!{key}"}
        if need["operator"] not in forms:
            raise DeploymentError(f"the selector's operator {need['operator']!r} is unknown", reason="bad_selector")
        parts.append(forms[need["operator"]])
    return ",".join(parts)


def revisions(deployment: JSON, replica_sets: Iterable[JSON]) -> list[Revision]:
    """Return the revisions of a Deployment in the order in which kubectl looks at them: oldest ReplicaSet first, current last.

    Only ReplicaSets that the Deployment controls count: others may match its selector.

    :param replica_sets: those that match the Deployment's selector
    """
    uid = deployment["metadata"].get("uid")
    owned = sorted((one for one in replica_sets if uid and _controller(one) == uid), key=_age)
    wanted = digest(deployment["spec"]["template"])
    current = next((one for one in owned if digest(one["spec"]["template"]) == wanted), None)
    found = [_revision(one, current=False) for one in owned if one is not current]
    return found if current is None else [*found, _revision(current, current=True)]


def choose(found: Sequence[Revision], to: str | int, *, name: str) -> Revision:
    """Choose the revision that ``kubectl rollout undo`` would go to.

    :param found: from :func:`revisions`
    :param to: ``previous`` (also 0) or a revision number
    :raises DeploymentError: with kubectl's words, when there is none
    """
    if to not in ("previous", 0):
        number = int(to)
        for one in found:
            if number > 0 and one.number == number:
                return one
        raise DeploymentError(f"unable to find specified revision {number} in history", reason="no_such_revision")
    latest: Revision | None = None
    previous: Revision | None = None
    for one in found:
        if one.number is None or one.number < 0:
            continue
        if latest is None or (latest.number or 0) < one.number:
            latest, previous = one, latest
        elif previous is None or (previous.number or 0) < one.number:
            previous = one
    if previous is None:
        raise DeploymentError(f'no rollout history found for deployment "{name}"', reason="no_history")
    return previous


def restored_annotations(deployment: JSON, target: Revision) -> dict[str, str]:
    """Return the annotations an undo leaves: the controller's own as they are, all others as the target revision had them."""
    own = deployment["metadata"].get("annotations") or {}
    kept = {key: own[key] for key in KEPT_ANNOTATIONS if key in own}
    return kept | {key: value for key, value in target.annotations.items() if key not in KEPT_ANNOTATIONS}


def current_revision(deployment: JSON) -> int | None:
    """The revision that the controller says the Deployment has."""
    return _number((deployment["metadata"].get("annotations") or {}).get(REVISION))


def bare_template(template: Mapping[str, Any]) -> JSON:
    """Copy a template without the label that the controller puts on it, and without nulls, which mean nothing."""
    copy: JSON = _without_nulls(template)
    labels = (copy.get("metadata") or {}).get("labels")
    if isinstance(labels, dict):
        labels.pop(HASH_LABEL, None)
    return copy


def digest(template: Mapping[str, Any]) -> str:
    """Digest of a template: equal for templates that differ in nothing but ``pod-template-hash``, nulls and empty metadata."""
    bare = bare_template(template)
    metadata = {key: value for key, value in (bare.get("metadata") or {}).items() if value}
    text = json.dumps(bare | {"metadata": metadata}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def images_of(template: Mapping[str, Any]) -> tuple[str, ...]:
    """The images of a template, init containers last."""
    spec = template.get("spec") or {}
    containers = [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]
    return tuple(str(one["image"]) for one in containers if one.get("image"))


def model_version_of(template: Mapping[str, Any]) -> str | None:
    """The model version that a template names, see :data:`VERSION_LABELS` and :data:`VERSION_VARIABLES`."""
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
        images=images_of(template),
        model_version=model_version_of(template),
        digest=digest(template),
        current=current,
        template=template,
        annotations=annotations,
    )


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
