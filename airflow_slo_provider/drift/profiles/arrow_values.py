"""Convert Arrow arrays to column values by reading their buffers (``to_numpy`` would import pandas)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np

from airflow_slo_provider.drift.profiles.grid import Array
from airflow_slo_provider.drift.profiles.kernel import Values


def to_microseconds(ticks: Array, unit: str) -> Array:
    """Convert int64 ticks of seconds, ``ms``, ``us`` or ``ns`` to microseconds."""
    return ticks // 1_000 if unit == "ns" else ticks * {"s": 1_000_000, "ms": 1_000, "us": 1}[unit]


def kind_of(dtype: Any) -> str:
    """Return the kind of an Arrow type."""
    import pyarrow as pa

    types = pa.types
    if types.is_dictionary(dtype):
        return kind_of(dtype.value_type)
    if types.is_integer(dtype) or types.is_floating(dtype) or types.is_decimal(dtype):
        return "number"
    if types.is_boolean(dtype):
        return "bool"
    if types.is_string(dtype) or types.is_large_string(dtype) or types.is_string_view(dtype):
        return "text"
    if types.is_timestamp(dtype) or types.is_date(dtype):
        return "time"
    if types.is_duration(dtype) or types.is_time(dtype):
        return "duration"
    return "empty" if types.is_null(dtype) else "other"


def arrow_values(data: Any, *, categorical: bool = False) -> Values:
    """Convert an Arrow array to values of a column.

    :param data: Array or ChunkedArray
    :param categorical: count numbers as texts
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(data, pa.ChunkedArray):
        data = data.combine_chunks() if data.num_chunks != 1 else data.chunk(0)
    kind, rows = kind_of(data.type), len(data)
    if pa.types.is_dictionary(data.type) and (kind != "text" or data.dictionary.null_count):
        data = data.dictionary_decode()
    nulls = data.null_count
    head = {"rows": rows, "nulls": nulls, "dtype": str(data.type)}
    if kind in ("empty", "other") or nulls == rows:
        return Values(kind=kind if nulls < rows or kind != "other" else "empty", **head)
    if categorical and kind == "number":
        counted = pc.value_counts(data.drop_null())
        texts = [number_text(value) for value in counted.field(0).to_pylist()]
        return Values(kind="text", texts=texts, counts=_to_numpy(counted.field(1)), **head)
    if kind == "bool":
        true = int(pc.sum(data).as_py() or 0)
        return Values(kind=kind, texts=["true", "false"], counts=np.array([true, rows - nulls - true]), **head)
    if kind == "text":
        return _text_values(data, head)
    return Values(kind=kind, numbers=_numbers(data.drop_null() if nulls else data), **head)


def _text_values(data: Any, head: dict[str, Any]) -> Values:
    import pyarrow as pa

    if not pa.types.is_dictionary(data.type):
        data = data.dictionary_encode()
    indices = data.indices.drop_null() if data.indices.null_count else data.indices
    counts = np.bincount(_to_numpy(indices), minlength=len(data.dictionary))
    used = np.flatnonzero(counts)
    texts = data.dictionary if len(used) == len(counts) else data.dictionary.take(pa.array(used))
    return Values(kind="text", texts=texts.to_pylist(), counts=counts[used], **{**head, "dtype": "string"})


def _numbers(data: Any) -> Array:
    import pyarrow as pa

    dtype = data.type
    if pa.types.is_decimal(dtype):
        return _decimals(data)
    if pa.types.is_temporal(dtype):
        ticks = _to_numpy(data.view(pa.int32() if dtype.bit_width == 32 else pa.int64())).astype(np.int64, copy=False)
        if pa.types.is_date32(dtype):
            return ticks * 86_400_000_000
        return to_microseconds(ticks, "ms" if pa.types.is_date64(dtype) else dtype.unit)
    return _to_numpy(data).astype(np.float64, copy=False) if pa.types.is_floating(dtype) else whole_numbers(_to_numpy(data))


def whole_numbers(values: Array) -> Array:
    """Return integers as int64; a chunk with unsigned values beyond int64 becomes float64, rounded to nearest."""
    if values.dtype == np.uint64 and len(values) and int(values.max()) > 2**63 - 1:
        return values.astype(np.float64)
    return values.astype(np.int64, copy=False)


def _to_numpy(data: Any) -> Array:
    """View a primitive array without nulls as a numpy array."""
    import pyarrow as pa

    kind = "f" if pa.types.is_floating(data.type) else "u" if pa.types.is_unsigned_integer(data.type) else "i"
    dtype = np.dtype(f"{kind}{data.type.bit_width // 8}")
    if not len(data):
        return np.empty(0, dtype=dtype)
    return np.frombuffer(data.buffers()[1], dtype=dtype, count=len(data), offset=data.offset * dtype.itemsize)


def _decimals(data: Any) -> Array:
    """Return decimals as integers if all are whole numbers that fit int64, else as the nearest float64."""
    import pyarrow as pa

    scale = data.type.scale
    if pa.types.is_decimal128(data.type):
        words = np.frombuffer(data.buffers()[1], dtype="<i8", count=2 * len(data), offset=16 * data.offset).reshape(-1, 2)
        digits, fits = words[:, 0], (words[:, 1] == words[:, 0] >> 63).all()
        if fits and scale == 0:
            return digits.copy()
        if fits and 0 <= scale <= 22 and len(digits) and max(abs(int(digits.min())), abs(int(digits.max()))) <= 2**53:
            # Both operands are exact, so the division rounds once, to the float nearest to the decimal.
            return digits.astype(np.float64) / float(10**scale)
    return decimals(data.to_pylist())


def decimals(values: list[Decimal]) -> Array:
    """Convert Decimals to int64 if all are whole numbers that fit, else to the nearest float64."""
    whole = all(value.is_finite() and value.as_tuple().exponent == 0 and abs(value) < 2**63 for value in values)
    return np.array([int(value) for value in values], dtype=np.int64) if whole else np.array([float(value) for value in values])


def number_text(value: Any) -> str:
    """Return the text of a number that serves as a category; 1 and 1.0 give the same text."""
    return str(int(value)) if value == value and abs(value) != float("inf") and value == int(value) else str(value)
