"""Set the images of a Deployment once per key, so that a retry does not restore an image that was rolled back meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.deployment.kubernetes.api import Cluster
from airflow_slo_provider.deployment.kubernetes.changes import SET_IMAGE, RecordedChange
from airflow_slo_provider.deployment.kubernetes.gitops import refuse_if_managed, warnings
from airflow_slo_provider.deployment.kubernetes.revisions import containers_of, digest, model_version_of
from airflow_slo_provider.deployment.kubernetes.state import DeploymentState, PatchPlan, annotation_operation, apply_change
from airflow_slo_provider.exceptions import DeploymentArgumentError, DeploymentError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient, AppsV1Api  # type: ignore[import-untyped]

CHANGE_CAUSE = "kubernetes.io/change-cause"


@dataclass(frozen=True, kw_only=True)
class SetImageResult:
    """The result of setting images.

    :param changed: whether this call changed the Deployment
    :param from_revision: number of the replaced revision, to roll back to
    :param message: the result, one sentence
    :param digest: digest of the template that the Deployment should have from now on
    :param from_images: previous image by container; empty if an earlier try made the change and its revision is gone
    :param to_images: new image by container; empty in the same case
    :param from_version: model version of the replaced revision, if its template names one
    :param to_version: model version of the new template, if it names one
    :param warnings: controllers that manage the Deployment and may revert the change, in sentences
    """

    changed: bool
    from_revision: int | None
    message: str
    digest: str
    dry_run: bool = False
    from_images: Mapping[str, str]
    to_images: Mapping[str, str]
    from_version: str | None = None
    to_version: str | None = None
    warnings: tuple[str, ...] = ()


def set_image(
    api: AppsV1Api | ApiClient,
    namespace: str,
    name: str,
    images: Mapping[str, str],
    key: str,
    dry_run: bool = False,
    *,
    change_cause: str | None = None,
    variables: Mapping[str, str] | None = None,
    refuse_if_gitops_managed: bool = False,
) -> SetImageResult:
    """Set images of containers, as ``kubectl set image`` does, at most once per key.

    :param api: client for the cluster
    :param namespace: namespace of the Deployment
    :param name: name of the Deployment
    :param images: image by container (init containers too); ``*`` for every container except init containers
    :param key: key of the change, the same for every try of a task instance
    :param dry_run: validate the patch on the server without storing it
    :param change_cause: description of the new revision in ``kubectl rollout history``
    :param variables: environment variables to set in the same containers, e.g. ``MODEL_VERSION``; only existing ones are set
    :param refuse_if_gitops_managed: raise an error if a GitOps controller would revert the change
    :raises DeploymentError: for a refusal (``transient`` False) or an infrastructure failure (``transient`` True)
    :raises DeploymentArgumentError: (a ValueError) for no images or no key
    """
    if not images or not all(images.values()):
        raise DeploymentArgumentError("images is empty: set the image of at least one container")
    if not key:
        raise DeploymentArgumentError("key is empty: without one a retry could bring back what was rolled back meanwhile")

    def decide(state: DeploymentState, first: DeploymentState | None) -> PatchPlan[SetImageResult] | SetImageResult:
        before = state.deployment["spec"]["template"]
        operations = _operations(before, images, variables or {})
        after = _changed(before, operations)
        result = SetImageResult(
            changed=False,
            from_revision=state.current.number,
            message="",
            digest=state.digest,
            dry_run=dry_run,
            from_images=_images(before),
            to_images=_images(after),
            from_version=state.current.model_version,
            to_version=model_version_of(after),
            warnings=warnings(state.deployment),
        )
        own = state.change_of_key(key)
        if own is not None:
            return _earlier_result(state, own, images, variables or {}, result)
        if first is not None and first.digest != state.digest:
            raise DeploymentError(
                f'deployment "{name}" was changed from {first.current} to {state.current} at the same time; '
                "nothing was changed here",
                reason="moved",
            )
        if state.paused:
            raise DeploymentError(
                "the deployment is paused: a new image would not be rolled out; resume it first with 'kubectl rollout resume'",
                reason="paused",
            )
        if refuse_if_gitops_managed:
            refuse_if_managed(state.deployment, "a new image: set it there")
        if digest(after) == state.digest:
            return replace(result, message="the containers have these images already")
        annotations = state.annotations | ({CHANGE_CAUSE: change_cause} if change_cause else {})
        text = ", ".join(f"{container} to {image}" for container, image in sorted(images.items()))
        done = replace(
            result, changed=not dry_run, message=f"set {text}, leaving {state.current}{' (server dry run)' if dry_run else ''}"
        )
        patch = [*operations, annotation_operation(state, annotations, key=key, action=SET_IMAGE, became=digest(after))]
        return PatchPlan(patch, lambda became: replace(done, digest=state.digest if dry_run else became))

    return apply_change(Cluster(api), namespace, name, decide, dry_run=dry_run)


def _earlier_result(
    state: DeploymentState, own: RecordedChange, images: Mapping[str, str], variables: Mapping[str, str], result: SetImageResult
) -> SetImageResult:
    """Return the result of the change that this key made before.

    :raises DeploymentError: ``conflict`` when the same key now requests another change, e.g. after the run was cleared
    """
    templates = {revision.digest: revision.template for revision in (*state.revisions, state.current)}
    left, made = templates.get(own.was) or {}, templates.get(own.became) or {}
    if made and digest(_changed(made, _operations(made, images, variables))) != own.became:
        old, new = (", ".join(f"{name}: {image}" for name, image in sorted(each.items())) for each in (_images(made), images))
        with_variables = f" with {', '.join(sorted(variables))}" if variables else ""
        raise DeploymentError(
            f'this task instance set deployment "{state.name}" to other images or variables before ({old}), and is asked for '
            f"{new}{with_variables} now; nothing was changed: start a new run",
            reason="conflict",
        )
    superseded = "" if state.digest == own.became else "; the Deployment was changed by somebody else since"
    return replace(
        result,
        message=f"this task set the image before, leaving revision {own.from_revision}{superseded}",
        digest=own.became,
        from_revision=own.from_revision,
        from_images=_images(left),
        to_images=_images(made),
        from_version=model_version_of(left),
        to_version=model_version_of(made),
    )


def _operations(template: Mapping[str, Any], images: Mapping[str, str], variables: Mapping[str, str]) -> list[dict[str, Any]]:
    """Build the JSON Patch that changes images and variables, by their index in the template that was read."""
    found: list[dict[str, Any]] = []
    missing = set(images)
    variables_missing = set(variables)
    for kind in ("containers", "initContainers"):
        for number, container in enumerate(template["spec"].get(kind) or []):
            name = container["name"] if container["name"] in images or kind != "containers" else "*"
            if name not in images:
                continue
            missing.discard(name)
            path = f"/spec/template/spec/{kind}/{number}"
            found.append({"op": "replace", "path": f"{path}/image", "value": images[name]})
            for index, variable in enumerate(container.get("env") or []):
                if variable["name"] in variables and "value" in variable:
                    variables_missing.discard(variable["name"])
                    value = variables[variable["name"]]
                    found.append({"op": "replace", "path": f"{path}/env/{index}/value", "value": value})
    if missing:
        message = f'unable to find container named "{min(missing)}"; there are {", ".join(_images(template))}'
        raise DeploymentError(message, reason="no_such_container")
    if variables_missing:
        raise DeploymentError(
            f"no container that gets an image has the variable {min(variables_missing)} with a plain value",
            reason="no_such_variable",
        )
    return found


def _changed(template: Mapping[str, Any], operations: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a copy of the template with the operations applied."""
    import copy

    after: dict[str, Any] = copy.deepcopy(dict(template))
    for operation in operations:
        parent: Any = after
        *parts, last = operation["path"].split("/")[3:]
        for part in parts:
            parent = parent[int(part)] if isinstance(parent, list) else parent[part]
        parent[last] = operation["value"]
    return after


def _images(template: Mapping[str, Any]) -> dict[str, str]:
    return {container["name"]: container.get("image", "") for container in containers_of(template)}
