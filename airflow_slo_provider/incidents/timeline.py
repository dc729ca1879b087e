"""What happened to each step of a playbook, as the ledger keeps it, and the incident's timeline made of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from airflow_slo_provider.incidents.incident import Incident
from airflow_slo_provider.results import CheckResult, Verdict

#: Kinds of check in the ledger.
STEP_KIND, INCIDENT_KIND = "incident_step", "incident"
_MOST = 4_000


class State(StrEnum):
    """How far a step is."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    APPROVED = "approved"
    REJECTED = "rejected"
    FOR_A_PERSON = "for a person"
    NOT_REACHED = "not reached"


_VERDICTS = {
    State.DONE: Verdict.PASS,
    State.APPROVED: Verdict.PASS,
    State.FAILED: Verdict.FAIL,
    State.REJECTED: Verdict.WARN,
    State.FOR_A_PERSON: Verdict.WARN,
}


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """One step of one incident.

    :param step_id: which step
    :param phase: its phase
    :param action: what it does, in a sentence
    :param state: how far it is
    :param started_at: when it began (aware); None for one that never did
    :param ended_at: when it ended (aware)
    :param message: what came of it, in a sentence
    :param evidence: JSON-able: what it returned
    :param checklist: what is left to a person
    """

    step_id: str
    phase: str
    action: str
    state: State
    started_at: datetime | None = None
    ended_at: datetime | None = None
    message: str = ""
    evidence: Any = None
    checklist: tuple[str, ...] = ()

    def to_check(self, incident: Incident) -> CheckResult:
        """Return what the ledger keeps of it."""
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
                "found": small(self.evidence),
                "checklist": list(self.checklist),
            },
        )

    @classmethod
    def from_check(cls, check: CheckResult) -> StepRecord:
        """Read it back."""
        said = check.evidence
        return cls(
            step_id=said["step"],
            phase=said["phase"],
            action=said["action"],
            state=State(said["state"]),
            started_at=check.interval_start,
            ended_at=check.interval_end,
            message=said.get("message", ""),
            evidence=said.get("found"),
            checklist=tuple(said.get("checklist", ())),
        )


@dataclass(frozen=True)
class Entry:
    """One line of a timeline.

    :param at: when (aware)
    :param text: what, in a sentence
    :param evidence: JSON-able
    """

    at: datetime
    text: str
    evidence: Any = field(default=None, compare=False)


def timeline(incident: Incident, steps: Iterable[StepRecord], more: Iterable[Entry] = ()) -> list[Entry]:
    """Return what happened, in order: the incident's beginning, each step's start and end."""
    entries = [Entry(incident.started_at, f"{incident.subject or 'The incident'} begins: {incident.message or incident.kind}")]
    for step in steps:
        if step.started_at is not None:
            entries.append(Entry(step.started_at, f"{step.phase}: {step.action} begins"))
        if step.ended_at is not None:
            said = f" - {step.message}" if step.message else ""
            entries.append(Entry(step.ended_at, f"{step.phase}: {step.action}: {step.state}{said}", step.evidence))
    return sorted([*entries, *more], key=lambda entry: entry.at)


def offset(since: datetime, at: datetime) -> str:
    """Write a time as T+hh:mm:ss."""
    seconds = round((at - since) / timedelta(seconds=1))
    sign, seconds = ("-", -seconds) if seconds < 0 else ("+", seconds)
    return f"T{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def small(value: Any) -> Any:
    """Return a value as JSON holds it; one that is long, as the beginning of its text."""
    try:
        text = json.dumps(value, default=str, allow_nan=False)
    except ValueError:  # NaN, or a key that is none
        text = json.dumps(str(value))
    if len(text) > _MOST:
        return f"{text[: _MOST - 3]}..."
    return json.loads(text)


def not_reached(step_ids: Sequence[tuple[str, str, str]], records: Mapping[str, StepRecord]) -> list[StepRecord]:
    """Make records of steps of which there are none.

    :param step_ids: id, phase and action of every step
    :param records: those there are, by id
    """
    return [
        StepRecord(step_id=step, phase=phase, action=action, state=State.NOT_REACHED)
        for step, phase, action in step_ids
        if step not in records
    ]
