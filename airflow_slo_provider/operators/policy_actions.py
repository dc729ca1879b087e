"""Operators that write the serving decision of a policy: a document that the serving code reads, and an asset event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_slo_provider.exceptions import ReasonedError
from airflow_slo_provider.operators.document_parameters import DocumentFields
from airflow_slo_provider.operators.gated_operator import ActingOperator
from airflow_slo_provider.operators.text_template_fields import TextFields
from airflow_slo_provider.runtime.recording.checks import non_retryable_value_errors
from airflow_slo_provider.runtime.required_parameters import require, set_in_dag

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_slo_provider.slo.budget.reports import Decision


class _DecisionWriter(TextFields):
    """Base class that writes the decision document and reports it in the events of its outlets."""

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
        """Write a decision and return its summary for XCom.

        Nothing is written in a backfill run, which is about the past, and for a decision about a partition so old that it would
        already have expired.

        :param context: Airflow's task context
        :param path: path or URI of the document
        :param action: action of the policy
        :param reasons: reasons of the decision
        :param valid_for: how long the decision is valid, from ``at``
        :param slos: status by SLO name, for the document
        :param held_by: name of the requester, who can only withdraw its own request; None to decide for all
        :param at: timestamp of the decision (aware); now by default
        :param allow_backfill: write also in a backfill run
        :raises ReasonedError: transient, if the document already holds a later decision; a retry decides again and may be the
            latest
        """
        import json

        from airflow_slo_provider.incidents.serving import decision_document, read_decision, valid_decisions
        from airflow_slo_provider.runtime.evaluation_time import is_backfill
        from airflow_slo_provider.runtime.files.decisions import exclusive_lock, replace_file
        from airflow_slo_provider.runtime.files.object_storage import object_path

        file = object_path(path)
        ti = context["ti"]
        source = f"{ti.dag_id}/{ti.run_id}/{ti.task_id}{_map_index_suffix(ti)}"
        decided = at or datetime.now(UTC)
        written = (allow_backfill or not is_backfill(context)) and decided + valid_for > datetime.now(UTC)
        if written:
            file.parent.mkdir(parents=True, exist_ok=True)
        with exclusive_lock(file, writing=written):
            held = valid_decisions(file)
            # If an earlier try died after writing, this try reports the state before that write.
            own = (entry for entry in held if (entry.get("source"), entry["action"]) == (source, action))
            before = next((str(entry["before"]) for entry in own if "before" in entry), None) or read_decision(file).action
            others = [entry for entry in held if held_by and entry.get("held_by", "") != held_by]
            with non_retryable_value_errors():
                decision = decision_document(
                    action, reasons=reasons, at=decided, until=decided + valid_for, source=source, slos=slos,
                    held_by=held_by or "", before=before, beside=others,
                )  # fmt: skip
            if written:
                _check_not_later(path, [entry for entry in held if entry not in others], decided)
                replace_file(file, json.dumps(decision, indent=2, allow_nan=False) + "\n")
        self.log.info("%s: %s (before: %s), until %s: %s", path, action, before, decision["valid_until"], "; ".join(reasons))
        if others:
            requests = ", ".join(f"{entry.get('held_by') or entry['source']}: {entry['action']}" for entry in others)
            self.log.info("There are other requests (%s); the combined action is %s", requests, decision["action"])
        if not written:
            self.log.warning("This run is about the past, %s: %s is not changed", decided.isoformat(), path)
        summary = {
            "action": action,
            "effective": decision["action"],
            "before": before,
            "changed": written and before != decision["action"],
            "written": written,
            "valid_until": decision["valid_until"],
            "path": path,
        }
        for outlet in self.outlets:
            context["outlet_events"][outlet].extra = dict(summary)
        message = f"{action}: {'; '.join(reasons)}"[:500]
        return {**summary, "experiments": decision["experiments"], "degraded": decision["degraded"], "message": message}


class ServingDecisionOperator(_DecisionWriter, ActingOperator):
    """Write a serving decision: stop experiments, serve a simpler answer, or return to normal.

    The model server reads the document with :func:`airflow_slo_provider.incidents.serving.read_decision`. A backfill run fails
    without writing, and a later decision is not replaced. With ``held_by`` several incidents and policies can put requests into
    one document: all of them apply, and each can withdraw only its own.

    :param decision_path: path of the document, or a URI such as ``s3://conn_id@bucket/decision.json``. (templated)
    :param action: ``allow``, ``reduce_experimentation``, ``degrade`` or another action of a policy. (templated)
    :param reason: the reason, as a sentence. (templated)
    :param held_by: name of the requester, such as ``{{ ti.dag_id }}/{{ run_id }}``; None to decide for all. (templated)
    :param valid_for: how long the decision is valid; afterwards the serving code returns to normal, without experiments
    :param gate: task id of an upstream error-budget gate, branch or sensor, or its XCom ``decision``; nothing is changed unless
        it has allowed this run. (templated)
    :param allow_backfill: act also in a backfill run; by default such a run fails without a change
    :raises ValueError: when the DAG file is parsed, for an unknown action, or a ``valid_for`` that is not positive
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
        self.decision_path, self.action, self.reason = decision_path, action, reason
        self.held_by, self.valid_for = held_by, valid_for
        self._set_in_dag = set_in_dag(self, "decision_path", "action", "held_by")

    def execute(self, context: Context) -> dict[str, Any]:
        """Write the decision.

        :param context: Airflow's task context
        :return: a summary of the decision
        """
        self.require_permission(context)
        require(self, self._set_in_dag)  # a held_by that renders to nothing would withdraw the requests of others
        return self.write(
            context, path=self.decision_path, action=self.action, reasons=[self.reason], valid_for=self.valid_for, slos={},
            held_by=self.held_by, allow_backfill=self.allow_backfill,
        )  # fmt: skip


