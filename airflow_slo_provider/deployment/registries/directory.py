"""A model registry in a directory of a file system or object storage; needs no server.

::

    ROOT/fraud/registry.json        aliases and every move, replaced atomically
    ROOT/fraud/versions/7/...       the files of version 7, as registered

On a local or mounted file system a lock file makes compare-and-set exact. On object storage (S3, GCS) there is no lock: a
written document is read back, which detects most but not all races; use MLflow there if several DAGs promote the same model.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow_slo_provider.core import strict_json
from airflow_slo_provider.deployment.registries.history import AliasConflict, AliasState, Move, RegistryError, previous_after
from airflow_slo_provider.deployment.registries.names import CHAMPION, PREVIOUS
from airflow_slo_provider.deployment.registries.registry import ModelVersion, Moved, MoveRequest, completed_move, decide_move

_NAME = re.compile(r"[A-Za-z0-9][\w.+-]{0,200}")
_LOCK_SECONDS = 30.0


class DirectoryRegistry:
    """Models, versions and aliases in a directory.

    :param root: a :class:`pathlib.Path`, or Airflow's ``ObjectStoragePath``
    """

    def __init__(self, root: Any) -> None:
        self._root = root
        self._local = isinstance(root, Path)

    def __repr__(self) -> str:
        return f"<DirectoryRegistry {self._root}>"

    def register(self, model: str, version: str, source: Any) -> ModelVersion:
        """Copy the files of a new version into the registry. Registering the same version with the same files again is allowed.

        :param model: name of the model
        :param version: name of the version
        :param source: directory (or one file) with the model
        :raises Conflict: when the version exists with other files, since versions are immutable
        """
        target = self._version(model, version)
        files = _files(source)
        if not files:
            raise RegistryError(f"{source}: there are no files to register as {model} {version}", reason="not_found")
        if target.exists() and (target / ".complete").exists():
            if {name: path.read_bytes() for name, path in files.items()} != _contents(target):
                raise AliasConflict(f"{model} {version} is registered with other files; give the new ones a version of their own")
            return self.get(model, version)
        for name, path in files.items():
            place = target.joinpath(*name.split("/"))
            place.parent.mkdir(parents=True, exist_ok=True)
            _write(place, path.read_bytes())
        # Written last, so that a version exists only once all its files are copied.
        _write(target / ".complete", datetime.now(UTC).isoformat().encode())
        return self.get(model, version)

    def get(self, model: str, version: str) -> ModelVersion:
        """Return a model version.

        :param model: name of the model
        :param version: name of the version
        :raises RegistryError: reason ``not_found``
        """
        place = self._version(model, version)
        try:
            created = (place / ".complete").read_bytes().decode()
        except FileNotFoundError:
            raise RegistryError(f"{self._root}: model {model} has no version {version}", reason="not_found") from None
        return ModelVersion(model=model, version=version, created_at=datetime.fromisoformat(created), uri=str(place))

    def alias(self, model: str, alias: str) -> str | None:
        """Return the version that an alias names; None if it names none.

        :param model: name of the model
        :param alias: name of the alias
        """
        found = self._read(model)["aliases"].get(alias)
        return None if found is None else str(found)

    def moves(self, model: str, alias: str = CHAMPION) -> list[Move]:
        """Return the recorded moves of an alias, oldest first.

        :param model: name of the model
        :param alias: name of the alias
        """
        return [Move(**one) for one in self._read(model)["moves"] if one["alias"] == alias]

    def move(self, model: str, request: MoveRequest) -> Moved:
        """Move an alias and record the move atomically, once per key.

        :param model: name of the model
        :param request: the requested move
        """
        with self._lock(model):
            document = self._read(model)
            recorded = [Move(**one) for one in document["moves"] if one["alias"] == request.alias]
            state = AliasState(
                current=document["aliases"].get(request.alias), moves=recorded, previous=document["aliases"].get(PREVIOUS)
            )
            found = decide_move(model, state, request)
            if isinstance(found, Moved):
                return found
            self.get(model, found.after)
            document["aliases"][found.alias] = found.after
            if found.alias == CHAMPION:
                document["aliases"][PREVIOUS] = previous_after(found, state)
            document["moves"].append(asdict(found))
            text = json.dumps(document, indent=2, default=str).encode()
            place = self._model(model) / "registry.json"
            place.parent.mkdir(parents=True, exist_ok=True)
            _write(place, text)
            if not self._local and place.read_bytes() != text:
                raise AliasConflict(f"{model}@{found.alias}: somebody wrote {place} at the same moment; look what serves now")
            return completed_move(model, found)

    def _read(self, model: str) -> dict[str, Any]:
        place = self._model(model) / "registry.json"
        try:
            document = strict_json.loads(place.read_bytes())
        except FileNotFoundError:
            return {"aliases": {}, "moves": []}
        except ValueError as error:
            reason = strict_json.reason_of(error, "corrupt")
            raise RegistryError(f"{place} is not readable: {error}", reason=reason) from error
        if not isinstance(document, dict) or not {"aliases", "moves"} <= set(document):
            raise RegistryError(f"{place} holds no aliases and moves", reason="corrupt")
        return document

    def _model(self, model: str) -> Any:
        if not _NAME.fullmatch(model):
            raise RegistryError(f"{model!r} is no name of a model here: letters, digits and ._+- only", reason="bad_name")
        return self._root / model

    def _version(self, model: str, version: str) -> Any:
        if not _NAME.fullmatch(str(version)):
            raise RegistryError(f"{version!r} is no name of a version here: letters, digits and ._+- only", reason="bad_name")
        return self._model(model) / "versions" / str(version)

    @contextmanager
    def _lock(self, model: str) -> Iterator[None]:
        """Hold the model's lock; the operating system releases it when the process ends."""
        if not self._local:
            yield
            return
        import fcntl

        place = self._model(model)
        place.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + _LOCK_SECONDS
        with (place / ".lock").open("w") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise RegistryError(f"{place} is locked by another task", reason="locked", transient=True) from None
                    time.sleep(0.05)
            yield


def _write(place: Any, content: bytes) -> None:
    """Replace a file atomically: a reader sees either the old or the new content."""
    if not isinstance(place, Path):
        place.write_bytes(content)  # object storage writes are atomic
        return
    draft = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(place)
    except OSError:  # e.g. the disk is full: an incomplete draft must not take up space
        draft.unlink(missing_ok=True)
        raise


def _files(source: Any) -> dict[str, Any]:
    """Return the files below a directory by relative name, or a single file by its name."""
    if source.is_file():
        return {source.name: source}
    found = [path for path in source.rglob("*") if path.is_file()]
    return {
        path.relative_to(source).as_posix() if isinstance(path, Path) else str(path.relative_to(source)): path for path in found
    }


def _contents(target: Any) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in _files(target).items() if not name.startswith(".")}
