"""Recorded moves of a registry alias, and the choice of the version to roll back to."""

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
    """The registry cannot be reached, rejected the request, or has no such model, version or alias.

    Reasons: ``not_found``, ``conflict``, ``no_predecessor``, ``connection``, ``timeout``, ...
    """

    default_reason = "registry_error"


class AliasConflict(RegistryError):
    """The alias was moved by somebody else. It is not retried, since that would undo their move."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="conflict")


@dataclass(frozen=True, kw_only=True)
class Move:
    """The record of one move of an alias.

    :param key: key of the move, e.g. dag/run/task: the same key never moves twice
    :param kind: ``promote`` or ``rollback``
    :param before: version that the alias named before; None if it named none
    :param after: version that it names afterwards
    :param at: time of the move, ISO 8601 in UTC
    :param evidence: small details: verdict, report, hash of the golden set
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
        """Return the move as JSON text."""
        return json.dumps(asdict(self), sort_keys=True, default=str)

    @classmethod
    def from_json(cls, text: str) -> Move:
        """Read a text written by :meth:`to_json`.

        :param text: JSON text
        :raises RegistryError: when it is not such a text
        """
        try:
            return cls(**strict_json.loads(text))
        except (TypeError, ValueError) as error:
            reason = strict_json.json_error_reason(error, "corrupt")
            raise RegistryError(f"a recorded move is not readable: {server_text(text, limit=200)!r}", reason=reason) from None


@dataclass(frozen=True, kw_only=True)
class AliasState:
    """The state of one alias of one model in a registry.

    :param current: version that the alias names now
    :param moves: recorded moves of the alias, oldest first
    :param pending: a started move, for a registry that cannot move and record atomically
    :param previous: version of the alias ``previous_champion``; it applies only to the alias of the champion
    """

    current: str | None
    moves: Sequence[Move] = ()
    pending: Move | None = None
    previous: str | None = None


def predecessor(model: str, state: AliasState, alias: str) -> str:
    """Return the version that served before the current one was promoted.

    A second rollback goes one version further back. No rollback goes to a version that an earlier rollback replaced, unless it
    was released again since. Unrecorded moves by others since the last recorded one are taken into account as far as known.

    :param model: name of the model, for messages
    :param state: state of the alias
    :param alias: name of the alias, for messages
    :raises RegistryError: reason ``no_predecessor``
    """
    if state.current is None:
        raise RegistryError(f"{model}@{alias} names no version: there is nothing to roll back", reason="no_predecessor")
    found = _before(state)
    recorded = state.moves[-1].after if state.moves else None
    kept = state.previous if alias == CHAMPION else None
    if kept is not None and state.current != recorded and kept != _before(AliasState(current=recorded, moves=state.moves)):
        # Another tool that moves the champion maintains this alias too: it differs from what the last recorded move set.
        found = None if kept in _excluded_versions(state) else kept
    if found is None:
        replaced = sorted(_rolled_back_versions(_history(state)))
        note = f" (replaced by a rollback: {', '.join(replaced)})" if replaced else ""
        raise RegistryError(
            f"{model}@{alias}: no predecessor of version {state.current} is recorded; name the version to roll back to{note}",
            reason="no_predecessor",
        )
    return found


def _before(state: AliasState) -> str | None:
    """Return the version before the current one that may serve again, judged by the moves alone."""
    excluded, found = _excluded_versions(state), state.current
    for move in reversed(_history(state)):
        if found in excluded and move.kind == PROMOTE and move.after == found:
            found = move.before
    return None if found in excluded else found


def _history(state: AliasState) -> list[Move]:
    """Return the recorded moves together with the unrecorded moves that others must have made between and after them.

    A new version in an unrecorded move was released. A version that had served before may have been released again or rolled
    back to: its predecessor is unknown.
    """
    found: list[Move] = []
    for move in (*state.moves, None):
        before = state.current if move is None else move.before
        last = found[-1].after if found else None
        if before is not None and before != last:
            known = before not in {earlier.after for earlier in found}
            found.append(Move(key="", kind=PROMOTE, alias="", before=last if known else None, after=before, at=""))
        if move is not None:
            found.append(move)
    return found


def _rolled_back_versions(history: Sequence[Move]) -> set[str]:
    """Return the versions that a rollback replaced and nobody has restored since."""
    replaced: set[str] = set()
    for move in history:
        replaced.discard(move.after)
        if move.kind == ROLLBACK and move.before is not None:
            replaced.add(move.before)
    return replaced


def _excluded_versions(state: AliasState) -> set[str | None]:
    """Return the versions that no rollback chooses automatically."""
    return {state.current, *_rolled_back_versions(_history(state))}


def previous_after(move: Move, state: AliasState) -> str | None:
    """Return the version that ``previous_champion`` must name after a move: the target of a rollback."""
    return _before(AliasState(current=move.after, moves=(*state.moves, move)))
