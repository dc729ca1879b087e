"""Inputs that make other tools crash, or stay silent: each has a stated result here."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from airflow_slo_provider import drift
from airflow_slo_provider.drift.engines.local import run_tasks
from airflow_slo_provider.drift.engines.sources import Task
from airflow_slo_provider.drift.profiles import columns as columns_module
from airflow_slo_provider.exceptions import InvalidMeasurement, NoData, QueryError
from tests.support import acceptance, airflow_timeout

N = 2000
RNG = np.random.default_rng(7)
X, Y = RNG.normal(size=N), RNG.normal(size=N)
CATEGORIES = RNG.choice(list("abc"), N)
START = pd.Timestamp("2026-01-01", tz="UTC")


def frame(values) -> pd.DataFrame:
    return pd.DataFrame({"x": values})


def changed(values, where, to):
    out = values.astype(float)
    out[where] = to
    return out


def seconds(n: int) -> pd.TimedeltaIndex:
    return pd.to_timedelta(RNG.integers(0, 10**6, n), unit="s")


CASES = {
    "baseline no drift": (frame(X), frame(Y), "ok"),
    "all-null current": (frame(X), frame(np.full(N, np.nan)), "drift"),
    "all-null both": (frame(np.full(N, np.nan)), frame(np.full(N, np.nan)), "insufficient_data"),
    "constant same": (frame(np.ones(N)), frame(np.ones(N)), "ok"),
    "constant 1 vs 2": (frame(np.ones(N)), frame(np.full(N, 2.0)), "drift"),
    "NaN 0%->30%": (frame(X), frame(changed(Y, RNG.random(N) < 0.3, np.nan)), "drift"),
    "inf in current, no NaN": (frame(X), frame(changed(Y, 3, np.inf)), "warn"),
    "new category": (frame(CATEGORIES), frame(np.where(RNG.random(N) < 0.24, "z", CATEGORIES)), "drift"),
    "ref float vs cur str": (frame(X), frame(Y.astype(str)), "schema_change"),
    "missing column in cur": (frame(X), pd.DataFrame({"y": Y}), "schema_change"),
    "empty current": (frame(X), frame(Y[:0]), "insufficient_data"),
    "1 row current": (frame(X), frame(Y[:1]), "insufficient_data"),
    "outlier 1e12 in ref + 1sd shift": (frame(changed(X, 0, 1e12)), frame(Y + 1), "drift"),
    "bool": (frame(RNG.random(N) < 0.3), frame(RNG.random(N) < 0.72), "drift"),
    "datetime": (frame(START + seconds(N)), frame(START + pd.Timedelta(days=6) + seconds(N)), "drift"),
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


def test_every_case_the_peers_were_given_is_here() -> None:
    peers = json.loads(acceptance("drift", "awkward_inputs_peers.json").read_text())
    assert {name for cases in peers.values() for name in cases} == set(CASES)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("form", ["frame", "arrow", "parquet", "profile"])
def test_awkward_inputs(name, form, tmp_path) -> None:
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


def test_integers_beyond_2_to_53_keep_their_digits() -> None:
    reference, current, _ = CASES["int64 > 2**53"]
    assert drift.compare(reference, current)["x"].ks.statistic == pytest.approx(210 / 400, abs=0.03)


def test_one_outlier_hides_nothing() -> None:
    rng = np.random.default_rng(0)
    before, after = rng.normal(size=100_000), rng.normal(size=100_000) + 1
    for place in (0, 1):
        sides = [before.copy(), after.copy()]
        sides[place][0] = 1e9
        found = drift.compare(frame(sides[0]), frame(sides[1]))["x"]
        assert found.verdict == "drift"
        assert found.psi.value == pytest.approx(0.926, abs=0.02)
        assert found.ks.statistic == pytest.approx(0.383, abs=0.01)


def test_each_column_ends_by_itself() -> None:
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


def test_a_columns_error_does_not_hide_the_others(monkeypatch) -> None:
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


def test_files_that_are_not_what_they_seem(tmp_path) -> None:
    good, cut = tmp_path / "good.parquet", tmp_path / "cut.parquet"
    frame(X).to_parquet(good)
    cut.write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    with pytest.raises(QueryError, match=r"cut.parquet is not a readable Parquet file; it may be cut off"):
        drift.compare(good, cut)
    with pytest.raises(QueryError, match=r"no file matches .*nothing-\*\.parquet"):
        drift.compare(good, str(tmp_path / "nothing-*.parquet"))
    with pytest.raises(QueryError, match="no file matches"):
        drift.profile(tmp_path / "absent.csv")
    (tmp_path / "x.xlsx").write_bytes(b"")
    with pytest.raises(QueryError, match=r"'.xlsx' is not the ending of a known format"):
        drift.profile(tmp_path / "x.xlsx")
    frame(X).to_csv(tmp_path / "good.csv", index=False)
    with pytest.raises(QueryError, match="mixes formats"):
        drift.profile([good, tmp_path / "good.csv"])
    with pytest.raises(NoData, match="list of files is empty"):
        drift.profile([])
    with pytest.raises(InvalidMeasurement, match="no column z"):
        drift.profile(good, ["z"])
    with pytest.raises(InvalidMeasurement, match="holds no rows"):
        drift.profile(42)
    (tmp_path / "damaged.json").write_text('{"format": "airflow-slo/drift-profile", "version": 1}')
    with pytest.raises(InvalidMeasurement, match="damaged drift profile"):
        drift.compare(tmp_path / "damaged.json", good)


def test_files_of_one_dataset_that_disagree(tmp_path) -> None:
    pd.DataFrame({"a": X, "b": X, "c": X}).to_parquet(tmp_path / "1.parquet")
    pd.DataFrame({"a": Y, "b": Y.astype(str)}).to_parquet(tmp_path / "2.parquet")
    profile = drift.profile(str(tmp_path / "*.parquet"))
    assert profile.rows == 2 * N
    assert profile["a"].problem is None
    assert "is number (double) in one part of the data and text" in profile["b"].problem or "text" in profile["b"].problem
    assert "column c is missing in" in profile["c"].problem
    report = drift.compare(tmp_path / "1.parquet", str(tmp_path / "*.parquet"))
    assert {name: column.verdict.value for name, column in report.columns.items()} == {"a": "ok", "b": "error", "c": "error"}
    assert report.verdict == "error"


def test_csv_files_that_disagree(tmp_path) -> None:
    """Arrow's scanner would fill in nulls for what a file lacks."""
    pd.DataFrame({"a": X, "b": X, "c": X}).to_csv(tmp_path / "1.csv", index=False)
    pd.DataFrame({"a": Y, "b": ["word"] * N}).to_csv(tmp_path / "2.csv", index=False)
    profile = drift.profile(str(tmp_path / "*.csv"))
    assert profile["a"] == drift.profile(pd.DataFrame({"a": np.concatenate([X, Y])}))["a"]
    assert "column c is missing in" in profile["c"].problem
    assert "b is number in one file and text in" in profile["b"].problem


