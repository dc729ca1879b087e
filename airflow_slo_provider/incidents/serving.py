"""Read the serving decision in a model server: whether experiments may run, and whether to serve a degraded answer.

Written by ``operators.policy_actions``, read by model servers. Reading needs no Airflow, only the standard library.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

SCHEMA_VERSION = 1
#: Actions of a policy, mildest first, with their meaning for the serving code: (experiments, degraded).
_MEANING = {
    "allow": (True, False),
    "alert": (True, False),
    "reduce_experimentation": (False, False),
    "degrade": (False, True),
    "escalate": (False, False),
    "freeze": (False, False),
}
ACTIONS = tuple(_MEANING)


class Readable(Protocol):
    """A path: :class:`pathlib.Path`, Airflow's ``ObjectStoragePath`` or the like."""

    def read_text(self) -> str:
        """Return the content of the file."""
        ...


@dataclass(frozen=True)
class ServingDecision:
    """The decision that serving code follows.

    :param action: the policy's action; ``unknown`` if no decision is valid
    :param experiments: whether experiments (shadow models, canaries, exploration) may run
    :param degraded: whether to serve a degraded answer: stale features, a smaller model, a default
    :param reason: the reason, one sentence
    :param until: end of its validity (aware)
    :param at: when it was decided (aware)
    """

    action: str
    experiments: bool
    degraded: bool
    reason: str
    until: datetime | None = None
    at: datetime | None = None

    @property
    def known(self) -> bool:
        """Whether a valid decision exists."""
        return self.action != "unknown"


def decision_document(
    action: str,
    *,
    reasons: Sequence[str],
    at: datetime,
    until: datetime,
    source: str,
    slos: Mapping[str, str],
    held_by: str = "",
    before: str = "unknown",
    beside: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Build the JSON document of a serving decision.

    :param action: a policy's action
    :param reasons: the reasons, in sentences
    :param at: when it was decided (aware)
    :param until: end of its validity (aware), so that a stopped writer does not leave the service degraded forever
    :param source: DAG, run and task that decided
    :param slos: status by SLO
    :param held_by: the requester: an incident or a policy
    :param before: the action that was valid before, so that writing the same decision again can still report the change
    :param beside: valid decisions of other requesters, from :func:`valid_decisions`. The document contains the combined decision,
        and each single one under ``each``.
    :raises ValueError: for an unknown action
    """
    if action not in _MEANING:
        raise ValueError(f"action {action!r} must be one of {', '.join(_MEANING)}")
    own = {
        "action": action,
        "reasons": list(reasons),
        "decided_at": at.astimezone(UTC).isoformat(),
        "valid_until": until.astimezone(UTC).isoformat(),
        "held_by": held_by,
        "source": source,
        "before": before,
        "slos": dict(slos),
    }
    each = [*({key: entry[key] for key in own if key in entry} for entry in beside), own]
    combined = _combine(each)
    assert combined.until is not None
    document = {
        **own,
        "schema_version": SCHEMA_VERSION,
        "action": combined.action,
        "experiments": combined.experiments,
        "degraded": combined.degraded,
        "reasons": [reason for entry in _restrictive(each) for reason in entry["reasons"]],
        "valid_until": combined.until.astimezone(UTC).isoformat(),
    }
    return {**document, "each": each} if beside else document


def valid_decisions(path: str | os.PathLike[str] | Readable, now: datetime | None = None) -> list[dict[str, Any]]:
    """Return the decisions that are valid at a time, one per requester; empty if no document is valid.

    :param path: a path, or an object with ``read_text``
    :param now: the time (aware); by default the current time
    :raises OSError: when the storage cannot be read, so that the decisions are unknown
    """
    try:
        return _read_valid(path, now or datetime.now(UTC))
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):  # missing, not a decision document, or expired
        return []


def read_decision(path: str | os.PathLike[str] | Readable, now: datetime | None = None) -> ServingDecision:
    """Read the valid serving decision; decisions of several requesters are combined.

    If there is none - no file, an unreadable or an expired one - experiments must stop, since nothing allows them, and the full
    answer is served. Never raises.

    :param path: a path, or an object with ``read_text``
    :param now: the time (aware); by default the current time
    """
    try:
        return _combine(_read_valid(path, now or datetime.now(UTC)))
    except Exception as error:  # serving must continue, whatever the error
        return ServingDecision(
            "unknown", experiments=False, degraded=False,
            reason=f"no decision can be read ({type(error).__name__}: {error})",
        )  # fmt: skip


def _read_valid(path: str | os.PathLike[str] | Readable, now: datetime) -> list[dict[str, Any]]:
    """Read the valid decisions of a document.

    :raises Exception: for any error in the document; ValueError also if all decisions have expired
    """
    from airflow_slo_provider.core import strict_json

    file: Readable = Path(path) if isinstance(path, str | os.PathLike) else path
    data = strict_json.loads(file.read_text())
    if data["schema_version"] != SCHEMA_VERSION:
        raise ValueError(f"schema_version {data['schema_version']} is not {SCHEMA_VERSION}")
    each = data.get("each") or [data]
    found = [entry for entry in each if _MEANING[entry["action"]] and datetime.fromisoformat(entry["valid_until"]) > now]
    if not found:
        ended = ", ".join(f"{entry['action']} at {entry['valid_until']}" for entry in each)
        raise ValueError(f"the decision has expired: {ended}")
    return found


def _combine(entries: Sequence[Mapping[str, Any]]) -> ServingDecision:
    """Combine decisions: no experiments if one stops them, a degraded answer if one requires it."""
    strict = _restrictive(entries)
    decided = [datetime.fromisoformat(entry["decided_at"]).astimezone(UTC) for entry in entries if entry.get("decided_at")]
    return ServingDecision(
        action=max((str(entry["action"]) for entry in entries), key=ACTIONS.index),
        experiments=all(_MEANING[entry["action"]][0] for entry in entries),
        degraded=any(_MEANING[entry["action"]][1] for entry in entries),
        reason="; ".join(str(reason) for entry in strict for reason in entry["reasons"]),
        until=min(datetime.fromisoformat(entry["valid_until"]) for entry in strict),
        at=max(decided, default=None),
    )


def _restrictive(entries: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Return the decisions that restrict serving, or all if none does."""
    return [entry for entry in entries if entry["action"] != "allow"] or entries
