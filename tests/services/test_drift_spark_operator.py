"""Drift operators that count on a real Spark, through the Spark provider's PySparkOperator."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from tests.peers import peer
from tests.support import REPO, need


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict:
    need("java")
    home, where = peer("drift-spark"), tmp_path_factory.mktemp("spark")
    rng = np.random.default_rng(5)
    before, today = 14_000, 2_000
    at = pd.Timestamp("2026-11-24", tz="UTC") + pd.to_timedelta(
        np.concatenate([-rng.uniform(0, 7, before), rng.uniform(0, 1, today)]), unit="D"
    )
    frame = pd.DataFrame(
        {
            "at": at.astype("datetime64[us, UTC]"),
            "day": at.strftime("%Y-%m-%d"),
            "x": np.concatenate([rng.normal(size=before), rng.normal(1, 1, today)]),
            "word": rng.choice(["a", "b"], before + today),
            "id": np.arange(before + today),
        }
    )
    frame.to_parquet(where / "all.parquet")
    (site,) = (home.parent / "lib").glob("python3*/site-packages")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
        "PYTHONPATH": str(REPO),
        "PYSPARK_PYTHON": str(home / "python"),
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.services.drift_on_spark", str(where), str(site)],
        env=environment, cwd=where, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=400, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:] + done.stdout[-2000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_drift_profile_operator_on_spark_saves_profile(results) -> None:
    assert results["profile"]["state"] == "success", results["profile"]
    assert results["profile"]["found"]["rows"] == 14_000
    assert results["profile"]["found"]["source"].endswith("all.parquet")
    assert not results["profile"]["warned"], "Airflow warned of an operator within an operator"


def test_drift_operator_on_spark_reads_data_interval_in_any_session_zone(results) -> None:
    found = results["days"]["found"]
    assert results["days"]["state"] == "failed"
    assert (found["reference_rows"], found["current_rows"]) == (14_000, 2_000)
    assert (found["verdict"], found["drifted"]) == ("drift", ["x"])
    assert results["days"]["checks"] == [
        ["days", False, "error"],
        ["days.x", False, "error"],
        ["days.word", True, "info"],
    ]


def test_drift_branch_operator_on_spark_compares_select_with_stored_profile(results) -> None:
    assert results["stored"]["found"]["drifted"] == ["x"]
    assert results["stored"]["found"]["current_rows"] == 2_000
    assert results["stored"]["skipped"] == ["keep"]


@pytest.mark.parametrize(
    ("name", "text"),
    [("missing", "PATH_NOT_FOUND"), ("typo", "dya"), ("text", "column day has Spark's type string")],
)
def test_drift_operator_on_spark_rejected_query_fails_without_retry(results, name, text) -> None:
    assert (results[name]["state"], results[name]["verdict"]) == ("failed", "unknown"), results[name]
    assert text in results[name]["error"]


def test_drift_operator_on_spark_unreachable_session_is_retried(results) -> None:
    assert (results["nowhere"]["state"], results["nowhere"]["verdict"]) == ("up_for_retry", "unknown"), results["nowhere"]
    assert "no Spark session" in results["nowhere"]["error"]
