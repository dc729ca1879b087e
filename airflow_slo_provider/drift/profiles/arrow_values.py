"""Convert Arrow arrays to column values by reading their buffers (``to_numpy`` would import pandas)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt

from airflow_slo_provider.drift.profiles.kernel import Values

Array = npt.NDArray[Any]
_MICROSECONDS = {"s": 1_000_000, "ms": 1_000, "us": 1}


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
    dtype, kind, rows = data.type, kind_of(data.type), len(data)
    if pa.types.is_dictionary(dtype) and (kind != "text" or data.dictionary.null_count):
        data = data.dictionary_decode()
        dtype = data.type
    nulls = data.null_count
    head = {"rows": rows, "nulls": nulls, "dtype": str(dtype)}
    if kind in ("empty", "other") or nulls == rows:
        return Values(kind=kind if nulls < rows or kind != "other" else "empty", **head)
    if categorical and kind == "number":
        whole = data.drop_null()
        counted = pc.value_counts(whole)
        texts = [number_text(value) for value in counted.field(0).to_pylist()]
        return Values(kind="text", texts=texts, counts=_plain(counted.field(1)), **head)
    if kind == "bool":
        true = int(pc.sum(data).as_py() or 0)
        return Values(kind=kind, texts=["true", "false"], counts=np.array([true, rows - nulls - true]), **head)
    if kind == "text":
        return _texts(data, head)
    return Values(kind=kind, numbers=_numbers(data, nulls), **head)


def _texts(data: Any, head: dict[str, Any]) -> Values:
    import pyarrow as pa

    if not pa.types.is_dictionary(data.type):
        data = data.dictionary_encode()
    indices = data.indices.drop_null() if data.indices.null_count else data.indices
    counts = np.bincount(_plain(indices), minlength=len(data.dictionary))
    held = np.flatnonzero(counts)
    texts = data.dictionary
    if len(held) < len(texts):
        texts = texts.take(pa.array(held))
    head["dtype"] = "string"
    return Values(kind="text", texts=texts.to_pylist(), counts=counts[held], **head)


def _numbers(data: Any, nulls: int) -> Array:
    import pyarrow as pa

    if nulls:
        data = data.drop_null()
    dtype = data.type
    if pa.types.is_decimal(dtype):
        return _decimals(data)
    if pa.types.is_date32(dtype):
        return _plain(data.view(pa.int32())).astype(np.int64) * 86_400_000_000
    if pa.types.is_date64(dtype):
        return _plain(data.view(pa.int64())) * 1_000
    if pa.types.is_time32(dtype):
        return _plain(data.view(pa.int32())).astype(np.int64) * _MICROSECONDS[dtype.unit]
    if pa.types.is_temporal(dtype):
        ticks = _plain(data.view(pa.int64()))
        return ticks // 1_000 if dtype.unit == "ns" else ticks * _MICROSECONDS[dtype.unit]
    if pa.types.is_float16(dtype) or pa.types.is_float32(dtype):
        return _plain(data).astype(np.float64)
    if pa.types.is_floating(dtype):
        return _plain(data)
    return whole_numbers(_plain(data))


def whole_numbers(values: Array) -> Array:
    """Return integers as int64; a chunk with unsigned values beyond int64 becomes float64, rounded to nearest."""
    if values.dtype == np.uint64 and len(values) and int(values.max()) > 2**63 - 1:
        return values.astype(np.float64)
    return values.astype(np.int64, copy=False)


def _plain(data: Any) -> Array:
    """View a primitive array without nulls as a numpy array."""
    import pyarrow as pa

    width = (pa.types.is_floating(data.type) and "f") or ("u" if pa.types.is_unsigned_integer(data.type) else "i")
    dtype = np.dtype(f"{width}{data.type.bit_width // 8}")
    if not len(data):
        return np.empty(0, dtype=dtype)
    return np.frombuffer(data.buffers()[1], dtype=dtype, count=len(data), offset=data.offset * dtype.itemsize)


def _decimals(data: Any) -> Array:
    """Return decimals as integers if all are whole numbers that fit int64, else as the nearest float64."""
    import pyarrow as pa

    scale = data.type.scale
    if not pa.types.is_decimal128(data.type):
        return decimals(list(data.to_pylist()))
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
