"""Drift as a check that runs outside of Airflow."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from airflow_slo_provider.checks.kinds import run_check
from airflow_slo_provider.exceptions import CheckError, QueryError


def test_drift_check_of_files_returns_results(tmp_path) -> None:
    rng = np.random.default_rng(1)
    for name, shift in (("before", 0), ("after", 1)):
        pd.DataFrame({"x": rng.normal(shift, 1, 1000), "id": range(1000)}).to_csv(tmp_path / f"{name}.csv", index=False)
    spec = {"reference": str(tmp_path / "before.csv"), "current": str(tmp_path / "after.csv"), "ignore": ["id"]}
    found = run_check("drift", {**spec, "name": "churn", "report": str(tmp_path / "r.html"), "model_version": "3"})
    assert [(one.name, str(one.verdict), one.model_version) for one in found] == [
        ("churn", "fail", "3"),
        ("churn.x", "fail", "3"),
    ]
    assert (tmp_path / "r.html").exists()
    assert str(run_check("drift", {**spec, "states": {"drift": "warn"}})[0].verdict) == "warn"
    few = run_check("drift", {**spec, "where": [["id", "<", 50]]})
    assert str(few[0].verdict) == "unknown"
    with pytest.raises(CheckError, match="unknown key 'tresholds'"):
        run_check("drift", {**spec, "tresholds": {}})
    with pytest.raises(CheckError, match="no current"):
        run_check("drift", {"reference": "a"})
    with pytest.raises(CheckError, match="no gate 'psy'"):
        run_check("drift", {**spec, "thresholds": {"psy": 1}})
    with pytest.raises(QueryError, match="no file matches"):
        run_check("drift", {**spec, "current": str(tmp_path / "absent.csv")})
