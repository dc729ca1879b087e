"""A golden set in a pod: what the check finds is what the operator finds on a worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_slo_provider.checks import kinds as registry
from airflow_slo_provider.operators.golden_set import GoldenSetEvaluationOperator
from tests.airflow.golden_files import GoldenFiles
from tests.airflow.task_runs import run_task


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GoldenFiles:
    found = GoldenFiles(tmp_path / "golden files")
    monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", f"sqlite:///{found.home / 'ledger.db'}")
    return found


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"thresholds": {"accuracy": 0.9}, "champion": "champion.csv"},
        {"thresholds": {"accuracy": {"fail": 0.99}}, "slices": ["region"], "slice_min_rows": 100},
        {"compare_on": ["accuracy"], "champion": "champion.csv", "margin": 0.01, "confidence": 0.9},
    ],
)
def test_pod_check_returns_what_the_operator_records(files: GoldenFiles, more: dict[str, Any]) -> None:
    files.predictions(0.05, "champion.csv")
    more = {**more, **({"champion": str(files.home / "champion.csv")} if "champion" in more else {})}
    spec = {
        "golden_set": files.golden,
        "predictor": files.predictions(0.04, "candidate.csv"),
        "metrics": ["accuracy", "f1"],
        "name": "checkout",
        "model_version": "7",
        "replicates": 200,
        **more,
    }
    found = {one.name: one for one in registry.run_check("golden_set", spec)}
    run_task(GoldenSetEvaluationOperator(task_id="evaluate", **spec))
    recorded = {name: one.result for name, one in files.checks().items()}
    assert found.keys() == recorded.keys()
    for name, one in found.items():
        assert (one.verdict, one.value, one.message, one.model_version) == (
            recorded[name].verdict,
            recorded[name].value,
            recorded[name].message,
            "7",
        )
