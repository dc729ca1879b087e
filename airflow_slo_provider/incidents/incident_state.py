"""Track the start and end of incidents between two polls of a trigger.

A subject is polled repeatedly. It burns, it is calm (well below the level at which it would burn), it is in between, or it is
unknown. The first poll at which it burns starts an incident; the incident ends when the subject has been calm for the whole
cool-down. Flapping in the meantime belongs to the same incident. Unknown never counts as calm.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from airflow_slo_provider.incidents.incident import BLIND, Incident, incident_id

#: Severities from mild to bad; an unknown severity ranks as high as a page, so that it is never missed.
_BY_RANK = (("none",), ("info", "low"), ("ticket", "warning", "medium"), ("page", "high"), ("critical",))
_RANKS = {name: number for number, names in enumerate(_BY_RANK) for name in names}


class BurnState(StrEnum):
    """The state of a subject in one poll."""

    BURNING = "burning"
    BETWEEN = "between"
    CALM = "calm"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class PollResult:
    """The result of one poll of a subject.

    :param subject: the polled SLO or alert
    :param state: its state
    :param severity: severity, if it burns
    :param message: one sentence; the cause, if it is unknown
    :param since: when it began, if the source reports it
    :param evidence: JSON-serialisable
    :param earlier_subjects: subjects that the same SLO or alert may have had before, with or without its service
    """

    subject: str
    state: BurnState
    severity: str = ""
    message: str = ""
    since: datetime | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    earlier_subjects: tuple[str, ...] = ()


@dataclass(frozen=True)
class IncidentDurations:
    """The durations that start and end incidents.

    :param cool_down: how long a subject must be calm before its incident ends
    :param blind_after: how long a subject may be unknown before that is reported
    """

    cool_down: timedelta = timedelta(minutes=15)
    blind_after: timedelta = timedelta(minutes=5)


@dataclass(frozen=True)
class WatchState:
    """The state of one subject between polls.

    :param incident: the open incident; None if there is none
    :param sent: whether its event was certainly sent; otherwise it is sent again, with the same id
    :param calm_since: since when it has been calm without interruption
    :param unknown_since: since when it has been unknown
    :param blind_sent: whether that has been reported
    :param reason: why it is unknown
    """

    incident: Incident | None = None
    sent: bool = False
    calm_since: datetime | None = None
    unknown_since: datetime | None = None
    blind_sent: bool = False
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serialisable dict."""
        return {
            "incident": self.incident.to_dict() if self.incident else None,
            "told": self.sent,
            "calm_since": self.calm_since.isoformat() if self.calm_since else None,
            "unknown_since": self.unknown_since.isoformat() if self.unknown_since else None,
            "blind_told": self.blind_sent,
            "reason": self.reason,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> WatchState:
        """Read a dict written by :meth:`to_dict`.

        :raises ValueError: when it is not such a dict
        """
        try:
            incident, calm, unknown = data["incident"], data["calm_since"], data["unknown_since"]
            return cls(
                Incident.from_dict(incident) if incident else None,
                bool(data["told"]),
                datetime.fromisoformat(calm) if calm else None,
                datetime.fromisoformat(unknown) if unknown else None,
                bool(data["blind_told"]),
                str(data["reason"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not the state of a watch: {str(data)[:200]}") from error


def renamed_states(states: Mapping[str, WatchState], seen: Iterable[PollResult]) -> dict[str, WatchState]:
    """Return the states to change because the service of their incident is not that of the subject.

    An open incident follows its SLO when the subject gets the service (a second service uses the name) or loses it. Of a subject
    that is now the SLO of another service, the incident is dropped: it would hide an incident of the new one.

    :param states: states by subject
    :param seen: the results of the poll
    """
    changed: dict[str, WatchState] = {}
    for result in seen:
        service = _service(result.evidence)
        if not service:
            continue
        incident = states.get(result.subject, WatchState()).incident
        if incident is not None and _service(incident.evidence) not in ("", service):
            changed.setdefault(result.subject, WatchState())
        elif incident is None:
            for earlier in result.earlier_subjects:
                moved = states.get(earlier, WatchState())
                if moved.incident is not None and _service(moved.incident.evidence) == service:
                    changed |= {result.subject: moved, earlier: WatchState()}
    return changed


def _service(evidence: Mapping[str, Any]) -> str:
    """Return the service of the SLO in the evidence of an incident; empty if it is not known."""
    labels = evidence.get("labels")
    names, values = ("slo_service", "service"), evidence
    if isinstance(labels, Mapping):  # of an alert, whose label service need not be the service of the SLO
        names, values = ("slo_service", "sloth_service"), labels
    return next((str(values[name]) for name in names if values.get(name)), "")


def next_watch_state(
    before: WatchState, result: PollResult, at: datetime, limits: IncidentDurations
) -> tuple[WatchState, Incident | None]:
    """Update the state of a subject by one poll.

    :param before: the state before the poll
    :param result: the result of the poll
    :param at: time of the poll (aware)
    :param limits: cool-down and tolerated duration of unknown
    :return: the new state, and the incident that has just begun, or None
    """
    if result.state is BurnState.UNKNOWN:
        since = before.unknown_since or at
        return replace(before, calm_since=None, unknown_since=since, reason=result.message), None
    now = replace(before, unknown_since=None, blind_sent=False, reason="")
    if result.state is BurnState.BURNING:
        if now.incident is not None and severity_rank(result.severity) <= severity_rank(now.incident.severity):
            return replace(now, calm_since=None), None
        started = result.since or at
        begun = Incident(
            id=incident_id(f"{result.subject}-{result.severity}", started),
            subject=result.subject,
            severity=result.severity,
            started_at=started,
            message=result.message,
            evidence=result.evidence,
        )
        return replace(now, incident=begun, sent=False, calm_since=None), begun
    if result.state is BurnState.BETWEEN or now.incident is None:
        return replace(now, calm_since=None), None
    calm = now.calm_since or at
    if at - calm >= limits.cool_down:
        return replace(now, incident=None, sent=False, calm_since=None), None
    return replace(now, calm_since=calm), None


def blind_incident(
    states: Mapping[str, WatchState], at: datetime, limits: IncidentDurations, *, watch: str
) -> tuple[dict[str, WatchState], Incident | None]:
    """Report all subjects that have been unknown for too long as one incident, so that a server outage is a single event.

    :param states: states by subject
    :param at: time of the poll (aware)
    :param limits: tolerated duration of unknown
    :param watch: name of the watcher
    :return: the states that change, and the incident, or None
    """
    lost = {
        subject: state
        for subject, state in states.items()
        if state.unknown_since is not None and not state.blind_sent and at - state.unknown_since >= limits.blind_after
    }
    if not lost:
        return {}, None
    since = min(state.unknown_since for state in lost.values() if state.unknown_since is not None)
    reasons = dict.fromkeys(state.reason for state in lost.values() if state.reason)
    named = ", ".join(sorted(name for name in lost if name)) or watch
    event = Incident(
        id=incident_id(f"blind-{watch}", since),
        kind=BLIND,
        subject=next(iter(lost)) if len(lost) == 1 else watch,
        severity="page",
        started_at=since,
        message=f"{named} could not be measured for {_minutes(at - since)}: {'; '.join(reasons) or 'no reason given'}",
        evidence={"subjects": sorted(lost), "reasons": list(reasons)},
    )
    return {subject: replace(state, blind_sent=True) for subject, state in lost.items()}, event


def severity_rank(severity: str) -> int:
    """Return the rank of a severity, from mild to bad."""
    return _RANKS.get(severity.lower(), 3)


def _minutes(length: timedelta) -> str:
    seconds = int(length.total_seconds())
    return f"{seconds // 60} min" if seconds >= 120 else f"{seconds} s"
