"""Statistics are exact or in a certain interval, and profiles do not depend on how rows are split."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from airflow_slo_provider import drift
from airflow_slo_provider.drift.profiles.grid import EXACT, Grid, cell_ends, coarsen, code_floats, float_codes
from airflow_slo_provider.drift.profiles.grid_builder import GridBuilder
from airflow_slo_provider.drift.statistics import ks_pvalues as ks_statistic

BEYOND = 2**60


def _sample(rng: np.random.Generator, family: int, n: int, shift: float):
    if family == 0:
        return rng.normal(shift, 1, n)
    if family == 1:  # ties
        return np.round(rng.normal(shift, 1, n), 1)
    if family == 2:  # discrete
        return rng.poisson(3 + 3 * shift, n)
    if family == 3:  # zero-inflated
        return np.where(rng.random(n) < 0.7 - 0.3 * shift, 0.0, rng.gamma(2, 1, n))
    if family == 4:  # heavy tails
        return rng.standard_cauchy(n) * (1 + shift)
    if family == 5:  # constants
        return np.full(n, 1.0 if shift < 0.5 else 2.0)
    if family == 6:  # int64 beyond 2^53
        return BEYOND + rng.integers(0, 500, n) + int(200 * shift)
    if family == 7:  # far from zero
        return 1e6 + rng.normal(shift, 1, n)
    if family == 8:  # both signs, tiny and huge
        return rng.normal(shift, 1, n) * 10.0 ** rng.integers(-12, 12, n)
    return rng.integers(-(2**62), 2**62, n)


def _scipy_ks(a, b):
    """Return scipy's D and p; integers that float64 cannot represent are replaced by their ranks, which have the same D."""
    if a.dtype.kind == "i":
        pooled = np.unique(np.concatenate([a, b]))
        a, b = np.searchsorted(pooled, a).astype(float), np.searchsorted(pooled, b).astype(float)
    return ks_2samp(a, b, method="exact" if max(len(a), len(b)) <= 600 else "asymp")


def test_ks_500_pairs_equal_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    # Values and their profiles need the p-value of the same distance; computing it takes most of the time.
    monkeypatch.setattr(ks_statistic, "_count_paths", cache(ks_statistic._count_paths))
    rng = np.random.default_rng(20261124)
    widest = 0.0
    for number in range(500):
        family = number % 10
        n, m = (int(k) for k in rng.choice([1, 2, 3, 7, 40, 200, 600, 3000], 2))
        shift = float(rng.choice([0.0, 0.1, 0.5, 1.0]))
        a, b = _sample(rng, family, n, 0.0), _sample(rng, family, m, shift)
        truth, found = _scipy_ks(a, b), drift.ks(a, b)
        assert found.statistic == pytest.approx(truth.statistic, abs=1e-12), (number, family)
        if max(n, m) <= 600:
            assert found.method == "exact"
            assert found.pvalue == pytest.approx(truth.pvalue, abs=1e-12, rel=1e-9), (number, family, n, m)
        between = drift.ks(drift.profile({"x": a}), drift.profile({"x": b}))
        assert between.lower - 1e-12 <= truth.statistic <= between.upper + 1e-12
        widest = max(widest, between.upper - between.lower)
    assert widest < 0.001


@pytest.mark.parametrize("family", range(10))
def test_ks_interval_many_distinct_values_contains_exact_value(family: int) -> None:
    """The interval contains the exact value and is narrow; with ``exact`` it is one point."""
    rng = np.random.default_rng(family)
    a, b = _sample(rng, family, 150_000, 0.0), _sample(rng, family, 120_000, 0.3)
    truth = drift.ks(a, b).statistic
    between = drift.ks(drift.profile({"x": a}), drift.profile({"x": b}))
    assert between.lower <= truth <= between.upper
    assert between.upper - between.lower < 0.001
    closed = drift.compare({"x": a}, {"x": b}, exact=True)["x"].ks
    assert closed.lower == closed.upper == truth


