"""Compare the measures of a column with its gates; a gate is reached only if effect and significance agree."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from airflow_slo_provider.drift.statistics.column_measures import Measures
from airflow_slo_provider.drift.statistics.ks_pvalues import asymptotic_pvalue
from airflow_slo_provider.drift.verdict.thresholds import DriftState, Gates

#: The tests of a column; each is made where the column's data allow it.
TESTS = ("psi", "ks", "chi_square", "nulls", "nonfinite", "new_categories", "out_of_range")


@dataclass(frozen=True)
class Finding:
    """One gate that a column reached.

    :param state: state that the gate leads to
    :param text: the effect and its p-value, for messages
    """

    state: DriftState
    text: str


def pvalues(measures: Measures, *, tests: tuple[str, ...]) -> dict[str, float]:
    """Return the raw p-value of each test that was made."""
    out = {}
    for test in TESTS:
        measure = getattr(measures, test)
        if measure is not None and (test in tests or test not in ("psi", "ks", "chi_square")):
            out[test] = measure.pvalue
    chi_square = measures.chi_square
    if chi_square is not None and "psi" in out:
        # A cell that is empty on one side by chance inflates PSI far beyond what its chi-square approximation allows for.
        out["psi"] = max(out["psi"], chi_square.pvalue)
    if chi_square is not None and measures.ks is None and "ks" in tests:
        out["chi_square"] = chi_square.pvalue
    return out


def findings(measures: Measures, gates: Gates, adjusted: Mapping[str, float], alpha: float, *, enough: bool) -> list[Finding]:
    """Return every gate that the column reached.

    :param measures: statistics of the column
    :param gates: thresholds of the column
    :param adjusted: p-values by test, adjusted over all columns of the run
    :param alpha: significance level for the adjusted p-values
    :param enough: whether both sides have enough rows to judge the distribution
    """
    found: list[Finding] = []

    def check(test: str, size: float, drift: float | None, warn: float | None, text: str) -> bool:
        for state, limit in ((DriftState.DRIFT, drift), (DriftState.WARN, warn)):
            # NaN must not pass: `size < limit` is false for NaN.
            if not (limit is None or size < limit or adjusted.get(test, math.nan) >= alpha):
                found.append(Finding(state, text))
                return True
        return False

    if measures.psi is not None and enough and "psi" in adjusted:
        value, usual = measures.psi.value, measures.psi.bias
        text = f"PSI {value:.4g} (without drift about {usual:.2g}; p {adjusted['psi']:.2g})"
        check("psi", value, gates.psi, gates.psi_warn, text)
    if measures.ks is not None and enough and "ks" in adjusted:
        ks, limit = measures.ks, gates.ks
        where = f"D {ks.statistic:.4g}" if ks.exact else f"D between {ks.lower:.4g} and {ks.upper:.4g}"
        reached = check("ks", ks.lower, limit, gates.ks_warn, f"{where} (p {adjusted['ks']:.2g})")
        # The adjusted p-value belongs to the lower bound of D. Whether the threshold may be reached depends on the upper bound.
        inside = not reached and limit is not None and ks.lower < limit <= ks.upper
        if inside and asymptotic_pvalue(ks.upper, ks.n, ks.m) < alpha:
            text = f"{where}: the threshold {limit:g} lies inside, and the data cannot be read again"
            found.append(Finding(DriftState.WARN, text))
    if measures.total_variation is not None and enough and "chi_square" in adjusted:
        moved = measures.total_variation
        text = f"{moved:.2%} of rows changed their category (p {adjusted['chi_square']:.2g})"
        check("chi_square", moved, gates.total_variation, None, text)
    if (rate := measures.nulls) is not None:
        text = f"null rate {rate.reference:.2%} -> {rate.current:.2%}"
        check("nulls", abs(rate.change), gates.nulls, gates.nulls_warn, text)
    if (rate := measures.nonfinite) is not None and gates.nonfinite is not None:
        text = f"NaN or infinite {rate.reference:.3%} -> {rate.current:.3%}"
        reached = check("nonfinite", abs(rate.change), gates.nonfinite, None, text)
        if not reached and rate.current > 0 and rate.reference == 0:
            found.append(Finding(DriftState.WARN, f"{text}: the reference has none"))
    if (rate := measures.new_categories) is not None:
        text = f"{rate.current:.2%} of rows hold texts the reference does not have"
        check("new_categories", rate.change, gates.new_categories, gates.new_categories_warn, text)
    if (rate := measures.out_of_range) is not None and enough:
        text = f"{rate.current:.2%} of values lie outside the reference's range"
        check("out_of_range", rate.change, None, gates.out_of_range, text)
    return found


def effect(measures: Measures, gates: Gates) -> float:
    """Return the largest effect in units of its gate, for ranking."""
    parts = []
    for test in TESTS:
        measure, limit = getattr(measures, test), getattr(gates, test, None)
        if measure is not None and limit:
            size = measure.value if test == "psi" else measure.statistic if test == "ks" else abs(measure.change)
            parts.append(size / limit)
    if measures.ks is None and measures.total_variation is not None and gates.total_variation:
        parts.append(measures.total_variation / gates.total_variation)
    return max(parts, default=0.0)