def test_directories_that_name_a_day_are_no_column(tmp_path) -> None:
    for day, shift in (("2026-11-23", 0), ("2026-11-24", 1)):
        (tmp_path / f"day={day}").mkdir()
        pd.DataFrame({"x": X + shift}).to_parquet(tmp_path / f"day={day}" / "part.parquet")
    data = str(tmp_path)
    assert list(drift.profile(data).columns) == ["x"]
    assert drift.profile(data).rows == 2 * N
    only = [("day", "=", "2026-11-23")]
    assert drift.profile(data, where=only) == drift.profile(frame(X))
    report = drift.compare(data, data, reference_where=only, where=[("day", "=", "2026-11-24")])
    assert (report.verdict, list(report.columns)) == ("drift", ["x"])


def test_row_groups_and_texts_too_large_to_decode_whole(tmp_path, monkeypatch) -> None:
    from airflow_slo_provider.drift.engines import file_source

    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    table = pa.table({"x": X, "long": [f"{i % 7}" * 3000 for i in range(N)]})
    pq.write_table(table, tmp_path / "t.parquet", use_dictionary=False)
    whole = drift.profile(table)
    assert drift.profile(tmp_path / "t.parquet") == whole
    monkeypatch.setattr(file_source, "_MOST_BYTES", 10_000)
    assert drift.profile(tmp_path / "t.parquet") == whole
    monkeypatch.setattr(columns_module, "MOST_CHARACTERS", 9000)
    monkeypatch.setattr("airflow_slo_provider.drift.profiles.kernel.MOST_CHARACTERS", 9000)
    assert drift.profile(tmp_path / "t.parquet")["long"].overflow
    parts = [drift.profile(table.slice(start, 1000)) for start in (0, 1000)]
    assert parts[0].merge(parts[1])["long"].overflow