def test_compare_threshold_inside_interval_reads_data_again() -> None:
    """Two clusters have scales too different for one grid: the data is read again, and the verdict is correct."""
    rng = np.random.default_rng(3)
    noise = rng.standard_cauchy(200_000) * 10.0 ** rng.integers(-100, 100, 200_000)
    a = np.concatenate([1e6 + rng.random(100_000) * 1e-3, noise])
    b = np.concatenate([1e6 + rng.random(100_000) * 1e-3 + 0.4e-3, noise])
    truth = drift.ks(a, b).statistic
    unrefined = drift.ks(drift.profile({"x": a}), drift.profile({"x": b}))
    assert unrefined.lower <= truth <= unrefined.upper
    assert unrefined.upper - unrefined.lower > 0.05, "this case no longer needs a second reading; use another"
    found = drift.compare({"x": a}, {"x": b})["x"]
    assert found.ks.lower <= truth <= found.ks.upper
    assert (found.verdict == "drift") is (truth >= 0.1)
    assert not found.ks.lower < 0.1 <= found.ks.upper
    # Profiles alone cannot decide; the verdict must not be ok.
    from_profiles = drift.compare(drift.profile({"x": a}), drift.profile({"x": b}))
    assert from_profiles.verdict != "ok"


@pytest.mark.parametrize("family", range(10))
def test_merge_any_split_equals_whole_profile(family: int) -> None:
    rng = np.random.default_rng(100 + family)
    values = _sample(rng, family, 180_000, 0.0)
    whole = drift.profile({"x": values})
    shuffled = rng.permutation(values)
    cuts = np.sort(rng.integers(0, len(values), 5))
    parts = [drift.profile({"x": part}) for part in np.split(shuffled, cuts)]
    merged = parts[3]
    for index in (0, 5, 1, 4, 2):
        merged = merged.merge(parts[index])
    assert merged == whole
    assert merged.hash == whole.hash


def test_profile_is_the_same_with_any_number_of_threads(tmp_path, monkeypatch) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(1)
    table = pa.table(
        {"a": rng.normal(size=300_000), "b": rng.integers(0, 2**40, 300_000), "c": rng.choice(list("abcdef"), 300_000)}
    )
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=40_000)
    made = []
    for processors in (1, 4):
        monkeypatch.setattr("os.cpu_count", lambda processors=processors: processors)
        made.append(drift.profile(str(tmp_path / "x.parquet")))
    assert made[0] == made[1] == drift.profile(table)


finite = st.floats(allow_nan=False, allow_infinity=False)
int64 = st.integers(-(2**63), 2**63 - 1)


@settings(max_examples=150, deadline=None)
@given(values=st.lists(finite, min_size=1, max_size=60), bits=st.integers(0, 51))
def test_float_cells_contain_their_values(values, bits) -> None:
    x = np.array(values)
    codes = float_codes(x)
    assert (code_floats(codes) == x).all()
    cells = coarsen(codes, "float", bits)
    low, high = cell_ends(cells, "float", bits)
    assert (low <= codes).all()
    assert (codes <= high).all()
    assert (coarsen(low, "float", bits) == cells).all()
    assert (coarsen(high, "float", bits) == cells).all()
    order = np.argsort(codes, kind="stable")
    assert (cells[order][1:] >= cells[order][:-1]).all()


@settings(max_examples=150, deadline=None)
@given(values=st.lists(int64, min_size=1, max_size=60), bits=st.integers(0, 62))
def test_integer_cells_contain_their_values(values, bits) -> None:
    codes = np.array(values, dtype=np.int64)
    cells = coarsen(codes, "int", bits)
    low, high = cell_ends(cells, "int", bits)
    assert (low <= codes).all()
    assert (codes <= high).all()
    assert (coarsen(low, "int", bits) == cells).all()
    if bits <= 51 and all(abs(value) <= 2**53 for value in values):
        as_floats = coarsen(float_codes(codes.astype(float)), "float", bits)
        assert (code_floats(as_floats) == cells).all()


