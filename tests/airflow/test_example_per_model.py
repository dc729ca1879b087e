"""Every exit of dags/per_model_gate.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.airflow.whole_dags import WholeRun, example

MODELS = ("churn", "fraud", "price")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    monkeypatch.setenv("AIRFLOW_CONN_MODELS_LOG", "")
    monkeypatch.delenv("AIRFLOW_CONN_MODELS_LOG")  # whatever the DAG sets is undone
    return tmp_path


def states(ran: WholeRun, task: str) -> dict[str, str]:
    return {model: ran.states[f"per_model.{task}[{index}]"] for index, model in enumerate(MODELS)}


@pytest.mark.parametrize(
    ("conf", "gate", "behind", "outside", "state"),
    [
        ({"bad": ""}, {}, {}, "success", "success"),
        ({}, {"fraud": "skipped"}, {"fraud": "skipped"}, "skipped", "success"),
        ({"bad": "churn"}, {"churn": "skipped"}, {"churn": "skipped"}, "skipped", "success"),
        ({"bad": "", "silent": "price"}, {"price": "failed"}, {"price": "upstream_failed"}, "upstream_failed", "failed"),
    ],
    ids=["every_model", "all_but_fraud", "all_but_churn", "one_is_not_known"],
)
def test_each_model_with_allowed_budget_is_promoted(
    home: Path, conf: dict[str, str], gate: dict[str, str], behind: dict[str, str], outside: str, state: str
) -> None:
    ran = example("per_model_gate.py").run("per_model_gate", **conf)
    everywhere = dict.fromkeys(MODELS, "success")
    assert states(ran, "gate") == everywhere | gate
    assert states(ran, "promote") == states(ran, "announce") == everywhere | behind
    assert (ran.states["all_promoted"], ran.states["report"], ran.state) == (outside, "success", state)
    outcome = {"skipped": "frozen", "failed": "unknown"}
    said = {model: line.partition(":")[0] for model, line in ran.xcom("report").items()}
    assert said == {model: outcome.get(gate.get(model, ""), "allowed") for model in MODELS}
