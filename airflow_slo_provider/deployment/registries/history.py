"""The recorded moves of an alias, and which version served before the one that serves now."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from airflow_slo_provider.core import strict_json
from airflow_slo_provider.core.redaction import server_text
from airflow_slo_provider.deployment.registries.names import CHAMPION, PROMOTE, ROLLBACK
from airflow_slo_provider.exceptions import ReasonedError


class RegistryError(ReasonedError):
    """The registry was not reached, refused, or does not hold what was asked for.

    Reasons: ``not_found``, ``conflict``, ``no_predecessor``, ``connection``, ``timeout``, ...
    """

    default_reason = "registry_error"


class Conflict(RegistryError):
    """Somebody else moved the alias. Asking again would undo their work, so it is not done."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="conflict")


@dataclass(frozen=True, kw_only=True)
class Move:
    """One move of an alias, as it is recorded.

    :param key: who asked, e.g. dag/run/task: the same key never moves twice
    :param kind: ``promote`` or ``rollback``
    :param before: version the alias named, None when it named none
    :param after: version it names since
    :param at: when, ISO 8601 in UTC
    :param evidence: small: verdict, report, golden set's hash
    """

    key: str
    kind: str
    alias: str
    before: str | None
    after: str
    at: str
    by: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the move as text."""
        return json.dumps(asdict(self), sort_keys=True, default=str)

    @classmethod
    def from_json(cls, text: str) -> Move:
        """Read what :meth:`to_json` wrote.

        :raises RegistryError: when it is something else
        """
        try:
            return cls(**strict_json.loads(text))
        except (TypeError, ValueError) as error:
            reason = strict_json.reason_of(error, "corrupt")
            raise RegistryError(f"a recorded move is not readable: {server_text(text, limit=200)!r}", reason=reason) from None


@dataclass(frozen=True, kw_only=True)
class State:
    """What a registry says about one alias of one model.

    :param current: version the alias names now
    :param moves: recorded moves of the alias, oldest first
    :param pending: a move that was begun, where a registry cannot move and record in one step
    :param previous: version of the alias ``previous_champion``, which says nothing of other aliases than the champion's
    """

    current: str | None
    moves: Sequence[Move] = ()
    pending: Move | None = None
    previous: str | None = None


def predecessor(model: str, state: State, alias: str) -> str:
    """Return the version that served before the one that serves now was promoted.

    A second rollback goes one further back, and none goes to a version that a rollback took away, unless it was released again
    since. What others did to the alias since the last recorded move counts as far as it can be told.

    :raises RegistryError: reason ``no_predecessor``
    """
    if state.current is None:
        raise RegistryError(f"{model}@{alias} names no version: there is nothing to roll back", reason="no_predecessor")
    found = _before(state)
    recorded = state.moves[-1].after if state.moves else None
    kept = state.previous if alias == CHAMPION else None
    if kept is not None and state.current != recorded and kept != _before(State(current=recorded, moves=state.moves)):
        # Whoever moved the champion otherwise keeps this alias, too: it does not say what the last recorded move made it say.
        found = None if kept in _refused(state) else kept
    if found is None:
        gone = sorted(_taken_away(_history(state)))
        but = f" (a rollback took away: {', '.join(gone)})" if gone else ""
        raise RegistryError(
            f"{model}@{alias}: no predecessor of version {state.current} is recorded; name the version to go back to{but}",
            reason="no_predecessor",
        )
    return found


def _before(state: State) -> str | None:
    """Return what served before the current version and may serve again, by the moves alone."""
    refused, found = _refused(state), state.current
    for move in reversed(_history(state)):
        if found in refused and move.kind == PROMOTE and move.after == found:
            found = move.before
    return None if found in refused else found


def _history(state: State) -> list[Move]:
    """Return the recorded moves, and between and after them those that others must have made.

    A version that comes in that way was released. One that had served before may have been released again or gone back to:
    what is before it is not known.
    """
    found: list[Move] = []
    for move in (*state.moves, None):
        before = state.current if move is None else move.before
        last = found[-1].after if found else None
        if before is not None and before != last:
            known = before not in {one.after for one in found}
            found.append(Move(key="", kind=PROMOTE, alias="", before=last if known else None, after=before, at=""))
        if move is not None:
            found.append(move)
    return found


def _taken_away(history: Sequence[Move]) -> set[str]:
    """Return the versions that a rollback left and nobody has put back since."""
    gone: set[str] = set()
    for move in history:
        gone.discard(move.after)
        if move.kind == ROLLBACK and move.before is not None:
            gone.add(move.before)
    return gone


def _refused(state: State) -> set[str | None]:
    """Return the versions that no rollback goes to by itself."""
    return {state.current, *_taken_away(_history(state))}


def previous_after(move: Move, state: State) -> str | None:
    """Return what ``previous_champion`` must name after a move: what a rollback would go to."""
    return _before(State(current=move.after, moves=(*state.moves, move)))