def test_formats_agree(tmp_path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.feather as feather
    import pyarrow.parquet as pq

    table = pa.table({"x": X, "n": RNG.integers(0, 50, N), "s": CATEGORIES, "b": X > 0})
    pq.write_table(table, tmp_path / "t.parquet")
    (tmp_path / "many").mkdir()
    for i in range(4):
        pq.write_table(table.slice(i * 500, 500), tmp_path / "many" / f"{i}.parquet")
    feather.write_feather(table, str(tmp_path / "t.arrow"))
    table.to_pandas().to_csv(tmp_path / "t.csv", index=False)
    table.to_pandas().to_csv(tmp_path / "t.csv.gz", index=False)
    table.to_pandas().to_csv(tmp_path / "t.tsv", index=False, sep="\t")
    table.to_pandas().to_json(tmp_path / "t.jsonl", orient="records", lines=True, double_precision=15)
    whole = drift.profile(table)
    for name in ("t.parquet", "many", "many/*.parquet", "t.arrow", "t.csv", "t.csv.gz", "t.tsv"):
        assert drift.profile(str(tmp_path / name)) == whole, name
    assert drift.profile([str(tmp_path / "many" / f"{i}.parquet") for i in range(4)]) == whole
    assert drift.profile(f"file://{tmp_path / 't.parquet'}") == whole
    assert drift.profile(table.to_pandas()) == whole
    assert drift.profile(str(tmp_path / "t.jsonl"), ["n", "s", "b"]) == drift.profile(table, ["n", "s", "b"])
    below = [("x", "<", 0.0), ("s", "in", ["a", "b"])]
    filtered = drift.profile(table.to_pandas(), where=below)
    assert 0 < filtered.rows < N
    for data in (table, str(tmp_path / "t.parquet"), str(tmp_path / "t.csv")):
        assert drift.profile(data, where=below) == filtered
    with pytest.raises(ValueError, match="operator"):
        drift.profile(table, where=[("x", "~", 1)])
    with pytest.raises(InvalidMeasurement, match="no column y"):
        drift.profile(table, where=[("y", "=", 1)])


def test_a_remote_file(tmp_path) -> None:
    import fsspec

    frame(X).to_parquet(tmp_path / "x.parquet")
    with fsspec.open("memory://drift/x.parquet", "wb") as file:
        file.write((tmp_path / "x.parquet").read_bytes())
    profile = drift.profile("memory://drift/*.parquet")
    assert profile == drift.profile(frame(X))
    assert drift.load_profile(profile.save("memory://drift/p.json")) == profile
    with pytest.raises(QueryError, match="no file matches"):
        drift.profile("memory://drift/absent.parquet")


def test_what_a_job_is_still_writing_is_no_data(tmp_path):
    pytest.importorskip("pyarrow")
    fsspec = pytest.importorskip("fsspec")
    for root in (f"{tmp_path}/day", "memory://drift/day"):
        for name in ("part-0.parquet", "_temporary/0/part-1.parquet", ".spark/part-2.parquet", "_SUCCESS"):
            with fsspec.open(f"{root}/{name}", "wb", auto_mkdir=True) as file:
                frame(X).to_parquet(file)
        assert drift.profile(root).rows == N, root


@pytest.mark.parametrize(("name", "where"), [("x.parquet", None), ("x.csv", None), ("x.parquet", [("x", ">", 0.0)])])
def test_a_store_that_does_not_answer_is_a_fault_that_may_pass(name, where, monkeypatch):
    pytest.importorskip("pyarrow")
    memory = pytest.importorskip("fsspec.implementations.memory").MemoryFileSystem
    with memory().open(f"/faults/{name}", "wb") as file:
        frame(X).to_parquet(file) if name.endswith("parquet") else frame(X).to_csv(file, index=False)

    def busy(*_args, **_more):
        raise OSError("503 slow down")

    with monkeypatch.context() as patched:
        patched.setattr(memory, "_open", busy)
        with pytest.raises(QueryError, match="503 slow down") as fault:
            drift.profile(f"memory://faults/{name}", where=where)
    assert fault.value.transient
    with memory().open(f"/faults/{name}", "wb") as file:
        file.write(b"PAR1" if name.endswith("parquet") else b"x,y\n1\n2,3,4\n")
    with pytest.raises(QueryError) as verdict:
        drift.profile(f"memory://faults/{name}", where=where)
    assert not verdict.value.transient


def test_identifiers_are_no_categories(monkeypatch, tmp_path) -> None:
    """The limit is lowered to keep the test quick; ten million distinct texts take the same way."""
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


def test_long_tails_are_not_news() -> None:
    """Texts the reference happens not to hold are expected where it holds many only once. [Good 1953]"""
    rng = np.random.default_rng(11)
    sides = [frame([f"t{k}" for k in rng.zipf(1.3, 20_000)]) for _ in range(2)]
    found = drift.compare(*sides)["x"]
    assert found.new_categories.current > 0.02
    assert found.verdict == "ok", found.message


def test_without_pyarrow_frames_are_compared_and_files_say_what_to_install(tmp_path) -> None:
    frame(X).to_csv(tmp_path / "x.csv", index=False)
    code = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('pyarrow', 'duckdb'):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
import numpy as np, pandas as pd
from airflow_slo_provider import drift
rng = np.random.default_rng(1)
sides = [pd.DataFrame({{'x': rng.normal(i, 1, 2000), 's': rng.choice(['a', 'b'], 2000),
  't': pd.Timestamp('2026-01-01') + pd.to_timedelta(rng.integers(0, 9**5, 2000), unit='s')}}) for i in (0, 1)]
report = drift.compare(*sides)
assert (report['x'].verdict, report['s'].verdict, report['t'].verdict) == ('drift', 'ok', 'ok'), report
try:
    drift.profile({str(tmp_path / "x.csv")!r})
except Exception as error:
    assert "pip install --constraint constraints.txt 'airflow-slo-provider[drift]'" in str(error), error
else:
    raise SystemExit('no error')
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "asked",
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
def test_a_column_that_is_asked_for_and_nowhere_is_no_pass(asked):
    with pytest.raises(InvalidMeasurement, match=r"which is not a column of either side; there are x, y$"):
        drift.compare({"x": X, "y": X}, {"x": X, "y": X}, **asked)


@pytest.mark.parametrize(
    "asked",
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
def test_a_column_that_must_be_judged_and_is_left_out_is_no_pass(asked):
    with pytest.raises(InvalidMeasurement, match=r"names 'y\*?', which is left out of the comparison; take it out of ignore"):
        drift.compare({"x": X, "y": X}, {"x": X, "y": Y + 3}, **asked)


def test_a_pattern_may_name_what_is_left_out_too():
    sides = ({"x": X, "y": X}, {"x": X, "y": X})
    found = drift.compare(*sides, ignore=["y"], critical=["*"], thresholds={"amount_*": {}}, weights={"y": 2.0})
    assert (found.verdict, list(found.columns)) == ("ok", ["x"])


def test_without_any_weight_nothing_was_judged():
    assert drift.compare({"x": X}, {"x": Y + 3}, weights={"x": 0.0}).verdict == "insufficient_data"


def test_drift_of_no_weight_is_no_clean_bill():
    assert drift.compare({"x": X, "y": X}, {"x": X, "y": Y + 3}, weights={"y": 0.0}).verdict == "warn"


@pytest.mark.parametrize(("gone", "verdict"), [(0.0, "skipped"), (0.03, "warn"), (0.5, "drift"), (1.0, "drift")])
def test_nulls_count_where_values_cannot_be_compared(gone, verdict):
    pa = pytest.importorskip("pyarrow")

    def side(share: float):
        lists = [None if number < share * N else [1.0, 2.0] for number in range(N)]
        return pa.table({"embedding": pa.array(lists, type=pa.list_(pa.float64())), "x": X})

    assert drift.compare(side(0.0), side(gone))["embedding"].verdict == verdict


def test_a_filter_is_never_left_out(tmp_path):
    saved = drift.profile({"x": X}).save(tmp_path / "p.json")
    with pytest.raises(ValueError, match="a filter needs rows"):
        drift.profile(saved, where=[("x", "<", 0)])


def test_times_without_a_zone_are_filtered_in_utc(tmp_path):
    pytest.importorskip("pyarrow")
    hours = pd.date_range("2026-01-01", periods=48, freq="h")
    rows = pd.DataFrame({"at": hours, "x": np.arange(48.0)})
    rows.to_parquet(tmp_path / "naive.parquet")
    berlin = timezone(timedelta(hours=1))
    day = [("at", ">=", datetime(2026, 1, 2, 1, tzinfo=berlin)), ("at", "<", datetime(2026, 1, 3, 1, tzinfo=berlin))]
    for data in (tmp_path / "naive.parquet", rows):
        found = drift.profile(data, ["x"], where=day)
        assert (found.rows, found["x"].minimum) == (24, 24)


@pytest.mark.parametrize("turned", [False, True])
def test_a_column_of_later_files_only_is_not_lost_by_a_filter(tmp_path, turned):
    pytest.importorskip("pyarrow")
    both = [pd.DataFrame({"x": X}), pd.DataFrame({"x": X, "y": Y})]
    for number, rows in enumerate(both[::-1] if turned else both):
        rows.to_parquet(tmp_path / f"{number}.parquet")
    found = drift.profile(tmp_path, where=[("x", ">", -100.0)])
    assert found["x"].rows == 2 * N
    assert "column y is missing in" in str(found["y"].problem)


def test_a_column_that_a_file_has_twice_is_not_compared(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(
        pa.Table.from_arrays([pa.array(X), pa.array(Y + 9), pa.array(X)], names=["x", "x", "y"]), tmp_path / "t.parquet"
    )
    found = drift.compare(tmp_path / "t.parquet", tmp_path / "t.parquet")
    assert (found["x"].verdict, found["y"].verdict, found.verdict) == ("error", "ok", "error")
    assert "column x is twice in" in found["x"].message


def test_airflows_timeout_ends_the_queue() -> None:
    """Pieces that are being counted end; those that wait for a thread are never begun."""
    begun = []

    def count(consume) -> None:
        begun.append(consume)
        time.sleep(0.2)

    with airflow_timeout(0.5):
        run_tasks([Task(1, count)] * 40, lambda column, values: None, threads=2)
    assert 0 < len(begun) < 20
