"""Compute an SLI from time slices with the three budgeting methods of OpenSLO.

The methods differ widely on the same data, so the document must name one. Occurrences weighs every event alike; Timeslices
counts slices that were good enough; RatioTimeslices averages the slices' ratios.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction

from airflow_slo_provider.exceptions import NoData
from airflow_slo_provider.slo.budget.indicator_source import Measurement
from airflow_slo_provider.slo.model import SLO, BudgetingMethod, MissingSlices, Objective


def slice_width(slo: SLO, objective: Objective) -> timedelta | None:
    """Return the width of an objective's time slices; None for Occurrences.

    :param slo: the SLO
    :param objective: one of its objectives
    """
    if slo.method is BudgetingMethod.OCCURRENCES or objective.time_slice_window is None:
        return None
    return objective.time_slice_window.timedelta


@dataclass(frozen=True)
class SliceSummary:
    """The SLI of a time span, computed from its slices.

    :param sli: the SLI by the given method
    :param good: good slices (Timeslices), summed ratios (RatioTimeslices) or good events (Occurrences)
    :param total: number of slices or events behind the SLI
    :param measured: number of slices with data
    :param slices: number of all slices
    :param missing: how slices without data were counted
    """

    sli: Fraction
    good: Fraction
    total: Fraction
    measured: int
    slices: int
    missing: MissingSlices

    @property
    def coverage(self) -> Fraction:
        """Share of slices with data."""
        return Fraction(self.measured, self.slices) if self.slices else Fraction(0)


def summarise(
    slices: Sequence[Measurement | None],
    method: BudgetingMethod,
    *,
    slice_target: Fraction | None = None,
    missing: MissingSlices = MissingSlices.BAD,
) -> SliceSummary:
    """Compute the SLI of a time span from its slices [OpenSLO v1, ``budgetingMethod``].

    :param slices: one measurement per slice, None for a slice without data
    :param method: Occurrences (events add up), Timeslices (share of slices that reach ``slice_target``) or
        RatioTimeslices (mean of the slices' ratios)
    :param slice_target: minimum share of good events of a good slice; required for Timeslices
    :param missing: how a slice without data counts; Occurrences always ignores it, because it holds no event
    :raises NoData: when no slice holds data: an SLI must not rest on assumptions alone
    :raises ValueError: for Timeslices without a ``slice_target``
    """
    measured = [slice_ for slice_ in slices if slice_ is not None]
    if not measured:
        raise NoData(f"none of the {len(slices)} time slices holds data", reason="empty")
    if method is BudgetingMethod.OCCURRENCES:
        good = sum((slice_.good or Fraction(0) for slice_ in measured), Fraction(0))
        total = sum((slice_.total or Fraction(0) for slice_ in measured), Fraction(0))
        if total == 0:
            raise NoData("no events in the window", reason="no_events")
        return SliceSummary(good / total, good, total, len(measured), len(slices), MissingSlices.IGNORE)
    if method is BudgetingMethod.TIMESLICES:
        if slice_target is None:
            raise ValueError("Timeslices needs a timeSliceTarget")
        good = Fraction(sum(1 for slice_ in measured if slice_.ratio >= slice_target))
    else:
        good = _exact_sum([slice_.ratio for slice_ in measured])
    total = Fraction(len(measured) if missing is MissingSlices.IGNORE else len(slices))
    if missing is MissingSlices.GOOD:
        good += len(slices) - len(measured)
    return SliceSummary(good / total, good, total, len(measured), len(slices), missing)


def _exact_sum(ratios: Sequence[Fraction]) -> Fraction:
    """Add many fractions exactly.

    Equal denominators are added first, so that common denominators stay small and 43,200 slices are fast.
    """
    by_denominator: Counter[int] = Counter()
    for ratio in ratios:
        by_denominator[ratio.denominator] += ratio.numerator
    terms = [Fraction(numerator, denominator) for denominator, numerator in by_denominator.items()]
    while len(terms) > 1:  # pairwise keeps intermediate denominators balanced
        terms = [sum(terms[i : i + 2], Fraction(0)) for i in range(0, len(terms), 2)]
    return terms[0] if terms else Fraction(0)
