"""PSI, Kolmogorov-Smirnov and distances against published values and other implementations."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest

from airflow_slo_provider import drift
from airflow_slo_provider.exceptions import InvalidMeasurement, NoData
from tests.support import acceptance

# Cases of the acceptance data, by name, so that the same tests are collected without the data.
SHIFTS, BINS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0), (5, 10, 20)
KS_CASES = [
    "sp_0_1", "sp_2v3_m", "sp_2v4_m", "sp_100_110_p", "sp_ties_2233", "sp_issue_11355_clean", "r_ties", "r_disjoint_5_7",
    "r_sleep",
]  # fmt: skip


def _cases(name: str):
    return json.loads(acceptance("drift", name).read_text())


def test_psi_equals_published_values() -> None:
    checked = 0
    for case in _cases("psi_counts.json"):
        expect = case["expect"]
        found = drift.psi(case["ref_counts"], case["cur_counts"])
        back = drift.psi(case["cur_counts"], case["ref_counts"])
        assert back.value == pytest.approx(found.value, abs=1e-15)
        if "psi" in expect:
            assert found.value == pytest.approx(expect["psi"], abs=case["tol"])
        if "critical_value_alpha05" in expect:
            assert found.critical == pytest.approx(expect["critical_value_alpha05"], rel=1e-12)
            assert found.pvalue == pytest.approx(expect["p_value"], rel=1e-10)
            assert (found.value > found.critical) is expect["reject"]
        if "pearson_x2" in expect:
            test = drift.chi_square(case["ref_counts"], case["cur_counts"])
            assert test.statistic == pytest.approx(expect["pearson_x2"], rel=1e-12)
            assert (test.freedom, test.pvalue) == (expect["df"], pytest.approx(expect["p_value"], rel=1e-10))
        checked += 1
    assert checked >= 4


def test_compare_significant_but_small_psi_is_ok() -> None:
    (case,) = [case for case in _cases("psi_counts.json") if case["expect"].get("act") is False]
    texts = [["a"] * counts[0] + ["b"] * counts[1] for counts in (case["ref_counts"], case["cur_counts"])]
    report = drift.compare({"x": texts[0]}, {"x": texts[1]})
    assert report["x"].psi.value == pytest.approx(case["expect"]["psi"], abs=1e-12)
    assert report.verdict == "ok"


def test_psi_critical_values_equal_published_ones() -> None:
    for row in _cases("psi_critical_values.json")["rows"]:
        counts = [[row[side] // row["bins"]] * row["bins"] for side in ("n", "m")]
        found = drift.psi(*counts, alpha=row["alpha"])
        assert found.critical == pytest.approx(row["critical"], rel=1e-12)
        assert found.bias == pytest.approx((row["bins"] - 1) * (1 / row["n"] + 1 / row["m"]))
        assert found.status == ("ok" if min(row["n"], row["m"]) >= 500 else "insufficient_data")


def test_psi_reports_floor_and_smoothing() -> None:
    for row in _cases("psi_zero_bin_conventions.json")["rows"]:
        found = drift.psi([900] * 10, [0, *[1000] * 9], floor=row["eps"])
        assert found.value == pytest.approx(row["psi"], rel=1e-9)
        assert (found.floored, found.floor) == (1, row["eps"])
    smoothed = drift.psi([900] * 10, [0, *[1000] * 9], smoothing=0.5)
    assert math.isfinite(smoothed.value)
    assert (smoothed.floored, smoothed.floor, smoothed.smoothing) == (0, 0.0, 0.5)
    with pytest.raises(ValueError, match="without a floor"):
        drift.psi([1, 1], [0, 1], floor=0)


def test_parametrized_cases_are_all_published_cases() -> None:
    rows = _cases("analytic_normal_shift.json")["rows"]
    assert [(row["shift"], row["bins"]) for row in rows] == [(shift, bins) for shift in SHIFTS for bins in BINS]
    assert [case["id"] for case in _cases("ks.json")] == KS_CASES


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("bins", BINS)
def test_compare_shifted_normals_equal_analytic_values(shift, bins) -> None:
    """A sample of the normal's quantiles has the statistics of the population."""
    from scipy.special import ndtri

    rows = _cases("analytic_normal_shift.json")["rows"]
    (row,) = [row for row in rows if (row["shift"], row["bins"]) == (shift, bins)]
    n = 200_000
    sample = ndtri((np.arange(n) + 0.5) / n)
    report = drift.compare({"x": sample}, {"x": sample + row["shift"]}, bins=row["bins"])
    assert report["x"].psi.value == pytest.approx(row["psi_quantile_bins"], abs=2e-3 * row["psi_quantile_bins"] + 1e-9)
    assert report["x"].ks.lower - 1e-5 <= row["ks"] <= report["x"].ks.upper + 1e-5
    assert report["x"].ks.upper - report["x"].ks.lower < 1e-3


