"""Profile of a dataset: a versioned file that can be stored beside the model trained on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from airflow_slo_provider.drift.profiles.artifact_files import read_bytes, write_bytes
from airflow_slo_provider.drift.profiles.columns import ColumnProfile
from airflow_slo_provider.drift.profiles.profile_json import FORMAT, counts_hash, profile_from_json, profile_to_json
from airflow_slo_provider.exceptions import InvalidMeasurement, QueryError


@dataclass(frozen=True, kw_only=True)
class DatasetProfile:
    """Profiles of all columns of a dataset.

    Two profiles are equal if their counts are equal; engine, source and time are ignored.

    :param columns: column profiles by name, in the order of the dataset
    :param rows: number of rows
    :param engine: what counted the rows: ``local``, ``spark`` or the SQL dialect
    :param source: name of the data, without credentials
    :param created_at: when the profile was made
    """

    columns: Mapping[str, ColumnProfile] = field(hash=False)
    rows: int
    engine: str = field(default="local", compare=False)
    source: str = field(default="", compare=False)
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC), compare=False)

    def __getitem__(self, name: str) -> ColumnProfile:
        return self.columns[name]

    @property
    def hash(self) -> str:
        """SHA-256 of the counts."""
        return counts_hash(self.columns, self.rows)

    @property
    def schema(self) -> dict[str, str]:
        """Kind of each column."""
        return {name: column.kind for name, column in self.columns.items()}

    def merge(self, other: DatasetProfile) -> DatasetProfile:
        """Return the profile of the rows of both datasets; merging the profiles of any parts gives the profile of the whole.

        A column that only one part has is kept, and its ``problem`` says so.

        :param other: profile of another part of the dataset
        """
        if not isinstance(other, DatasetProfile):
            raise InvalidMeasurement(f"a profile merges with a profile, not with {type(other).__name__}")
        columns = {}
        for name in {**self.columns, **other.columns}:
            if name in self.columns and name in other.columns:
                columns[name] = self.columns[name].merge(other.columns[name])
            else:
                part, other_part = (self, other) if name in self.columns else (other, self)
                problem = f"column {name} is missing in {other_part.source or 'one part'}"
                columns[name] = replace(part.columns[name], problem=problem, distribution=None, categories=None)
        source = ", ".join(dict.fromkeys(part.source for part in (self, other) if part.source))
        return replace(self, columns=columns, rows=self.rows + other.rows, source=source, created_at=datetime.now(UTC))

    def save(self, uri: Any) -> str:
        """Write the profile as JSON, atomically, so that a reader never sees half of it.

        :param uri: a path, a URI that fsspec opens, or a path object with ``open``
        :return: where it was written
        """
        return write_bytes(uri, self.to_json())

    def to_json(self) -> bytes:
        """Return the profile as JSON, with a hash of its counts."""
        return profile_to_json(self.columns, rows=self.rows, engine=self.engine, source=self.source, created_at=self.created_at)

    @classmethod
    def from_json(cls, data: bytes, *, where: str) -> DatasetProfile:
        """Read a profile that :meth:`to_json` wrote.

        :param data: the JSON
        :param where: where the data was read from, for messages
        :raises InvalidMeasurement: when it is not a profile, was cut off or altered, or was written by a newer release
        """
        return cls(**profile_from_json(data, where=where))


def load_profile(uri: Any) -> DatasetProfile:
    """Read a profile that :meth:`DatasetProfile.save` wrote, of at most 256 MiB.

    :param uri: a path, a URI that fsspec opens, or a path object with ``open``
    :raises QueryError: when it cannot be read
    :raises InvalidMeasurement: when it is not a profile, was cut off or altered, or was written by a newer release
    """
    return DatasetProfile.from_json(read_bytes(uri), where=str(uri))


def load_if_profile(data: Any) -> DatasetProfile | None:
    """Return the stored profile at a path, or None if the path is something else.

    :param data: any value; only a path that ends in ``.json`` is opened
    :raises InvalidMeasurement: when it is a damaged profile
    """
    is_path = isinstance(data, str) or hasattr(data, "__fspath__") or hasattr(data, "fs")
    if not is_path or not str(data).endswith(".json"):
        return None
    try:
        start = read_bytes(data, first=200)
    except QueryError as error:
        if error.reason == "not_found" and any(sign in str(data) for sign in "*?["):
            return None  # a glob of data
        raise
    return load_profile(data) if FORMAT.encode() in start else None
