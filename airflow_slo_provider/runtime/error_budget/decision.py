"""Make the decision of error-budget operators and sensors: read documents, measure, decide, log, record, push to XCom.

A decision is in the task log, in the ledger and in XCom before a task acts on it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.exceptions import InvalidMeasurement, MeasurementError, NoData
from airflow_slo_provider.runtime.recording.checks import non_retryable_errors, non_retryable_value_errors

if TYPE_CHECKING:
    from airflow_slo_provider.ledger import Ledger, RunKey
    from airflow_slo_provider.slo.budget.reports import Decision
    from airflow_slo_provider.slo.catalog import Selection, SLOCatalog

#: SLO documents: a file, a directory, the text itself, or several of these.
Documents = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

#: XCom key of the decision.
XCOM_KEY = "decision"

#: Reasons of a bad answer to a correct query. Every other permanent error is an error in the query or the configuration, which
#: neither a retry nor an approval behind ``if_unknown`` can fix, but only the author of the document.
_BROKEN_ANSWERS = frozenset({"not_json", "unexpected_shape", "contradictory_answer", "repeated_key", "not_a_number"})


def evaluate_gate(
    context: Mapping[str, Any],
    *,
    slos: Documents,
    select: Selection | None = None,
    group: Mapping[str, str] | None = None,
    at: datetime | str | None = None,
    log: Any,
    include_own: bool = False,
    accepts_unknown: bool = False,
    satisfied: Callable[[Decision], bool] | None = None,
) -> Decision:
    """Read the documents, measure and decide; log the decision, record it and push it to XCom.

    A completed decision of an earlier try of this task instance stays in the ledger and counts as an earlier decision: a
    cleared task starts from the freeze that it had decided. A record of an earlier try that reached no decision is replaced.

    :param context: Airflow's task context
    :param slos: the documents
    :param select: which of their SLOs; all by default
    :param group: values of labels: only these groups of the SLOs
    :param at: evaluation timestamp; see :mod:`airflow_slo_provider.runtime.evaluation_time`
    :param log: the task's logger
    :param include_own: whether rows that this task instance recorded earlier count as earlier decisions. They do for a sensor,
        which evaluates repeatedly; a retry of a gate must ignore the try that it replaces.
    :param accepts_unknown: whether the caller goes on with the outcome ``unknown``, so that this decision is complete
    :param satisfied: returns whether the decision is sufficient for the caller; by default, whether it allows a deployment. The
        XCom holds the result, so that a sensor that timed out and was marked as success still counts as not satisfied
    :raises AirflowFailException: for documents with errors, a wrong selection or a wrong timestamp, which a retry cannot fix
    :raises LedgerError: transient, if the ledger cannot be read or written, because a decision that is not recorded is invalid
    """
    from airflow_slo_provider.ledger.mapped_task_names import index_text
    from airflow_slo_provider.runtime.error_budget.evaluation_deadline import evaluation_deadline
    from airflow_slo_provider.runtime.evaluation_time import evaluation_time
    from airflow_slo_provider.runtime.recording.ledger_connection import environment_text, map_label, open_default_ledger, run_key
    from airflow_slo_provider.slo.budget.ledger_records import decision_check, slo_checks, summary
    from airflow_slo_provider.slo.budget.text_table import format_decision

    key = run_key(context)
    name = f"{key.dag_id}.{key.task_id}"
    with non_retryable_errors(), non_retryable_value_errors():
        catalog = read_documents(slos)
        for warning in catalog.warnings:
            log.warning("%s", warning)
        time = evaluation_time(at, context)
        log.info("Judged at %s: %s", time.at.isoformat() if time.at else f"now={datetime.now(UTC).isoformat()}", time.origin)
        with open_default_ledger() as ledger:
            own = None if include_own else replace(key, attempt=ledger.attempt(key, name=name))
            decision = evaluate(
                catalog, select=select, group=group, at=time.at, ledger=ledger, exclude_key=own,
                deadline=evaluation_deadline(context),
            )  # fmt: skip
            for line in format_decision(decision).splitlines():
                log.info("%s", line)
            storage = {"ledger": ledger.where, "environment": ledger.environment}
            log.info("Recorded in the ledger %s%s", ledger.where, environment_text(ledger))
            complete = is_complete(decision, context, accepts_unknown=accepts_unknown)
            check = decision_check(decision, name=name, more={"complete": complete, **storage, **map_label(context)})
            if key.map_index >= 0:
                log.info("This is the decision of %s%s", check.name, index_text(key, check.evidence))
            ledger.record_decision([*slo_checks(decision), check], key, name=name)
    # Origin and time of the decision, so that an operator that gets it rejects decisions of other runs and old ones.
    origin = {"dag_id": key.dag_id, "run_id": key.run_id, "task_id": key.task_id, "map_index": key.map_index}
    enough = decision.allowed and (satisfied is None or satisfied(decision))
    value = {**summary(decision), **storage, **origin, "satisfied": enough, "decided_at": datetime.now(UTC).isoformat()}
    context["ti"].xcom_push(key=XCOM_KEY, value=value)
    return decision


def read_documents(slos: Documents) -> SLOCatalog:
    """Read SLO documents from files, object stores or text.

    :param slos: the documents
    :raises DocumentError: with every error in the documents
    :raises QueryError: if an object store cannot be read
    :raises ValueError: for an invalid ``[slo] sloth_period``
    """
    from airflow_slo_provider.runtime.error_budget.sloth_period import configured_sloth_period
    from airflow_slo_provider.runtime.files.documents import read_stored
    from airflow_slo_provider.slo import load

    return load(read_stored(slos), sloth_period=configured_sloth_period())


def evaluate(
    catalog: SLOCatalog,
    *,
    ledger: Ledger,
    select: Selection | None = None,
    group: Mapping[str, str] | None = None,
    at: datetime | None = None,
    exclude_key: RunKey | None = None,
    deadline: float | None = None,
) -> Decision:
    """Measure the SLOs of a catalog through Airflow's connections and decide, taking earlier decisions into account.

    :param catalog: the SLO documents
    :param ledger: holds the earlier decisions; nothing is written
    :param select: which of the SLOs; all by default
    :param group: values of labels: only these groups of the SLOs
    :param at: evaluation timestamp (aware); now if None
    :param exclude_key: a task instance whose own rows are ignored
    :param deadline: maximum time for measuring in seconds; ``[slo] evaluation_deadline`` by default
    :raises ValueError: for a selection that selects nothing or names an unknown SLO, and for a naive timestamp
    :raises LedgerError: if the earlier decisions cannot be read
    """
    from airflow_slo_provider.runtime.error_budget.evaluation_deadline import evaluation_deadline
    from airflow_slo_provider.runtime.error_budget.indicator_sources import sources
    from airflow_slo_provider.runtime.error_budget.previous_decisions import PreviousDecisions
    from airflow_slo_provider.slo.budget.monitor import SLOMonitor
    from airflow_slo_provider.slo.policy.decisions import decide

    about_now = at is None
    with sources(ledger) as source:
        monitor = SLOMonitor(catalog, source, deadline=deadline or evaluation_deadline())
        evaluation = monitor.prepare(at, select, group=group)
        decisions = PreviousDecisions(ledger, evaluation.at, about_now, exclude_key)
        if not group:
            vanished = decisions.blocked_groups(evaluation.slos, lambda slo: catalog.policy_of(slo).cool_down)
            evaluation = replace(evaluation, slos=(*evaluation.slos, *vanished))
        previous = decisions.states(evaluation.slos)
        held = [name for name, state in previous.items() if state.holding]
        reports = monitor.measure(evaluation, covering=held)
    return decide(reports, catalog, previous=previous)


def is_request_error(error: MeasurementError) -> bool:
    """Return whether an error is about the request and not the answer: a refused query, wrong credentials, a wrong connection.

    :param error: the error
    """
    if error.transient or isinstance(error, (NoData, InvalidMeasurement)):
        return False
    return error.reason not in _BROKEN_ANSWERS


def raise_for_request_errors(decision: Decision) -> None:
    """Fail if a request was wrong, which neither a retry nor waiting fixes.

    :param decision: a decision that blocks
    :raises AirflowFailException: for a wrong request, and if no SLO that gates was evaluated
    """
    from airflow.sdk.exceptions import AirflowFailException

    if not any(slo.gates for slo in decision.slos):
        raise AirflowFailException("; ".join(decision.reasons))
    error = next((error for error in _errors(decision).values() if is_request_error(error)), None)
    if error is not None:
        raise AirflowFailException(_message(decision)) from error


def raise_unless_acceptable(decision: Decision, context: Mapping[str, Any], *, acceptable: bool) -> None:
    """Raise the fitting exception if SLOs could not be measured; return if the caller may go on with the decision.

    - A budget that was measured and stops the deployment is a decision, even if others could not be measured.
    - A wrong request fails at once: it stays wrong, and following a branch for the unknown would hide it permanently.
    - A transient error is left to Airflow's retries while tries are left, and is acceptable on the last try.
    - Missing data and contradictory numbers are acceptable or fail at once.

    :param decision: a decision that blocks: ``unknown``, or ``frozen`` (possibly only from an earlier decision)
    :param context: Airflow's task context
    :param acceptable: whether the caller has a branch for this decision
    :raises AirflowFailException: if a retry would not help
    :raises MeasurementError: transient, if it may help
    """
    from airflow.sdk.exceptions import AirflowFailException

    raise_for_request_errors(decision)
    fault = next((error for error in _errors(decision).values() if error.transient), None)
    if fault is not None and (context["ti"].try_number <= context["ti"].max_tries or not acceptable):
        raise MeasurementError(_message(decision), reason=fault.reason, transient=True, http_status=fault.http_status) from fault
    if not acceptable:
        raise AirflowFailException(_message(decision))


def is_complete(decision: Decision, context: Mapping[str, Any], *, accepts_unknown: bool) -> bool:
    """Return whether a task goes on with a decision, so that no later try replaces its record.

    :param decision: the decision
    :param context: Airflow's task context
    :param accepts_unknown: whether the caller has a branch for ``unknown``
    """
    from airflow.sdk.exceptions import AirflowFailException

    from airflow_slo_provider.slo.budget.reports import GateOutcome

    if decision.allowed:
        return True
    try:
        raise_unless_acceptable(decision, context, acceptable=accepts_unknown or decision.outcome is GateOutcome.FROZEN)
    except (AirflowFailException, MeasurementError):
        return False
    return True


def _errors(decision: Decision) -> dict[str, MeasurementError]:
    """Return the errors of blocking objectives by name; empty if a measured objective blocks anyway."""
    from airflow_slo_provider.slo.budget.reports import GateOutcome

    blocking = [slo for slo in decision.slos if slo.gates and slo.outcome in (GateOutcome.UNKNOWN, GateOutcome.FROZEN)]
    if any(slo.outcome is GateOutcome.FROZEN and slo.report.error is None for slo in blocking):
        return {}
    return {slo.report.name: slo.report.error for slo in blocking if slo.report.error is not None}


def _message(decision: Decision) -> str:
    errors = [f"{name}: {error}" for name, error in _errors(decision).items()]
    return "the error budget is unknown: " + "; ".join(errors or decision.reasons)
