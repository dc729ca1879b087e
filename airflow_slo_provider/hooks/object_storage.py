"""Airflow's object storage as a place whose files have a time of last change."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from airflow_slo_provider.exceptions import QueryError

#: What file systems of fsspec call the time of last change: S3, Azure, local and SFTP, Google.
_NAMES = ("LastModified", "last_modified", "mtime", "updated")


class ObjectStorage:
    """Finds files by ``ObjectStoragePath``: ``s3://bucket/dt=*/_SUCCESS``, ``file:///data/*.parquet``, a local path.

    :param conn_id: the Airflow connection of the store, unless the URL names it
    """

    def __init__(self, *, conn_id: str | None = None) -> None:
        self._conn_id = conn_id

    def files(self, pattern: str) -> Iterator[tuple[str, Any]]:
        """Yield path and time of last change of each file that matches.

        :raises QueryError: when the store does not answer; transient unless it refuses
        """
        from airflow.sdk import ObjectStoragePath

        try:
            path = ObjectStoragePath(pattern, conn_id=self._conn_id)
            storage = path.fs
            storage.invalidate_cache()  # an object store's listing may be remembered from before
            found = storage.glob(path.path, detail=True)
            for name, info in sorted(found.items()):
                if info.get("type") == "file":
                    yield name, _changed(storage, name, info)
        except FileNotFoundError:
            return
        except (PermissionError, ValueError, ImportError) as error:
            message = f"path {pattern} cannot be read: {type(error).__name__}: {error}"
            raise QueryError(message, reason="forbidden" if isinstance(error, PermissionError) else "bad_path") from error
        except OSError as error:
            message = f"path {pattern} cannot be read: {type(error).__name__}: {error}"
            raise QueryError(message, reason="storage", transient=True) from error


def _changed(storage: Any, name: str, info: dict[str, Any]) -> Any:
    value = next((info[key] for key in _NAMES if info.get(key)), None)
    if value is None:
        try:
            value = storage.modified(name)
        except NotImplementedError:
            return None
    return datetime.fromisoformat(value) if isinstance(value, str) else value
