"""Any check of this provider in a Kubernetes pod."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from inspect import unwrap
from typing import TYPE_CHECKING, Any

from airflow.sdk import conf

from airflow_slo_provider.core.text_lists import text_list
from airflow_slo_provider.links.slo import SLOLink
from airflow_slo_provider.operators.text_template_fields import TextFields
from airflow_slo_provider.runtime.deferral import time_left
from airflow_slo_provider.runtime.recording.checks import failing_rightly, recording_faults
from airflow_slo_provider.runtime.recording.observations import record_observations
from airflow_slo_provider.runtime.required_parameters import given, require

if TYPE_CHECKING:
    from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
    from airflow.sdk import Context

    from airflow_slo_provider.results import CheckResult

#: How much later than ``execution_timeout`` Airflow gives up on a trigger that never came back.
_GRACE = timedelta(minutes=1)
#: What this operator sets itself.
_OWN = frozenset({"task_id", "image", "cmds", "arguments", "do_xcom_push", "deferrable", "full_pod_spec"})


class SLOCheckPodOperator(TextFields):
    """Runs a check in a pod, in an image of your choice, and records what it found as if it had run here.

    That is how a golden set is evaluated inside the model's own container, or how a comparison of large data gets 64 GB. The
    image needs Python and ``pip install --no-deps airflow-slo-provider``, of the same release as here, and the libraries of the
    check; it needs no Airflow. A pod runs ``python -m airflow_slo_provider check KIND --spec SPEC --xcom``.

    The pod is run by the cncf-kubernetes provider's ``KubernetesPodOperator``, which is made when the task runs: a DAG file that
    names this operator does not pay for the Kubernetes client. Retries reattach to a pod that is still running, killing the task
    deletes the pod, and waiting can be deferred, as there.

    A check that did not pass fails the task without a retry (see ``fail_on``). A fault (the pod was evicted, a database did not
    answer) is retried. A pod that ends well and leaves no result has not passed. A check that could not be made is ``unknown`` in
    the ledger.

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

    :param kind: which check: ``slo``, ``golden_set``, or ``module:function`` for one of your own. (templated)
    :param spec: what to check, see the kind's module: a mapping or its JSON. It stands in the pod's arguments: secrets come from
        the pod's environment, as ``${NAME}``. A text with ``{{.window}}`` in it is left as it is. (templated)
    :param image: the image to run it in. (templated)
    :param command: what starts Python in the image
    :param namespace: namespace of the pod; by default the connection's. (templated)
    :param kubernetes_conn_id: Airflow connection of type ``kubernetes``. (templated)
    :param pod: further arguments of ``KubernetesPodOperator``. (templated)
    :param fail_on: verdicts that fail the task
    :param deferrable: wait in the triggerer; by default what ``[operators] default_deferrable`` says
    :raises ValueError: when the DAG is read, for arguments in ``pod`` that this operator sets itself
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
        self.kind = kind
        self.spec = spec
        self.image = image
        self.command = text_list(command)
        self.namespace = namespace
        self.kubernetes_conn_id = kubernetes_conn_id
        self.pod = dict(pod or {})
        self.fail_on = frozenset(text_list(fail_on))
        self.deferrable = deferrable
        self._running: KubernetesPodOperator | None = None
        self._given = given(self, "kind", "spec", "image", "namespace", "kubernetes_conn_id")
        taken = sorted(_OWN & self.pod.keys())
        if taken:
            raise ValueError(f"{self.task_id}: pod={{{taken[0]!r}: ...}} is set by this operator itself")
        wrong = sorted(self.fail_on - {"pass", "warn", "fail", "unknown"})
        if wrong:
            raise ValueError(f"{self.task_id}: fail_on names {wrong[0]!r}, which is no verdict")

    def render_template(self, content: Any, context: Any, jinja_env: Any = None, seen_oids: set[int] | None = None) -> Any:
        """Render everything but texts with ``{{.window}}``, which is for the server and no template of Airflow."""
        if isinstance(content, str) and "{{." in content:
            return content
        return super().render_template(content, context, jinja_env, seen_oids)

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Run the pod, and judge what it found."""
        with self._recording(context):
            require(self, self._given)
            self._running = self._pod_operator()
            # Unwrapped: Airflow warns of an operator that is executed within another one. Defers to trigger_reentry, where asked.
            unwrap(type(self._running).execute)(self._running, context)
            results = self._results(context)
        return self._judged(results, context)

    def trigger_reentry(self, context: Context, event: dict[str, Any]) -> list[dict[str, Any]]:
        """Go on once the trigger says that the pod has ended."""
        with self._recording(context):
            self._running = self._pod_operator()
            self._running.trigger_reentry(context, event)
            results = self._results(context)
        return self._judged(results, context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Record it also when the trigger failed, or did not come back in time."""
        if next_method != "__fail__":
            return super().resume_execution(next_method, next_kwargs, context)
        with self._recording(context):
            return super().resume_execution(next_method, next_kwargs, context)

    def on_kill(self) -> None:
        """Let the pod go with the task."""
        if self._running is not None:
            self._running.on_kill()

    @contextmanager
    def _recording(self, context: Any) -> Iterator[None]:
        with failing_rightly(), recording_faults(context, self._unknown, write=self._observed):
            yield

    def _observed(self, checks: Iterable[CheckResult], context: Any) -> None:
        record_observations(checks, context, self.log)

    def _unknown(self) -> CheckResult:
        """The check of a pod that did not find anything out, under the name it would have, where the spec says it."""
        from airflow_slo_provider.checks.kinds import named_in
        from airflow_slo_provider.results import CheckResult, Verdict

        kind, name = named_in(self.kind, self.spec)
        evidence = {"check": self.kind, "image": self.image}
        return CheckResult(kind=kind, name=name or f"{self.dag_id}.{self.task_id}", verdict=Verdict.UNKNOWN, evidence=evidence)

    def _results(self, context: Any) -> list[CheckResult]:
        """Read what a check found, and record it.

        :raises CheckError: when it could not be run like this, and for a fault that may pass
        """
        from airflow_slo_provider.checks.envelope import unseal

        results = unseal(getattr(self._running, "left", None))
        self._observed(results, context)
        return results

    def _judged(self, results: list[CheckResult], context: Context) -> list[dict[str, Any]]:
        """Fail over a verdict.

        :raises AirflowFailException: when the check did not pass
        """
        from airflow.sdk.exceptions import AirflowFailException

        for result in results:
            self.log.info("%s %s: %s: %s", result.kind, result.name, result.verdict, result.message)
        found = [result.to_dict() for result in results]
        bad = [result for result in results if result.verdict in self.fail_on]
        if bad:
            context["ti"].xcom_push(key="return_value", value=found)
            raise AirflowFailException("; ".join(f"{one.kind} {one.name}: {one.verdict}: {one.message}" for one in bad))
        return found

    def _pod_operator(self) -> KubernetesPodOperator:
        from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
        from airflow.sdk import get_current_context
        from airflow.sdk.exceptions import AirflowFailException

        class CheckPod(KubernetesPodOperator):
            """Remembers what the pod left: a pod that ended before it was deferred leaves it to nobody."""

            left: Any = None

            def extract_xcom(self, *arguments: Any, **options: Any) -> Any:
                self.left = super().extract_xcom(*arguments, **options)
                return self.left

            def defer(self, *, timeout: Any = None, **options: Any) -> Any:
                """Defer with an end: earlier releases of the provider give none."""
                left = time_left(self.execution_timeout, get_current_context())
                super().defer(timeout=left + _GRACE if timeout is None and left is not None else timeout, **options)

        spec = self.spec if isinstance(self.spec, str) else json.dumps(self.spec)
        own = {"namespace": self.namespace, "kubernetes_conn_id": self.kubernetes_conn_id}
        own |= {"execution_timeout": self.execution_timeout, "name": self.task_id}
        try:
            return CheckPod(
                task_id=self.task_id,
                image=self.image,
                cmds=list(self.command),
                arguments=["check", self.kind, "--spec", spec, "--xcom"],
                do_xcom_push=True,
                deferrable=self.deferrable,
                **{**own, **self.pod},
            )
        except (TypeError, ValueError) as error:
            raise AirflowFailException(f"pod={self.pod!r} is nothing that KubernetesPodOperator takes: {error}") from error
