"""Operators that promote a model version to champion in a model registry and roll a promotion back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from airflow_slo_provider.deployment.registries.names import ANY, CHAMPION, PROMOTE, ROLLBACK
from airflow_slo_provider.links.slo import SLOLink
from airflow_slo_provider.operators.gated_operator import ActingOperator
from airflow_slo_provider.runtime.recording.checks import non_retryable_errors, record, record_intent
from airflow_slo_provider.runtime.required_parameters import require, set_in_dag

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_slo_provider.deployment.registries.registry import ModelRegistry, Moved
    from airflow_slo_provider.results import CheckResult, Verdict


class _MoveOperator(ActingOperator):
    """Base class of both operators: move an alias once per task instance, and record the move in the registry and the ledger."""

    template_fields: Sequence[str] = (
        *ActingOperator.template_fields, "model", "version", "alias", "expected_champion", "registry_path",
        "model_registry_conn_id",
    )  # fmt: skip
    text_fields = frozenset({"model", "version", "alias", "expected_champion", "registry_path", "model_registry_conn_id"})
    ui_color = "#e3f2e1"
    move_kind = ""
    operator_extra_links = (SLOLink(),)

    def __init__(
        self,
        *,
        model: str,
        version: str | None = None,
        alias: str = CHAMPION,
        expected_champion: str | None = None,
        model_registry_conn_id: str = "model_registry_default",
        registry_path: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model, self.version, self.alias, self.expected_champion = model, version, alias, expected_champion
        self.model_registry_conn_id, self.registry_path = model_registry_conn_id, registry_path
        self._set_in_dag = set_in_dag(
            self, "model", "version", "alias", "expected_champion", "model_registry_conn_id", "registry_path"
        )

    def _registry(self) -> ModelRegistry:
        from airflow_slo_provider.hooks.model_registry import ModelRegistryHook, directory_registry

        if self.registry_path:
            return directory_registry(self.registry_path)
        return ModelRegistryHook(self.model_registry_conn_id).get_conn()

    def _move(self, context: Context, evidence: Mapping[str, Any]) -> dict[str, Any]:
        """Move the alias, record the move, and return the result for XCom."""
        from airflow_slo_provider.deployment.registries.history import RegistryError
        from airflow_slo_provider.deployment.registries.registry import MoveRequest
        from airflow_slo_provider.results import Verdict
        from airflow_slo_provider.runtime.kubernetes_deployments import decided_at
        from airflow_slo_provider.runtime.recording.ledger_connection import run_key

        key = run_key(context)  # type: ignore[arg-type]
        wanted = MoveRequest(
            kind=self.move_kind,
            alias=self.alias,
            # The key has no try number, so that a retry finds the move of an earlier try.
            key="/".join((key.dag_id, key.run_id, key.task_id, str(key.map_index))),
            to=None if self.version is None else str(self.version),
            expected=ANY if self.expected_champion is None else str(self.expected_champion),
            since=decided_at(context),
            by=f"{key.dag_id}.{key.task_id}",
            evidence=evidence,
        )
        with non_retryable_errors():
            if self.move_kind == PROMOTE:
                # A promotion that cannot be recorded is not made; a rollback does not depend on the ledger.
                message = f"version {wanted.to} is about to be promoted"
                intended = self._check(context, Verdict.UNKNOWN, message, None, {"to": wanted.to, **evidence})
                record_intent(intended, context)  # type: ignore[arg-type]
            try:
                moved = self._registry().move(self.model, wanted)
            except RegistryError as error:
                if not error.transient:
                    self._record(context, Verdict.FAIL, str(error), None, {"reason": error.reason, **evidence})
                raise
            self.log.info("%s", moved.message)
            self._record(context, Verdict.PASS, moved.message, moved, evidence)
        found = {"model": moved.model, "alias": moved.alias, **_versions(moved)}
        found |= {"changed": moved.changed, "message": moved.message}
        events = context.get("outlet_events")
        for outlet in self.outlets if events is not None else ():
            events[outlet].extra = {name: found[name] for name in ("model", "alias", "from", "to")}
        return found

    def _record(self, context: Context, verdict: Verdict, message: str, moved: Moved | None, evidence: Mapping[str, Any]) -> None:
        record([self._check(context, verdict, message, moved, evidence)], context)  # type: ignore[arg-type]

    def _check(
        self, context: Context, verdict: Verdict, message: str, moved: Moved | None, evidence: Mapping[str, Any]
    ) -> CheckResult:
        from airflow_slo_provider.results import CheckResult

        return CheckResult(
            kind=self.move_kind,
            name=f"{self.model}@{self.alias}",
            verdict=verdict,
            message=message,
            model_version=None if moved is None else moved.after,
            interval_start=context.get("data_interval_start"),
            interval_end=context.get("data_interval_end"),
            evidence={**({} if moved is None else _versions(moved)), **evidence},
        )


def _versions(moved: Moved) -> dict[str, Any]:
    return {"from": moved.before, "to": moved.after, "now": moved.current}


class PromoteModelOperator(_MoveOperator):
    """Promote a model version to champion and record the previous champion.

    A version that failed its evaluation is not promoted. With ``expected_champion`` the alias is moved only while it points to
    that version, so that a candidate does not replace a champion with which it was not compared. A retried task does not
    promote twice. The XCom holds ``from``, ``to``, ``changed``, ``now``.

    .. code-block:: python

        PromoteModelOperator(
            task_id="promote",
            model="fraud",
            version="{{ params.version }}",
            expected_champion="{{ params.champion }}",
            evaluation=evaluate.output,
            gate="gate",
        )

    :param model: the registered model. (templated)
    :param version: the version to promote. (templated)
    :param alias: the alias to move. (templated)
    :param expected_champion: the version with which the candidate was compared; an empty text means that there is no champion
        yet, None accepts any champion. (templated)
    :param evaluation: XCom of a ``GoldenSetEvaluationOperator`` with ``model_version``, as ``evaluate.output``; unless its
        verdict is ``pass`` or ``warn`` for this version, the promotion is refused. (templated)
    :param model_registry_conn_id: connection of the registry. (templated)
    :param registry_path: directory of the registry (path or URI), instead of a connection. (templated)
    :param gate: task id of an upstream error-budget gate, branch or sensor, or its XCom ``decision``; nothing is changed unless
        it has allowed this run. (templated)
    :param allow_backfill: act also in a backfill run; by default such a run fails without a change

    The task fails without a retry if the promotion is not possible (no such version, another champion by now, an evaluation
    that did not pass) or if an argument set in the DAG renders to None or an empty string (a missing XCom); if the registry
    does not answer, the task is retried.
    """

    template_fields: Sequence[str] = (*_MoveOperator.template_fields, "evaluation")
    move_kind = PROMOTE

    def __init__(self, *, model: str, version: str, evaluation: Any = None, **kwargs: Any) -> None:
        super().__init__(model=model, version=version, **kwargs)
        self.evaluation = evaluation
        self._evaluated = set_in_dag(self, "evaluation")

    def execute(self, context: Context) -> dict[str, Any]:
        """Check the gate and the evaluation, move the alias, and record the move.

        :param context: Airflow's task context
        :raises AirflowFailException: if the gate or the evaluation does not allow the promotion, or a retry does not help
        """
        self.require_permission(context)
        if not self.version or str(self.version).lower() == "none":
            raise AirflowFailException(f"version of {self.model} is {self.version!r}; name the version to promote")
        require(self, self._set_in_dag, may_be_empty=("expected_champion",))
        evidence: dict[str, Any] = {}
        if self.evaluation is not None or self._evaluated.of(self):
            if self.evaluation is None:
                return self._refuse(context, "its evaluation is missing: the upstream task has pushed no XCom", {})
            if not isinstance(self.evaluation, Mapping) or "verdict" not in self.evaluation:
                why = "is text, as a template renders it" if isinstance(self.evaluation, str) else "has no verdict"
                why += "; pass the task's XCom itself: evaluation=evaluate.output"
                return self._refuse(context, f"the evaluation {why}: {str(self.evaluation)[:200]!r}", {})
            keep = ("verdict", "report", "golden_set_hash", "model_version")
            evidence = {name: self.evaluation[name] for name in keep if self.evaluation.get(name) is not None}
            if self.evaluation["verdict"] not in ("pass", "warn"):
                return self._refuse(context, f"its evaluation ended with {self.evaluation['verdict']}", evidence)
            judged = self.evaluation.get("model_version")
            if judged is None:
                return self._refuse(context, "the evaluation names no version; set model_version= of its task", evidence)
            if str(judged) != str(self.version):
                return self._refuse(context, f"the evaluation is of version {judged}", evidence)
        return self._move(context, evidence)

    def _refuse(self, context: Context, why: str, evidence: Mapping[str, Any]) -> dict[str, Any]:
        from airflow_slo_provider.results import Verdict

        message = f"{self.model} {self.version} is not promoted: {why}"
        with non_retryable_errors():
            self._record(context, Verdict.FAIL, message, None, {"reason": "evaluation", **evidence})
        raise AirflowFailException(message)


class RollbackModelOperator(_MoveOperator):
    """Move the alias back to the previous champion, as recorded when the current one was promoted.

    A second rollback in a run that began later goes back one more version. A retried task does not go back twice, and neither
    do two runs that both began before the first rollback (two alerts about one release), unless ``expected_champion`` names the
    current version. The XCom holds ``from``, ``to``, ``changed``, ``now``.

    :param model: the registered model. (templated)
    :param version: the version to go back to; by default the recorded predecessor. (templated)
    :param alias: the alias to move. (templated)
    :param expected_champion: the version that is to be rolled back; the alias is not moved if it points to another version by
        now. (templated)
    :param reason: reason of the rollback, for the ledger. (templated)
    :param model_registry_conn_id: connection of the registry. (templated)
    :param registry_path: directory of the registry (path or URI), instead of a connection. (templated)
    :param gate: task id of an upstream error-budget gate, branch or sensor, or its XCom ``decision``; nothing is changed unless
        it has allowed this run. (templated)
    :param allow_backfill: act also in a backfill run; by default such a run fails without a change

    The task fails without a retry if the rollback is not possible (no such version or predecessor, another champion by now). It
    also fails without a retry if an argument set in the DAG renders to None or an empty string (a missing XCom, an empty
    template), which is not taken for the default. If the registry does not answer, the task is retried.
    """

    template_fields: Sequence[str] = (*_MoveOperator.template_fields, "reason")
    text_fields = _MoveOperator.text_fields | {"reason"}
    move_kind = ROLLBACK

    def __init__(self, *, reason: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.reason = reason

    def execute(self, context: Context) -> dict[str, Any]:
        """Check the gate, move the alias back, and record the move.

        :param context: Airflow's task context
        :raises AirflowFailException: if the gate does not allow the rollback, or a retry does not help
        """
        self.require_permission(context)
        require(self, self._set_in_dag)
        return self._move(context, {"why": self.reason} if self.reason else {})
