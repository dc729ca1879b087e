"""Suggest likely causes of a column's drift (hints for the report, not verdicts)."""

from __future__ import annotations

from itertools import product

import numpy as np

from airflow_slo_provider.drift.profiles.columns import ColumnProfile
from airflow_slo_provider.drift.profiles.grid import Grid, codes_as_floats
from airflow_slo_provider.drift.statistics.column_measures import Measures

_FACTORS = {1000: "thousand", 60: "sixty", 3600: "3600", 100: "hundred", 86400: "86400", 2.54: "2.54", 1.609344: "1.609"}


def hints_for(reference: ColumnProfile | None, current: ColumnProfile | None, measures: Measures) -> tuple[str, ...]:
    """Return likely causes of a column's drift, the likeliest first."""
    if reference is None:
        return ("the column is new: the reference was made before it existed",)
    if current is None:
        return ("the column is gone: renamed or dropped upstream",)
    found = [_null_hint(measures), _unit_hint(reference, current), _rename_hint(reference, current)]
    found += [_constant_hint(reference, current), _span_hint(current)]
    if measures.nonfinite is not None and measures.nonfinite.change > 0:
        found.append("NaN or infinite values appeared: a division by zero or a failed conversion upstream")
    return tuple(filter(None, found))


def _null_hint(measures: Measures) -> str:
    if measures.nulls is None or measures.nulls.change < 0.02:
        return ""
    if measures.nulls.current == 1:
        return "every value is null: a join without matches, or a column that is no longer filled"
    return f"nulls jumped by {measures.nulls.change:.1%}: a source is late or a join lost rows"


def _deciles(column: ColumnProfile) -> np.ndarray | None:
    grid = column.distribution
    if not isinstance(grid, Grid) or grid.total < 20:
        return None
    low, _ = grid.cell_ends()
    return codes_as_floats(low[grid.quantile_cells(10)], grid.kind)


def _unit_hint(reference: ColumnProfile, current: ColumnProfile) -> str:
    """Detect a change of unit: all deciles scaled by one factor, or with their sign changed."""
    before, after = _deciles(reference), _deciles(current)
    if before is None or after is None or reference.kind != "number":
        return ""
    used = np.abs(before) > 1e-12 * max(1.0, float(np.abs(before).max()))
    if used.sum() < 5 or np.ptp(before) == 0:
        return ""
    ratio = after[used] / before[used]
    middle = float(np.median(ratio))
    if middle > 0 and np.ptp(ratio) <= 0.05 * middle and not 0.8 < middle < 1.25:
        ratios = (middle, 1 / middle)
        known = next((name for factor, name in _FACTORS.items() if any(abs(ratio / factor - 1) < 0.02 for ratio in ratios)), "")
        named = f": a factor of {known}" if known else ""
        return f"all deciles are {middle:.4g} times the reference's{named}: a change of unit"
    mirrored = np.allclose(after, -before[::-1], rtol=0.05, atol=0.01 * float(np.abs(before).max()))
    return "all deciles changed sign" if mirrored and not np.allclose(after, before, rtol=0.05) else ""


def _rename_hint(reference: ColumnProfile, current: ColumnProfile) -> str:
    """Detect a renamed category: one text disappeared and another appeared with the same share or spelling."""
    first, second = reference.categories, current.categories
    if not first or not second or reference.overflow or current.overflow:
        return ""
    n, m = sum(first.values()), sum(second.values())
    gone = {text: rows / n for text, rows in first.items() if text not in second and rows / n >= 0.01}
    new = {text: rows / m for text, rows in second.items() if text not in first and rows / m >= 0.01}
    plain = {text.strip().casefold(): text for text in gone}
    for text in new:
        if text.strip().casefold() in plain:
            return f"{plain[text.strip().casefold()]!r} is now written {text!r}: spelling, case or spaces changed"
    for (old, before), (text, after) in product(gone.items(), new.items()):
        if abs(after - before) <= 0.1 * before:
            return f"{old!r} ({before:.1%}) is gone and {text!r} ({after:.1%}) is new: perhaps renamed"
    return ""


def _constant_hint(reference: ColumnProfile, current: ColumnProfile) -> str:
    if current.values < 20:
        return ""
    if current.minimum is not None and current.minimum == current.maximum and reference.minimum != reference.maximum:
        return f"every value is {current.format_value(current.minimum)}: a default replaced the data"
    if current.categories and len(current.categories) == 1 and len(reference.categories or {}) > 1:
        (only,) = current.categories
        before = reference.categories or {}
        if only in before:
            share = before[only] / sum(before.values())
            return f"every value is {only!r}, as {share:.1%} of the reference's: perhaps a single partition, or an extra filter"
        return f"every value is {only!r}: a default replaced the data"
    return ""


def _span_hint(current: ColumnProfile) -> str:
    if current.kind != "time" or current.minimum is None or current.maximum is None or current.values < 20:
        return ""
    span = (current.maximum - current.minimum) / 3.6e9
    return f"all times lie within {max(span, 0.01):.2g} hours: perhaps a single partition" if span <= 1 else ""
