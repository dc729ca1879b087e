"""A golden set as a check outside of Airflow. tests/airflow/test_golden_set_pod.py: it finds what the operator finds."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_slo_provider.__main__ import main
from airflow_slo_provider.checks import kinds as registry
from airflow_slo_provider.exceptions import CheckError
from airflow_slo_provider.results import Verdict
from tests.airflow.golden_files import GoldenFiles

MODEL = """
def predict(features):
    assert list(features.columns) == ["amount", "region"]
    return (features["amount"] > 0.5).astype(int)
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GoldenFiles]:
    found = GoldenFiles(tmp_path / "golden files")
    (tmp_path / "a_model_of_this_test.py").write_text(MODEL)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield found
    sys.modules.pop("a_model_of_this_test", None)


def test_golden_set_check_calls_the_models_function(files: GoldenFiles) -> None:
    spec = {
        "golden_set": files.golden,
        "predictor": {"function": "a_model_of_this_test:predict", "batch_size": 100},
        "metrics": "accuracy",
        "thresholds": {"accuracy": 0.6},
    }
    whole = registry.run_check("golden_set", spec)[0]
    assert (whole.name, whole.verdict) == ("golden set.csv", Verdict.PASS)
    assert whole.evidence["metrics"]["accuracy"]["value"] > 0.6


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"golden_set": ""}, "no golden_set"),
        ({"metric": "accuracy"}, "unknown key 'metric'"),
        ({"thresholds": {"recall": 0.5}}, "thresholds names 'recall'"),
        ({"compare_on": ["accuracy"]}, "without a champion"),
        ({"champion": ""}, "champion is ''; leave it out"),
        ({"champion": {"file": {"path": " "}}}, "leave it out"),
        ({"champion": None}, "leave it out"),
        ({"champion": "p", "margin": ""}, "margin is '', not a number"),
        ({"thresholds": {"accuracy": 90}}, "write a number from 0 to 1"),
        ({"predictor": {"function": "a_model_of_this_test:nothing"}}, "there is no function"),
        ({"predictor": {"function": "no_such_model:predict"}}, "needs no_such_model"),
        ({"predictor": {"pickle": {"path": "x"}}}, "is not a predictor; write a column"),
        ({"predictor": {"model_file": {"path": "x.pkl"}}}, "trusted"),
        ({"predictor": {"file": {"where": "x"}}}, "unexpected keyword argument"),
        ({"predictor": 3}, "is not a predictor; write a column"),
        ({"metrics": ["acuracy"]}, "acuracy"),
        ({"golden_set": "/nowhere.csv"}, "no such file"),
    ],
)
def test_golden_set_check_of_invalid_spec_is_rejected(
    files: GoldenFiles, change: dict[str, Any], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = {"golden_set": files.golden, "predictor": files.predictions(0, "p.csv"), "metrics": ["accuracy"], **change}
    assert main(["check", "golden_set", "--spec", json.dumps(spec)]) == 2
    assert text in json.loads(capsys.readouterr().out)["error"]["message"]


def test_first_model_needs_thresholds(files: GoldenFiles) -> None:
    spec = {
        "golden_set": files.golden, "predictor": files.predictions(0, "p.csv"), "metrics": ["accuracy"],
        "champion": "", "champion_may_be_missing": True,
    }  # fmt: skip
    assert registry.run_check("golden_set", spec)[0].verdict is Verdict.UNKNOWN
    assert registry.run_check("golden_set", {**spec, "thresholds": {"accuracy": 0.9}})[0].verdict is Verdict.PASS


def test_golden_set_check_without_library_names_it(files: GoldenFiles) -> None:
    spec = {"golden_set": files.golden, "predictor": {"function": "no_such_model:predict"}, "metrics": ["accuracy"]}
    with pytest.raises(CheckError) as refused:
        registry.run_check("golden_set", spec)
    assert refused.value.reason == "missing_library"
