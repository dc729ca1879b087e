"""Move aliases in an MLflow model registry by its REST API; the worker does not need the mlflow package.

MLflow keeps no history of alias moves and cannot move and record atomically. The history is kept in tags of the registered
model: ``airflow-slo.pending.<alias>`` while a move is in progress, ``airflow-slo.move.<digest of the key>`` for each completed
move. An interrupted move is completed by the retry with the same key, or recorded by the next move of the same alias.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from airflow_slo_provider.core.redaction import server_text
from airflow_slo_provider.deployment.registries.history import AliasConflict, AliasState, Move, RegistryError, previous_after
from airflow_slo_provider.deployment.registries.names import CHAMPION, PREVIOUS, PROMOTE
from airflow_slo_provider.deployment.registries.registry import ModelVersion, Moved, MoveRequest, completed_move, decide_move
from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.http.caches import REASON as CACHED
from airflow_slo_provider.http.caches import age_fault
from airflow_slo_provider.http.client import HttpClient
from airflow_slo_provider.http.faults import TRANSIENT_STATUSES, status_reason
from airflow_slo_provider.http.json_answers import read_json
from airflow_slo_provider.http.retries import HttpAnswer
from airflow_slo_provider.http.settings import HttpSettings

#: One tag per alias, so that a move of another alias does not delete an interrupted move. The bare name, used by older
#: releases for all aliases, is still read.
_PENDING, _MOVE = "airflow-slo.pending", "airflow-slo.move."
#: Maximum length of a tag's value in MLflow.
_MAX_TAG_LENGTH = 5000
#: Seconds after which a started move that has not moved the alias is considered abandoned.
_ABANDONED_AFTER = 120
_MODEL, _VERSION = "registered-models", "model-versions"


class MlflowRegistry:
    """The model registry of an MLflow tracking server.

    :param url: URL of the server, e.g. ``http://mlflow:5000``
    :param headers: headers of every request
    :param basic: login and password of basic authentication
    :param verify: whether to verify the TLS certificate, or the path of a CA file
    :param timeout: connect timeout and read timeout, in seconds
    :param retries: number of quick retries of a read request
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
        """Return a model version.

        :param model: name of the registered model
        :param version: number of the version
        :raises RegistryError: reason ``not_found``
        """
        answer = self._call("GET", f"{_VERSION}/get", {"name": model, "version": version})
        found = answer.get("model_version")
        if not isinstance(found, dict):
            raise RegistryError(f"{self._url} answered without a model version", reason="wrong_answer")
        created = found.get("creation_timestamp")
        return ModelVersion(
            model=model,
            version=str(found.get("version", version)),
            created_at=None if created is None else datetime.fromtimestamp(int(created) / 1000, UTC),
            uri=found.get("source"),
            tags=_tags(found),
        )

    def alias(self, model: str, alias: str) -> str | None:
        """Return the version that an alias names; None if it names none.

        :param model: name of the registered model
        :param alias: name of the alias
        """
        return self._aliases(self._model(model)).get(alias)

    def moves(self, model: str, alias: str = CHAMPION) -> list[Move]:
        """Return the recorded moves of an alias, oldest first.

        :param model: name of the registered model
        :param alias: name of the alias
        """
        return list(self._state(model, alias).moves)

    def move(self, model: str, request: MoveRequest) -> Moved:
        """Move an alias and record the move, once per key.

        MLflow has no compare-and-set. A move in progress is marked by a tag, which blocks other users of this class; the alias is
        read again right before and right after the move, so that a race with other clients is reported.

        :param model: name of the registered model
        :param request: the requested move
        """
        state = self._state_without_other_move(model, request)
        found = decide_move(model, state, request)
        if isinstance(found, Moved):
            if state.pending is not None and state.pending.key == request.key:
                self._clear(model, request.alias)  # an earlier try was interrupted before this last step
            return found
        self.get(model, found.after)
        if state.pending is None or state.pending.key != found.key:
            self._tag(model, f"{_PENDING}.{found.alias}", _tag_text(found))
            pending = self._state(model, request.alias).pending
            if pending is None or pending.key != found.key:
                raise _in_progress_error(model, pending)
        if state.current != found.after:
            now = self.alias(model, found.alias)
            if now != found.before:
                raise AliasConflict(f"{model}@{found.alias} now names {now or 'nothing'}: somebody moved it at the same time")
            self._call("POST", f"{_MODEL}/alias", {"name": model, "alias": found.alias, "version": found.after})
        self._record(model, found, state)
        current = self.alias(model, found.alias)
        if current != found.after:
            raise AliasConflict(f"{model}@{found.alias} was moved to {found.after}, and now names {current or 'nothing'}")
        return completed_move(model, found)

    def _state_without_other_move(self, model: str, request: MoveRequest) -> AliasState:
        """Return the state of the alias if no other move is in progress.

        :raises RegistryError: reason ``locked``, transient, while another move is in progress
        """
        state = self._state(model, request.alias)
        pending = state.pending
        if pending is None or pending.key == request.key:
            return state
        if any(move.key == pending.key for move in state.moves):
            self._clear(model, request.alias)
            return self._state(model, request.alias)
        if state.current == pending.after:
            # Moved but not recorded: its task was killed. Without the record a rollback would have no target.
            self._record(model, pending, state)
            return self._state(model, request.alias)
        age = datetime.now(UTC) - datetime.fromisoformat(pending.at)
        if age.total_seconds() < _ABANDONED_AFTER:
            raise _in_progress_error(model, pending)
        return state

    def _record(self, model: str, move: Move, state: AliasState) -> None:
        if move.alias == CHAMPION:
            previous = previous_after(move, state)
            if previous is not None:
                self._call("POST", f"{_MODEL}/alias", {"name": model, "alias": PREVIOUS, "version": previous})
            elif state.previous is not None:
                self._call("DELETE", f"{_MODEL}/alias", {"name": model, "alias": PREVIOUS})
        digest = hashlib.sha256(move.key.encode()).hexdigest()[:24]
        self._tag(model, _MOVE + digest, _tag_text(move))
        # Moving an alias changes no timestamp of the version: this tag records since when it serves.
        since = "airflow-slo.promoted_at" if move.kind == PROMOTE else "airflow-slo.restored_at"
        self._call("POST", f"{_VERSION}/set-tag", {"name": model, "version": move.after, "key": since, "value": move.at})
        self._clear(model, move.alias)

    def _clear(self, model: str, alias: str) -> None:
        for key in _moves_in_progress(_tags(self._model(model)), alias):
            self._call("DELETE", f"{_MODEL}/delete-tag", {"name": model, "key": key})

    def _state(self, model: str, alias: str) -> AliasState:
        found = self._model(model)
        tags = _tags(found)
        moves = [Move.from_json(value) for key, value in tags.items() if key.startswith(_MOVE)]
        aliases = self._aliases(found)
        return AliasState(
            current=aliases.get(alias),
            moves=sorted((move for move in moves if move.alias == alias), key=lambda move: move.at),
            pending=next(iter(_moves_in_progress(tags, alias).values()), None),
            previous=aliases.get(PREVIOUS),
        )

    def _model(self, model: str) -> dict[str, Any]:
        found = self._call("GET", f"{_MODEL}/get", {"name": model}).get("registered_model")
        if not isinstance(found, dict):
            raise RegistryError(f"{self._url} answered without a registered model", reason="wrong_answer")
        return found

    @staticmethod
    def _aliases(found: Mapping[str, Any]) -> dict[str, str]:
        return {str(item["alias"]): str(item["version"]) for item in found.get("aliases", ())}

    def _tag(self, model: str, key: str, value: str) -> None:
        self._call("POST", f"{_MODEL}/set-tag", {"name": model, "key": key, "value": value})

    def _call(self, method: str, what: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        # Only reads are retried here; a lost write is left to the task's retry, which reads the state first.
        reads = method == "GET"
        sent: dict[str, Any] = {"params": arguments} if reads else {"json": dict(arguments)}
        try:
            return self._read(self._http.request(method, f"/api/2.0/mlflow/{what}", repeat=reads, **sent), what, arguments)
        except QueryError as error:
            raise RegistryError(f"{self._url}: {error.message}", reason=error.reason, transient=error.transient) from None

    def _read(self, answer: HttpAnswer, what: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        status, fault = answer.status, age_fault(answer.headers)
        if status == 200 and fault:
            raise RegistryError(f"{self._url}: {what}: {fault}", reason=CACHED, transient=True)
        body = read_json(answer.body, source=self._url, status=status, what=what)
        if status == 200 and isinstance(body, dict):
            return body
        code = body.get("error_code", "") if isinstance(body, dict) else ""
        text = server_text(body.get("message", "") if isinstance(body, dict) else answer.body)
        subject = ", ".join(f"{key} {arguments[key]}" for key in ("name", "version", "alias", "key") if key in arguments)
        if code == "RESOURCE_DOES_NOT_EXIST" or status == 404:
            raise RegistryError(f"{self._url}: {subject}: {text}", reason="not_found")
        if status == 200:
            raise RegistryError(f"{self._url}: the answer to {what} is not one of MLflow", reason="wrong_answer")
        message = f"{self._url}: {what} ({subject}): HTTP {status} {code}: {text}"
        raise RegistryError(message, reason=status_reason(status), transient=status in TRANSIENT_STATUSES)


def _tags(found: Mapping[str, Any]) -> dict[str, str]:
    return {str(tag["key"]): str(tag.get("value", "")) for tag in found.get("tags", ())}


def _moves_in_progress(tags: Mapping[str, str], alias: str) -> dict[str, Move]:
    """Return the moves of an alias that are in progress, by tag."""
    found = {key: Move.from_json(tags[key]) for key in (f"{_PENDING}.{alias}", _PENDING) if key in tags}
    return {key: move for key, move in found.items() if move.alias == alias}


def _in_progress_error(model: str, move: Move | None) -> RegistryError:
    who = f"{move.by or move.key} moves it from {move.before or 'nothing'} to {move.after}" if move else "somebody else moves it"
    return RegistryError(f"{model}: another move is in progress: {who}", reason="locked", transient=True)


def _tag_text(move: Move) -> str:
    """Serialise a move so that it fits into a tag; evidence that is too long is replaced by a note."""
    text = move.to_json()
    if len(text) <= _MAX_TAG_LENGTH:
        return text
    return replace(move, evidence={"left_out": f"{len(text)} characters"}).to_json()
