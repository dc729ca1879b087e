"""The observation returned by every freshness source: when something was last updated, and how that is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Observation:
    """When something was last updated.

    :param what: the observed subject, e.g. ``table features``
    :param source: the source, e.g. ``MAX(updated_at) in connection warehouse``; without credentials
    :param observed_at: aware datetime, stored in UTC; None if unknown, with the cause in :attr:`note`
    :param groups: timestamps by name of the group, if grouped; ``observed_at`` is then the oldest of them
    :param note: how the timestamp is known, or why it is unknown
    :param model_version: the model version that the observation is about
    :param evidence: small JSON-serialisable details
    :raises ValueError: for a naive datetime
    """

    what: str
    source: str
    observed_at: datetime | None = None
    groups: Mapping[str, datetime | None] | None = None
    note: str = ""
    model_version: str | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.groups is None:
            object.__setattr__(self, "observed_at", _to_utc(self.observed_at, self.what))
            return
        groups = {name: _to_utc(timestamp, f"{self.what}: group {name}") for name, timestamp in self.groups.items()}
        known = [timestamp for timestamp in groups.values() if timestamp is not None]
        object.__setattr__(self, "groups", groups)
        object.__setattr__(self, "observed_at", min(known) if known and len(known) == len(groups) else None)


def _to_utc(timestamp: datetime | None, what: str) -> datetime | None:
    if timestamp is not None and timestamp.utcoffset() is None:
        raise ValueError(f"{what}: {timestamp} has no time zone")
    return None if timestamp is None else timestamp.astimezone(UTC)
