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

from airflow_slo_provider.core import strict_json
from airflow_slo_provider.drift.profiles.artifact_files import MAX_BYTES
from airflow_slo_provider.drift.profiles.columns import ROW_COUNTS, ColumnProfile
from airflow_slo_provider.drift.profiles.cuts import Cuts
from airflow_slo_provider.drift.profiles.grid import Array, Grid
from airflow_slo_provider.exceptions import InvalidMeasurement

FORMAT = "airflow-slo/drift-profile"
VERSION = 1
#: Fields of a column that are written as they are, in this order.
_SCALARS = ("kind", *ROW_COUNTS, "minimum", "maximum", "unlisted", "overflow", "problem")


def counts_hash(columns: Mapping[str, ColumnProfile], rows: int) -> str:
    """Return the SHA-256 of a dataset's counts."""
    body = [rows, {name: _column_to_json(column, with_dtype=False) for name, column in columns.items()}]
    return hashlib.sha256(json.dumps(body, separators=(",", ":"), allow_nan=False, ensure_ascii=True).encode()).hexdigest()


def profile_to_json(columns: Mapping[str, ColumnProfile], *, rows: int, engine: str, source: str, created_at: datetime) -> bytes:
    """Write the fields of a :class:`~airflow_slo_provider.drift.profiles.dataset_profile.DatasetProfile`, with their hash."""
    head = {"format": FORMAT, "version": VERSION, "created_at": created_at.isoformat(), "engine": engine, "source": source}
    body = {name: {"dtype": column.dtype, **_column_to_json(column)} for name, column in columns.items()}
    head |= {"rows": rows, "hash": counts_hash(columns, rows), "columns": body}
    return json.dumps(head, allow_nan=False, indent=1).encode()


def profile_from_json(data: bytes, *, where: str) -> dict[str, Any]:
    """Read the fields that :func:`profile_to_json` wrote, and check their hash.

    :param where: where the data was read from, for messages
    :raises InvalidMeasurement: when it is not a profile, was cut off or altered, or was written by a newer release
    """

    def invalid(text: str, reason: str = "bad_profile") -> InvalidMeasurement:
        return InvalidMeasurement(f"{where} {text}", reason=reason)

    try:
        body = strict_json.loads(data)
    except strict_json.JSONContradiction as error:
        raise invalid(f"is not a drift profile that can be trusted: {error}", error.reason) from None
    except ValueError as error:
        raise invalid(f"is not a drift profile, or was cut off: {error}") from None
    if not isinstance(body, dict) or body.get("format") != FORMAT:
        raise invalid(f"is not a drift profile: format is not {FORMAT}")
    version = body.get("version")
    if version != VERSION:
        raise invalid(f"is a drift profile of version {version}, this release reads {VERSION}; upgrade airflow-slo-provider")
    try:
        fields = {name: body[name] for name in ("rows", "engine", "source")}
        fields["columns"] = {name: _column_from_json(name, item) for name, item in body["columns"].items()}
        fields["created_at"] = datetime.fromisoformat(body["created_at"])
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise invalid(f"is a damaged drift profile: {type(error).__name__} {error}") from None
    if counts_hash(fields["columns"], fields["rows"]) != body.get("hash"):
        raise invalid("was altered: the counts do not match their hash")
    return fields


def _column_to_json(column: ColumnProfile, *, with_dtype: bool = True) -> dict[str, Any]:
    """Return one column as JSON values. Integers and floats stay distinct: 1 is not written as 1.0."""
    out: dict[str, Any] = {name: getattr(column, name) for name in _SCALARS}
    match column.distribution:
        case Grid(kind, bits, codes, counts):
            out["grid"] = {"kind": kind, "bits": bits, "codes": _pack(codes), "counts": _pack(counts)}
        case Cuts(kind, codes, closed, counts, total):
            lists = {"codes": codes.tolist(), "closed": closed.tolist(), "counts": counts.tolist()}
            out["cuts"] = {"kind": kind, **lists, "total": total}
    if with_dtype:
        out["edges"] = list(column.edges)
    if column.categories is not None:
        out["categories"] = dict(sorted(column.categories.items(), key=lambda item: (-item[1], item[0])))
    return out


def _column_from_json(name: str, item: Mapping[str, Any]) -> ColumnProfile:
    distribution: Grid | Cuts | None = None
    if "grid" in item:
        grid = item["grid"]
        distribution = Grid(grid["kind"], grid["bits"], _unpack(grid["codes"]), _unpack(grid["counts"]))
    elif "cuts" in item:
        cuts = item["cuts"]
        codes, counts = (np.array(cuts[key], dtype=np.int64) for key in ("codes", "counts"))
        distribution = Cuts(cuts["kind"], codes, np.array(cuts["closed"], dtype=bool), counts, cuts["total"])
    fields = {key: item[key] for key in _SCALARS} | {"dtype": item.get("dtype", ""), "categories": item.get("categories")}
    return ColumnProfile(name=name, distribution=distribution, **fields)


def _pack(numbers: Array) -> str:
    """Pack int64 as differences, little-endian, zlib, base64. The differences wrap around, and so does their sum."""
    steps = np.diff(numbers, prepend=np.int64(0)).astype("<i8")
    return base64.b64encode(zlib.compress(steps.tobytes(), 6)).decode()


def _unpack(text: str) -> Array:
    decoder = zlib.decompressobj()
    data = decoder.decompress(base64.b64decode(text, validate=True), MAX_BYTES)  # a few kilobytes can expand to gigabytes
    if not decoder.eof:
        raise ValueError(f"counts that were cut off, or of more than {MAX_BYTES >> 20} MiB")
    return np.cumsum(np.frombuffer(data, dtype="<i8"), dtype=np.int64)
