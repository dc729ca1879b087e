"""Find when files were last modified: the newest or oldest of a glob, or a marker such as ``_SUCCESS``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from airflow_slo_provider.core.timestamps import in_utc, read_seconds
from airflow_slo_provider.exceptions import InvalidMeasurement, QueryError
from airflow_slo_provider.freshness.observation import Observation

WHICH = ("newest", "oldest")


class Storage(Protocol):
    """A file system or an object store."""

    def files(self, pattern: str) -> Iterable[tuple[str, Any]]:
        """Yield path and modification time of each matching file: aware datetime, seconds since 1970, or None.

        A pattern without a wildcard is one file. Directories are ignored. A missing file is left out, not an error.

        :param pattern: path or glob
        """
        ...


@dataclass(frozen=True, kw_only=True)
class FileQuery:
    """A query for the modification time of files.

    :param path: path or glob, also of a marker: ``s3://bucket/features/dt=*/_SUCCESS``
    :param which: ``newest`` (something arrived recently) or ``oldest`` (every file is recent)
    :param by_directory: measure one age per directory with a matching file
    :raises ValueError: for another value of ``which``
    """

    path: str
    which: str = "newest"
    by_directory: bool = False

    def __post_init__(self) -> None:
        if self.which not in WHICH:
            raise ValueError(f"which is {self.which!r}; write newest or oldest")

    def observe(self, storage: Storage) -> Observation:
        """Read the modification times.

        :param storage: the file system or object store
        :raises QueryError: when the storage has no modification times
        """
        files = [(_read_modified(path, modified), path) for path, modified in storage.files(self.path)]
        about: dict[str, Any] = {
            "what": f"path {self.path}",
            "source": f"{self.which} of {len(files)} files of {self.path}",
            "evidence": {"path": self.path, "files": len(files)},
        }
        choose = max if self.which == "newest" else min
        if self.by_directory:
            groups: dict[str, datetime | None] = {}
            for modified, path in files:
                directory = path.rpartition("/")[0]
                groups[directory] = choose(modified, groups.get(directory) or modified)
            return Observation(**about, groups=groups, note="no file matches")
        if not files:
            return Observation(**about, note="no file matches")
        modified, path = choose(files, key=lambda file: file[0])
        return Observation(**about, observed_at=modified, note=f"file {path}")


def _read_modified(path: str, modified: Any) -> datetime:
    if isinstance(modified, datetime):
        if modified.utcoffset() is None:
            raise InvalidMeasurement(f"{path}: the storage returns {modified}, without a time zone", reason="no_timezone")
        try:
            return in_utc(modified)
        except ValueError as error:
            raise InvalidMeasurement(f"{path}: the storage returns {error}", reason="bad_timestamp") from None
    if isinstance(modified, (int, float)) and not isinstance(modified, bool) and modified > 0:
        return read_seconds(modified, what=f"{path}: time of the last change")
    raise QueryError(f"{path}: the storage has no time of its last change", reason="no_timestamp")
