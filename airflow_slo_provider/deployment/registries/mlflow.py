"""MLflow's model registry, over its REST API: the worker needs no mlflow.

MLflow keeps no history of alias moves and cannot move and record in one step. What is missing is kept in tags of the registered
model: ``airflow-slo.pending.<alias>`` while a move is under way, ``airflow-slo.move.<digest of the key>`` for each that was made.
A move that was cut off in the middle is finished by whoever comes back with the same key, or recorded by the next of its alias.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from airflow_slo_provider.core.redaction import server_text
from airflow_slo_provider.deployment.registries.names import CHAMPION, PREVIOUS, PROMOTE
from airflow_slo_provider.deployment.registries.registry import (
    Conflict,
    ModelVersion,
    Move,
    Moved,
    RegistryError,
    State,
    Wanted,
    decide,
    finished,
    previous_after,
)
from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.http.caches import REASON as CACHED
from airflow_slo_provider.http.caches import age_fault
from airflow_slo_provider.http.client import HttpClient
from airflow_slo_provider.http.faults import TRANSIENT_STATUSES, status_reason
from airflow_slo_provider.http.json_answers import read_json
from airflow_slo_provider.http.retries import HttpAnswer
from airflow_slo_provider.http.settings import HttpSettings

#: One tag for each alias: a move of another one must not wipe a move that was cut off. The bare name, which was once that of all
#: aliases, is still read.
_PENDING, _MOVE = "airflow-slo.pending", "airflow-slo.move."
#: Longest value of a tag MLflow takes.
_LONGEST = 5000
#: Seconds after which a move that was begun and did not move anything is given up for dead.
_PATIENCE = 120
_MODEL, _VERSION = "registered-models", "model-versions"


class MlflowRegistry:
    """An MLflow tracking server's registry.

    :param url: of the server, e.g. ``http://mlflow:5000``
    :param headers: sent with every request
    :param basic: login and password
    :param verify: whether the certificate is checked, or the file of a CA
    :param timeout: seconds to connect, and of silence before giving up
    :param retries: quick attempts after the first, for reading
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        basic: tuple[str, str] | None = None,
        verify: bool | str = True,
        timeout: tuple[float, float] = (5, 30),
        retries: int = 2,
    ) -> None:
        settings = HttpSettings(
            url=url, headers=headers, basic=basic, verify=verify, timeout=timeout, max_seconds=None, retries=retries
        )
        self._http, self._url, self.secrets = HttpClient(settings), settings.address, settings.secrets

    def __repr__(self) -> str:
        return f"<MlflowRegistry {self._url}>"

    def get(self, model: str, version: str) -> ModelVersion:
        """Return a version.

        :raises RegistryError: reason ``not_found``
        """
        answer = self._call("GET", f"{_VERSION}/get", {"name": model, "version": version})
        found = answer.get("model_version")
        if not isinstance(found, dict):
            raise RegistryError(f"{self._url} answers without a model version", reason="wrong_answer")
        created = found.get("creation_timestamp")
        return ModelVersion(
            model=model,
            version=str(found.get("version", version)),
            created_at=None if created is None else datetime.fromtimestamp(int(created) / 1000, UTC),
            uri=found.get("source"),
            tags=_tags(found),
        )

    def alias(self, model: str, alias: str) -> str | None:
        """Return the version an alias names, None when it names none."""
        return self._aliases(self._model(model)).get(alias)

    def moves(self, model: str, alias: str = CHAMPION) -> list[Move]:
        """Return the recorded moves of an alias, oldest first."""
        return list(self._state(model, alias).moves)

    def move(self, model: str, wanted: Wanted) -> Moved:
        """Move an alias and record it, once for each key.

        MLflow has no compare-and-set. A move that is under way stands in a tag, which keeps out others that use this class; the
        alias is read again right before and right after, so that a race with anybody else is told.
        """
        state = self._settled(model, wanted)
        found = decide(model, state, wanted)
        if isinstance(found, Moved):
            if state.pending is not None and state.pending.key == wanted.key:
                self._clear(model, wanted.alias)  # an earlier try did everything but this
            return found
        self.get(model, found.after)
        if state.pending is None or state.pending.key != found.key:
            self._tag(model, f"{_PENDING}.{found.alias}", _fitting(found))
            pending = self._state(model, wanted.alias).pending
            if pending is None or pending.key != found.key:
                raise _under_way(model, pending)
        if state.current != found.after:
            now = self.alias(model, found.alias)
            if now != found.before:
                raise Conflict(f"{model}@{found.alias} names {now or 'nothing'} now: somebody moved it at the same moment")
            self._call("POST", f"{_MODEL}/alias", {"name": model, "alias": found.alias, "version": found.after})
        self._record(model, found, state)
        current = self.alias(model, found.alias)
        if current != found.after:
            raise Conflict(f"{model}@{found.alias} was moved to {found.after}, and names {current or 'nothing'} by now")
        return finished(model, found)

    def _settled(self, model: str, wanted: Wanted) -> State:
        """Return the state, once nobody else is in the middle of a move.

        :raises RegistryError: reason ``locked``, transient, while somebody is
        """
        state = self._state(model, wanted.alias)
        begun = state.pending
        if begun is None or begun.key == wanted.key:
            return state
        if any(move.key == begun.key for move in state.moves):
            self._clear(model, wanted.alias)
            return self._state(model, wanted.alias)
        if state.current == begun.after:
            # Moved and not recorded: its task was killed, and without the record a rollback would not know where to go.
            self._record(model, begun, state)
            return self._state(model, wanted.alias)
        age = datetime.now(UTC) - datetime.fromisoformat(begun.at)
        if age.total_seconds() < _PATIENCE:
            raise _under_way(model, begun)
        return state

    def _record(self, model: str, move: Move, state: State) -> None:
        if move.alias == CHAMPION:
            previous = previous_after(move, state)
            if previous is not None:
                self._call("POST", f"{_MODEL}/alias", {"name": model, "alias": PREVIOUS, "version": previous})
            elif state.previous is not None:
                self._call("DELETE", f"{_MODEL}/alias", {"name": model, "alias": PREVIOUS})
        digest = hashlib.sha256(move.key.encode()).hexdigest()[:24]
        self._tag(model, _MOVE + digest, _fitting(move))
        # Moving an alias changes no timestamp of a version: this says since when it serves.
        since = "airflow-slo.promoted_at" if move.kind == PROMOTE else "airflow-slo.restored_at"
        self._call("POST", f"{_VERSION}/set-tag", {"name": model, "version": move.after, "key": since, "value": move.at})
        self._clear(model, move.alias)

    def _clear(self, model: str, alias: str) -> None:
        for key in _begun(_tags(self._model(model)), alias):
            self._call("DELETE", f"{_MODEL}/delete-tag", {"name": model, "key": key})

    def _state(self, model: str, alias: str) -> State:
        found = self._model(model)
        tags = _tags(found)
        moves = [Move.from_json(value) for key, value in tags.items() if key.startswith(_MOVE)]
        aliases = self._aliases(found)
        return State(
            current=aliases.get(alias),
            moves=sorted((move for move in moves if move.alias == alias), key=lambda move: move.at),
            pending=next(iter(_begun(tags, alias).values()), None),
            previous=aliases.get(PREVIOUS),
        )

    def _model(self, model: str) -> dict[str, Any]:
        found = self._call("GET", f"{_MODEL}/get", {"name": model}).get("registered_model")
        if not isinstance(found, dict):
            raise RegistryError(f"{self._url} answers without a registered model", reason="wrong_answer")
        return found

    @staticmethod
    def _aliases(found: Mapping[str, Any]) -> dict[str, str]:
        return {str(one["alias"]): str(one["version"]) for one in found.get("aliases", ())}

    def _tag(self, model: str, key: str, value: str) -> None:
        self._call("POST", f"{_MODEL}/set-tag", {"name": model, "key": key, "value": value})

    def _call(self, method: str, what: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        # Only reading is repeated here; a write that was lost on its way is for the task's own retry, which looks first.
        reads = method == "GET"
        given: dict[str, Any] = {"params": arguments} if reads else {"json": dict(arguments)}
        try:
            answer = self._http.request(method, f"/api/2.0/mlflow/{what}", repeat=reads, **given)
        except QueryError as error:
            raise RegistryError(f"{self._url}: {error.message}", reason=error.reason, transient=error.transient) from None
        return self._read(answer, what, arguments)

    def _read(self, answer: HttpAnswer, what: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        status, fault = answer.status, age_fault(answer.headers)
        if status == 200 and fault:
            raise RegistryError(f"{self._url}: {what}: {fault}", reason=CACHED, transient=True)
        try:
            body = read_json(answer.body, source=self._url, status=status, what=what)
        except QueryError as error:
            raise RegistryError(f"{self._url}: {error.message}", reason=error.reason, transient=error.transient) from None
        if status == 200 and isinstance(body, dict):
            return body
        code = body.get("error_code", "") if isinstance(body, dict) else ""
        text = server_text(body.get("message", "") if isinstance(body, dict) else answer.body)
        asked = ", ".join(f"{key} {arguments[key]}" for key in ("name", "version", "alias", "key") if key in arguments)
        if code == "RESOURCE_DOES_NOT_EXIST" or status == 404:
            raise RegistryError(f"{self._url}: {asked}: {text}", reason="not_found")
        if status == 200:
            raise RegistryError(f"{self._url} answers {what} with something that is not MLflow's", reason="wrong_answer")
        raise RegistryError(
            f"{self._url}: {what} ({asked}): HTTP {status} {code}: {text}",
            reason=status_reason(status),
            transient=status in TRANSIENT_STATUSES,
        )


def _tags(found: Mapping[str, Any]) -> dict[str, str]:
    return {str(tag["key"]): str(tag.get("value", "")) for tag in found.get("tags", ())}


def _begun(tags: Mapping[str, str], alias: str) -> dict[str, Move]:
    """Return the moves of an alias that are under way, by their tags."""
    found = {key: Move.from_json(tags[key]) for key in (f"{_PENDING}.{alias}", _PENDING) if key in tags}
    return {key: move for key, move in found.items() if move.alias == alias}


def _under_way(model: str, move: Move | None) -> RegistryError:
    who = f"{move.by or move.key} moves it from {move.before or 'nothing'} to {move.after}" if move else "somebody else moves it"
    return RegistryError(f"{model}: another move is under way: {who}", reason="locked", transient=True)


def _fitting(move: Move) -> str:
    """Write a move so that it fits into a tag: what is too long of the evidence is left out, and said so."""
    text = move.to_json()
    if len(text) <= _LONGEST:
        return text
    return Move(**{**move.__dict__, "evidence": {"left_out": f"{len(text)} characters"}}).to_json()
