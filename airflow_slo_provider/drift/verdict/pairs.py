"""Measure a column on both sides, or explain why it cannot be compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from airflow_slo_provider.drift.engines.sources import Source
from airflow_slo_provider.drift.profiles.columns import CATEGORICAL, MOST_CATEGORIES, NUMERIC, ColumnProfile
from airflow_slo_provider.drift.profiles.grid import Grid
from airflow_slo_provider.drift.statistics.cells import joint_cells, ks_of_cells
from airflow_slo_provider.drift.statistics.column_measures import Measures
from airflow_slo_provider.drift.statistics.measures import measure_categories, measure_cells, measure_rates
from airflow_slo_provider.drift.statistics.refinement import can_refine, narrow_interval, split_heavy
from airflow_slo_provider.drift.statistics.sql_refinement import RowCounters, narrow_by_counts
from airflow_slo_provider.drift.verdict.thresholds import DriftState, Gates
from airflow_slo_provider.exceptions import ReasonedError, SLOProviderError


@dataclass(frozen=True, kw_only=True)
class MeasureSettings:
    """Settings for measuring a column; see :func:`~airflow_slo_provider.drift.verdict.comparison.compare`."""

    tests: tuple[str, ...]
    bins: int
    exact: bool
    min_rows: int


#: The sources or counters of both sides that can be queried again; None if there are none.
Rereadable = tuple[Source, Source] | RowCounters | None
MeasuredColumn = tuple[DriftState | None, str, Measures]


def measure_pair(
    reference: ColumnProfile | None, current: ColumnProfile | None, gates: Gates, settings: MeasureSettings, sources: Rereadable
) -> MeasuredColumn:
    """Measure a column.

    :param reference: profile of the column in the reference, None if it is missing there
    :param current: profile of the column in the current data, None if it is missing there
    :param sources: what can be read again where a verdict is open
    :return: a state if the measures cannot decide the verdict (else None), the reason, and the measures
    :raises ReasonedError: for a transient failure, so that the task can be retried
    """
    if reference is None or current is None:
        side = "the current data" if current is None else "the reference"
        return DriftState.SCHEMA_CHANGE, f"the column is missing in {side}", Measures()
    for side, profile in (("reference", reference), ("current", current)):
        if profile.problem:
            return DriftState.ERROR, f"{side}: {profile.problem}", Measures()
    try:
        return _measure(reference, current, gates, settings, sources)
    except SLOProviderError as error:
        if isinstance(error, ReasonedError) and error.transient:
            raise
        return DriftState.ERROR, str(error), Measures()
    except (ArithmeticError, ValueError, TypeError, IndexError, KeyError) as error:
        # An error in one column must neither hide the others' verdicts nor be reported as "no drift".
        return DriftState.ERROR, f"{type(error).__name__}: {error}", Measures()


def _measure(
    reference: ColumnProfile, current: ColumnProfile, gates: Gates, settings: MeasureSettings, sources: Rereadable
) -> MeasuredColumn:
    measures = measure_rates(reference, current)
    if not reference.rows or not current.rows:
        return DriftState.INSUFFICIENT_DATA, f"the {'reference' if not reference.rows else 'current data'} has no rows", measures
    kinds = {reference.kind, current.kind} - {"empty"}
    if len(kinds) > 1:
        return DriftState.SCHEMA_CHANGE, f"{reference.kind} ({reference.dtype}) became {current.kind} ({current.dtype})", measures
    if not kinds:
        return DriftState.INSUFFICIENT_DATA, "neither side has a value", measures
    (kind,) = kinds
    if kind == "other":
        return DriftState.SKIPPED, f"values of type {reference.dtype} have no distribution to compare", measures
    if not reference.values or not current.values:
        what = "finite value" if kind in NUMERIC else "value"
        return (
            DriftState.INSUFFICIENT_DATA,
            f"the {'reference' if not reference.values else 'current data'} has no {what}",
            measures,
        )
    if kind in CATEGORICAL:
        many = f"more than {MOST_CATEGORIES:,} distinct texts"
        if reference.overflow and current.overflow:
            return DriftState.SKIPPED, f"both sides have {many}: an identifier, not a category", measures
        if reference.overflow or current.overflow:
            side, other = ("reference", current) if reference.overflow else ("current data", reference)
            return DriftState.SCHEMA_CHANGE, f"the {side} has {many}, the other side {len(other.categories or {}):,}", measures
        measures = measure_categories(measures, reference, current)
    else:
        measures = _measure_numbers(measures, reference, current, gates, settings, sources)
    if min(reference.values, current.values) < settings.min_rows:
        message = f"{reference.values} and {current.values} values, {settings.min_rows} are needed on both sides"
        return DriftState.INSUFFICIENT_DATA, message, measures
    return None, "", measures


def _measure_numbers(
    measures: Measures,
    reference: ColumnProfile,
    current: ColumnProfile,
    gates: Gates,
    settings: MeasureSettings,
    sources: Rereadable,
) -> Measures:
    cells = joint_cells(reference, current)
    on_grids = isinstance(reference.distribution, Grid) and isinstance(current.distribution, Grid)
    deciding = [limit for limit in (gates.ks, gates.ks_warn) if limit is not None] if "ks" in settings.tests else []
    if sources is not None and not ks_of_cells(cells).exact:
        if hasattr(sources[1], "count_up_to"):
            cells = narrow_by_counts(cells, (reference, current), cast("RowCounters", sources), thresholds=deciding)
        elif on_grids and can_refine(reference, current, cells.kind):
            cells = split_heavy(cells, reference.name, sources)
            cells = narrow_interval(cells, reference.name, sources, thresholds=deciding, exact=settings.exact)
    return measure_cells(measures, cells, reference, bins=settings.bins, ks=ks_of_cells(cells))