@pytest.mark.parametrize("name", KS_CASES)
def test_ks_equals_published_values(name) -> None:
    (case,) = [case for case in _cases("ks.json") if case["id"] == name]
    expect = case["expect"]
    found = drift.ks(case["x"], case["y"])
    assert found.statistic == found.lower == found.upper == pytest.approx(expect["D"], abs=1e-15)
    if "p_exact" in expect or "p_auto" in expect:
        assert found.pvalue == pytest.approx(expect.get("p_exact", expect.get("p_auto")), rel=1e-11)
    assert (found.n, found.m) == (len(case["x"]), len(case["y"]))
    of_profiles = drift.ks(drift.profile({"x": case["x"]}), drift.profile({"x": case["y"]}))
    assert of_profiles == found


def test_benjamini_hochberg_equals_published_values() -> None:
    case = _cases("bh.json")
    adjusted = drift.benjamini_hochberg(case["p"])
    assert adjusted == pytest.approx(case["bh_adjusted"], rel=1e-12)
    assert sum(p <= 0.05 for p in adjusted) == case["rejected_bh_05"]
    assert drift.benjamini_hochberg(case["p"][::-1]) == pytest.approx(case["bh_adjusted"][::-1], rel=1e-12)
    assert drift.benjamini_hochberg([]) == ()
    with pytest.raises(InvalidMeasurement, match="NaN"):
        drift.benjamini_hochberg([0.1, math.nan])


def test_quantiles_are_observed_values() -> None:
    case = _cases("quantile_types.json")
    assert drift.quantiles(case["x"], case["q"]) == case["type1_inverted_cdf"]
    assert list(drift.profile({"x": case["x"]})["x"].edges) == list(dict.fromkeys(case["type1_inverted_cdf"]))


def test_distances_equal_scipy() -> None:
    from scipy.spatial.distance import jensenshannon
    from scipy.stats import wasserstein_distance

    rng = np.random.default_rng(5)
    a, b = rng.integers(0, 50, 12), rng.integers(0, 50, 12)
    assert drift.js_distance(a, b) == pytest.approx(jensenshannon(a / a.sum(), b / b.sum(), base=2), rel=1e-12)
    assert drift.total_variation(a, b) == pytest.approx(np.abs(a / a.sum() - b / b.sum()).sum() / 2)
    assert drift.js_distance([1, 0], [0, 1]) == drift.total_variation([1, 0], [0, 1]) == 1
    x, y = rng.normal(size=300), rng.normal(1, 2, 500)
    report = drift.compare({"x": x}, {"x": y})
    assert report["x"].wasserstein == pytest.approx(wasserstein_distance(x, y), rel=1e-12)


@pytest.mark.parametrize(
    ("reference", "current", "error", "text"),
    [
        ([0, 0], [1, 1], NoData, "reference has 0"),
        ([1, 2], [1, 2, 3], InvalidMeasurement, "2 bins and current 3"),
        ([1, -2], [1, 2], InvalidMeasurement, "negative"),
        ([0.5, 0.5], [1, 2], InvalidMeasurement, "shares"),
        ([math.nan, 1.0], [1, 2], InvalidMeasurement, "NaN"),
        ([[1, 2]], [1, 2], InvalidMeasurement, "shape"),
    ],
)
def test_psi_invalid_counts_raise(reference, current, error, text) -> None:
    with pytest.raises(error, match=text):
        drift.psi(reference, current)


def test_ks_unordered_values_raise() -> None:
    for bad in ([1.0, math.nan], [1, None], np.array(["2026-01-01", "NaT"], dtype="datetime64[s]")):
        with pytest.raises(InvalidMeasurement, match="1 NaN or missing of 2"):
            drift.ks(bad, [1.0, 2.0])
    with pytest.raises(NoData):
        drift.ks([], [1])
    with pytest.raises(InvalidMeasurement, match="no common order"):
        drift.ks([1, 2], ["a", "b"])
    # Infinity has an order.
    assert drift.ks([1.0, math.inf], [1.0, 2.0]).statistic == 0.5


def test_psi_single_bin_is_zero() -> None:
    found = drift.psi([1000], [2000])
    assert (found.value, found.pvalue, found.bins, found.bias, found.status) == (0, 1, 1, 0, "ok")


def test_import_drift_loads_no_heavy_library() -> None:
    code = (
        "import sys; from airflow_slo_provider import drift; drift.Gates; drift.DriftReport; "
        "heavy = {'numpy', 'pandas', 'scipy', 'pyarrow', 'duckdb', 'airflow'} & set(sys.modules); assert not heavy, heavy; "
        "drift.psi([600, 600], [600, 600]); assert 'scipy.stats' not in sys.modules and 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_package_exports_every_public_name() -> None:
    for name in drift.__all__:
        assert getattr(drift, name) is not None
    with pytest.raises(AttributeError):
        _ = drift.nothing
