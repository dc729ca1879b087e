"""Model registries: which version an alias names, and who moved it, when and why.

A move is decided on the registry's state by :func:`decide`, the same for every kind of registry: it is compare-and-set on the
version that is believed to be champion, it is done once for each key however often it is asked for, and a rollback goes to the
recorded predecessor of what serves now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from airflow_slo_provider.deployment.registries.history import (
    Conflict,
    Move,
    RegistryError,
    State,
    predecessor,
    previous_after,
)
from airflow_slo_provider.deployment.registries.names import ANY, CHAMPION, NONE, PROMOTE, ROLLBACK

__all__ = [
    "ANY",
    "CHAMPION",
    "NONE",
    "PROMOTE",
    "ROLLBACK",
    "Conflict",
    "ModelRegistry",
    "ModelVersion",
    "Move",
    "Moved",
    "RegistryError",
    "State",
    "Wanted",
    "decide",
    "finished",
    "predecessor",
    "previous_after",
]


@dataclass(frozen=True, kw_only=True)
class ModelVersion:
    """One version of a model.

    :param created_at: when it was registered
    :param uri: where its files are
    """

    model: str
    version: str
    created_at: datetime | None = None
    uri: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Moved:
    """How a promotion or rollback ended.

    :param changed: False when this key had moved the alias before
    :param before: version the alias named before the move
    :param after: version it was moved to
    :param current: version it names now; another than ``after`` when somebody moved on since
    """

    changed: bool
    model: str
    alias: str
    before: str | None
    after: str
    current: str | None
    message: str


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is asked of a registry.

    :param to: the version to promote, or to roll back to; None: the recorded predecessor
    :param expected: the version that is believed to be named by the alias; ``*``: any, empty: none
    :param since: when it was decided to roll back (aware). Where any version is expected, a rollback that another run has made
        since then leaves nothing to do
    """

    kind: str
    alias: str
    key: str
    to: str | None = None
    expected: str = ANY
    since: datetime | None = None
    by: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)


class ModelRegistry(Protocol):
    """What every registry can do."""

    def get(self, model: str, version: str) -> ModelVersion:
        """Return a version.

        :raises RegistryError: reason ``not_found``
        """
        ...

    def alias(self, model: str, alias: str) -> str | None:
        """Return the version an alias names, None when it names none."""
        ...

    def moves(self, model: str, alias: str = CHAMPION) -> list[Move]:
        """Return the recorded moves of an alias, oldest first."""
        ...

    def move(self, model: str, wanted: Wanted) -> Moved:
        """Move an alias, once for each key.

        :raises Conflict: when the alias names another version than is believed, or this key moved it to another version before
        :raises RegistryError: when the registry was not reached, or there is no such version or predecessor
        """
        ...


def decide(model: str, state: State, wanted: Wanted, *, now: datetime | None = None) -> Move | Moved:
    """Return the move to make, or what there is to say when it was made before.

    :raises Conflict: when the alias names another version than is believed, or this key moved it to another version before
    :raises RegistryError: reason ``no_predecessor``
    """
    name = f"{model}@{wanted.alias}"
    done = next((move for move in state.moves if move.key == wanted.key), None)
    if done is not None:
        _same_as(done, wanted, name, "moved it")
        since = "" if state.current == done.after else f"; it names {state.current or 'nothing'} since"
        return Moved(
            changed=False, model=model, alias=wanted.alias, before=done.before, after=done.after, current=state.current,
            message=f"{name} was moved from {done.before or 'nothing'} to {done.after} by an earlier try{since}",
        )  # fmt: skip
    begun = state.pending
    if begun is not None and begun.key == wanted.key:
        # An earlier try was killed on its way. What it saw and meant counts, not what this one would make of it.
        _same_as(begun, wanted, name, "began to move it")
        if state.current not in (begun.before, begun.after):
            raise Conflict(
                f"{name} names {state.current or 'nothing'}: somebody moved it while {begun.before or 'nothing'} was being "
                f"replaced by {begun.after}; nothing was changed"
            )
        return begun
    if wanted.expected != ANY and (state.current or NONE) != wanted.expected:
        raise Conflict(_unexpected(state, wanted, name))
    rival = _rolled_back_since(state, wanted)
    if rival is not None:
        return Moved(
            changed=False, model=model, alias=wanted.alias, before=state.current, after=rival.after, current=state.current,
            message=f"nothing left to do: {name} was rolled back from {rival.before or 'nothing'} to {rival.after} at {rival.at} "
            f"by {rival.by or rival.key}; it names {state.current or 'nothing'} now",
        )  # fmt: skip
    to = predecessor(model, state, wanted.alias) if wanted.to is None else wanted.to
    if to == state.current:
        return Moved(
            changed=False, model=model, alias=wanted.alias, before=state.current, after=to, current=to,
            message=f"{name} names {to} already",
        )  # fmt: skip
    at = (now or datetime.now(UTC)).astimezone(UTC)
    if state.moves:
        # A move is later than the one before it, whatever the clock of the machine that made that one said: moves are read
        # in the order of their times.
        at = max(at, datetime.fromisoformat(state.moves[-1].at) + timedelta(microseconds=1))
    return Move(
        key=wanted.key, kind=wanted.kind, alias=wanted.alias, before=state.current, after=to, at=at.isoformat(),
        by=wanted.by, evidence=dict(wanted.evidence),
    )  # fmt: skip


def _unexpected(state: State, wanted: Wanted, name: str) -> str:
    """Say why the alias does not name what is expected: a first promotion is no race."""
    if state.current is not None:
        return (
            f"{name} names {state.current}, not {wanted.expected or 'none'} as expected: somebody moved it; "
            "evaluate against what serves now"
        )
    if state.moves:
        return f"{name} names no version, not {wanted.expected} as expected: somebody took it away after {state.moves[-1].after}"
    if wanted.kind == ROLLBACK:
        return f"{name} names no version yet, not {wanted.expected} as expected: there is nothing to roll back"
    return (
        f"{name} names no version yet, not {wanted.expected} as expected: there is no {wanted.alias}. "
        f"Promote {wanted.expected} first, or make {wanted.to} the first one with expected_champion=''"
    )


def _rolled_back_since(state: State, wanted: Wanted) -> Move | None:
    """Return the rollback that another run made since this one was decided: two alerts over one release take one version away."""
    if wanted.kind != ROLLBACK or wanted.expected != ANY or wanted.since is None:
        return None
    own = wanted.key.split("/")[:2]  # DAG and run
    for move in reversed(state.moves):
        if datetime.fromisoformat(move.at) < wanted.since or move.key.split("/")[:2] == own:
            return None  # what this run promoted itself is what it rolls back
        if move.kind == ROLLBACK:
            return move
    return None


def _same_as(before: Move, wanted: Wanted, name: str, did: str) -> None:
    """Refuse a key that wants something else by now: a run that was cleared and trained another version.

    :raises Conflict: saying so; that this key has moved once would else be taken for what it asks for
    """
    if wanted.to is not None and wanted.to != before.after:
        raise Conflict(
            f"{name}: this task instance {did} to {before.after} before, and is asked for {wanted.to} now; nothing was changed: "
            "start a new run"
        )


def finished(model: str, move: Move) -> Moved:
    """Say that a move was made."""
    word = "promoted" if move.kind == PROMOTE else "rolled back"
    return Moved(
        changed=True, model=model, alias=move.alias, before=move.before, after=move.after, current=move.after,
        message=f"{model}@{move.alias}: {word} from {move.before or 'nothing'} to {move.after}",
    )  # fmt: skip
