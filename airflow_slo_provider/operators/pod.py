"""Operator that runs a check of this provider in a Kubernetes pod."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from inspect import unwrap
from typing import TYPE_CHECKING, Any

from airflow.sdk import conf
from airflow.sdk.exceptions import AirflowFailException

from airflow_slo_provider.core.text_lists import text_list
from airflow_slo_provider.links.slo import SLOLink
from airflow_slo_provider.operators.text_template_fields import TextFields
from airflow_slo_provider.runtime.deferral import time_left
from airflow_slo_provider.runtime.recording.checks import non_retryable_errors, record_unknown_on_error
from airflow_slo_provider.runtime.recording.observations import record_observations
from airflow_slo_provider.runtime.required_parameters import require, set_in_dag

if TYPE_CHECKING:
    from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
    from airflow.sdk import Context

    from airflow_slo_provider.results import CheckResult

#: Airflow's timeout of the deferral is this much longer than what is left of ``execution_timeout``.
_GRACE = timedelta(minutes=1)
#: Arguments of ``KubernetesPodOperator`` that this operator sets itself.
_RESERVED = frozenset({"task_id", "image", "cmds", "arguments", "do_xcom_push", "deferrable", "full_pod_spec"})


class SLOCheckPodOperator(TextFields):
    """Run a check in a Kubernetes pod with your own image, and record its results as if it had run on the worker.

    Use it to evaluate a golden set inside the model's own container, or to give a comparison of large data 64 GB of memory. The
    image needs Python, ``pip install --no-deps airflow-slo-provider`` of the same release as on the worker, and the libraries
    of the check; it does not need Airflow. The pod runs ``python -m airflow_slo_provider check KIND --spec SPEC --xcom``.

    The pod is run by the cncf-kubernetes provider's ``KubernetesPodOperator``, which is created when the task runs, so that
    parsing a DAG file with this operator does not import the Kubernetes client. As in that operator, retries reattach to a pod
    that is still running, killing the task deletes the pod, and the wait can be deferred.

    A check that does not pass fails the task without a retry (see ``fail_on``). A failure of the infrastructure (the pod was
    evicted, a database did not answer) is retried. A pod that succeeds without a result does not pass. A check that could not
    be made is ``unknown`` in the ledger.

    .. code-block:: python

        SLOCheckPodOperator(
            task_id="budget",
            kind="slo",
            spec={"documents": "/etc/slos", "sources": {"Prometheus": {"url": "http://prometheus.monitoring:9090"}}},
            image="registry.example/model-server:{{ params.version }}",
            namespace="serving",
            pod={"service_account_name": "checks", "env_vars": {"MODEL": "/models/7"}},
            deferrable=True,
        )

    :param kind: kind of the check: ``slo``, ``golden_set``, or ``module:function`` for your own check. (templated)
    :param spec: specification of the check, see the module of the kind: a mapping or its JSON. It is visible in the pod's
        arguments, so take secrets from the pod's environment, as ``${NAME}``. Text that contains ``{{.window}}`` is not
        rendered. (templated)
    :param image: the container image. (templated)
    :param command: command that starts this package in the image
    :param namespace: namespace of the pod; by default the connection's. (templated)
    :param kubernetes_conn_id: Airflow connection of type ``kubernetes``. (templated)
    :param pod: further arguments of ``KubernetesPodOperator``. (templated)
    :param fail_on: verdicts that fail the task
    :param deferrable: wait in the triggerer; the default is the option ``[operators] default_deferrable``
    :raises ValueError: when the DAG file is parsed, for arguments in ``pod`` that this operator sets itself, and for an unknown
        verdict in ``fail_on``
    """

    template_fields: Sequence[str] = ("kind", "spec", "image", "namespace", "kubernetes_conn_id", "pod")
    text_fields = frozenset({"kind", "image", "namespace", "kubernetes_conn_id"})
    operator_extra_links = (SLOLink(),)

    def __init__(
        self,
        *,
        kind: str,
        spec: Mapping[str, Any] | str,
        image: str,
        command: str | Sequence[str] = ("python", "-m", "airflow_slo_provider"),
        namespace: str | None = None,
        kubernetes_conn_id: str = "kubernetes_default",
        pod: Mapping[str, Any] | None = None,
        fail_on: str | Collection[str] = ("fail", "unknown"),
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.kind, self.spec, self.image, self.command = kind, spec, image, text_list(command)
        self.namespace, self.kubernetes_conn_id, self.pod = namespace, kubernetes_conn_id, dict(pod or {})
        self.fail_on, self.deferrable = frozenset(text_list(fail_on)), deferrable
        self._operator: KubernetesPodOperator | None = None
        self._set_in_dag = set_in_dag(self, "kind", "spec", "image", "namespace", "kubernetes_conn_id")
        if reserved := sorted(_RESERVED & self.pod.keys()):
            raise ValueError(f"{self.task_id}: pod={{{reserved[0]!r}: ...}} is set by this operator itself")
        if unknown := sorted(self.fail_on - {"pass", "warn", "fail", "unknown"}):
            raise ValueError(f"{self.task_id}: fail_on names {unknown[0]!r}, which is no verdict")

    def render_template(self, content: Any, context: Any, jinja_env: Any = None, seen_oids: set[int] | None = None) -> Any:
        """Render everything except texts with ``{{.window}}``, which belongs to a query and not to Airflow."""
        if isinstance(content, str) and "{{." in content:
            return content
        return super().render_template(content, context, jinja_env, seen_oids)

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Run the pod, record the results, and fail on a verdict in ``fail_on``.

        :param context: Airflow's task context
        :return: the results as dicts
        """
        with self._record_errors(context):
            require(self, self._set_in_dag)
            self._operator = self._pod_operator()
            # Unwrapped, because Airflow warns if an operator is executed inside another one. If deferrable, it resumes in
            # trigger_reentry.
            unwrap(type(self._operator).execute)(self._operator, context)
            results = self._record_results(context)
        return self._fail_on_verdict(results, context)

    def trigger_reentry(self, context: Context, event: dict[str, Any]) -> list[dict[str, Any]]:
        """Read the results after the trigger reported the end of the pod.

        :param context: Airflow's task context
        :param event: event of the pod's trigger
        """
        with self._record_errors(context):
            self._operator = self._pod_operator()
            self._operator.trigger_reentry(context, event)
            results = self._record_results(context)
        return self._fail_on_verdict(results, context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Record the check as ``unknown`` also if the trigger failed or timed out."""
        if next_method != "__fail__":
            return super().resume_execution(next_method, next_kwargs, context)
        with self._record_errors(context):
            return super().resume_execution(next_method, next_kwargs, context)

    def on_kill(self) -> None:
        """Delete the pod if the task is killed."""
        if self._operator is not None:
            self._operator.on_kill()

    @contextmanager
    def _record_errors(self, context: Any) -> Iterator[None]:
        write = partial(record_observations, log=self.log)
        with non_retryable_errors(), record_unknown_on_error(context, self._unknown, write=write):
            yield

    def _unknown(self) -> CheckResult:
        """Return the check of a pod without a result, under the name from the spec if it has one."""
        from airflow_slo_provider.checks.kinds import name_result
        from airflow_slo_provider.results import CheckResult, Verdict

        kind, name = name_result(self.kind, self.spec)
        evidence = {"check": self.kind, "image": self.image}
        return CheckResult(kind=kind, name=name or f"{self.dag_id}.{self.task_id}", verdict=Verdict.UNKNOWN, evidence=evidence)

    def _record_results(self, context: Any) -> list[CheckResult]:
        """Read and record the results of the check.

        :raises CheckError: if the check could not be run with this spec, and for transient errors
        """
        from airflow_slo_provider.checks.envelope import deserialise

        results = deserialise(getattr(self._operator, "xcom", None))
        record_observations(results, context, self.log)
        return results

    def _fail_on_verdict(self, results: list[CheckResult], context: Context) -> list[dict[str, Any]]:
        """Fail if a result has a verdict in ``fail_on``; return the results as dicts.

        :raises AirflowFailException: if the check did not pass
        """
        for result in results:
            self.log.info("%s %s: %s: %s", result.kind, result.name, result.verdict, result.message)
        found = [result.to_dict() for result in results]
        bad = [result for result in results if result.verdict in self.fail_on]
        if bad:
            context["ti"].xcom_push(key="return_value", value=found)
            raise AirflowFailException(
                "; ".join(f"{result.kind} {result.name}: {result.verdict}: {result.message}" for result in bad)
            )
        return found

    def _pod_operator(self) -> KubernetesPodOperator:
        from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
        from airflow.sdk import get_current_context

        class CheckPod(KubernetesPodOperator):
            """Keep the XCom of the pod, which is lost if the pod ends before the task is deferred."""

            xcom: Any = None

            def extract_xcom(self, *arguments: Any, **options: Any) -> Any:
                self.xcom = super().extract_xcom(*arguments, **options)
                return self.xcom

            def defer(self, *, timeout: Any = None, **options: Any) -> Any:
                """Defer with a timeout, because earlier releases of the provider set none."""
                left = time_left(self.execution_timeout, get_current_context())
                super().defer(timeout=left + _GRACE if timeout is None and left is not None else timeout, **options)

        spec = self.spec if isinstance(self.spec, str) else json.dumps(self.spec)
        defaults = {"namespace": self.namespace, "kubernetes_conn_id": self.kubernetes_conn_id}
        defaults |= {"execution_timeout": self.execution_timeout, "name": self.task_id}
        try:
            return CheckPod(
                task_id=self.task_id, image=self.image, cmds=list(self.command), deferrable=self.deferrable, do_xcom_push=True,
                arguments=["check", self.kind, "--spec", spec, "--xcom"], **{**defaults, **self.pod},
            )  # fmt: skip
        except (TypeError, ValueError) as error:
            raise AirflowFailException(f"pod={self.pod!r} is not accepted by KubernetesPodOperator: {error}") from error
