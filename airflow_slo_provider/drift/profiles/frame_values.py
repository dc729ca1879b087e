"""Convert pandas columns and plain arrays to column values, without pyarrow.

pandas writes a missing value in a column of floats as NaN, so NaN counts as null there. Where a type has both (``Float64``),
they are counted separately.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from airflow_slo_provider.drift.profiles.arrow_values import decimals, number_text, to_microseconds, whole_numbers
from airflow_slo_provider.drift.profiles.grid import Array
from airflow_slo_provider.drift.profiles.kernel import Values

#: Kinds of the types that pandas infers from values.
_INFERRED = {
    **dict.fromkeys(("decimal", "integer", "floating", "mixed-integer-float"), "number"),
    **dict.fromkeys(("datetime", "datetime64", "date"), "time"),
    **dict.fromkeys(("timedelta", "timedelta64", "time"), "duration"),
    **dict.fromkeys(("string", "categorical"), "text"),
    "boolean": "bool",
    "empty": "empty",
}


def series_values(series: Any, *, categorical: bool = False) -> Values:
    """Convert a pandas Series or a numpy array to values of a column."""
    import pandas as pd

    if isinstance(series, np.ndarray) or not hasattr(series, "dtype"):
        series = pd.Series(series)
    dtype, missing = series.dtype, series.isna()
    nulls = int(missing.sum())
    head: dict[str, Any] = {"rows": len(series), "nulls": nulls, "dtype": str(dtype)}
    present = series[~missing] if nulls else series
    if isinstance(dtype, pd.CategoricalDtype):
        return _categories(present, head, categorical)
    kind = _kind(present, dtype)
    if kind in ("empty", "other"):
        return Values(kind=kind, **head)
    if kind == "number" and not categorical:
        return Values(kind=kind, numbers=_numbers(present), **head)
    if kind in ("time", "duration"):
        return Values(kind=kind, numbers=_microseconds(present, kind), **head)
    counts = present.value_counts()
    if kind == "bool":
        texts = ["true" if value else "false" for value in counts.index]
    elif kind == "number":
        kind, texts = "text", [number_text(value) for value in counts.index]
    else:
        texts = [str(value) for value in counts.index]
    return Values(kind=kind, texts=texts, counts=counts.to_numpy(dtype=np.int64), **head)


def _kind(present: Any, dtype: Any) -> str:
    import pandas as pd

    types = pd.api.types
    if types.is_bool_dtype(dtype):
        return "bool"
    if types.is_complex_dtype(dtype):
        return "other"
    if types.is_numeric_dtype(dtype):
        return "number"
    if types.is_datetime64_any_dtype(dtype):
        return "time"
    if types.is_timedelta64_dtype(dtype):
        return "duration"
    if isinstance(dtype, pd.StringDtype):
        return "text"
    return _INFERRED.get(types.infer_dtype(present, skipna=True), "other") if len(present) else "empty"


def _categories(present: Any, head: dict[str, Any], categorical: bool) -> Values:
    """Count the values of a categorical; numeric categories count as numbers unless ``categorical`` is set."""
    names = list(present.cat.categories)
    counts = np.bincount(present.cat.codes.to_numpy(), minlength=len(names))
    if not categorical and names and not all(isinstance(name, str) for name in names):
        decoded = series_values(present.astype(present.cat.categories.dtype))
        return replace(decoded, rows=head["rows"], nulls=head["nulls"])
    return Values(kind="text", texts=[str(name) for name in names], counts=counts, **head)


def _numbers(present: Any) -> Array:
    if present.dtype == object:
        items = present.tolist()
        if any(type(item).__name__ == "Decimal" for item in items):
            from decimal import Decimal

            return decimals([item if isinstance(item, Decimal) else Decimal(item) for item in items])
        if all(isinstance(item, int) for item in items) and all(abs(item) < 2**63 for item in items):
            return np.array(items, dtype=np.int64)
        return np.array(items, dtype=np.float64)
    if str(present.dtype).startswith("decimal"):
        return decimals(present.tolist())
    if present.dtype.kind in "iu":
        return whole_numbers(present.to_numpy(dtype=f"{present.dtype.kind}8"))
    return np.asarray(present.to_numpy(dtype=np.float64))


def _microseconds(present: Any, kind: str) -> Array:
    import datetime as dt

    import pandas as pd

    if present.dtype == object and len(present) and isinstance(present.iloc[0], dt.time):
        return np.array([((t.hour * 60 + t.minute) * 60 + t.second) * 1_000_000 + t.microsecond for t in present], dtype=np.int64)
    if kind == "time":
        plain = pd.to_datetime(present, utc=True).dt.tz_localize(None).to_numpy()
    else:
        plain = pd.to_timedelta(present).to_numpy()
    return to_microseconds(np.asarray(plain.view(np.int64)), np.datetime_data(plain.dtype)[0])
