"""Write and read profiles as JSON: readable fields, with the long arrays of counts compressed."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from airflow_slo_provider.core import strict_json
from airflow_slo_provider.drift.profiles.artifact_files import MAX_BYTES
from airflow_slo_provider.drift.profiles.columns import ColumnProfile
from airflow_slo_provider.drift.profiles.cuts import Cuts
from airflow_slo_provider.drift.profiles.grid import Grid
from airflow_slo_provider.exceptions import InvalidMeasurement

FORMAT = "airflow-slo/drift-profile"
VERSION = 1
_PLAIN = (
    "kind",
    "rows",
    "nulls",
    "nan",
    "positive_infinite",
    "negative_infinite",
    "minimum",
    "maximum",
    "unlisted",
    "overflow",
    "problem",
)


def counts_hash(columns: Mapping[str, ColumnProfile], rows: int) -> str:
    """Return the SHA-256 of a dataset's counts."""
    body = [rows, {name: _column_to_json(column, with_dtype=False) for name, column in columns.items()}]
    return hashlib.sha256(json.dumps(body, separators=(",", ":"), allow_nan=False, ensure_ascii=True).encode()).hexdigest()


def profile_to_json(columns: Mapping[str, ColumnProfile], *, rows: int, engine: str, source: str, created_at: datetime) -> bytes:
    """Write the fields of a :class:`~airflow_slo_provider.drift.profiles.dataset_profile.DatasetProfile`, with their hash."""
    head = {
        "format": FORMAT,
        "version": VERSION,
        "created_at": created_at.isoformat(),
        "engine": engine,
        "source": source,
        "rows": rows,
        "hash": counts_hash(columns, rows),
    }
    body = {name: {"dtype": column.dtype, **_column_to_json(column)} for name, column in columns.items()}
    return json.dumps({**head, "columns": body}, allow_nan=False, indent=1).encode()


def profile_from_json(data: bytes, *, where: str) -> dict[str, Any]:
    """Read the fields that :func:`profile_to_json` wrote, and check their hash.

    :param where: where the data was read from, for messages
    :raises InvalidMeasurement: when it is not a profile, was cut off or altered, or was written by a newer release
    """
    try:
        body = strict_json.loads(data)
    except strict_json.JSONContradiction as error:
        raise InvalidMeasurement(f"{where} is no drift profile that can be trusted: {error}", reason=error.reason) from None
    except ValueError as error:
        raise InvalidMeasurement(f"{where} is no drift profile, or was cut off: {error}", reason="bad_profile") from None
    if not isinstance(body, dict) or body.get("format") != FORMAT:
        raise InvalidMeasurement(f"{where} is no drift profile: format is not {FORMAT}", reason="bad_profile")
    if body.get("version") != VERSION:
        raise InvalidMeasurement(
            f"{where} is a drift profile of version {body.get('version')}, this release reads {VERSION}; "
            "upgrade airflow-slo-provider",
            reason="bad_profile",
        )
    try:
        columns = {name: _column(name, item) for name, item in body["columns"].items()}
        fields = {
            "columns": columns,
            "rows": body["rows"],
            "engine": body["engine"],
            "source": body["source"],
            "created_at": datetime.fromisoformat(body["created_at"]),
        }
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise InvalidMeasurement(
            f"{where} is a damaged drift profile: {type(error).__name__} {error}", reason="bad_profile"
        ) from None
    if counts_hash(columns, fields["rows"]) != body.get("hash"):
        raise InvalidMeasurement(f"{where}: the counts do not match their hash; the file was altered", reason="bad_profile")
    return fields


def _column_to_json(column: ColumnProfile, *, with_dtype: bool = True) -> dict[str, Any]:
    """Return one column as JSON values. Integers and floats stay distinct: 1 is not written as 1.0."""
    out: dict[str, Any] = {name: getattr(column, name) for name in _PLAIN}
    held = column.distribution
    if isinstance(held, Grid):
        out["grid"] = {"kind": held.kind, "bits": held.bits, "codes": _pack(held.codes), "counts": _pack(held.counts)}
    elif isinstance(held, Cuts):
        out["cuts"] = {
            "kind": held.kind,
            "codes": held.codes.tolist(),
            "closed": held.closed.tolist(),
            "counts": held.counts.tolist(),
            "total": held.total,
        }
    if with_dtype:
        out["edges"] = list(column.edges)
    if column.categories is not None:
        out["categories"] = dict(sorted(column.categories.items(), key=lambda item: (-item[1], item[0])))
    return out


def _column(name: str, item: Mapping[str, Any]) -> ColumnProfile:
    held: Grid | Cuts | None = None
    if "grid" in item:
        grid = item["grid"]
        held = Grid(grid["kind"], grid["bits"], _unpack(grid["codes"]), _unpack(grid["counts"]))
    elif "cuts" in item:
        cuts = item["cuts"]
        numbers = {key: np.array(cuts[key], dtype=np.int64) for key in ("codes", "counts")}
        held = Cuts(cuts["kind"], numbers["codes"], np.array(cuts["closed"], dtype=bool), numbers["counts"], cuts["total"])
    plain = {key: item[key] for key in _PLAIN}
    return ColumnProfile(name=name, dtype=item.get("dtype", ""), distribution=held, categories=item.get("categories"), **plain)


def _pack(numbers: npt.NDArray[Any]) -> str:
    """Pack int64 as differences, little-endian, zlib, base64. The differences wrap around, and so does their sum."""
    steps = np.diff(numbers, prepend=np.int64(0)).astype("<i8")
    return base64.b64encode(zlib.compress(steps.tobytes(), 6)).decode()


def _unpack(text: str) -> npt.NDArray[np.int64]:
    decoder = zlib.decompressobj()
    data = decoder.decompress(base64.b64decode(text, validate=True), MAX_BYTES)  # a few kilobytes can expand to gigabytes
    if not decoder.eof:
        raise ValueError(f"counts that were cut off, or of more than {MAX_BYTES >> 20} MiB")
    steps = np.frombuffer(data, dtype="<i8")
    return np.cumsum(steps, dtype=np.int64)
