"""Airflow's object storage: a path or URI as a path object, and a place whose files have a time of last change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from glob import iglob
from os.path import basename, lexists
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.core.redaction import server_text
from airflow_slo_provider.exceptions import QueryError

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

#: What file systems of fsspec call the time of last change: S3, Azure, local and SFTP, Google.
_NAMES = ("LastModified", "last_modified", "mtime", "updated")


def object_path(uri: str, conn_id: str | None = None) -> ObjectStoragePath:
    """Return the path object of a file or directory, local or remote.

    :param uri: a local path, or e.g. ``s3://bucket/key`` (``s3://conn_id@bucket/key`` names the connection)
    :param conn_id: Airflow connection of the object store, unless the URI names it
    """
    from airflow.sdk import ObjectStoragePath

    return ObjectStoragePath(uri, conn_id=conn_id) if conn_id else ObjectStoragePath(uri)


def is_local(uri: str) -> bool:
    """Whether a path or URI names a file of this machine."""
    return "://" not in uri or uri.lower().startswith("file://")


class ObjectStorage:
    """Finds files by ``ObjectStoragePath``: ``s3://bucket/dt=*/_SUCCESS``, ``file:///data/*.parquet``, a local path.

    :param conn_id: the Airflow connection of the store, unless the URL names it
    """

    def __init__(self, *, conn_id: str | None = None) -> None:
        self._conn_id = conn_id

    def files(self, pattern: str) -> Iterator[tuple[str, Any]]:
        """Yield path and time of last change of each file that matches.

        A link is what it points to: a file was not written when somebody made a link to it. What names a file is that file,
        also where it could be read as a glob: ``x[1].parquet``.

        :raises QueryError: when the store does not answer, or a glob finds a link to nothing; transient unless it refuses
        """
        try:
            path = object_path(pattern, self._conn_id)
            storage = path.fs
            storage.invalidate_cache()  # an object store's listing may be remembered from before
            for name, info in _found(storage, path.path):
                if info.get("type") == "file":
                    yield name, _changed(storage, name, info)
        except FileNotFoundError:
            return
        except (PermissionError, ValueError, ImportError) as error:
            message = f"path {pattern} cannot be read: {type(error).__name__}: {server_text(error)}"
            raise QueryError(message, reason="forbidden" if isinstance(error, PermissionError) else "bad_path") from None
        except OSError as error:
            message = f"path {pattern} cannot be read: {type(error).__name__}: {server_text(error)}"
            raise QueryError(message, reason="storage", transient=True) from None


def _found(storage: Any, pattern: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    from fsspec.implementations.local import LocalFileSystem

    local = isinstance(storage, LocalFileSystem)
    found: Mapping[str, Mapping[str, Any]]
    if "[" in pattern and storage.isfile(pattern):  # the only wildcard that does not match itself
        found = {pattern: storage.info(pattern)}
    elif local and "**" not in pattern and any(wildcard in pattern for wildcard in "*?["):
        # fsspec does not look into a directory that is a link; behind "**" that is right, since a link may lead back.
        found = {name: {} for name in iglob(pattern, include_hidden=True)}
    else:
        found = storage.glob(pattern, detail=True)
    for name, info in sorted(found.items()):
        if info.get("type") in ("file", "directory"):
            yield name, info
            continue
        try:  # a listing describes a link itself, as "link" or "other"; this describes what it points to
            yield name, storage.info(name)
        except FileNotFoundError:
            if local and not lexists(name):
                continue  # removed meanwhile
            if basename(name).startswith("."):
                continue  # an editor's lock, which points to no file
            # Left out, it could make the oldest of several files a young one.
            message = f"{name} is a link to a file that does not exist; mend or remove it, or write a path that does not match it"
            raise QueryError(message, reason="storage", transient=True) from None


def _changed(storage: Any, name: str, info: Mapping[str, Any]) -> Any:
    value = next((info[key] for key in _NAMES if info.get(key)), None)
    if value is None:
        try:
            value = storage.modified(name)
        except NotImplementedError:
            return None
    return datetime.fromisoformat(value) if isinstance(value, str) else value
