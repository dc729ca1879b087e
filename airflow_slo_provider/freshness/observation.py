"""What every source of freshness answers: when was this last fresh, and how do you know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Observation:
    """When something was last fresh.

    :param what: what was looked at, e.g. ``table features``
    :param source: where the answer comes from, e.g. ``MAX(updated_at) in connection warehouse``; without credentials
    :param observed_at: aware, kept in UTC; None where there is no answer, and then :attr:`note` says why
    :param groups: the same for each group, by name, where groups were asked for; ``observed_at`` is then the oldest of them
    :param note: how it is known, or why it is not
    :param model_version: which version of a model it is about
    :param evidence: small JSON-able details
    :raises ValueError: for a datetime without a time zone
    """

    what: str
    source: str
    observed_at: datetime | None = None
    groups: Mapping[str, datetime | None] | None = None
    note: str = ""
    model_version: str | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.groups is not None:
            groups = {name: _utc(moment, f"{self.what}: group {name}") for name, moment in self.groups.items()}
            object.__setattr__(self, "groups", groups)
            known = list(groups.values())
            oldest = None if not known or None in known else min(moment for moment in known if moment is not None)
            object.__setattr__(self, "observed_at", oldest)
        object.__setattr__(self, "observed_at", _utc(self.observed_at, self.what))


def _utc(moment: datetime | None, what: str) -> datetime | None:
    if moment is None:
        return None
    if moment.utcoffset() is None:
        raise ValueError(f"{what}: {moment} has no time zone")
    return moment.astimezone(UTC)
