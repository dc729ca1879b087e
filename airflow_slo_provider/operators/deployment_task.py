"""Base class of operators that change a Kubernetes Deployment: client, ledger record, and waiting for the rollout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import conf

from airflow_slo_provider.exceptions import DeploymentError, LedgerError
from airflow_slo_provider.links.slo import SLOLink
from airflow_slo_provider.operators.gated_operator import ActingOperator
from airflow_slo_provider.runtime.deferral import BoundedDeferral, earliest_resume
from airflow_slo_provider.runtime.recording.checks import non_retryable_errors, record, record_intent
from airflow_slo_provider.runtime.required_parameters import require, set_in_dag

if TYPE_CHECKING:
    from airflow.sdk import Context
    from kubernetes.client import ApiClient

    from airflow_slo_provider.results import CheckResult

#: Airflow's timeout of the deferral is this much longer than ``rollout_timeout``, which then applies first.
_GRACE = timedelta(minutes=5)


class DeploymentTask(BoundedDeferral, ActingOperator):
    """Base class of the operators that change a Deployment.

    :param name: name of the Deployment. (templated)
    :param namespace: namespace of the Deployment. (templated)
    :param kubernetes_conn_id: Airflow connection of type ``kubernetes`` of the cluster. (templated)
    :param dry_run: let the API server validate the change without storing it
    :param rollout_timeout: maximum time to wait for the rollout. If the Deployment's ``progressDeadlineSeconds`` is exceeded,
        this is logged and the wait goes on, because the controller continues and may succeed.
    :param poll_interval: time between two polls
    :param evidence: the cause of the change, for the ledger: a small mapping, e.g. the decision of a gate. (templated)
    :param deferrable: wait in the triggerer; the default is the option ``[operators] default_deferrable``
    :param gate: task id of an upstream error-budget gate, branch or sensor, or its XCom ``decision``; nothing is changed unless
        it has allowed this run. (templated)
    :param allow_backfill: act also in a backfill run; by default such a run fails without a change
    :raises ValueError: when the DAG file is parsed, for times that are not positive

    ``execution_timeout`` counts from the start of a try, deferred or not.
    """

    template_fields: Sequence[str] = (
        *ActingOperator.template_fields, "name", "namespace", "kubernetes_conn_id", "evidence",
    )  # fmt: skip
    text_fields = frozenset({"name", "namespace", "kubernetes_conn_id"})
    operator_extra_links = (SLOLink(),)

    def __init__(
        self,
        *,
        name: str,
        namespace: str,
        kubernetes_conn_id: str = "kubernetes_default",
        dry_run: bool = False,
        rollout_timeout: timedelta = timedelta(minutes=15),
        poll_interval: timedelta = timedelta(seconds=10),
        evidence: Mapping[str, Any] | str | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name, self.namespace, self.kubernetes_conn_id = name, namespace, kubernetes_conn_id
        self.server_dry_run = dry_run  # "dry_run" is a method of every operator
        self.rollout_timeout, self.poll_interval = rollout_timeout, poll_interval
        self.evidence, self.deferrable = evidence, deferrable
        self._set_in_dag = set_in_dag(self, "name", "namespace", "kubernetes_conn_id")
        if rollout_timeout <= timedelta(0) or poll_interval <= timedelta(0):
            raise ValueError(f"{self.task_id}: rollout_timeout and poll_interval must be positive")

    def check_preconditions(self, context: Context) -> None:
        """Fail in a backfill, if the gate does not allow the change, and if an argument set in the DAG renders to nothing.

        An argument that renders to nothing would mean another cluster or fewer conditions than intended.

        :param context: Airflow's task context
        :raises AirflowFailException: naming the reason
        """
        self.require_permission(context)
        require(self, self._set_in_dag)

    def api(self) -> ApiClient:
        """Return a client for the cluster."""
        from airflow_slo_provider.runtime.kubernetes_deployments import api_client

        return api_client(self.kubernetes_conn_id)

    def record_intention(self, context: Context, message: str, change: Mapping[str, Any]) -> None:
        """Record a change before it is made, for operators whose changes must be recorded.

        :param context: Airflow's task context
        :param message: what is about to be done
        :param change: details for the ledger
        :raises LedgerError: if the ledger cannot be written
        """
        if not self.server_dry_run:
            record_intent(self._check("unknown", message, change), context)

    def finish(self, context: Context, change: Mapping[str, Any]) -> dict[str, Any]:
        """Log and record the change, and wait for its rollout unless it is a dry run.

        :param context: Airflow's task context
        :param change: the result as a JSON-able dict, with ``action``, ``message`` and ``digest``
        :return: the change and how the rollout ended, for XCom
        """
        from airflow_slo_provider.deployment.kubernetes.rollout import wait_for_rollout

        self.log.info("Deployment %s/%s: %s", self.namespace, self.name, change["message"])
        for warning in change.get("warnings") or ():
            self.log.warning("Deployment %s/%s: %s", self.namespace, self.name, warning)
        context["ti"].xcom_push(key="change", value=dict(change))
        if self.server_dry_run:
            self._record(context, "pass", change["message"], change)
            return {**change, "progress": "dry run"}
        # Recorded before the wait, because a task that dies while waiting has already changed the Deployment.
        self._record(context, "unknown", f"{change['message']}; waiting for its rollout", change)
        if self.deferrable:
            self._defer(change)
        with self.record_failures(context, change):
            rollout = wait_for_rollout(
                self.api(),
                self.namespace,
                self.name,
                expected=change["digest"] or None,
                timeout=self.rollout_timeout.total_seconds(),
                interval=self.poll_interval.total_seconds(),
                on_message=lambda message: self.log.info("%s", message),
            )
        return self.rolled_out(context, {"progress": rollout.progress.value, "message": rollout.message}, change)

    def rolled_out(self, context: Context, event: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
        """Record how the rollout ended, and fail unless it completed.

        :param context: Airflow's task context
        :param event: event of :class:`.RolloutTrigger`
        :param change: the change, as in :meth:`finish`
        :raises AirflowFailException: for a rollout that does not complete in time, and for one that was replaced by another
            change
        :raises DeploymentError: if the Deployment could not be read; a retry polls again and does not repeat the change
        """
        with self.record_failures(context, change):
            progress, message = event["progress"], event["message"]
            if progress == "unknown":
                raise DeploymentError(message, reason=event["reason"], transient=event["transient"])
            if progress == "superseded":
                raise DeploymentError(f"{change['message']}; but {message}", reason="superseded")
            if progress != "done":
                waited = f"not rolled out within {self.rollout_timeout.total_seconds():g} s"
                raise DeploymentError(f"{change['message']}; but {waited}: {message}", reason="not_rolled_out")
        self.log.info("%s", message)
        self._record(context, "pass", f"{change['message']}; {message}", change)
        return {**change, "progress": progress}

    @contextmanager
    def record_failures(self, context: Context, change: Mapping[str, Any] | None = None) -> Iterator[None]:
        """Record an error in the ledger, and convert errors that a retry cannot fix into ``AirflowFailException``.

        :param context: Airflow's task context
        :param change: the change so far; None if nothing was changed
        """
        with non_retryable_errors():
            try:
                yield
            except DeploymentError as error:
                verdict = "unknown" if error.transient else "fail"
                try:
                    record([self._check(verdict, str(error), change or {"action": "none"}, reason=error.reason)], context)
                except LedgerError:
                    self.log.exception("The failure could not be recorded")
                raise

    def _defer(self, change: Mapping[str, Any]) -> None:
        from airflow_slo_provider.triggers.rollout import RolloutTrigger

        trigger = RolloutTrigger(
            namespace=self.namespace,
            name=self.name,
            expected=change["digest"] or None,
            deadline=(datetime.now(UTC) + self.rollout_timeout).isoformat(),
            interval=self.poll_interval.total_seconds(),
            kubernetes_conn_id=self.kubernetes_conn_id,
            not_before=earliest_resume().isoformat(),
        )
        self.defer(
            trigger=trigger, method_name="rolled_out", kwargs={"change": dict(change)}, timeout=self.rollout_timeout + _GRACE
        )

    def _record(self, context: Context, verdict: str, message: str, change: Mapping[str, Any]) -> None:
        with non_retryable_errors():
            record([self._check(verdict, message, change)], context)

    def _check(self, verdict: str, message: str, change: Mapping[str, Any], **more: Any) -> CheckResult:
        from airflow_slo_provider.results import CheckResult, Verdict

        details = {key: value for key, value in change.items() if key != "message"}
        return CheckResult(
            kind="deployment",
            name=f"{self.namespace}/{self.name}",
            verdict=Verdict(verdict),
            message=message,
            model_version=change.get("to_version"),
            evidence={**details, **more, "because": self.evidence},
        )
