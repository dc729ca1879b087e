"""The statistics of one column that are measured, judged and reported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_slo_provider.drift.statistics.distances import ChiSquare
    from airflow_slo_provider.drift.statistics.histograms import SharesHistogram
    from airflow_slo_provider.drift.statistics.ks_pvalues import KS
    from airflow_slo_provider.drift.statistics.population_stability import PSI
    from airflow_slo_provider.drift.statistics.rates import Rate


@dataclass(frozen=True, kw_only=True)
class Measures:
    """Statistics of one column; None if a statistic cannot be computed.

    :param psi: population stability index
    :param ks: Kolmogorov-Smirnov statistic
    :param chi_square: test of homogeneity of the bins or categories
    :param js: Jensen-Shannon distance over the bins
    :param wasserstein: earth mover's distance in the column's unit
    :param total_variation: share of rows that would have to move between bins
    :param nulls: null rates
    :param nonfinite: rates of NaN and infinite values
    :param new_categories: share of texts that the reference does not have; ``reference`` is the expected share
    :param out_of_range: share of values outside the reference's range; ``reference`` is the expected share
    :param new_names: some texts that the reference does not have, with their share
    :param histogram: shares of both sides for the report's drawing
    """

    psi: PSI | None = None
    ks: KS | None = None
    chi_square: ChiSquare | None = None
    js: float | None = None
    wasserstein: float | None = None
    total_variation: float | None = None
    nulls: Rate | None = None
    nonfinite: Rate | None = None
    new_categories: Rate | None = None
    out_of_range: Rate | None = None
    new_names: Mapping[str, float] = field(default_factory=dict, hash=False)
    histogram: SharesHistogram | None = None
