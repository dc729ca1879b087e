"""Compare the measures of a column with its gates; a gate is reached only if effect and significance agree."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from airflow_slo_provider.drift.statistics.column_measures import Measures
from airflow_slo_provider.drift.statistics.ks_pvalues import asymptotic_pvalue
from airflow_slo_provider.drift.verdict.thresholds import Gates, State

#: The tests of a column; each is made where the column's data allow it.
TESTS = ("psi", "ks", "chi_square", "nulls", "nonfinite", "new_categories", "out_of_range")


@dataclass(frozen=True)
class Finding:
    """One gate that a column reached.

    :param state: state that the gate leads to
    :param text: the effect and its p-value, for messages
    """

    state: State
    text: str


def pvalues(measures: Measures, *, tests: tuple[str, ...]) -> dict[str, float]:
    """Return the raw p-value of each test that was made."""
    out = {}
    for test in TESTS:
        held = getattr(measures, test)
        if held is not None and (test in tests or test not in ("psi", "ks", "chi_square")):
            out[test] = held.pvalue
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

    def gate(test: str, effect: float, limit: float | None, state: State, text: str) -> bool:
        # NaN must not pass: `effect < limit` is false for NaN.
        if limit is None or effect < limit or adjusted.get(test, math.nan) >= alpha:
            return False
        found.append(Finding(state, text))
        return True

    if measures.psi is not None and enough and "psi" in adjusted:
        value, p = measures.psi.value, adjusted["psi"]
        text = f"PSI {value:.4g} (without drift about {measures.psi.bias:.2g}; p {p:.2g})"
        gate("psi", value, gates.psi, State.DRIFT, text) or gate("psi", value, gates.psi_warn, State.WARN, text)
    if measures.ks is not None and enough and "ks" in adjusted:
        ks, p = measures.ks, adjusted["ks"]
        where = f"D {ks.statistic:.4g}" if ks.exact else f"D between {ks.lower:.4g} and {ks.upper:.4g}"
        text = f"{where} (p {p:.2g})"
        drifts = gate("ks", ks.lower, gates.ks, State.DRIFT, text) or gate("ks", ks.lower, gates.ks_warn, State.WARN, text)
        # The adjusted p-value belongs to the lower bound of D. Whether the threshold may be reached depends on the upper bound.
        if (
            not drifts
            and gates.ks is not None
            and ks.lower < gates.ks <= ks.upper
            and asymptotic_pvalue(ks.upper, ks.n, ks.m) < alpha
        ):
            found.append(
                Finding(State.WARN, f"{where}: the threshold {gates.ks:g} lies inside, and the data cannot be read again")
            )
    if measures.total_variation is not None and enough and "chi_square" in adjusted:
        moved, p = measures.total_variation, adjusted["chi_square"]
        gate("chi_square", moved, gates.total_variation, State.DRIFT, f"{moved:.2%} of rows changed their category (p {p:.2g})")
    if measures.nulls is not None:
        rate = measures.nulls
        text = f"null rate {rate.reference:.2%} -> {rate.current:.2%}"
        gate("nulls", abs(rate.change), gates.nulls, State.DRIFT, text) or gate(
            "nulls", abs(rate.change), gates.nulls_warn, State.WARN, text
        )
    if measures.nonfinite is not None and gates.nonfinite is not None:
        rate = measures.nonfinite
        text = f"NaN or infinite {rate.reference:.3%} -> {rate.current:.3%}"
        drifts = gate("nonfinite", abs(rate.change), gates.nonfinite, State.DRIFT, text)
        if not drifts and rate.current > 0 and rate.reference == 0:
            found.append(Finding(State.WARN, f"{text}: the reference has none"))
    if measures.new_categories is not None:
        rate = measures.new_categories
        text = f"{rate.current:.2%} of rows hold texts the reference does not have"
        new = gates.new_categories, gates.new_categories_warn
        gate("new_categories", rate.change, new[0], State.DRIFT, text) or gate(
            "new_categories", rate.change, new[1], State.WARN, text
        )
    if measures.out_of_range is not None and enough:
        rate = measures.out_of_range
        gate(
            "out_of_range",
            rate.change,
            gates.out_of_range,
            State.WARN,
            f"{rate.current:.2%} of values lie outside the reference's range",
        )
    return found


def effect(measures: Measures, gates: Gates) -> float:
    """Return the largest effect in units of its gate, for ranking."""
    parts = []
    for test in TESTS:
        held, limit = getattr(measures, test), getattr(gates, test, None)
        if held is None or not limit:
            continue
        size = held.value if test == "psi" else held.statistic if test == "ks" else abs(held.change)
        parts.append(size / limit)
    if measures.ks is None and measures.total_variation is not None and gates.total_variation:
        parts.append(measures.total_variation / gates.total_variation)
    return max(parts, default=0.0)
