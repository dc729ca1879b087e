"""A golden set in a pod: what the check finds is what the operator finds on a worker."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_slo_provider.__main__ import main
from airflow_slo_provider.checks import registry
from airflow_slo_provider.exceptions import CheckError
from airflow_slo_provider.operators.golden_set import GoldenSetEvaluationOperator
from airflow_slo_provider.results import Verdict
from tests.airflow.golden_files import GoldenFiles
from tests.airflow.running import run_task

MODEL = """
def predict(features):
    assert list(features.columns) == ["amount", "region"]
    return (features["amount"] > 0.5).astype(int)
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GoldenFiles]:
    found = GoldenFiles(tmp_path / "golden files")
    monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", f"sqlite:///{found.home / 'ledger.db'}")
    (tmp_path / "a_model_of_this_test.py").write_text(MODEL)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield found
    sys.modules.pop("a_model_of_this_test", None)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"thresholds": {"accuracy": 0.9}, "champion": "champion.csv"},
        {"thresholds": {"accuracy": {"fail": 0.99}}, "slices": ["region"], "slice_min_rows": 100},
        {"compare_on": ["accuracy"], "champion": "champion.csv", "margin": 0.01, "confidence": 0.9},
    ],
)
def test_as_the_operator(files: GoldenFiles, more: dict[str, Any]) -> None:
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
    found = {one.name: one for one in registry.run("golden_set", spec)}
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


def test_the_models_own_function(files: GoldenFiles) -> None:
    spec = {
        "golden_set": files.golden,
        "predictor": {"function": "a_model_of_this_test:predict", "batch_size": 100},
        "metrics": "accuracy",
        "thresholds": {"accuracy": 0.6},
    }
    whole = registry.run("golden_set", spec)[0]
    assert (whole.name, whole.verdict) == ("golden set.csv", Verdict.PASS)
    assert whole.evidence["metrics"]["accuracy"]["value"] > 0.6


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"golden_set": ""}, "no golden_set"),
        ({"metric": "accuracy"}, "unknown key 'metric'"),
        ({"thresholds": {"recall": 0.5}}, "'recall' is none of its metrics"),
        ({"predictor": {"function": "a_model_of_this_test:nothing"}}, "there is no function"),
        ({"predictor": {"function": "no_such_model:predict"}}, "needs no_such_model"),
        ({"predictor": {"pickle": {"path": "x"}}}, "is none: write a column"),
        ({"predictor": {"model_file": {"path": "x.pkl"}}}, "trusted"),
        ({"predictor": {"file": {"where": "x"}}}, "unexpected keyword argument"),
        ({"predictor": 3}, "is none: write a column"),
        ({"metrics": ["acuracy"]}, "acuracy"),
        ({"golden_set": "/nowhere.csv"}, "no such file"),
    ],
)
def test_what_cannot_be_used(files: GoldenFiles, change: dict[str, Any], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    spec = {"golden_set": files.golden, "predictor": files.predictions(0, "p.csv"), "metrics": ["accuracy"], **change}
    assert main(["check", "golden_set", "--spec", json.dumps(spec)]) == 2
    assert text in json.loads(capsys.readouterr().out)["error"]["message"]


def test_a_missing_model_names_the_image_s_fault(files: GoldenFiles) -> None:
    spec = {"golden_set": files.golden, "predictor": {"function": "no_such_model:predict"}, "metrics": ["accuracy"]}
    with pytest.raises(CheckError) as refused:
        registry.run("golden_set", spec)
    assert refused.value.reason == "missing_library"
