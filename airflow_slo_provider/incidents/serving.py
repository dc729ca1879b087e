"""The decision that the serving code reads: experiments on or off, the full answer or a simpler one.

Written by ``operators.policy_actions``, read by model servers. Standard library only: a model server needs nothing of Airflow.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

SCHEMA_VERSION = 1
#: Actions of a policy, mildest first, and what each means for the serving code: (experiments, degraded).
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
        """Return what is in it."""
        ...


@dataclass(frozen=True)
class ServingDecision:
    """What the serving code may do.

    :param action: the policy's action; ``unknown`` where there is no decision that holds
    :param experiments: whether experiments (shadow models, canaries, exploration) may run
    :param degraded: whether a simpler answer shall be served: stale features, a smaller model, a default
    :param reason: why, in a sentence
    :param until: until when it holds (aware)
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
        """Whether there is a decision that holds."""
        return self.action != "unknown"


def document(
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
    """Make the document.

    :param action: a policy's action
    :param reasons: why, in sentences
    :param at: when it was decided (aware)
    :param until: until when it holds (aware): a writer that has died must not leave the service degraded for ever
    :param source: DAG, run and task that decided
    :param slos: status by SLO
    :param held_by: who asks for it: an incident, a policy
    :param before: the action that held before, so that a repeated writing of the same decision can still tell what it changed
    :param beside: what others ask for, from :func:`holding`. The document says what all of them together mean, and keeps each
        under ``each``.
    :raises ValueError: for an action that is none
    """
    if action not in _MEANING:
        raise ValueError(f"action {action!r} is none of {', '.join(_MEANING)}")
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
    told = _combined(each)
    assert told.until is not None
    made = {
        **own,
        "schema_version": SCHEMA_VERSION,
        "action": told.action,
        "experiments": told.experiments,
        "degraded": told.degraded,
        "reasons": [reason for entry in _strict(each) for reason in entry["reasons"]],
        "valid_until": told.until.astimezone(UTC).isoformat(),
    }
    return {**made, "each": each} if beside else made


def holding(path: str | os.PathLike[str] | Readable, now: datetime | None = None) -> list[dict[str, Any]]:
    """Return what is asked for at an instant, one entry for each who asks; nothing where no document holds.

    :param path: a path, or whatever has ``read_text``
    :param now: the instant (aware); the present one by default
    :raises OSError: when the storage does not answer: nobody knows what it holds then
    """
    try:
        return _holding(path, now or datetime.now(UTC))
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):  # none, not one of ours, or all of it expired
        return []


def read_decision(path: str | os.PathLike[str] | Readable, now: datetime | None = None) -> ServingDecision:
    """Read the decision that holds. Where several ask for something, all of it holds.

    Where there is none - no file, one that cannot be read, one that has expired - experiments stop, since nobody vouches for
    them, and the full answer is served. Never raises.

    :param path: a path, or whatever has ``read_text``
    :param now: the instant (aware); the present one by default
    """
    try:
        return _combined(_holding(path, now or datetime.now(UTC)))
    except Exception as error:  # whatever is wrong with it, serving must go on
        return ServingDecision(
            "unknown", experiments=False, degraded=False,
            reason=f"there is no decision to read ({type(error).__name__}: {error})",
        )  # fmt: skip


def _holding(path: str | os.PathLike[str] | Readable, now: datetime) -> list[dict[str, Any]]:
    """Read what holds.

    :raises Exception: whatever is wrong with the document; ValueError also where all of it has expired
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


def _combined(entries: Sequence[Mapping[str, Any]]) -> ServingDecision:
    """What several decisions mean together: no experiments where one stops them, a simpler answer where one asks for it."""
    strict = _strict(entries)
    decided = [datetime.fromisoformat(entry["decided_at"]).astimezone(UTC) for entry in entries if entry.get("decided_at")]
    return ServingDecision(
        action=max((str(entry["action"]) for entry in entries), key=ACTIONS.index),
        experiments=all(_MEANING[entry["action"]][0] for entry in entries),
        degraded=any(_MEANING[entry["action"]][1] for entry in entries),
        reason="; ".join(str(reason) for entry in strict for reason in entry["reasons"]),
        until=min(datetime.fromisoformat(entry["valid_until"]) for entry in strict),
        at=max(decided, default=None),
    )


def _strict(entries: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Those that ask for something, or all where none does."""
    return [entry for entry in entries if entry["action"] != "allow"] or entries
