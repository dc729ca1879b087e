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
def told(tmp_path_factory: pytest.TempPathFactory) -> dict:
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


def test_a_profile_is_made_by_spark(told) -> None:
    assert told["profile"]["state"] == "success", told["profile"]
    assert told["profile"]["found"]["rows"] == 14_000
    assert told["profile"]["found"]["source"].endswith("all.parquet")
    assert not told["profile"]["warned"], "Airflow warned of an operator within an operator"


def test_the_data_interval_chooses_the_rows_whatever_the_sessions_zone(told) -> None:
    found = told["days"]["found"]
    assert told["days"]["state"] == "failed"
    assert (found["reference_rows"], found["current_rows"]) == (14_000, 2_000)
    assert (found["verdict"], found["drifted"]) == ("drift", ["x"])
    assert told["days"]["checks"] == [
        ["days", False, "error"],
        ["days.x", False, "error"],
        ["days.word", True, "info"],
    ]


def test_a_select_beside_a_stored_profile_takes_the_way_of_drift(told) -> None:
    assert told["stored"]["found"]["drifted"] == ["x"]
    assert told["stored"]["found"]["current_rows"] == 2_000
    assert told["stored"]["skipped"] == ["keep"]


@pytest.mark.parametrize(
    ("name", "text"),
    [("missing", "PATH_NOT_FOUND"), ("typo", "dya"), ("text", "column day has Spark's type string")],
)
def test_a_wrong_question_fails_at_once(told, name, text) -> None:
    assert (told[name]["state"], told[name]["verdict"]) == ("failed", "unknown"), told[name]
    assert text in told[name]["error"]


def test_a_spark_that_is_not_there_is_worth_a_retry(told) -> None:
    assert (told["nowhere"]["state"], told["nowhere"]["verdict"]) == ("up_for_retry", "unknown"), told["nowhere"]
    assert "no Spark session" in told["nowhere"]["error"]
