"""A model registry in a directory of a file system or object storage; needs no server.

::

    ROOT/fraud/registry.json        aliases and every move, replaced atomically
    ROOT/fraud/versions/7/...       the files of version 7, as registered

On a local or mounted file system a lock file makes compare-and-set exact. On object storage (S3, GCS) there is no lock: a
written document is read back, which detects most but not all races; use MLflow there if several DAGs promote the same model.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow_slo_provider.core import strict_json
from airflow_slo_provider.core.atomic_files import replace_file
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
        :raises AliasConflict: when the version exists with other files, since versions are immutable
        """
        target = self._version(model, version)
        files = _files(source)
        if not files:
            raise RegistryError(f"{source}: there are no files to register as {model} {version}", reason="not_found")
        if target.exists() and (target / ".complete").exists():
            if {name: path.read_bytes() for name, path in files.items()} != _contents(target):
                raise AliasConflict(f"{model} {version} is registered with other files; register the new ones as a new version")
            return self.get(model, version)
        for name, path in files.items():
            copy = target.joinpath(*name.split("/"))
            copy.parent.mkdir(parents=True, exist_ok=True)
            _write(copy, path.read_bytes())
        # Written last, so that a version exists only once all its files are copied.
        _write(target / ".complete", datetime.now(UTC).isoformat().encode())
        return self.get(model, version)

    def get(self, model: str, version: str) -> ModelVersion:
        """Return a model version.

        :param model: name of the model
        :param version: name of the version
        :raises RegistryError: reason ``not_found``
        """
        folder = self._version(model, version)
        try:
            created = (folder / ".complete").read_bytes().decode()
        except FileNotFoundError:
            raise RegistryError(f"{self._root}: model {model} has no version {version}", reason="not_found") from None
        return ModelVersion(model=model, version=version, created_at=datetime.fromisoformat(created), uri=str(folder))

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
        return [Move(**item) for item in self._read(model)["moves"] if item["alias"] == alias]

    def move(self, model: str, request: MoveRequest) -> Moved:
        """Move an alias and record the move atomically, once per key.

        :param model: name of the model
        :param request: the requested move
        """
        with self._lock(model):
            document = self._read(model)
            recorded = [Move(**item) for item in document["moves"] if item["alias"] == request.alias]
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
            file = self._model(model) / "registry.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            _write(file, text)
            if not self._local and file.read_bytes() != text:
                raise AliasConflict(f"{model}@{found.alias}: somebody wrote {file} at the same time; check what serves now")
            return completed_move(model, found)

    def _read(self, model: str) -> dict[str, Any]:
        file = self._model(model) / "registry.json"
        try:
            document = strict_json.loads(file.read_bytes())
        except FileNotFoundError:
            return {"aliases": {}, "moves": []}
        except ValueError as error:
            reason = strict_json.json_error_reason(error, "corrupt")
            raise RegistryError(f"{file} is not readable: {error}", reason=reason) from error
        if not isinstance(document, dict) or not {"aliases", "moves"} <= set(document):
            raise RegistryError(f"{file} contains no aliases and moves", reason="corrupt")
        return document

    def _model(self, model: str) -> Any:
        return self._root / _checked_name(model, "model")

    def _version(self, model: str, version: str) -> Any:
        return self._model(model) / "versions" / _checked_name(str(version), "version")

    @contextmanager
    def _lock(self, model: str) -> Iterator[None]:
        """Hold the model's lock; the operating system releases it when the process ends."""
        if not self._local:
            yield
            return
        import fcntl

        folder = self._model(model)
        folder.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + _LOCK_SECONDS
        with (folder / ".lock").open("w") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise RegistryError(f"{folder} is locked by another task", reason="locked", transient=True) from None
                    time.sleep(0.05)
            yield


def _checked_name(name: str, what: str) -> str:
    if not _NAME.fullmatch(name):
        raise RegistryError(f"{name!r} is not a valid {what} name: use letters, digits and ._+- only", reason="bad_name")
    return name


def _write(path: Any, content: bytes) -> None:
    """Replace a file; writes to object storage are atomic."""
    if isinstance(path, Path):
        replace_file(path, content)
    else:
        path.write_bytes(content)


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
