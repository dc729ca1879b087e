"""The protocol of model registries, and the decision on a move of an alias, shared by all kinds of registry.

:func:`decide_move` decides a move from the registry's state: it is a compare-and-set on the expected current version, it is made
at most once per key, and a rollback goes to the recorded predecessor of the current version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from airflow_slo_provider.deployment.registries.history import AliasConflict, AliasState, Move, predecessor
from airflow_slo_provider.deployment.registries.names import ANY, CHAMPION, NONE, PROMOTE, ROLLBACK


@dataclass(frozen=True, kw_only=True)
class ModelVersion:
    """One version of a model.

    :param created_at: when it was registered
    :param uri: location of its files
    """

    model: str
    version: str
    created_at: datetime | None = None
    uri: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Moved:
    """The result of a promotion or rollback.

    :param changed: False when this key had moved the alias before
    :param before: version that the alias named before the move
    :param after: version that it was moved to
    :param current: version that it names now; differs from ``after`` if it was moved again since
    """

    changed: bool
    model: str
    alias: str
    before: str | None
    after: str
    current: str | None
    message: str


@dataclass(frozen=True, kw_only=True)
class MoveRequest:
    """A requested move of an alias.

    :param to: the version to promote, or to roll back to; None for the recorded predecessor
    :param expected: the version that the alias is expected to name; ``*`` for any, empty for none
    :param since: when it was decided to roll back (aware). If any version is expected, and another run has rolled back since
        then, nothing is done
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
    """The protocol of all registries."""

    def get(self, model: str, version: str) -> ModelVersion:
        """Return a model version.

        :param model: name of the model
        :param version: name of the version
        :raises RegistryError: reason ``not_found``
        """
        ...

    def alias(self, model: str, alias: str) -> str | None:
        """Return the version that an alias names; None if it names none.

        :param model: name of the model
        :param alias: name of the alias
        """
        ...

    def moves(self, model: str, alias: str = CHAMPION) -> list[Move]:
        """Return the recorded moves of an alias, oldest first.

        :param model: name of the model
        :param alias: name of the alias
        """
        ...

    def move(self, model: str, request: MoveRequest) -> Moved:
        """Move an alias, once per key.

        :param model: name of the model
        :param request: the requested move
        :raises AliasConflict: when the alias names another version than expected, or this key moved it to another version before
        :raises RegistryError: when the registry cannot be reached, or there is no such version or predecessor
        """
        ...


def decide_move(model: str, state: AliasState, request: MoveRequest, *, now: datetime | None = None) -> Move | Moved:
    """Return the move to make, or the result if it was made before.

    :param model: name of the model
    :param state: state of the alias
    :param request: the requested move
    :param now: time of the move (aware); by default the current time
    :raises AliasConflict: when the alias names another version than expected, or this key moved it to another version before
    :raises RegistryError: reason ``no_predecessor``
    """
    name = f"{model}@{request.alias}"

    def unchanged(before: str | None, after: str, message: str) -> Moved:
        current = state.current
        return Moved(
            changed=False, model=model, alias=request.alias, before=before, after=after, current=current, message=message
        )

    done = next((move for move in state.moves if move.key == request.key), None)
    if done is not None:
        _require_same_target(done, request, name, "moved it")
        since = "" if state.current == done.after else f"; it names {state.current or 'nothing'} now"
        message = f"{name} was moved from {done.before or 'nothing'} to {done.after} by an earlier try{since}"
        return unchanged(done.before, done.after, message)
    pending = state.pending
    if pending is not None and pending.key == request.key:
        # An earlier try was killed during the move. Its decision is completed, not decided again.
        _require_same_target(pending, request, name, "started to move it")
        if state.current not in (pending.before, pending.after):
            raise AliasConflict(
                f"{name} names {state.current or 'nothing'}: somebody moved it while {pending.before or 'nothing'} was being "
                f"replaced by {pending.after}; nothing was changed"
            )
        return pending
    if request.expected != ANY and (state.current or NONE) != request.expected:
        raise AliasConflict(_unexpected(state, request, name))
    rival = _rolled_back_since(state, request)
    if rival is not None:
        message = f"nothing left to do: {name} was rolled back from {rival.before or 'nothing'} to {rival.after} at {rival.at} "
        message += f"by {rival.by or rival.key}; it names {state.current or 'nothing'} now"
        return unchanged(state.current, rival.after, message)
    to = predecessor(model, state, request.alias) if request.to is None else request.to
    if to == state.current:
        return unchanged(state.current, to, f"{name} names {to} already")
    at = (now or datetime.now(UTC)).astimezone(UTC)
    if state.moves:
        # Moves are sorted by time, so a move must be later than the previous one, even if that machine's clock was ahead.
        at = max(at, datetime.fromisoformat(state.moves[-1].at) + timedelta(microseconds=1))
    return Move(
        key=request.key, kind=request.kind, alias=request.alias, before=state.current, after=to, at=at.isoformat(),
        by=request.by, evidence=dict(request.evidence),
    )  # fmt: skip


def _unexpected(state: AliasState, request: MoveRequest, name: str) -> str:
    """Return why the alias does not name the expected version, with a separate message for a first promotion."""
    if state.current is not None:
        return (
            f"{name} names {state.current}, not {request.expected or 'none'} as expected: somebody moved it; "
            "evaluate against what serves now"
        )
    if state.moves:
        return f"{name} names no version, not {request.expected} as expected: somebody removed it after {state.moves[-1].after}"
    if request.kind == ROLLBACK:
        return f"{name} names no version yet, not {request.expected} as expected: there is nothing to roll back"
    return (
        f"{name} names no version yet, not {request.expected} as expected: there is no {request.alias}. "
        f"Promote {request.expected} first, or make {request.to} the first one with expected_champion=''"
    )


def _rolled_back_since(state: AliasState, request: MoveRequest) -> Move | None:
    """Return another run's rollback since this one was decided: two alerts about one release cause one rollback."""
    if request.kind != ROLLBACK or request.expected != ANY or request.since is None:
        return None
    own = request.key.split("/")[:2]  # DAG and run
    for move in reversed(state.moves):
        if datetime.fromisoformat(move.at) < request.since or move.key.split("/")[:2] == own:
            return None  # this run rolls back its own promotion
        if move.kind == ROLLBACK:
            return move
    return None


def _require_same_target(before: Move, request: MoveRequest, name: str, did: str) -> None:
    """Check that a key requests the same move as before; it differs if a run was cleared and trained another version.

    :raises AliasConflict: when it differs, since the earlier move would otherwise be reported as the requested one
    """
    if request.to is not None and request.to != before.after:
        raise AliasConflict(
            f"{name}: this task instance {did} to {before.after} before, and is asked for {request.to} now; nothing was changed: "
            "start a new run"
        )


def completed_move(model: str, move: Move) -> Moved:
    """Build the result of a completed move."""
    word = "promoted" if move.kind == PROMOTE else "rolled back"
    return Moved(
        changed=True, model=model, alias=move.alias, before=move.before, after=move.after, current=move.after,
        message=f"{model}@{move.alias}: {word} from {move.before or 'nothing'} to {move.after}",
    )  # fmt: skip
