"""The incident that a trigger passes to a DAG run: subject, start, severity, evidence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from airflow_slo_provider.exceptions import writable

SCHEMA_VERSION = 1
_KINDS: Mapping[str, type] = {"started_at": datetime, "evidence": Mapping, "schema_version": int}
#: Kinds of incident: an error budget burns (or an alert fires), or no measurement has been available for too long.
BURNING, BLIND = "burning", "blind"
# The id becomes a run id, part of a URL, and a file name.
_ID = re.compile(r"[A-Za-z0-9_.:+-]{1,200}")


@dataclass(frozen=True, kw_only=True)
class Incident:
    """One incident.

    :param id: the same in every report of the incident; at most 200 letters, digits and ``-_.:+``, without ``..``
    :param kind: ``burning``, or ``blind`` if no measurement has been available for too long
    :param subject: the SLO (or the alert) it is about
    :param severity: severity given by the source: ``page``, ``ticket``, or an alert's label
    :param started_at: when it was first observed (aware)
    :param message: one sentence for the on-call engineer
    :param evidence: JSON-serialisable: burn rates, budget, labels, query
    :raises ValueError: for an invalid id, or a naive timestamp
    """

    id: str
    kind: str = BURNING
    subject: str = ""
    severity: str = ""
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    message: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id) or ".." in self.id:
            raise ValueError(f"incident id {self.id[:250]!a}: write at most 200 letters, digits and -_.:+, without '..'")
        if self.started_at.tzinfo is None:
            raise ValueError(f"incident {self.id}: started_at {self.started_at} has no time zone")

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serialisable dict, for an asset event or a DAG run's ``conf``."""
        return {**vars(self), "started_at": self.started_at.astimezone(UTC).isoformat(), "evidence": dict(self.evidence)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Incident:
        """Read a dict written by :meth:`to_dict`; fields missing from a foreign dict get defaults.

        :param data: the dict
        :raises ValueError: when it is not an incident, or a newer release wrote it
        """
        if not isinstance(data, Mapping):
            raise ValueError(f"an incident is a mapping, not {type(data).__name__}")
        version = data.get("schema_version", SCHEMA_VERSION)
        if version != SCHEMA_VERSION:
            raise ValueError(f"incident schema_version {version} is not {SCHEMA_VERSION}; upgrade airflow-slo-provider here")
        if not isinstance(data.get("id"), str) or not data["id"]:
            raise ValueError(f"an incident needs an id: {str(dict(data))[:200]}")
        known = {item.name for item in fields(cls)}
        values = {key: value for key, value in data.items() if key in known and value is not None}
        if isinstance(values.get("started_at"), str):
            values["started_at"] = datetime.fromisoformat(values["started_at"])
        for key, value in values.items():
            if not isinstance(value, _KINDS.get(key, str)):
                raise ValueError(f"an incident's {key} must not be a {type(value).__name__}: {str(value)[:200]}")
        values |= {key: writable(value) for key, value in values.items() if isinstance(value, str)}
        return cls(**values)

    @property
    def slo(self) -> str:
        """The SLO, as ``service/name`` if the incident names the service; empty if it names no SLO."""
        name, service = self.value_at("slo"), self.evidence.get("slo_service")
        return f"{service}/{name}" if name and service else str(name or "")

    def value_at(self, path: str) -> Any:
        """Return a field of the incident, or of its evidence by a dotted path; None if it is missing.

        :param path: e.g. ``severity`` or ``labels.region``
        """
        if path in ("id", "kind", "subject", "severity", "message"):
            return getattr(self, path)
        if path == "slo":
            return self.evidence.get("slo", self.subject)
        found: Any = self.evidence
        for part in path.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        return found


def incident_id(subject: str, started_at: datetime) -> str:
    """Build an incident's id from its subject and start, valid as a run id, in a URL and as a file name.

    If characters had to be replaced, eight digits of the subject's SHA-256 are added, so that ids of two subjects differ.

    :param subject: the SLO or alert
    :param started_at: start of the incident (aware)
    """
    plain = re.sub(r"[^A-Za-z0-9_.+]+|\.{2,}", "-", subject).strip("-")[:150]
    if plain != subject:
        digest = sha256(subject.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        plain = f"{plain or 'incident'}-{digest}"
    return f"{plain}-{started_at.astimezone(UTC):%Y%m%dT%H%M%SZ}"
