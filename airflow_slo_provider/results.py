"""Define the record of a check: the result stored by every operator, evaluator and command of this provider.

A result holds the measured value, the target, the verdict, the time of the check, the data interval, the model version and
evidence. The ledger stores it, XCom carries it as a dict, the UI shows it, and the history of results can itself be an
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
_TIMES = ("checked_at", "interval_start", "interval_end")


class Verdict(StrEnum):
    """The verdict of a check. ``unknown`` does not count as a pass."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """The result of one check.

    :param kind: family of the check: ``slo``, ``decision``, ``freshness``, ``drift``, ``golden_set``, ``latency``, ...
    :param name: name of the check, unique within its kind, e.g. the SLO's name
    :param verdict: ``pass``, ``warn``, ``fail`` or ``unknown``
    :param value: the measured number (finite); None when no measurement is available
    :param unit: unit of ``value`` and ``target``: ``ratio``, ``seconds``, ``events``, ...
    :param good: good events, where events were counted
    :param total: all events, where events were counted
    :param target: the number that ``value`` is compared with
    :param op: the comparison: ``gte``, ``gt``, ``lte`` or ``lt``
    :param message: one sentence for the reader; secrets in it and in ``evidence`` are redacted
    :param checked_at: time of the measurement (aware; stored in UTC; now by default)
    :param interval_start: start of the data interval that was checked
    :param interval_end: end of that interval (exclusive)
    :param model_version: version of the model that was checked
    :param evidence: small JSON-able mapping: query text, row counts, report URI
    :param labels: labels of the checked group, for an SLO that is evaluated by group; part of the identity of a check
    :param schema_version: version of the record's format
    :raises ValueError: for a naive datetime, for a number that is NaN or infinite, or for labels whose names or values are not
        text
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
        for name in _TIMES:
            timestamp = getattr(self, name)
            if timestamp is not None and timestamp.tzinfo is None:
                raise ValueError(f"CheckResult {self.kind}/{self.name}: {name} {timestamp} has no time zone")
        for label, text in self.labels.items():
            if not (isinstance(label, str) and label and isinstance(text, str)):
                raise ValueError(
                    f"CheckResult {self.kind}/{self.name}: label {label!r}: {text!r} must have a name and a value that are text"
                )

    def _redact(self) -> None:
        """Redact secrets in texts that servers wrote, before the result reaches XCom or the ledger."""
        from airflow_slo_provider.core.redaction import redact, redact_value

        object.__setattr__(self, "message", redact(self.message, limit=None))
        object.__setattr__(self, "evidence", redact_value(self.evidence))
        if self.model_version is not None:
            object.__setattr__(self, "model_version", redact(str(self.model_version), limit=None))

    def to_dict(self) -> dict[str, Any]:
        """Return the result as a JSON-serialisable dict for XCom; times are ISO 8601 in UTC."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values |= {"verdict": self.verdict.value, "evidence": dict(self.evidence), "labels": dict(self.labels)}
        for name in _TIMES:
            values[name] = None if values[name] is None else values[name].astimezone(UTC).isoformat()
        if not self.labels:
            del values["labels"]  # releases that do not support labels can read the rest
        return values

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CheckResult:
        """Create a result from the dict that :meth:`to_dict` returned.

        :param data: the dict, e.g. read from XCom
        :raises ValueError: for a schema version that this release does not support
        """
        values = dict(data)
        if values.get("schema_version", SCHEMA_VERSION) != SCHEMA_VERSION:
            found, advice = values["schema_version"], "upgrade airflow-slo-provider where it is read"
            raise ValueError(f"CheckResult schema_version {found} is not {SCHEMA_VERSION}; {advice}")
        for name in _TIMES:
            if isinstance(values.get(name), str):
                values[name] = datetime.fromisoformat(values[name])
        return cls(**values)