@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(st.one_of(finite, st.sampled_from([0.0, -0.0, 5e-324, 1.0])), min_size=2, max_size=200),
    cut=st.integers(1, 100),
    most=st.integers(4, 40),
)
def test_merge_small_grids_equals_whole_grid(values, cut, most) -> None:
    def grid(part) -> Grid:
        builder = GridBuilder("float", most=most)
        builder.add(np.array(part, dtype=float))
        return builder.grid()

    whole = grid(values)
    parts = [values[i : i + cut] for i in range(0, len(values), cut)]
    merged = grid(parts[0])
    for part in parts[1:]:
        merged = grid(part).merge(merged, most=most)
    assert merged == whole
    assert len(whole.codes) <= most or whole.bits == 0
    assert whole.bits == EXACT or whole.total == len(values)


@settings(max_examples=100, deadline=None)
@given(a=st.lists(finite, min_size=1, max_size=150), b=st.lists(finite, min_size=1, max_size=150), most=st.integers(4, 30))
def test_ks_interval_of_grids_contains_exact_value(a, b, most) -> None:
    from airflow_slo_provider.drift.profiles.columns import ColumnProfile
    from airflow_slo_provider.drift.statistics.cells import joint_cells, ks_of_cells

    sides = []
    for values in (a, b):
        builder = GridBuilder("float", most=most)
        builder.add(np.array(values, dtype=float))
        sides.append(ColumnProfile(name="x", kind="number", rows=len(values), distribution=builder.grid()))
    found = ks_of_cells(joint_cells(*sides))
    assert found.lower <= drift.ks(a, b).statistic <= found.upper


def test_ks_integers_and_floats_are_compared() -> None:
    whole, real = pd.DataFrame({"x": np.arange(1000)}), pd.DataFrame({"x": np.arange(1000) + 0.0})
    assert drift.ks(drift.profile(whole), drift.profile(real)).statistic == 0
    far = pd.DataFrame({"x": BEYOND + np.arange(1000)})
    found = drift.ks(drift.profile(far), drift.profile(pd.DataFrame({"x": float(BEYOND) + np.arange(1000)})))
    assert found.lower <= drift.ks(BEYOND + np.arange(1000), float(BEYOND) + np.arange(1000)).statistic <= found.upper


def test_spark_partition_profiles_merge_to_whole_profile() -> None:
    """The function that ``mapInArrow`` calls can be tested without Spark."""
    import pyarrow as pa

    from airflow_slo_provider.drift.engines.spark import _partition_counter, _read_partition

    rng = np.random.default_rng(6)
    table = pa.table({"x": rng.normal(size=9000), "s": rng.choice(list("abc"), 9000), "n": rng.integers(0, 9, 9000)})
    count = _partition_counter(table.column_names, frozenset({"n"}))
    parts = []
    for start in (0, 2000, 2001, 9000):
        length = {0: 2000, 2000: 1, 2001: 6999, 9000: 0}[start]
        (batch,) = count(iter(table.slice(start, length).to_batches(max_chunksize=700)))
        assert batch.schema == pa.schema([("part", pa.binary())])
        parts.append(_read_partition(batch.column(0)[0].as_py()))
    merged = parts[2].merge(parts[3]).merge(parts[0]).merge(parts[1])
    assert merged == drift.profile(table, categorical=["n"])


def test_merge_empty_part_changes_nothing() -> None:
    rng = np.random.default_rng(7)
    frame = pd.DataFrame(
        {
            "f": rng.normal(size=50),
            "i": np.arange(50),
            "s": ["a", None] * 25,
            "b": rng.random(50) < 0.5,
            "t": pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(50), unit="D"),
            "d": pd.to_timedelta(np.arange(50), unit="s"),
            "c": pd.Categorical(["x", "y"] * 25),
            "codes": pd.Categorical([1, 2] * 25),
            "N": pd.array([1, None] * 25, dtype="Int64"),
            7: 1.5,
        }
    )
    whole = drift.profile(frame)
    assert {column.problem for column in whole.columns.values()} == {None}
    assert whole.schema["codes"] == "number"
    assert "7" in whole.columns
    assert drift.profile(frame[:0]).merge(whole) == whole == whole.merge(drift.profile(frame[:0]))
    assert drift.profile(frame[:20]).merge(drift.profile(frame[20:])) == whole
