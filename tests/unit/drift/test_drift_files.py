"""Files, directories and filters: formats agree, and unreadable or contradictory data is reported."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest

from airflow_slo_provider import drift
from airflow_slo_provider.drift.engines.local import run_tasks
from airflow_slo_provider.drift.engines.sources import Task
from airflow_slo_provider.drift.profiles import columns as columns_module
from airflow_slo_provider.exceptions import InvalidMeasurement, NoData, QueryError
from tests.support import airflow_timeout
from tests.unit.drift.samples import CATEGORIES, RNG, N, X, Y, frame


def test_read_damaged_or_unknown_file_raises(tmp_path) -> None:
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


def test_parquet_files_with_different_columns_report_problem(tmp_path) -> None:
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


def test_csv_files_with_different_columns_report_problem(tmp_path) -> None:
    """Arrow's scanner would fill missing columns with nulls."""
    pd.DataFrame({"a": X, "b": X, "c": X}).to_csv(tmp_path / "1.csv", index=False)
    pd.DataFrame({"a": Y, "b": ["word"] * N}).to_csv(tmp_path / "2.csv", index=False)
    profile = drift.profile(str(tmp_path / "*.csv"))
    assert profile["a"] == drift.profile(pd.DataFrame({"a": np.concatenate([X, Y])}))["a"]
    assert "column c is missing in" in profile["c"].problem
    assert "b is number in one file and text in" in profile["b"].problem


def test_hive_partition_key_can_be_filtered_but_is_not_a_column(tmp_path) -> None:
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


def test_parquet_large_row_groups_and_texts_are_read_in_batches(tmp_path, monkeypatch) -> None:
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


def test_profile_is_the_same_for_every_file_format(tmp_path) -> None:
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


def test_profile_remote_file_equals_local(tmp_path) -> None:
    import fsspec

    frame(X).to_parquet(tmp_path / "x.parquet")
    with fsspec.open("memory://drift/x.parquet", "wb") as file:
        file.write((tmp_path / "x.parquet").read_bytes())
    profile = drift.profile("memory://drift/*.parquet")
    assert profile == drift.profile(frame(X))
    assert drift.load_profile(profile.save("memory://drift/p.json")) == profile
    with pytest.raises(QueryError, match="no file matches"):
        drift.profile("memory://drift/absent.parquet")


def test_directory_hidden_and_temporary_files_are_ignored(tmp_path):
    pytest.importorskip("pyarrow")
    fsspec = pytest.importorskip("fsspec")
    for root in (f"{tmp_path}/day", "memory://drift/day"):
        for name in ("part-0.parquet", "_temporary/0/part-1.parquet", ".spark/part-2.parquet", "_SUCCESS"):
            with fsspec.open(f"{root}/{name}", "wb", auto_mkdir=True) as file:
                frame(X).to_parquet(file)
        assert drift.profile(root).rows == N, root


@pytest.mark.parametrize(("name", "where"), [("x.parquet", None), ("x.csv", None), ("x.parquet", [("x", ">", 0.0)])])
def test_remote_read_error_is_transient_and_damaged_file_is_not(name, where, monkeypatch):
    pytest.importorskip("pyarrow")
    memory = pytest.importorskip("fsspec.implementations.memory").MemoryFileSystem
    with memory().open(f"/faults/{name}", "wb") as file:
        frame(X).to_parquet(file) if name.endswith("parquet") else frame(X).to_csv(file, index=False)

    def busy(*_args, **_more):
        raise OSError("503 slow down")

    with monkeypatch.context() as patched:
        patched.setattr(memory, "_open", busy)
        with pytest.raises(QueryError, match="503 slow down") as transient:
            drift.profile(f"memory://faults/{name}", where=where)
    assert transient.value.transient
    with memory().open(f"/faults/{name}", "wb") as file:
        file.write(b"PAR1" if name.endswith("parquet") else b"x,y\n1\n2,3,4\n")
    with pytest.raises(QueryError) as permanent:
        drift.profile(f"memory://faults/{name}", where=where)
    assert not permanent.value.transient


def test_without_pyarrow_frames_are_compared_and_files_report_what_to_install(tmp_path) -> None:
    frame(X).to_csv(tmp_path / "x.csv", index=False)
    code = f"""
import sys
class MissingLibraries:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('pyarrow', 'duckdb'):
            raise ImportError(name)
sys.meta_path.insert(0, MissingLibraries())
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


def test_profile_filter_on_stored_profile_raises(tmp_path):
    saved = drift.profile({"x": X}).save(tmp_path / "p.json")
    with pytest.raises(ValueError, match="a filter needs rows"):
        drift.profile(saved, where=[("x", "<", 0)])


def test_filter_naive_timestamps_are_read_as_utc(tmp_path):
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
def test_filter_column_of_one_file_only_is_reported(tmp_path, turned):
    pytest.importorskip("pyarrow")
    both = [pd.DataFrame({"x": X}), pd.DataFrame({"x": X, "y": Y})]
    for number, rows in enumerate(both[::-1] if turned else both):
        rows.to_parquet(tmp_path / f"{number}.parquet")
    found = drift.profile(tmp_path, where=[("x", ">", -100.0)])
    assert found["x"].rows == 2 * N
    assert "column y is missing in" in str(found["y"].problem)


def test_parquet_duplicate_column_is_an_error(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(
        pa.Table.from_arrays([pa.array(X), pa.array(Y + 9), pa.array(X)], names=["x", "x", "y"]), tmp_path / "t.parquet"
    )
    found = drift.compare(tmp_path / "t.parquet", tmp_path / "t.parquet")
    assert (found["x"].verdict, found["y"].verdict, found.verdict) == ("error", "ok", "error")
    assert "column x is twice in" in found["x"].message


def test_run_tasks_timeout_cancels_waiting_tasks() -> None:
    """Running tasks end; tasks that wait for a thread are never started."""
    started = []

    def count(consume) -> None:
        started.append(consume)
        time.sleep(0.2)

    with airflow_timeout(0.5):
        run_tasks([Task(1, count)] * 40, lambda column, values: None, threads=2)
    assert 0 < len(started) < 20
