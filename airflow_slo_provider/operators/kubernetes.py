"""Operators that change a Kubernetes Deployment: roll it back, set its images, scale it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.core.text_lists import text_list
from airflow_slo_provider.exceptions import DeploymentArgumentError
from airflow_slo_provider.operators.deployment_task import DeploymentTask
from airflow_slo_provider.runtime.required_parameters import set_in_dag

if TYPE_CHECKING:
    from airflow.sdk import Context


class DeploymentRollbackOperator(DeploymentTask):
    """Roll a Deployment back to an earlier revision, exactly once, and wait for the rollout.

    By default this is the newest revision that is *known to have been good*: its model version passed its checks (golden sets,
    drift, latency) in the ledger, and within ``look_back`` it was neither the culprit of an incident nor replaced by a
    rollback. The previous revision may be the bad one: it is after one undo.

    - **Once.** The change and its record (an annotation with DAG, run, task and map index) are one conditional patch. A retry
      finds its own record and only waits; ``kubectl rollout undo`` in a retried task would undo the undo.
    - **Concurrent changes.** If the Deployment changes between reading and patching, it is read again and the decision is
      repeated. If another run rolled it back since this DAG run began, or it has another template by now, nothing is changed:
      the task logs this and succeeds (``changed`` is false in its XCom).
    - **As kubectl.** Template and annotations are those that ``kubectl rollout undo`` writes, and the same cases are refused: a
      paused Deployment, no history, no such revision. These fail without a retry; server errors are retried.

    The model version of a template is read from the label ``model-version`` or ``app.kubernetes.io/version`` or from the
    environment variable ``MODEL_VERSION``; a check whose ``model_version`` is the full image name also counts.

    Limitation: a GitOps controller with self-healing (Argo CD, Flux) reverts any change that is not in Git, and the next
    ``kubectl apply`` or ``helm upgrade`` of the bad manifest deploys it again. The task warns if it finds traces of such a
    controller, and fails with ``refuse_if_gitops_managed=True``; it cannot detect a controller that leaves no traces. Roll back
    in Git in that case.

    .. code-block:: python

        DeploymentRollbackOperator(
            task_id="roll_back",
            name="model-server",
            namespace="serving",
            bad_version="{{ ti.xcom_pull('bad_model') }}",
            evidence="{{ ti.xcom_pull('gate', key='decision') }}",
            deferrable=True,
            retries=3,
        )

    The parameters for the Deployment, the ``gate`` and the wait (``name``, ``namespace``, ``deferrable`` ...) are those of
    :class:`.DeploymentTask` (``airflow_slo_provider.operators.deployment_task``).

    :param to: ``last_known_good``, ``previous`` or a revision number. (templated)
    :param known_good: revision numbers, images or model versions that are good; by default they are read from the ledger.
        (templated)
    :param checks: names of the ledger's checks that count, as ``name`` or ``kind/name``; a good version needs a result of each
        of them. Required if checks of several models share the ledger, because two models may both have a version 7.
        (templated)
    :param look_back: maximum age of the checks that count
    :param bad_revision: fail unless the Deployment is at this revision, because it may have changed since. (templated)
    :param bad_version: fail unless the Deployment runs this model version or image. (templated)
    :param refuse_if_gitops_managed: fail if a GitOps controller would revert the rollback

    An argument that is set in the DAG but renders to None or an empty string (``bad_version`` from a missing XCom) fails the
    task without a retry.
    """

    template_fields: Sequence[str] = (
        *DeploymentTask.template_fields, "to", "known_good", "checks", "bad_revision", "bad_version",
    )  # fmt: skip
    text_fields = DeploymentTask.text_fields | {"bad_version"}
    list_fields = frozenset({"checks"})

    def __init__(
        self,
        *,
        to: str | int = "last_known_good",
        known_good: int | str | Sequence[int | str] | None = None,
        checks: str | Sequence[str] | None = None,
        look_back: timedelta = timedelta(days=90),
        bad_revision: int | str | None = None,
        bad_version: str | None = None,
        refuse_if_gitops_managed: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.to, self.known_good, self.checks, self.look_back = to, known_good, checks, look_back
        self.bad_revision, self.bad_version = bad_revision, bad_version
        self.refuse_if_gitops_managed = refuse_if_gitops_managed
        self._set_in_dag |= set_in_dag(self, "known_good", "checks", "bad_revision", "bad_version")

    def execute(self, context: Context) -> dict[str, Any]:
        """Roll back, and wait for the rollout.

        :param context: Airflow's task context
        :return: the change and how the rollout ended
        """
        from airflow_slo_provider.deployment.kubernetes.undo import LAST_KNOWN_GOOD, rollback
        from airflow_slo_provider.runtime.kubernetes_deployments import change_key, decided_at, known_good_versions, plan_key

        self.check_preconditions(context)
        with self.record_failures(context):
            known_good = None if self.known_good is None else _read_versions("known_good", self.known_good)
            if known_good is None and self.to == LAST_KNOWN_GOOD:
                known_good = known_good_versions(None if self.checks is None else text_list(self.checks), self.look_back)
                self.log.info("Known to be good, by the ledger: %s", ", ".join(known_good) or "nothing")
            result = rollback(
                self.api(),
                self.namespace,
                self.name,
                self.to,
                change_key(context),
                self.server_dry_run,
                known_good=known_good,
                bad_revision=None if self.bad_revision is None else _read_whole_number("bad_revision", self.bad_revision),
                bad_version=self.bad_version,
                since=decided_at(context),
                plan=plan_key(context),
                refuse_if_gitops_managed=self.refuse_if_gitops_managed,
            )
        return self.finish(context, {"action": "rollback", **_with_lists(asdict(result))})


class DeploymentSetImageOperator(DeploymentTask):
    """Set the images of a Deployment's containers, exactly once, and wait for the rollout.

    A retry finds its own record on the Deployment and only waits: it does not restore an image that was rolled back meanwhile.
    The replaced revision is in XCom (``from_revision``, ``from_images``) and in the ledger. GitOps controllers revert this
    change as they revert a rollback, see :class:`DeploymentRollbackOperator`. If the change cannot be recorded in the ledger,
    it is not made; a rollback does not depend on the ledger.

    The parameters for the Deployment, the ``gate`` and the wait (``name``, ``namespace``, ``deferrable`` ...) are those of
    :class:`.DeploymentTask` (``airflow_slo_provider.operators.deployment_task``).

    :param images: image by container; ``*`` stands for all containers except init containers. (templated)
    :param variables: new values of environment variables that these containers already have, e.g. ``MODEL_VERSION``.
        (templated)
    :param change_cause: change cause that ``kubectl rollout history`` shows. (templated)
    :param refuse_if_gitops_managed: fail if a GitOps controller would revert the change
    :raises ValueError: when the DAG file is parsed, for empty ``images``
    """

    template_fields: Sequence[str] = (*DeploymentTask.template_fields, "images", "variables", "change_cause")
    text_fields = DeploymentTask.text_fields | {"change_cause"}
    mapping_fields = frozenset({"images", "variables"})

    def __init__(
        self,
        *,
        images: Mapping[str, str],
        variables: Mapping[str, str] | None = None,
        change_cause: str | None = None,
        refuse_if_gitops_managed: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.images, self.variables, self.change_cause = images, variables, change_cause
        self.refuse_if_gitops_managed = refuse_if_gitops_managed
        self._set_in_dag |= set_in_dag(self, "images", "variables")
        if not images:
            raise ValueError(f"{self.task_id}: images is empty; write an image by container")

    def execute(self, context: Context) -> dict[str, Any]:
        """Set the images, and wait for the rollout.

        :param context: Airflow's task context
        :return: the change and how the rollout ended
        """
        from airflow_slo_provider.deployment.kubernetes.images import set_image
        from airflow_slo_provider.runtime.kubernetes_deployments import change_key

        self.check_preconditions(context)
        with self.record_failures(context):
            images = ", ".join(f"{container}: {image}" for container, image in self.images.items())
            change = {"action": "set_image", "to_images": dict(self.images)}
            self.record_intention(context, f"images are about to be set: {images}", change)
            result = set_image(
                self.api(),
                self.namespace,
                self.name,
                self.images,
                change_key(context),
                self.server_dry_run,
                variables=self.variables,
                change_cause=self.change_cause,
                refuse_if_gitops_managed=self.refuse_if_gitops_managed,
            )
        return self.finish(context, {"action": "set_image", **_with_lists(asdict(result))})


class DeploymentScaleOperator(DeploymentTask):
    """Set the number of replicas of a Deployment, within bounds, and wait until they are available.

    A number outside of the bounds, a HorizontalPodAutoscaler that controls the number, and a missing permission fail without a
    retry; server errors are retried. If the Deployment already has this number, nothing is changed.

    The parameters for the Deployment, the ``gate`` and the wait (``name``, ``namespace``, ``deferrable`` ...) are those of
    :class:`.DeploymentTask` (``airflow_slo_provider.operators.deployment_task``).

    :param replicas: number of replicas; None, to which a template of a missing XCom renders, fails the task. (templated)
    :param minimum: smallest allowed number
    :param maximum: largest allowed number; no limit by default
    :param despite_autoscaler: set the number even if a HorizontalPodAutoscaler controls it, which will then change it again
    :raises ValueError: when the DAG file is parsed, for bounds that allow no number
    """

    template_fields: Sequence[str] = (*DeploymentTask.template_fields, "replicas")

    def __init__(
        self,
        *,
        replicas: int | str,
        minimum: int = 1,
        maximum: int | None = None,
        despite_autoscaler: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.replicas, self.minimum, self.maximum = replicas, minimum, maximum
        self.despite_autoscaler = despite_autoscaler
        if minimum < 0 or (maximum is not None and maximum < minimum):
            raise ValueError(f"{self.task_id}: minimum {minimum} and maximum {maximum} leave no number")

    def execute(self, context: Context) -> dict[str, Any]:
        """Scale, and wait until the replicas are available.

        :param context: Airflow's task context
        :return: the change and how the rollout ended
        """
        from airflow_slo_provider.deployment.kubernetes.scale import scale

        self.check_preconditions(context)
        with self.record_failures(context):
            result = scale(
                self.api(),
                self.namespace,
                self.name,
                _read_whole_number("replicas", self.replicas),
                self.server_dry_run,
                minimum=self.minimum,
                maximum=self.maximum,
                despite_autoscaler=self.despite_autoscaler,
            )
        return self.finish(context, {"action": "scale", "digest": "", **_with_lists(asdict(result))})


def _read_whole_number(what: str, value: Any) -> int:
    """Read a whole number that a template may have rendered to text or a float.

    :raises DeploymentArgumentError: if the value is not a whole number; a missing XCom renders to None or to text
    """
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None or isinstance(value, bool) or (isinstance(value, float) and value != number):
        raise DeploymentArgumentError(f"{what} is {value!r}, not a whole number; check its template")
    return number


def _read_versions(what: str, value: Any) -> tuple[int | str, ...]:
    """Return one or several revisions or versions as a tuple.

    :raises DeploymentArgumentError: for any other value
    """
    values: tuple[Any, ...] = () if isinstance(value, Mapping) else (value,) if isinstance(value, int | str) else tuple(value)
    invalid = any(isinstance(version, bool) or not isinstance(version, int | str) for version in values)
    if invalid or not values or (isinstance(value, str) and value.strip().startswith("[")):
        raise DeploymentArgumentError(
            f"{what} is {value!r}; write a revision number, an image, a model version, or a list of them"
        )
    return values


def _with_lists(values: Mapping[str, Any]) -> dict[str, Any]:
    """Convert tuples to lists, for XCom."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
