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
class FilesQuestion:
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
        found = [(path, _moment(path, changed)) for path, changed in storage.files(self.path)]
        what, source = f"path {self.path}", f"{self.which} of {len(found)} files of {self.path}"
        evidence = {"path": self.path, "files": len(found)}
        if self.by_directory:
            groups: dict[str, datetime | None] = {}
            for path, moment in found:
                directory = path.rpartition("/")[0]
                before = groups.get(directory)
                groups[directory] = moment if before is None else self._choose(before, moment)
            return Observation(what=what, source=source, groups=groups, note="no file matches", evidence=evidence)
        if not found:
            return Observation(what=what, source=source, note="no file matches", evidence=evidence)
        moment = found[0][1]
        for _, other in found[1:]:
            moment = self._choose(moment, other)
        path = next(path for path, other in found if other == moment)
        return Observation(what=what, source=source, observed_at=moment, note=f"file {path}", evidence=evidence)

    def _choose(self, one: datetime, other: datetime) -> datetime:
        return max(one, other) if self.which == "newest" else min(one, other)


def _moment(path: str, changed: Any) -> datetime:
    if isinstance(changed, datetime):
        if changed.utcoffset() is None:
            raise InvalidMeasurement(f"{path}: the storage says {changed}, without a time zone", reason="no_timezone")
        try:
            return in_utc(changed)
        except ValueError as error:
            raise InvalidMeasurement(f"{path}: the storage says {error}", reason="bad_timestamp") from None
    if isinstance(changed, (int, float)) and not isinstance(changed, bool) and changed > 0:
        return read_seconds(changed, what=f"{path}: time of the last change")
    raise QueryError(f"{path}: the storage does not say when it was last changed", reason="no_timestamp")
