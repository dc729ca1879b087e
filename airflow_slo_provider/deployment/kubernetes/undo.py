"""Roll a Deployment back once, to a known good revision, without overwriting a concurrent change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.core.text_lists import text_list
from airflow_slo_provider.deployment.kubernetes.api import Cluster
from airflow_slo_provider.deployment.kubernetes.changes import ROLLBACK, RecordedChange
from airflow_slo_provider.deployment.kubernetes.gitops import refuse_if_managed, warnings
from airflow_slo_provider.deployment.kubernetes.revisions import KnownGood, Revision, choose_revision, restored_annotations
from airflow_slo_provider.deployment.kubernetes.state import DeploymentState, PatchPlan, annotation_operation, apply_change
from airflow_slo_provider.exceptions import DeploymentArgumentError, DeploymentError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient, AppsV1Api  # type: ignore[import-untyped]

LAST_KNOWN_GOOD = "last_known_good"
PREVIOUS = "previous"


@dataclass(frozen=True, kw_only=True)
class RollbackResult:
    """The result of a rollback.

    :param changed: whether this call changed the Deployment; False for a retry, for a dry run, and when nothing was to be done
    :param from_revision: number of the replaced revision; the current one if nothing was to be done
    :param to_revision: number of the restored revision at that time; the controller renumbers it afterwards
    :param message: the result, one sentence
    :param digest: digest of the template that the Deployment should have from now on
    :param dry_run: whether the patch was only validated on the server
    :param from_images: images of the replaced revision
    :param to_images: images of the restored revision
    :param from_version: model version of the replaced revision, if its template names one
    :param to_version: model version of the restored revision, if its template names one
    :param warnings: controllers that manage the Deployment and may revert the rollback, in sentences
    """

    changed: bool
    from_revision: int | None
    to_revision: int | None
    message: str
    digest: str = ""
    dry_run: bool = False
    from_images: tuple[str, ...] = ()
    to_images: tuple[str, ...] = ()
    from_version: str | None = None
    to_version: str | None = None
    warnings: tuple[str, ...] = ()


def rollback(
    api: AppsV1Api | ApiClient,
    namespace: str,
    name: str,
    to: str | int,
    key: str,
    dry_run: bool = False,
    *,
    known_good: KnownGood | None = None,
    bad_revision: int | None = None,
    bad_version: str | None = None,
    since: datetime | None = None,
    plan: str | None = None,
    refuse_if_gitops_managed: bool = False,
) -> RollbackResult:
    """Restore the template of an earlier revision, as ``kubectl rollout undo`` does, at most once per key.

    Template, annotations and the record of the change are one conditional patch: it is applied atomically, and only to the
    object that was read. After a conflict, everything is read and decided again; if the template is no longer the one to be
    replaced, nothing is done.

    :param api: client for the cluster
    :param namespace: namespace of the Deployment
    :param name: name of the Deployment
    :param to: ``previous`` (kubectl's default), a revision number, or ``last_known_good``: the newest revision among
        ``known_good``, other than the current one and those that an earlier rollback replaced
    :param key: key of the rollback, the same for every try: the task instance without its try number
    :param dry_run: validate the patch on the server without storing it
    :param known_good: revision numbers, images or model versions, or a function; required for ``last_known_good``
    :param bad_revision: refuse unless this is the number of the current revision
    :param bad_version: refuse unless this is the model version, or an image, of the current revision
    :param since: when the decision to roll back was made (aware). If another task has rolled back since then, nothing is done.
        By default the time of this call
    :param plan: prefix of the keys that belong to the same plan: their changes count only from this call on, not from ``since``
    :param refuse_if_gitops_managed: refuse if a GitOps controller would revert the rollback
    :raises DeploymentError: with kubectl's message and ``transient`` False for a refusal; ``transient`` True for an
        infrastructure failure
    :raises DeploymentArgumentError: (a ValueError) for arguments that name no revision or no key
    """
    target_of = _target_function(to, known_good)
    if not key:
        raise DeploymentArgumentError("key is empty: without one a retry would undo the undo")
    if since is not None and since.tzinfo is None:
        raise DeploymentArgumentError(f"since {since} has no time zone")
    called = datetime.now(UTC)

    def decide(state: DeploymentState, first: DeploymentState | None) -> PatchPlan[RollbackResult] | RollbackResult:
        def unchanged(message: str, earlier: RecordedChange | None = None) -> RollbackResult:
            return replace(_unchanged(state, message, earlier), dry_run=dry_run)

        own = state.change_of_key(key)
        if own is not None:
            superseded = "" if state.digest == own.became else "; the Deployment was changed by somebody else since"
            return unchanged(
                f"this task rolled back from revision {own.from_revision} to {own.to_revision} before{superseded}", own
            )
        for rival in reversed(state.changes):
            meanwhile = first is not None and first.change_of_key(rival.key) is None
            ours = plan is not None and rival.key.startswith(plan)
            # A release since the decision does not make the rollback obsolete: the decision may be about that release.
            decided = called if since is None or ours or rival.action != ROLLBACK else since
            if meanwhile or rival.is_at_or_after(decided):
                return unchanged(f"nothing left to do: {rival.key} {rival} at {rival.at}", rival)
        if first is not None and first.digest != state.digest:
            return unchanged(f"nothing left to do: it was changed from {first.current} to {state.current} at the same time")
        _require_bad_revision(state.current, bad_revision, bad_version)
        target = target_of(state)
        if state.paused:
            raise DeploymentError(
                "you cannot rollback a paused deployment; resume it first with 'kubectl rollout resume' and try again",
                reason="paused",
            )
        if refuse_if_gitops_managed:
            refuse_if_managed(state.deployment, "a rollback: roll back there")
        if target.digest == state.digest:
            return unchanged(f"skipped rollback (current template already matches revision {target.number})")
        return _plan(state, target, key, dry_run=dry_run)

    return apply_change(Cluster(api), namespace, name, decide, dry_run=dry_run)


def _plan(state: DeploymentState, target: Revision, key: str, *, dry_run: bool) -> PatchPlan[RollbackResult]:
    left = state.current
    annotations = restored_annotations(state.deployment, target)
    operations: list[dict[str, Any]] = [
        {"op": "replace", "path": "/spec/template", "value": target.template},
        annotation_operation(state, annotations, key=key, action=ROLLBACK, became=target.digest, to_revision=target.number),
    ]
    result = RollbackResult(
        changed=not dry_run,
        from_revision=left.number,
        to_revision=target.number,
        message=f"rolled back from {left} to {target}{' (server dry run)' if dry_run else ''}",
        digest=state.digest,
        dry_run=dry_run,
        **_facts(state, left, target),
    )
    return PatchPlan(operations, lambda became: result if dry_run else replace(result, digest=became))


def _unchanged(state: DeploymentState, message: str, earlier: RecordedChange | None) -> RollbackResult:
    """Build the result if nothing is to be done, with the revisions of an earlier change or the current one."""
    current = state.current
    if earlier is None:
        number, facts = current.number, _facts(state, current, current)
        return RollbackResult(
            changed=False, from_revision=number, to_revision=number, message=message, digest=state.digest, **facts
        )
    by_digest = {revision.digest: revision for revision in (*state.revisions, current)}
    return RollbackResult(
        changed=False,
        from_revision=earlier.from_revision,
        to_revision=earlier.to_revision,
        message=message,
        digest=earlier.became,
        **_facts(state, by_digest.get(earlier.was), by_digest.get(earlier.became)),
    )


def _facts(state: DeploymentState, left: Revision | None, target: Revision | None) -> dict[str, Any]:
    """Return images, model versions and warnings as arguments of :class:`RollbackResult`."""
    return {
        "from_images": left.images if left else (),
        "to_images": target.images if target else (),
        "from_version": left.model_version if left else None,
        "to_version": target.model_version if target else None,
        "warnings": warnings(state.deployment),
    }


def _require_bad_revision(current: Revision, bad_revision: int | None, bad_version: str | None) -> None:
    for what, bad in (("revision", bad_revision), ("version", bad_version)):
        if bad is not None and not current.matches_any({bad}):
            message = (
                f"the deployment has moved on: {what} {bad} was to be replaced, and {current} is current; nothing was changed"
            )
            raise DeploymentError(message, reason="moved")


def _target_function(to: str | int, known_good: KnownGood | None) -> Callable[[DeploymentState], Revision]:
    """Validate ``to``, and return the function that chooses the target revision."""
    if to == LAST_KNOWN_GOOD:
        return lambda state: _last_known_good(state, known_good)
    if to == PREVIOUS:
        return lambda state: choose_revision(state.revisions, PREVIOUS, name=state.name)
    try:
        number = int(str(to))
    except ValueError:
        message = f"to={to!r} is not a revision: use {PREVIOUS!r}, {LAST_KNOWN_GOOD!r} or a revision number"
        raise DeploymentArgumentError(message) from None
    return lambda state: choose_revision(state.revisions, number, name=state.name)


def _last_known_good(state: DeploymentState, known_good: KnownGood | None) -> Revision:
    if isinstance(known_good, str):
        known_good = text_list(known_good)
    if known_good is None or (not callable(known_good) and not known_good):
        raise DeploymentError(
            f'no revision of deployment "{state.name}" is known to be good: no check of it has passed. '
            f"Set to={PREVIOUS!r} or to=<revision>",
            reason="nothing_known",
        )
    is_good: Callable[[Revision], bool] = known_good if callable(known_good) else lambda each: each.matches_any(known_good)
    left = _rolled_back_before(state)
    good = [each for each in state.revisions if each.number and not each.current and each.digest not in left and is_good(each)]
    if not good:
        tried = "; ".join(f"{each}{_rejection_reason(each, left)}" for each in state.revisions) or "there are no revisions"
        raise DeploymentError(
            f'deployment "{state.name}" has no earlier revision that is known to be good: {tried}', reason="no_known_good"
        )
    return max(good, key=lambda each: each.number or 0)


def _rolled_back_before(state: DeploymentState) -> Mapping[str, RecordedChange]:
    """Return the templates that a rollback replaced and that were not released again since, by digest."""
    numbers = {each.digest: each.number or 0 for each in state.revisions}
    return {
        each.was: each
        for each in state.changes
        if each.action == ROLLBACK and numbers.get(each.was, 0) <= (each.from_revision or 0)
    }


def _rejection_reason(revision: Revision, left: Mapping[str, RecordedChange]) -> str:
    if revision.current:
        return " is the current one"
    return f" was rolled back at {left[revision.digest].at}" if revision.digest in left else " is not known to be good"
