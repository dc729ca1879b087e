"""Awkward inputs: each has an expected verdict or error."""

from __future__ import annotations

import json
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from airflow_slo_provider import drift
from airflow_slo_provider.drift.profiles import columns as columns_module
from airflow_slo_provider.exceptions import InvalidMeasurement
from tests.support import acceptance
from tests.unit.drift.samples import CATEGORIES, RNG, N, X, Y, frame

START = pd.Timestamp("2026-01-01", tz="UTC")


def replace_values(values, where, to):
    out = values.astype(float)
    out[where] = to
    return out


def random_seconds(n: int) -> pd.TimedeltaIndex:
    return pd.to_timedelta(RNG.integers(0, 10**6, n), unit="s")


CASES = {
    "baseline no drift": (frame(X), frame(Y), "ok"),
    "all-null current": (frame(X), frame(np.full(N, np.nan)), "drift"),
    "all-null both": (frame(np.full(N, np.nan)), frame(np.full(N, np.nan)), "insufficient_data"),
    "constant same": (frame(np.ones(N)), frame(np.ones(N)), "ok"),
    "constant 1 vs 2": (frame(np.ones(N)), frame(np.full(N, 2.0)), "drift"),
    "NaN 0%->30%": (frame(X), frame(replace_values(Y, RNG.random(N) < 0.3, np.nan)), "drift"),
    "inf in current, no NaN": (frame(X), frame(replace_values(Y, 3, np.inf)), "warn"),
    "new category": (frame(CATEGORIES), frame(np.where(RNG.random(N) < 0.24, "z", CATEGORIES)), "drift"),
    "ref float vs cur str": (frame(X), frame(Y.astype(str)), "schema_change"),
    "missing column in cur": (frame(X), pd.DataFrame({"y": Y}), "schema_change"),
    "empty current": (frame(X), frame(Y[:0]), "insufficient_data"),
    "1 row current": (frame(X), frame(Y[:1]), "insufficient_data"),
    "outlier 1e12 in ref + 1sd shift": (frame(replace_values(X, 0, 1e12)), frame(Y + 1), "drift"),
    "bool": (frame(RNG.random(N) < 0.3), frame(RNG.random(N) < 0.72), "drift"),
    "datetime": (frame(START + random_seconds(N)), frame(START + pd.Timedelta(days=6) + random_seconds(N)), "drift"),
    "Decimal objects": (
        frame([Decimal(str(v)) for v in X.tolist()]),
        frame([Decimal(str(v)) for v in (Y + 1).tolist()]),
        "drift",
    ),
    "nullable Int64 with NA": (
        frame(pd.array(np.round(X * 10).astype(int), dtype="Int64")),
        frame(pd.array([pd.NA if i % 5 == 0 else round(v * 10) for i, v in enumerate(Y)], dtype="Int64")),
        "drift",
    ),
    "90% zeros -> 50% zeros": (
        frame(np.where(RNG.random(N) < 0.9, 0, X)),
        frame(np.where(RNG.random(N) < 0.5, 0, Y)),
        "drift",
    ),
    "int64 > 2**53": (frame(2**60 + RNG.integers(0, 400, N)), frame(2**60 + 210 + RNG.integers(0, 400, N)), "drift"),
}


def test_awkward_inputs_cover_all_peer_cases() -> None:
    peers = json.loads(acceptance("drift", "awkward_inputs_peers.json").read_text())
    assert {name for cases in peers.values() for name in cases} == set(CASES)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("form", ["frame", "arrow", "parquet", "profile"])
def test_compare_awkward_input_has_expected_verdict(name, form, tmp_path) -> None:
    reference, current, verdict = CASES[name]
    if form == "arrow":
        pa = pytest.importorskip("pyarrow")
        reference, current = (pa.Table.from_pandas(side, preserve_index=False) for side in (reference, current))
    elif form == "parquet":
        for side, path in ((reference, tmp_path / "r.parquet"), (current, tmp_path / "c.parquet")):
            side.to_parquet(path, index=False)
        reference, current = str(tmp_path / "r.parquet"), tmp_path / "c.parquet"
    elif form == "profile":
        reference, current = (drift.profile(side) for side in (reference, current))
    report = drift.compare(reference, current)
    assert report.verdict == verdict, report["x"].message
    assert report["x"].verdict == verdict
    assert report["x"].message
    json.dumps(report.to_dict(), allow_nan=False)
    assert "<html" in drift.to_html(report)


def test_ks_integers_beyond_2_to_53_are_exact() -> None:
    reference, current, _ = CASES["int64 > 2**53"]
    assert drift.compare(reference, current)["x"].ks.statistic == pytest.approx(210 / 400, abs=0.03)


def test_compare_single_outlier_does_not_hide_drift() -> None:
    rng = np.random.default_rng(0)
    before, after = rng.normal(size=100_000), rng.normal(size=100_000) + 1
    for place in (0, 1):
        sides = [before.copy(), after.copy()]
        sides[place][0] = 1e9
        found = drift.compare(frame(sides[0]), frame(sides[1]))["x"]
        assert found.verdict == "drift"
        assert found.psi.value == pytest.approx(0.926, abs=0.02)
        assert found.ks.statistic == pytest.approx(0.383, abs=0.01)


