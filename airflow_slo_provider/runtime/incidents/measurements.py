"""Measurements of an incident's tasks: current burn rates, recovery, and impact."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.exceptions import MeasurementError, NoData

if TYPE_CHECKING:
    from airflow_slo_provider.incidents.postmortem import Impact
    from airflow_slo_provider.runtime.error_budget.decision import Documents
    from airflow_slo_provider.slo.budget.reports import SLOReport

#: Share of a rule's factor at or below which a short window is calm.
CALM = Fraction(1, 2)
#: Minimum number of events since a mitigation for a burn rate.
MIN_EVENTS = 10


def measure_now(slos: Documents, name: str) -> dict[str, Any]:
    """Measure an SLO now.

    :param slos: the SLO documents
    :param name: name of the SLO; ``service/name`` if services share it
    :return: its burn rates and budget, ``burning``, ``message``, and ``table`` for the log
    :raises MeasurementError: if the SLO cannot be measured
    """
    from airflow_slo_provider.runtime.error_budget.burn_watch import evidence_of, poll_result
    from airflow_slo_provider.slo.budget.text_table import table

    report = _measured_report(slos, name)
    result = poll_result(report, severity="ticket", rearm=CALM)
    return {
        **evidence_of(report),
        "burning": result.state.value == "burning",
        "message": report.message,
        "table": table([report]),
    }


def failing_versions(check: str, within: timedelta) -> dict[str, Fraction | None]:
    """Return the share of failed events by model version, from the recent ledger checks of a name.

    :param check: name of the checks
    :param within: maximum age of the checks
    :raises LedgerError: if the ledger cannot be read
    """
    from airflow_slo_provider.incidents.culprit import bad_event_shares
    from airflow_slo_provider.runtime.recording.ledger_connection import open_default_ledger

    with open_default_ledger() as ledger:
        rows = ledger.checks(name=check, since=datetime.now(UTC) - within, limit=10_000)
    return bad_event_shares(row.result for row in rows)


def measure_recovery(
    slos: Documents, name: str, context: Mapping[str, Any], *, at: datetime, settle: timedelta
) -> dict[str, Any]:
    """Return whether an SLO has recovered.

    :param slos: the SLO documents
    :param name: name of the SLO; ``service/name`` if services share it
    :param context: Airflow's task context
    :param at: evaluation timestamp (aware)
    :param settle: minimum time since the mitigation before its burn rate is used
    :return: ``recovered``, ``message``, and the measurements
    :raises MeasurementError: if the SLO cannot be measured
    """
    from airflow_slo_provider.incidents.incident_state import BurnState
    from airflow_slo_provider.runtime.error_budget.burn_watch import evidence_of, poll_result
    from airflow_slo_provider.runtime.error_budget.decision import read_documents
    from airflow_slo_provider.runtime.error_budget.indicator_sources import sources
    from airflow_slo_provider.slo.budget.interval_summary import measure_burn_rate

    since = last_mitigation(context)
    if since is not None:
        age = f"{(at - since).total_seconds():.0f} s"
        if at - since < settle:
            return {"recovered": False, "message": f"{age} since the mitigation: too early to determine it"}
        catalog = read_documents(slos)
        with sources() as source:
            try:
                rate = measure_burn_rate(catalog, source, name, since, at)
            except NoData as error:
                return {"recovered": False, "message": f"no measurement since the mitigation: {error.message}"}
            except ValueError:  # the SLO counts time slices
                rate = None
        if rate is not None and rate.value is not None:
            total = None if rate.total is None else float(rate.total)
            values = {"since": since.isoformat(), "burn_rate_since": float(rate.value), "events_since": total}
            message = f"the burn rate is {float(rate.value):.3g} since the mitigation {age} ago"
            if total is not None and total < MIN_EVENTS:
                return {"recovered": False, "message": f"{message}, of {total:g} events: too few to determine it", **values}
            return {"recovered": rate.value <= 1, "message": message, **values}
    report = _measured_report(slos, name)
    calm = poll_result(report, severity="ticket", rearm=CALM).state is BurnState.CALM
    message = "no burn-rate rule is near its factor" if calm else report.message
    return {"recovered": calm, "message": message, **evidence_of(report)}


def last_mitigation(context: Mapping[str, Any]) -> datetime | None:
    """Return when the last mitigation step of an operator was completed; None if there is none.

    :param context: Airflow's task context
    """
    from airflow_slo_provider.incidents.timeline import StepState
    from airflow_slo_provider.runtime.incidents.current_incident import current_incident, recorded_steps
    from airflow_slo_provider.runtime.recording.ledger_connection import open_default_ledger

    run = context["dag_run"]
    with open_default_ledger() as ledger:
        steps = recorded_steps(ledger, current_incident(context), dag_id=run.dag_id, run_id=run.run_id)
    ended = [
        step.ended_at for step in steps.values() if step.phase == "mitigation" and step.state is StepState.DONE and step.ended_at
    ]
    return max(ended, default=None)


def measure_impact(slos: Documents | None, name: str | None, start: datetime, end: datetime | None) -> Impact:
    """Measure the impact of an incident. A value that cannot be measured is reported as unknown, never as zero.

    :param slos: the SLO documents
    :param name: name of the SLO; ``service/name`` if services share it
    :param start: start of the incident (aware)
    :param end: its end (aware); now if None
    """
    from airflow_slo_provider.exceptions import SLOProviderError
    from airflow_slo_provider.incidents.postmortem import Impact
    from airflow_slo_provider.runtime.error_budget.decision import read_documents
    from airflow_slo_provider.runtime.error_budget.evaluation_deadline import evaluation_deadline
    from airflow_slo_provider.runtime.error_budget.indicator_sources import sources
    from airflow_slo_provider.slo.budget.interval_summary import measure_spent_budget
    from airflow_slo_provider.slo.budget.monitor import SLOMonitor

    if slos is None or not name:
        return Impact(problem="no SLO documents are set" if slos is None else "no SLO is named")
    until = end or datetime.now(UTC)
    try:
        catalog = read_documents(slos)
        with sources() as source:
            slo, part, _ = catalog.part(name)
            reports = SLOMonitor(catalog, source, deadline=evaluation_deadline()).evaluate(until, slo.key.qualified)
            report = next(report for report in reports if report.name == part)
            spent = measure_spent_budget(catalog, source, report, start, until)
    except (SLOProviderError, ValueError) as error:
        return Impact(problem=str(error))
    share, minutes = (None if value is None else float(value) for value in (spent.share, spent.minutes))
    return Impact(bad_events=float(spent.bad), total_events=float(spent.total), budget_spent=share, budget_minutes=minutes)


def _measured_report(slos: Documents, name: str) -> SLOReport:
    """Evaluate an SLO now.

    :raises MeasurementError: if there is no such SLO, or it cannot be measured
    """
    from airflow_slo_provider.runtime.error_budget.decision import read_documents
    from airflow_slo_provider.runtime.error_budget.evaluation_deadline import evaluation_deadline
    from airflow_slo_provider.runtime.error_budget.indicator_sources import sources
    from airflow_slo_provider.slo.budget.monitor import SLOMonitor

    catalog = read_documents(slos)
    try:
        slo, part, _ = catalog.part(name)
    except ValueError as error:
        raise MeasurementError(str(error), reason="unknown_slo") from None
    with sources() as source:
        reports = SLOMonitor(catalog, source, deadline=evaluation_deadline()).evaluate(select=slo.key.qualified)
    report = next(report for report in reports if report.name == part)
    if report.error is not None:
        raise report.error
    return report
