"""What a policy's mild actions do: a decision that the serving code reads, and an asset event for whoever wants to know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_slo_provider.operators.document_parameters import DocumentFields
from airflow_slo_provider.operators.gated_operator import ActingOperator
from airflow_slo_provider.operators.text_template_fields import TextFields
from airflow_slo_provider.runtime.recording.checks import failing_over_values
from airflow_slo_provider.runtime.required_parameters import given, require

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_slo_provider.slo.budget.reports import Decision


_LOCAL = ("file", "local", "")


class _WritesDecision(TextFields):
    """Writes the decision document, and tells of it in the events of its outlets."""

    def write(
        self,
        context: Any,
        *,
        path: str,
        action: str,
        reasons: Sequence[str],
        valid_for: timedelta,
        slos: Mapping[str, str],
        held_by: str | None,
        at: datetime | None = None,
        allow_backfill: bool = False,
    ) -> dict[str, Any]:
        """Write a decision and return what XCom keeps of it. In a run of a backfill, which is about the past, nothing is written,
        nor is a decision about a partition so old that it would have expired.

        :param held_by: who asks for it, and takes back no more than that; None for one who decides for all
        :raises ReasonedError: transient, when a later decision holds already; decided anew, this one may be the latest
        """
        import json

        from airflow_slo_provider.incidents.serving import document, holding, read_decision
        from airflow_slo_provider.runtime.evaluation_time import is_backfill
        from airflow_slo_provider.runtime.files.decisions import alone, replace
        from airflow_slo_provider.runtime.files.object_storage import object_path

        file = object_path(path)
        ti = context["ti"]
        source = f"{ti.dag_id}/{ti.run_id}/{ti.task_id}{_mapped(ti)}"
        now = datetime.now(UTC)
        decided = at or now
        written = (allow_backfill or not is_backfill(context)) and decided + valid_for > now
        if written:
            file.parent.mkdir(parents=True, exist_ok=True)
        with alone(file, writing=written):
            held = holding(file)
            # A try that died after it had written must not hide the change from the one that repeats it.
            own = next(
                (entry for entry in held if entry.get("source") == source and entry["action"] == action and "before" in entry),
                None,
            )
            before = str(own["before"]) if own else read_decision(file).action
            others = [entry for entry in held if held_by and entry.get("held_by", "") != held_by]
            with failing_over_values():
                made = document(
                    action,
                    reasons=reasons,
                    at=decided,
                    until=decided + valid_for,
                    source=source,
                    slos=slos,
                    held_by=held_by or "",
                    before=before,
                    beside=others,
                )
            if written:
                _refuse_if_later(path, [entry for entry in held if entry not in others], decided)
                replace(file, json.dumps(made, indent=2, allow_nan=False) + "\n")
        self.log.info("%s: %s (before: %s), until %s: %s", path, action, before, made["valid_until"], "; ".join(reasons))
        if others:
            who = ", ".join(f"{entry.get('held_by') or entry['source']}: {entry['action']}" for entry in others)
            self.log.info("Others ask for something too (%s); together it is %s", who, made["action"])
        if not written:
            self.log.warning("This run is about the past, %s: %s is left as it is", decided.isoformat(), path)
        told = {
            "action": action,
            "effective": made["action"],
            "before": before,
            "changed": written and before != made["action"],
            "written": written,
            "experiments": made["experiments"],
            "degraded": made["degraded"],
            "valid_until": made["valid_until"],
            "path": path,
            "message": f"{action}: {'; '.join(reasons)}"[:500],
        }
        for outlet in self.outlets:
            context["outlet_events"][outlet].extra = {
                key: told[key] for key in ("action", "effective", "before", "changed", "written", "valid_until", "path")
            }
        return told


class ServingDecisionOperator(_WritesDecision, ActingOperator):
    """Tells the serving code to stop experiments, to serve a simpler answer, or to go back to normal.

    The model server reads the document with :func:`airflow_slo_provider.incidents.serving.read_decision`. A run of a backfill
    fails without writing one, and a later decision is not replaced. With ``held_by`` several incidents and policies may ask for
    something in one document: all of it holds, and each takes back only what it asked for.

    :param decision_path: path of the document, or a URI such as ``s3://conn_id@bucket/decision.json``. (templated)
    :param action: ``allow``, ``reduce_experimentation``, ``degrade`` or another action of a policy. (templated)
    :param reason: why, in a sentence. (templated)
    :param held_by: who asks for it, such as ``{{ ti.dag_id }}/{{ run_id }}``; None to decide for all. (templated)
    :param valid_for: how long it holds; afterwards the serving code is back to normal, without experiments
    :param gate: task id of an error-budget gate, branch or sensor upstream, or its XCom ``decision``; without a decision of this
        run that allows, nothing is changed. (templated)
    :param allow_backfill: act also in a run of a backfill; by default such a run fails without a change
    :raises ValueError: when the DAG is read, for an action or a time that is none
    """

    template_fields: Sequence[str] = (*ActingOperator.template_fields, "decision_path", "action", "reason", "held_by")
    text_fields = frozenset({"decision_path", "action", "reason", "held_by"})

    def __init__(
        self,
        *,
        decision_path: str,
        action: str,
        reason: str,
        held_by: str | None = None,
        valid_for: timedelta = timedelta(hours=4),
        **kwargs: Any,
    ) -> None:
        from airflow_slo_provider.incidents.serving import ACTIONS

        super().__init__(**kwargs)
        if "{{" not in action and action not in ACTIONS:
            raise ValueError(f"{self.task_id}: action={action!r}; write one of {', '.join(ACTIONS)}")
        if valid_for <= timedelta(0):
            raise ValueError(f"{self.task_id}: valid_for must be positive")
        self.decision_path = decision_path
        self.action = action
        self.reason = reason
        self.held_by = held_by
        self.valid_for = valid_for
        self._given = given(self, "decision_path", "action", "held_by")

    def execute(self, context: Context) -> dict[str, Any]:
        """Write the decision."""
        self.require_leave(context)
        require(self, self._given)  # without held_by it would take back what others ask for
        return self.write(
            context,
            path=self.decision_path,
            action=self.action,
            reasons=[self.reason],
            valid_for=self.valid_for,
            slos={},
            held_by=self.held_by,
            allow_backfill=self.allow_backfill,
        )


class PolicyDecisionOperator(DocumentFields, _WritesDecision):
    """Evaluates SLOs and puts what their policies ask for into effect: writes the decision that the serving code reads.

    ==========================  ======================================================================================
    action                      what the document says
    ==========================  ======================================================================================
    allow, alert                experiments may run, the full answer is served
    reduce_experimentation      no experiments
    degrade                     no experiments, a simpler answer
    escalate, freeze            no experiments; deployments are the gate's business (``ErrorBudgetBranchOperator``)
    ==========================  ======================================================================================

    A budget of which nothing is known stops experiments and degrades nothing: the document says ``freeze``. A fault that may
    pass is retried first. An override of the policy holds as long as it says, and not a minute longer. The document expires by
    itself after ``valid_for``: schedule the DAG more often than that. With an asset in ``outlets``, its event tells the action.
    A run of a backfill is about the past: it decides and records, and leaves the document as it is (``written`` in XCom). A later
    decision is not replaced, nor what an incident asks for in the same document.

    :param slos: SLO documents: a path (a relative one: beside the DAG file), a URI, the text itself, or a list. (templated)
    :param select: names of the SLOs to look at, or a function that chooses them; all by default. (templated)
    :param decision_path: path of the document, or a URI such as ``s3://conn_id@bucket/decision.json``. (templated)
    :param valid_for: how long a decision holds
    :raises ValueError: when the DAG is read, for a time that is none
    """

    template_fields: Sequence[str] = (*DocumentFields.template_fields, "decision_path")
    #: It leaves the XCom ``decision``, which ``gate=`` of what acts takes.
    leaves_decision: ClassVar[bool] = True
    text_fields = frozenset({"decision_path"})

    def __init__(
        self,
        *,
        decision_path: str,
        valid_for: timedelta = timedelta(hours=1),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if valid_for <= timedelta(0):
            raise ValueError(f"{self.task_id}: valid_for must be positive")
        self.decision_path = decision_path
        self.valid_for = valid_for

    def execute(self, context: Context) -> dict[str, Any]:
        """Decide, write, tell."""
        from airflow_slo_provider.runtime.error_budget.decision import evaluate_gate, raise_unless_acceptable
        from airflow_slo_provider.slo.budget.reports import Outcome
        from airflow_slo_provider.slo.policy.error_budget_policy import Action

        require(self, self._given)
        decision = evaluate_gate(context, slos=self.slos, select=self.select, log=self.log, accepts_unknown=True)
        if not decision.allowed:
            raise_unless_acceptable(decision, context, acceptable=True)
        action = Action.FREEZE if decision.outcome is Outcome.UNKNOWN else decision.action
        return self.write(
            context,
            path=self.decision_path,
            action=action.value,
            reasons=decision.reasons or ("all budgets are healthy",),
            valid_for=min([self.valid_for, *self._overridden_for(decision)]),
            slos={one.report.name: one.report.status.value for one in decision.slos},
            held_by=f"{context['ti'].dag_id}.{self.task_id}{_mapped(context['ti'])}",
            at=decision.at,
        )

    def _overridden_for(self, decision: Decision) -> list[timedelta]:
        """How long the overrides last that the decision follows: the document must not outlive them."""
        from airflow_slo_provider.runtime.error_budget.decision import read_documents

        catalog = read_documents(self.slos)
        found = [(one.report, each) for one in decision.slos for each in catalog.policy_of(one.report.slo).overrides]
        return [
            each.until - decision.at
            for report, each in found
            if decision.at < each.until and (not each.slos or report.slo.name in each.slos)
        ]


def _mapped(ti: Any) -> str:
    """Which of the mapped task instances it is; each speaks for itself."""
    return f"[{ti.map_index}]" if (ti.map_index or 0) >= 0 and ti.map_index is not None else ""


def _refuse_if_later(path: str, replaced: Sequence[Mapping[str, Any]], decided: datetime) -> None:
    from airflow_slo_provider.exceptions import ReasonedError

    latest = max((datetime.fromisoformat(one["decided_at"]) for one in replaced if one.get("decided_at")), default=decided)
    if latest > decided:
        raise ReasonedError(
            f"{path} holds a decision of {latest.isoformat()}, later than this one of {decided.isoformat()}: "
            "it stays. Where no other run wrote it, compare the clocks of the workers",
            reason="later_decision",
            transient=True,
        )
