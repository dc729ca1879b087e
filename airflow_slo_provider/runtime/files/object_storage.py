"""Access files through Airflow's object storage: path objects, globs, and times of last modification."""

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

#: Keys of the modification time in fsspec file systems: S3, Azure, local and SFTP, Google.
_NAMES = ("LastModified", "last_modified", "mtime", "updated")


def object_path(uri: str, conn_id: str | None = None) -> ObjectStoragePath:
    """Return the path object of a file or directory, local or remote.

    :param uri: a local path, or e.g. ``s3://bucket/key`` (``s3://conn_id@bucket/key`` names the connection)
    :param conn_id: Airflow connection of the object store; by default the one in the URI
    """
    from airflow.sdk import ObjectStoragePath

    return ObjectStoragePath(uri, conn_id=conn_id) if conn_id else ObjectStoragePath(uri)


def is_local(uri: str) -> bool:
    """Return whether a path or URI is a file on this machine."""
    return "://" not in uri or uri.lower().startswith("file://")


class ObjectStorage:
    """Find files by ``ObjectStoragePath``: ``s3://bucket/dt=*/_SUCCESS``, ``file:///data/*.parquet``, a local path.

    :param conn_id: the Airflow connection of the store; by default the one in the URL
    """

    def __init__(self, *, conn_id: str | None = None) -> None:
        self._conn_id = conn_id

    def files(self, pattern: str) -> Iterator[tuple[str, Any]]:
        """Yield path and modification time of each file that matches a pattern.

        Links are followed, because the time of a link is not the time of its file. If the pattern itself is the name of a file,
        that file is returned, even if the name could be read as a glob: ``x[1].parquet``.

        :param pattern: a path or glob, local or remote
        :raises QueryError: if the store does not answer, or a glob matches a broken link; transient unless the store denies
            access
        """
        try:
            path = object_path(pattern, self._conn_id)
            storage = path.fs
            storage.invalidate_cache()  # an older listing of an object store may be cached
            for name, info in _matching_files(storage, path.path):
                if info.get("type") == "file":
                    yield name, _modified(storage, name, info)
        except FileNotFoundError:
            return
        except (OSError, ValueError, ImportError) as error:
            message = f"path {pattern} cannot be read: {type(error).__name__}: {server_text(error)}"
            if isinstance(error, PermissionError | ValueError | ImportError):
                raise QueryError(message, reason="forbidden" if isinstance(error, PermissionError) else "bad_path") from None
            raise QueryError(message, reason="storage", transient=True) from None


def _matching_files(storage: Any, pattern: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    from fsspec.implementations.local import LocalFileSystem

    local = isinstance(storage, LocalFileSystem)
    found: Mapping[str, Mapping[str, Any]]
    if "[" in pattern and storage.isfile(pattern):  # the only wildcard that does not match itself
        found = {pattern: storage.info(pattern)}
    elif local and "**" not in pattern and any(wildcard in pattern for wildcard in "*?["):
        # fsspec does not enter linked directories; for "**" that is right, because a link may lead back.
        found = {name: {} for name in iglob(pattern, include_hidden=True)}
    else:
        found = storage.glob(pattern, detail=True)
    for name, info in sorted(found.items()):
        if info.get("type") in ("file", "directory"):
            yield name, info
            continue
        try:  # a listing describes the link itself, as "link" or "other"; info() describes its target
            yield name, storage.info(name)
        except FileNotFoundError:
            if (local and not lexists(name)) or basename(name).startswith("."):
                continue  # removed meanwhile, or an editor's lock file, which is a broken link
            # If it were ignored, the oldest of several files could appear younger.
            message = f"{name} is a link to a file that does not exist; fix or remove it, or write a path that does not match it"
            raise QueryError(message, reason="storage", transient=True) from None


def _modified(storage: Any, name: str, info: Mapping[str, Any]) -> Any:
    value = next((info[key] for key in _NAMES if info.get(key)), None)
    if value is None:
        try:
            value = storage.modified(name)
        except NotImplementedError:
            return None
    return datetime.fromisoformat(value) if isinstance(value, str) else value
