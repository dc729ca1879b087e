"""When an incident begins, when it is over, and when nobody can tell: what a trigger remembers between two looks.

One subject is looked at again and again. It burns, it is calm (well below the level at which it would burn), it is in between,
or nothing is known. The first look at which it burns begins an incident; the incident ends when it has been calm for the whole
cool-down. Whatever flaps in the meantime belongs to the same incident. Not knowing is never calm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from airflow_slo_provider.incidents.incident import BLIND, Incident, incident_id

#: Severities from mild to bad; an unknown word is as bad as a page, so that it is never overlooked.
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
    """What one look says of a subject."""

    BURNING = "burning"
    BETWEEN = "between"
    CALM = "calm"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Sighting:
    """What one look says.

    :param subject: what was looked at
    :param seen: what it does
    :param severity: how bad, where it burns
    :param message: one sentence; why nothing is known, where that is so
    :param since: when it began, where the source says so
    :param evidence: JSON-able
    """

    subject: str
    seen: Seen
    severity: str = ""
    message: str = ""
    since: datetime | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Limits:
    """How long things last before they count.

    :param cool_down: how long a subject must be calm for its incident to be over
    :param blind_after: how long nothing may be known before that is told
    """

    cool_down: timedelta = timedelta(minutes=15)
    blind_after: timedelta = timedelta(minutes=5)


@dataclass(frozen=True)
class Memory:
    """What is remembered of one subject.

    :param incident: the incident that is not over
    :param told: whether it is certain that its event has left; one that may be lost is told again, under the same id
    :param calm_since: since when it has been calm without a break
    :param unknown_since: since when nothing is known
    :param blind_told: whether that has been told
    :param reason: why nothing is known
    """

    incident: Incident | None = None
    told: bool = False
    calm_since: datetime | None = None
    unknown_since: datetime | None = None
    blind_told: bool = False
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict."""
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
        """Read what :meth:`to_dict` wrote.

        :raises ValueError: when it is none
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
    """Take in one look.

    :param before: what was remembered
    :param at: when it was looked (aware)
    :return: what to remember from now on, and the incident that has just begun
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
    """Say of what nothing has been known for too long, once and together: a server that is down is one event and not fifty.

    :param memories: by subject
    :param watch: name of whoever watches
    :return: the memories that change, and the event
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
    """Order severities, mild to bad."""
    return _RANKS.get(severity.lower(), 3)


def _minutes(length: timedelta) -> str:
    seconds = int(length.total_seconds())
    return f"{seconds // 60} min" if seconds >= 120 else f"{seconds} s"
