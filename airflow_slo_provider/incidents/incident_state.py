"""Track the start and end of incidents between two polls of a trigger.

A subject is polled repeatedly. It burns, it is calm (well below the level at which it would burn), it is in between, or it is
unknown. The first poll at which it burns starts an incident; the incident ends when the subject has been calm for the whole
cool-down. Flapping in the meantime belongs to the same incident. Unknown never counts as calm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from airflow_slo_provider.incidents.incident import BLIND, Incident, incident_id

#: Severities from mild to bad; an unknown severity ranks as high as a page, so that it is never missed.
_RANKS: Mapping[str, int] = {
    "none": 0,
    "info": 1,
    "low": 1,
    "ticket": 2,
    "warning": 2,
    "medium": 2,
    "page": 3,
    "high": 3,
    "critical": 4,
}


class Seen(StrEnum):
    """The state of a subject in one poll."""

    BURNING = "burning"
    BETWEEN = "between"
    CALM = "calm"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Sighting:
    """The result of one poll of a subject.

    :param subject: the polled SLO or alert
    :param seen: its state
    :param severity: severity, if it burns
    :param message: one sentence; the cause, if it is unknown
    :param since: when it began, if the source reports it
    :param evidence: JSON-serialisable
    """

    subject: str
    seen: Seen
    severity: str = ""
    message: str = ""
    since: datetime | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Limits:
    """The durations that start and end incidents.

    :param cool_down: how long a subject must be calm before its incident ends
    :param blind_after: how long a subject may be unknown before that is reported
    """

    cool_down: timedelta = timedelta(minutes=15)
    blind_after: timedelta = timedelta(minutes=5)


@dataclass(frozen=True)
class Memory:
    """The state of one subject between polls.

    :param incident: the open incident; None if there is none
    :param told: whether its event was certainly sent; otherwise it is sent again, with the same id
    :param calm_since: since when it has been calm without interruption
    :param unknown_since: since when it has been unknown
    :param blind_told: whether that has been reported
    :param reason: why it is unknown
    """

    incident: Incident | None = None
    told: bool = False
    calm_since: datetime | None = None
    unknown_since: datetime | None = None
    blind_told: bool = False
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serialisable dict."""
        return {
            "incident": self.incident.to_dict() if self.incident else None,
            "told": self.told,
            "calm_since": self.calm_since.isoformat() if self.calm_since else None,
            "unknown_since": self.unknown_since.isoformat() if self.unknown_since else None,
            "blind_told": self.blind_told,
            "reason": self.reason,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Memory:
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
            raise ValueError(f"not a memory of incidents: {str(data)[:200]}") from error


def remember(before: Memory, sighting: Sighting, at: datetime, limits: Limits) -> tuple[Memory, Incident | None]:
    """Update the state of a subject by one poll.

    :param before: the state before the poll
    :param sighting: the result of the poll
    :param at: time of the poll (aware)
    :param limits: cool-down and tolerated duration of unknown
    :return: the new state, and the incident that has just begun, or None
    """
    if sighting.seen is Seen.UNKNOWN:
        since = before.unknown_since or at
        return replace(before, calm_since=None, unknown_since=since, reason=sighting.message), None
    now = replace(before, unknown_since=None, blind_told=False, reason="")
    if sighting.seen is Seen.BURNING:
        open_one = now.incident
        if open_one is not None and rank(sighting.severity) <= rank(open_one.severity):
            return replace(now, calm_since=None), None
        started = sighting.since or at
        begun = Incident(
            id=incident_id(f"{sighting.subject}-{sighting.severity}", started),
            subject=sighting.subject,
            severity=sighting.severity,
            started_at=started,
            message=sighting.message,
            evidence=sighting.evidence,
        )
        return replace(now, incident=begun, told=False, calm_since=None), begun
    if sighting.seen is Seen.BETWEEN or now.incident is None:
        return replace(now, calm_since=None), None
    calm = now.calm_since or at
    if at - calm >= limits.cool_down:
        return replace(now, incident=None, told=False, calm_since=None), None
    return replace(now, calm_since=calm), None


def blind(
    memories: Mapping[str, Memory], at: datetime, limits: Limits, *, watch: str
) -> tuple[dict[str, Memory], Incident | None]:
    """Report all subjects that have been unknown for too long as one incident, so that a server outage is a single event.

    :param memories: states by subject
    :param at: time of the poll (aware)
    :param limits: tolerated duration of unknown
    :param watch: name of the watcher
    :return: the states that change, and the incident, or None
    """
    lost = {
        subject: one
        for subject, one in memories.items()
        if one.unknown_since is not None and not one.blind_told and at - one.unknown_since >= limits.blind_after
    }
    if not lost:
        return {}, None
    since = min(one.unknown_since for one in lost.values() if one.unknown_since is not None)
    reasons = dict.fromkeys(one.reason for one in lost.values() if one.reason)
    named = ", ".join(sorted(name for name in lost if name)) or "anything"
    event = Incident(
        id=incident_id(f"blind-{watch}", since),
        kind=BLIND,
        subject=next(iter(lost)) if len(lost) == 1 else watch,
        severity="page",
        started_at=since,
        message=f"nothing is known of {named} for {_minutes(at - since)}: {'; '.join(reasons) or 'no reason given'}",
        evidence={"subjects": sorted(lost), "reasons": list(reasons)},
    )
    return {subject: replace(one, blind_told=True) for subject, one in lost.items()}, event


def rank(severity: str) -> int:
    """Return the rank of a severity, from mild to bad."""
    return _RANKS.get(severity.lower(), 3)


def _minutes(length: timedelta) -> str:
    seconds = int(length.total_seconds())
    return f"{seconds // 60} min" if seconds >= 120 else f"{seconds} s"