class PolicyDecisionOperator(DocumentFields, _DecisionWriter):
    """Evaluate SLOs and write the action of their policies as a decision that the serving code reads.

    ==========================  ======================================================================================
    action                      content of the document
    ==========================  ======================================================================================
    allow, alert                experiments may run, the full answer is served
    reduce_experimentation      no experiments
    degrade                     no experiments, a simpler answer
    escalate, freeze            no experiments; the gate blocks deployments (``ErrorBudgetBranchOperator``)
    ==========================  ======================================================================================

    An unknown budget stops experiments and degrades nothing: the document says ``freeze``. A transient error is retried first.
    The document never outlives an override of the policy. It expires after ``valid_for``: schedule the DAG more often than
    that. With an asset in ``outlets``, its event holds the action.
    A backfill run is about the past: it decides and records, and does not change the document (``written`` in XCom is false). A
    later decision is not replaced, and neither are the requests of incidents in the same document.

    :param slos: SLO documents: a path (a relative path starts at the folder of the DAG file), a URI, the text itself, or a
        list. (templated)
    :param select: names of the SLOs to evaluate, or a function that selects them; all by default. (templated)
    :param decision_path: path of the document, or a URI such as ``s3://conn_id@bucket/decision.json``. (templated)
    :param valid_for: how long a decision is valid
    :raises ValueError: when the DAG file is parsed, for a ``valid_for`` that is not positive
    """

    template_fields: Sequence[str] = (*DocumentFields.template_fields, "decision_path")
    #: The operator pushes the XCom ``decision``, so it may be the ``gate=`` of an operator that changes something.
    leaves_decision: ClassVar[bool] = True
    text_fields = frozenset({"decision_path"})

    def __init__(self, *, decision_path: str, valid_for: timedelta = timedelta(hours=1), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if valid_for <= timedelta(0):
            raise ValueError(f"{self.task_id}: valid_for must be positive")
        self.decision_path, self.valid_for = decision_path, valid_for

    def execute(self, context: Context) -> dict[str, Any]:
        """Decide, record the decision, and write the document.

        :param context: Airflow's task context
        :return: a summary of the decision
        """
        from airflow_slo_provider.runtime.error_budget.decision import evaluate_gate, raise_unless_acceptable
        from airflow_slo_provider.slo.budget.ledger_records import statuses
        from airflow_slo_provider.slo.budget.reports import GateOutcome
        from airflow_slo_provider.slo.policy.error_budget_policy import Action

        require(self, self._set_in_dag)
        decision = evaluate_gate(context, slos=self.slos, select=self.select, log=self.log, accepts_unknown=True)
        if not decision.allowed:
            raise_unless_acceptable(decision, context, acceptable=True)
        action = Action.FREEZE if decision.outcome is GateOutcome.UNKNOWN else decision.action
        return self.write(
            context,
            path=self.decision_path,
            action=action.value,
            reasons=decision.reasons or ("all budgets are healthy",),
            valid_for=min([self.valid_for, *self._time_of_overrides(decision)]),
            slos=statuses(decision),
            held_by=f"{context['ti'].dag_id}.{self.task_id}{_map_index_suffix(context['ti'])}",
            at=decision.at,
        )

    def _time_of_overrides(self, decision: Decision) -> list[timedelta]:
        """Return how long the overrides last on which the decision depends, because the document must not outlive them."""
        from airflow_slo_provider.runtime.error_budget.decision import read_documents

        catalog = read_documents(self.slos)
        slos = [decided.report.slo for decided in decision.slos]
        return [
            override.until - decision.at
            for slo in slos
            for override in catalog.policy_of(slo).overrides
            if decision.at < override.until and override.covers(slo.key)
        ]


def _map_index_suffix(ti: Any) -> str:
    """Return the map index of a mapped task instance in brackets, because each instance is a requester of its own."""
    return f"[{ti.map_index}]" if (ti.map_index or 0) >= 0 and ti.map_index is not None else ""


def _check_not_later(path: str, replaced: Sequence[Mapping[str, Any]], decided: datetime) -> None:
    latest = max((datetime.fromisoformat(entry["decided_at"]) for entry in replaced if entry.get("decided_at")), default=decided)
    if latest > decided:
        raise ReasonedError(
            f"{path} holds a decision of {latest.isoformat()}, later than this one of {decided.isoformat()}, and is not changed. "
            "If no other run wrote it, compare the clocks of the workers",
            reason="later_decision",
            transient=True,
        )
