"""Find the incident of a DAG run, claim it in the ledger, and record its steps and the state of its triggers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.incidents.incident import BLIND, Incident, incident_id
from airflow_slo_provider.incidents.timeline import INCIDENT_KIND, STEP_KIND, StepRecord
from airflow_slo_provider.results import CheckResult, Verdict

if TYPE_CHECKING:
    from airflow_slo_provider.incidents.incident_state import WatchState
    from airflow_slo_provider.ledger import Ledger, RunKey

#: Key of the incident in a DAG run's ``conf``.
CONF_KEY = "incident"
#: Kind of check that holds which run handles an incident: one row for each DAG and incident, written once.
CLAIM_KIND = "incident_claim"
#: Kind of check that holds the state of a trigger.
WATCH_STATE_KIND = "incident_watch"


def incidents_of(context: Mapping[str, Any]) -> list[Incident]:
    """Return the incidents for which a run was started, from its ``conf`` or its asset events.

    Airflow may start one run for several events. Burning SLOs come first, ordered by time; repeated events of one incident
    count once.

    :param context: Airflow's task context
    :raises ValueError: for data that is not a valid incident
    """
    run = context.get("dag_run")
    from_conf = (getattr(run, "conf", None) or {}).get(CONF_KEY)
    if from_conf is not None:
        return [Incident.from_dict(from_conf)]
    found: dict[str, Incident] = {}
    events: Any = context.get("triggering_asset_events") or {}
    for event in (event for asset in events for event in events[asset]):
        extra = event.extra or {}
        payload = extra.get("payload", extra)
        if isinstance(payload, Mapping) and isinstance(payload.get("id"), str) and "kind" in payload:
            incident = Incident.from_dict(payload)
            found.setdefault(incident.id, incident)
    return sorted(found.values(), key=lambda incident: (incident.kind == BLIND, incident.started_at, incident.id))


def current_incident(context: Mapping[str, Any]) -> Incident:
    """Return the incident that this run handles. A run that was started by hand gets a new incident.

    :param context: Airflow's task context
    :raises AirflowFailException: if the run's data is not a valid incident
    """
    from airflow_slo_provider.runtime.recording.checks import non_retryable_value_errors

    with non_retryable_value_errors():
        found = incidents_of(context)
    if found:
        return found[0]
    run = context["dag_run"]
    # Not start_date, which changes if a finished run is cleared: its post-mortem would be about another incident.
    started = getattr(run, "run_after", None) or getattr(run, "start_date", None) or datetime.now(UTC)
    return Incident(id=incident_id(f"{run.dag_id}-{run.run_id}", started), started_at=started, message="started by hand")


def claim(ledger: Ledger, incident: Incident, key: RunKey, facts: Mapping[str, Any]) -> RunKey | None:
    """Claim an incident for this run, unless another run of the DAG already handles it.

    The database decides which run is first, because two concurrent runs, or runs on machines with different clocks, could not.
    The claim belongs to the run, so that a retry finds its own.

    :param ledger: the ledger
    :param incident: the incident
    :param key: key of the task instance
    :param facts: further evidence for the ledger
    :return: the task instance that already handles the incident; None if it is this one
    """
    from airflow_slo_provider.ledger import RunKey

    own = ledger.own(INCIDENT_KIND, incident.id, key)
    at = own.result.checked_at if own else datetime.now(UTC)  # a retry keeps the time of the first try
    claimant = {name: getattr(key, name) for name in ("run_id", "task_id", "map_index")}
    claimed = CheckResult(kind=CLAIM_KIND, name=incident.id, verdict=Verdict.UNKNOWN, checked_at=at, evidence=claimant)
    first = ledger.record_once(claimed, RunKey(key.dag_id, "claim", "claim")).result.evidence
    if first["run_id"] != key.run_id:
        # This run records no incident, because nothing would close it and the incidents page would show it as open forever.
        return RunKey(key.dag_id, first["run_id"], first["task_id"], first["map_index"])
    ledger.record([incident_check(incident, {**facts, "state": "open"}, at=at)], key)
    return None


def incident_check(
    incident: Incident, facts: Mapping[str, Any], *, at: datetime | None = None, verdict: Verdict = Verdict.UNKNOWN
) -> CheckResult:
    """Return the ledger's check for an incident; the newest check of an incident counts.

    :param incident: the incident
    :param facts: severity, state, steps, timeline, report ...
    :param at: timestamp of the check (aware); now by default
    :param verdict: verdict of the check
    """
    return CheckResult(
        kind=INCIDENT_KIND,
        name=incident.id,
        verdict=verdict,
        message=incident.message,
        checked_at=at or datetime.now(UTC),
        interval_start=incident.started_at,
        evidence={"slo": incident.value_at("slo"), "kind": incident.kind, "severity": incident.severity, **facts},
    )


def recorded_steps(ledger: Ledger, incident: Incident, *, dag_id: str, run_id: str) -> dict[str, StepRecord]:
    """Return the newest record of each step of a run, by step id.

    :param ledger: the ledger
    :param incident: the incident
    :param dag_id: id of the DAG
    :param run_id: id of the run
    """
    from airflow_slo_provider.ledger.queries.checks import of_run
    from airflow_slo_provider.ledger.store import MOST_ROWS

    found: dict[str, StepRecord] = {}
    for row in of_run(ledger, dag_id, run_id, limit=MOST_ROWS):  # newest first
        if row.result.kind == STEP_KIND and row.result.evidence.get("incident") == incident.id:
            record = StepRecord.from_check(row.result)
            found.setdefault(record.step_id, record)
    return found


def record_step(step: StepRecord, context: Mapping[str, Any]) -> None:
    """Record the state of a step in the ledger; a retried task has one record, the newest.

    :param step: the record
    :param context: Airflow's task context
    """
    from airflow_slo_provider.runtime.recording.checks import record

    record([step.to_check(current_incident(context))], context)


def load_watch_states(ledger: Ledger, watch: str) -> dict[str, WatchState]:
    """Return the stored state of a trigger by subject. An incident that a run handles counts as sent.

    :param ledger: the ledger
    :param watch: name of the trigger's state
    """
    from airflow_slo_provider.incidents.incident_state import WatchState

    rows = ledger.checks(WATCH_STATE_KIND, dag_id=_watch_key(watch, "").dag_id, limit=10_000, newest_first=False)
    found = {row.result.evidence["subject"]: WatchState.from_dict(row.result.evidence["memory"]) for row in rows}
    for subject, state in found.items():
        if state.incident is not None and not state.sent and ledger.latest(INCIDENT_KIND, state.incident.id) is not None:
            found[subject] = replace(state, sent=True)
    return found


def save_watch_states(ledger: Ledger, watch: str, states: Mapping[str, WatchState]) -> None:
    """Store the state of a trigger for some subjects.

    :param ledger: the ledger
    :param watch: name of the trigger's state
    :param states: states by subject
    """
    for subject, state in states.items():
        check = CheckResult(
            kind=WATCH_STATE_KIND,
            name=f"{watch}/{subject}"[:500],
            verdict=Verdict.UNKNOWN,
            message=state.incident.message if state.incident else "",
            evidence={"watch": watch, "subject": subject, "memory": state.to_dict()},
        )
        ledger.record([check], _watch_key(watch, subject))


def _watch_key(watch: str, subject: str) -> RunKey:
    from airflow_slo_provider.ledger import RunKey

    return RunKey(f"watch:{watch}"[:250], "watch", subject[:250] or "-")


def trigger_arguments(incidents: Sequence[Incident]) -> list[dict[str, Any]]:
    """Return arguments of ``TriggerDagRunOperator`` that start a run for each incident, with a run id made from the incident.

    :param incidents: the incidents
    """
    return [{"trigger_run_id": f"incident__{incident.id}", "conf": {CONF_KEY: incident.to_dict()}} for incident in incidents]
