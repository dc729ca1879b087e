"""Records of playbook steps in the ledger, and the timeline of an incident built from them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from airflow_slo_provider.incidents.incident import Incident
from airflow_slo_provider.results import CheckResult, Verdict

#: Kinds of ledger rows.
STEP_KIND, INCIDENT_KIND = "incident_step", "incident"
_MAX_CHARACTERS = 4_000


class StepState(StrEnum):
    """The states of a playbook step."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    APPROVED = "approved"
    REJECTED = "rejected"
    FOR_A_PERSON = "for a person"
    NOT_REACHED = "not reached"


_VERDICTS = {
    StepState.DONE: Verdict.PASS,
    StepState.APPROVED: Verdict.PASS,
    StepState.FAILED: Verdict.FAIL,
    StepState.REJECTED: Verdict.WARN,
    StepState.FOR_A_PERSON: Verdict.WARN,
}


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """The record of one playbook step of an incident.

    :param step_id: id of the step
    :param phase: phase of the step
    :param action: description of the action, one sentence
    :param state: state of the step
    :param started_at: when it started (aware); None if it never started
    :param ended_at: when it ended (aware)
    :param message: result, one sentence
    :param evidence: the returned value, JSON-serialisable
    :param checklist: items left to the on-call engineer
    """

    step_id: str
    phase: str
    action: str
    state: StepState
    started_at: datetime | None = None
    ended_at: datetime | None = None
    message: str = ""
    evidence: Any = None
    checklist: tuple[str, ...] = ()

    def to_check(self, incident: Incident) -> CheckResult:
        """Return the check result to record in the ledger.

        :param incident: the incident that the step belongs to
        """
        return CheckResult(
            kind=STEP_KIND,
            name=f"{incident.id}/{self.step_id}",
            verdict=_VERDICTS.get(self.state, Verdict.UNKNOWN),
            message=self.message or f"{self.action}: {self.state}",
            checked_at=self.ended_at or self.started_at or datetime.now(UTC),
            interval_start=self.started_at,
            interval_end=self.ended_at,
            evidence={
                "incident": incident.id,
                "step": self.step_id,
                "phase": self.phase,
                "action": self.action,
                "state": self.state.value,
                "message": self.message,
                "found": truncate_evidence(self.evidence),
                "checklist": list(self.checklist),
            },
        )

    @classmethod
    def from_check(cls, check: CheckResult) -> StepRecord:
        """Restore a record from a check result written by :meth:`to_check`.

        :param check: the check result
        """
        stored = check.evidence
        return cls(
            step_id=stored["step"],
            phase=stored["phase"],
            action=stored["action"],
            state=StepState(stored["state"]),
            started_at=check.interval_start,
            ended_at=check.interval_end,
            message=stored.get("message", ""),
            evidence=stored.get("found"),
            checklist=tuple(stored.get("checklist", ())),
        )


@dataclass(frozen=True)
class Entry:
    """One line of a timeline.

    :param at: time of the event (aware)
    :param text: description, one sentence
    :param evidence: JSON-serialisable
    """

    at: datetime
    text: str
    evidence: Any = field(default=None, compare=False)


def timeline(incident: Incident, steps: Iterable[StepRecord], more: Iterable[Entry] = ()) -> list[Entry]:
    """Return the events of an incident in order: its start, and the start and end of each step.

    :param incident: the incident
    :param steps: records of its steps
    :param more: further entries
    """
    entries = [Entry(incident.started_at, f"{incident.subject or 'The incident'} begins: {incident.message or incident.kind}")]
    for step in steps:
        if step.started_at is not None:
            entries.append(Entry(step.started_at, f"{step.phase}: {step.action} begins"))
        if step.ended_at is not None:
            result = f" - {step.message}" if step.message else ""
            entries.append(Entry(step.ended_at, f"{step.phase}: {step.action}: {step.state}{result}", step.evidence))
    return sorted([*entries, *more], key=lambda entry: entry.at)


def offset(since: datetime, at: datetime) -> str:
    """Format the time since a start as T+hh:mm:ss."""
    seconds = round((at - since) / timedelta(seconds=1))
    sign, seconds = ("-", -seconds) if seconds < 0 else ("+", seconds)
    return f"T{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def truncate_evidence(value: Any) -> Any:
    """Convert a value to JSON types; a long one is truncated to the beginning of its text."""
    try:
        text = json.dumps(value, default=str, allow_nan=False)
    except ValueError:  # NaN, or a circular reference
        text = json.dumps(str(value))
    return json.loads(text) if len(text) <= _MAX_CHARACTERS else f"{text[: _MAX_CHARACTERS - 3]}..."


def unreached_steps(step_ids: Sequence[tuple[str, str, str]], records: Mapping[str, StepRecord]) -> list[StepRecord]:
    """Build records for the steps that were never reached.

    :param step_ids: id, phase and action of every step
    :param records: existing records, by step id
    """
    return [
        StepRecord(step_id=step, phase=phase, action=action, state=StepState.NOT_REACHED)
        for step, phase, action in step_ids
        if step not in records
    ]
