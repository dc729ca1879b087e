"""The decision that the serving code reads: experiments on or off, the full answer or a simpler one.

Written by ``operators.policy_actions``, read by model servers. Standard library only: a model server needs nothing of Airflow.
"""

from __future__ import annotations

import json
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
    action: str, *, reasons: Sequence[str], at: datetime, until: datetime, source: str, slos: Mapping[str, str]
) -> dict[str, Any]:
    """Make the document.

    :param action: a policy's action
    :param reasons: why, in sentences
    :param at: when it was decided (aware)
    :param until: until when it holds (aware): a writer that has died must not leave the service degraded for ever
    :param source: DAG, run and task that decided
    :param slos: status by SLO
    :raises ValueError: for an action that is none
    """
    if action not in _MEANING:
        raise ValueError(f"action {action!r} is none of {', '.join(_MEANING)}")
    experiments, degraded = _MEANING[action]
    return {
        "schema_version": SCHEMA_VERSION,
        "action": action,
        "experiments": experiments,
        "degraded": degraded,
        "reasons": list(reasons),
        "decided_at": at.astimezone(UTC).isoformat(),
        "valid_until": until.astimezone(UTC).isoformat(),
        "source": source,
        "slos": dict(slos),
    }


def read_decision(path: str | os.PathLike[str] | Readable, now: datetime | None = None) -> ServingDecision:
    """Read the decision that holds.

    Where there is none - no file, one that cannot be read, one that has expired - experiments stop, since nobody vouches for
    them, and the full answer is served. Never raises.

    :param path: a path, or whatever has ``read_text``
    :param now: the instant (aware); the present one by default
    """
    try:
        file: Readable = Path(path) if isinstance(path, str | os.PathLike) else path
        data = json.loads(file.read_text())
        if data["schema_version"] != SCHEMA_VERSION:
            return _unknown(f"schema_version {data['schema_version']} is not {SCHEMA_VERSION}")
        until, action = datetime.fromisoformat(data["valid_until"]), str(data["action"])
        experiments, degraded = _MEANING[action]
        if until <= (now or datetime.now(UTC)):
            return _unknown(f"the decision {action} has expired at {until.isoformat()}")
        decided = data.get("decided_at")
        at = datetime.fromisoformat(decided).astimezone(UTC) if decided else None
        return ServingDecision(action, experiments, degraded, "; ".join(map(str, data["reasons"])), until, at)
    except Exception as error:  # whatever is wrong with it, serving must go on
        return _unknown(f"there is no decision to read ({type(error).__name__}: {error})")


def _unknown(reason: str) -> ServingDecision:
    return ServingDecision("unknown", experiments=False, degraded=False, reason=reason)
