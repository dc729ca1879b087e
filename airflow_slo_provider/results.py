"""The one record that every check ends in.

A check says what was measured, against what, how it was judged, when, for which data interval and of which model version,
with evidence. The ledger stores it, XCom carries it as a dict, the UI shows it, and a history of them is itself an
indicator (``type: Ledger``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

SCHEMA_VERSION = 1


class Verdict(StrEnum):
    """How a check ended. ``unknown`` is not a pass."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """What one check found.

    :param kind: family of the check: ``slo``, ``decision``, ``freshness``, ``drift``, ``golden_set``, ``latency``, ...
    :param name: which check, unique within its kind, e.g. the SLO's name
    :param verdict: ``pass``, ``warn``, ``fail`` or ``unknown``
    :param value: the measured number (finite), or None where there is none
    :param unit: unit of ``value`` and ``target``: ``ratio``, ``seconds``, ``events``, ...
    :param good: good events, where events were counted
    :param total: all events, where events were counted
    :param target: the number ``value`` is held against
    :param op: how: ``gte``, ``gt``, ``lte`` or ``lt``
    :param message: one sentence for a person; secrets in it and in ``evidence`` are blanked out
    :param checked_at: when it was measured (aware; stored in UTC)
    :param interval_start: start of the data interval the check is about
    :param interval_end: end of that interval (exclusive)
    :param model_version: version of the model the check is about
    :param evidence: small JSON-able mapping: query text, row counts, report URI
    :param labels: labels of the group that the check is about, where an SLO is judged by group; part of what tells one check from
        another
    :raises ValueError: for a naive datetime, for a number that is NaN or infinite, or for labels that are not text by text
    """

    kind: str
    name: str
    verdict: Verdict
    value: float | None = None
    unit: str | None = None
    good: float | None = None
    total: float | None = None
    target: float | None = None
    op: str | None = None
    message: str = ""
    checked_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    interval_start: datetime | None = None
    interval_end: datetime | None = None
    model_version: str | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        object.__setattr__(self, "verdict", Verdict(self.verdict))
        self._redact()
        for name in ("value", "good", "total", "target"):
            number = getattr(self, name)
            if number is not None and not math.isfinite(number):
                raise ValueError(f"CheckResult {self.kind}/{self.name}: {name} is {number}; use None and verdict 'unknown'")
        for name in ("checked_at", "interval_start", "interval_end"):
            moment = getattr(self, name)
            if moment is not None and moment.tzinfo is None:
                raise ValueError(f"CheckResult {self.kind}/{self.name}: {name} {moment} has no time zone")
        for label, text in self.labels.items():
            if not (isinstance(label, str) and label and isinstance(text, str)):
                raise ValueError(f"CheckResult {self.kind}/{self.name}: label {label!r}: {text!r} is not text by text")

    def _redact(self) -> None:
        """Blank secrets out of what servers said: all that goes into XCom and the ledger is a check."""
        from airflow_slo_provider.core.redaction import redact, redacted

        object.__setattr__(self, "message", redact(self.message, limit=None))
        object.__setattr__(self, "evidence", redacted(self.evidence))
        if self.model_version is not None:
            object.__setattr__(self, "model_version", redact(str(self.model_version), limit=None))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict (times as ISO 8601 in UTC), as it travels in XCom."""
        out: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, datetime):
                value = value.astimezone(UTC).isoformat()
            elif isinstance(value, StrEnum):
                value = value.value
            elif isinstance(value, Mapping):
                value = dict(value)
            out[item.name] = value
        if not out["labels"]:
            del out["labels"]  # releases that know no labels read the rest
        return out

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CheckResult:
        """Read what :meth:`to_dict` wrote.

        :raises ValueError: for a schema version this release does not know
        """
        values = dict(data)
        if values.get("schema_version", SCHEMA_VERSION) != SCHEMA_VERSION:
            raise ValueError(
                f"CheckResult schema_version {values['schema_version']} is not {SCHEMA_VERSION}; "
                "upgrade airflow-slo-provider where it is read"
            )
        for name in ("checked_at", "interval_start", "interval_end"):
            if isinstance(values.get(name), str):
                values[name] = datetime.fromisoformat(values[name])
        return cls(**values)