def test_compare_each_column_has_its_own_verdict() -> None:
    reference = pd.DataFrame({"a": X, "b": X, "c": X.astype(str), "d": [[1]] * N, "e": X})
    current = pd.DataFrame({"a": Y + 1, "b": [1, "x"] * (N // 2), "c": X, "d": [[2]] * N, "f": X})
    report = drift.compare(reference, current)
    states = {name: column.verdict.value for name, column in report.columns.items()}
    assert states == {
        "a": "drift",
        "b": "schema_change",
        "c": "schema_change",
        "d": "skipped",
        "e": "schema_change",
        "f": "schema_change",
    }
    assert report.verdict == "schema_change"
    assert drift.compare(reference, current, columns=["a"]).verdict == "drift"
    assert drift.compare(reference, current, ignore=["[b-f]"]).verdict == "drift"


def test_compare_error_in_one_column_keeps_other_verdicts(monkeypatch) -> None:
    from airflow_slo_provider.drift.verdict import pairs

    plain = pairs.measure_cells

    def failing(out, cells, reference, **options):
        if reference.name == "b":
            raise ZeroDivisionError("boom")
        return plain(out, cells, reference, **options)

    monkeypatch.setattr(pairs, "measure_cells", failing)
    report = drift.compare(pd.DataFrame({"a": X, "b": X}), pd.DataFrame({"a": Y + 1, "b": Y}))
    assert (report["a"].verdict, report["b"].verdict, report.verdict) == ("drift", "error", "error")
    assert "boom" in report["b"].message


def test_compare_identifiers_are_skipped(monkeypatch, tmp_path) -> None:
    """The limit is lowered to keep the test fast."""
    from airflow_slo_provider.drift.profiles import kernel

    monkeypatch.setattr(columns_module, "MOST_CATEGORIES", 500)
    plain = kernel.ColumnBuilder.__init__
    monkeypatch.setattr(kernel.ColumnBuilder, "__init__", lambda self, name: plain(self, name, most_categories=500))
    ids = frame([f"user {i}" for i in range(N)])
    assert drift.profile(ids)["x"].overflow
    report = drift.compare(ids, frame([f"user {i}" for i in range(N, 2 * N)]))
    assert report["x"].verdict == "skipped"
    assert report.verdict == "insufficient_data"
    assert drift.compare(frame(CATEGORIES), ids)["x"].verdict == "schema_change"
    halves = [drift.profile(part) for part in (ids[:400], ids[400:])]
    assert halves[0].merge(halves[1]) == drift.profile(ids)


def test_compare_new_texts_of_a_long_tail_are_not_drift() -> None:
    """New texts are expected if the reference has many texts that occur once [Good 1953]."""
    rng = np.random.default_rng(11)
    sides = [frame([f"t{k}" for k in rng.zipf(1.3, 20_000)]) for _ in range(2)]
    found = drift.compare(*sides)["x"]
    assert found.new_categories.current > 0.02
    assert found.verdict == "ok", found.message


@pytest.mark.parametrize(
    "options",
    [
        {"columns": ["x", "amuont"]},
        {"critical": ["x", "amuont"]},
        {"critical": ["amount_*"]},
        {"prediction": ["amuont"]},
        {"label": "amuont"},
        {"thresholds": {"amuont": {"psi": 0.05}}},
        {"weights": {"amuont": 50}, "max_share": 0.4},
    ],
)
def test_compare_named_column_on_neither_side_raises(options):
    with pytest.raises(InvalidMeasurement, match=r"which is not a column of either side; there are x, y$"):
        drift.compare({"x": X, "y": X}, {"x": X, "y": X}, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"columns": ["x"], "prediction": ["y"]},
        {"columns": ["x"], "label": ["y"]},
        {"columns": ["x"], "critical": ["y"]},
        {"columns": ["x"], "thresholds": {"y": {"psi": 0.3}}},
        {"columns": ["x", "y"], "ignore": ["y*"]},
        {"ignore": ["y"], "prediction": ["y"]},
        {"ignore": ["y"], "critical": ["y*"]},
    ],
)
def test_compare_named_column_left_out_raises(options):
    with pytest.raises(InvalidMeasurement, match=r"names 'y\*?', which is left out of the comparison; take it out of ignore"):
        drift.compare({"x": X, "y": X}, {"x": X, "y": Y + 3}, **options)


def test_compare_pattern_may_also_match_ignored_columns():
    sides = ({"x": X, "y": X}, {"x": X, "y": X})
    found = drift.compare(*sides, ignore=["y"], critical=["*"], thresholds={"amount_*": {}}, weights={"y": 2.0})
    assert (found.verdict, list(found.columns)) == ("ok", ["x"])


def test_compare_without_any_weight_is_insufficient_data():
    assert drift.compare({"x": X}, {"x": Y + 3}, weights={"x": 0.0}).verdict == "insufficient_data"


def test_compare_drift_of_weightless_column_is_a_warning():
    assert drift.compare({"x": X, "y": X}, {"x": X, "y": Y + 3}, weights={"y": 0.0}).verdict == "warn"


@pytest.mark.parametrize(("gone", "verdict"), [(0.0, "skipped"), (0.03, "warn"), (0.5, "drift"), (1.0, "drift")])
def test_compare_incomparable_values_null_rate_is_judged(gone, verdict):
    pa = pytest.importorskip("pyarrow")

    def side(share: float):
        lists = [None if number < share * N else [1.0, 2.0] for number in range(N)]
        return pa.table({"embedding": pa.array(lists, type=pa.list_(pa.float64())), "x": X})

    assert drift.compare(side(0.0), side(gone))["embedding"].verdict == verdict
