"""Compute the Kolmogorov-Smirnov statistic: exact for two samples, a certified interval for two profiles."""

from __future__ import annotations

from typing import Any

import numpy as np

from airflow_slo_provider.drift.profiles.columns import single_column
from airflow_slo_provider.drift.profiles.grid import Array
from airflow_slo_provider.drift.statistics.cells import joint_cells, ks_of_cells
from airflow_slo_provider.drift.statistics.ks_pvalues import KS, ks_from_gaps
from airflow_slo_provider.exceptions import InvalidMeasurement, NoData


def ks(reference: Any, current: Any) -> KS:
    """Compare two samples, or two profiles, with the Kolmogorov-Smirnov test.

    Samples may be of any type that sorts. Integers are compared as integers, also beyond 2^53.

    :param reference: values, shape (n,), without NaN; or a profile of a column, or of a dataset with one column
    :param current: the same, shape (m,)
    :raises NoData: when a side holds no value
    :raises InvalidMeasurement: for NaN or missing values, which have no order
    """
    if _is_profile(reference) or _is_profile(current):
        return ks_of_cells(joint_cells(single_column(reference), single_column(current)))
    first, second = _sorted_pair(reference, current)
    n, m = len(first), len(second)
    pooled = np.concatenate([first, second])
    # Integer arithmetic: only the final division rounds.
    gaps = np.searchsorted(first, pooled, side="right") * m - np.searchsorted(second, pooled, side="right") * n
    gap = int(np.abs(gaps).max())
    return ks_from_gaps(gap, gap, n, m)


def _is_profile(data: Any) -> bool:
    return type(data).__module__.startswith("airflow_slo_provider.drift.")


def _sorted_pair(reference: Any, current: Any) -> tuple[Array, Array]:
    first, second = _values(reference, "reference"), _values(current, "current")
    kinds = {first.dtype.kind, second.dtype.kind}
    if "M" in kinds and kinds != {"M"}:
        raise InvalidMeasurement("times cannot be compared with numbers")
    if kinds == {"i", "u"} or (kinds & set("iu") and "f" in kinds):
        # numpy would convert integers to float64 here and round those beyond 2^53.
        beyond = any(side.dtype.kind in "iu" and _beyond_exact_floats(side) for side in (first, second))
        first, second = (side.astype(object if beyond else np.float64) for side in (first, second))
    try:
        first, second = np.sort(first), np.sort(second)
        first[-1] < second[-1]  # noqa: B015
    except TypeError as error:
        raise InvalidMeasurement(f"values have no common order: {error}") from None
    return first, second


def _beyond_exact_floats(side: Array) -> bool:
    return int(side.max()) > 2**53 or int(side.min()) < -(2**53)


def _values(data: Any, side: str) -> Array:
    values = np.asarray(data)
    if values.ndim != 1:
        raise InvalidMeasurement(f"{side} has shape {values.shape}; pass one column of values")
    if not len(values):
        raise NoData(f"KS needs values on both sides; {side} has none")
    if values.dtype.kind == "b":
        values = values.astype(np.int64)
    if values.dtype.kind == "f":
        missing = int(np.isnan(values).sum())
    elif values.dtype.kind == "M":
        missing = int(np.isnat(values).sum())
    elif values.dtype.kind == "O":
        missing = sum(1 for value in values if value is None or str(value) in ("<NA>", "NaT") or value != value)
    else:
        missing = 0
    if missing:
        raise InvalidMeasurement(
            f"{side} holds {missing} NaN or missing of {len(values)} values, which have no order; count and drop them first"
        )
    return values
