"""The golden-set operator in Airflow's task runner: what it records, when it fails, what it leaves behind."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import pendulum
import pytest
from airflow.sdk import Asset
from airflow.sdk.execution_time import comms

from airflow_slo_provider.operators.golden_set import Column, GoldenSetEvaluationOperator, HttpModel, ModelFile, PredictionFile
from airflow_slo_provider.results import Verdict
from tests.airflow.golden_files import GoldenFiles, files
from tests.airflow.task_runs import run_task
from tests.support import REPO
from tests.unit.evaluation.faulty_model_server import FAULTS, serving

__all__ = ["files"]


def evaluation(files: GoldenFiles, **more: Any) -> GoldenSetEvaluationOperator:
    arguments: dict[str, Any] = {
        "golden_set": files.golden,
        "features": ["amount"],
        "metrics": ["accuracy", "f1"],
        "thresholds": {"accuracy": 0.9},
        "name": "fraud",
        "replicates": 200,
        **more,
    }
    return GoldenSetEvaluationOperator(task_id="evaluate", **arguments)


def test_good_candidate_passes(files: GoldenFiles) -> None:
    ran = run_task(evaluation(files, predictor=files.predictions(0.05, "good.csv"), model_version="{{ run_id }}-7"))
    assert ran.state == "success", ran.log
    found = ran.xcoms["return_value"]
    assert (found["verdict"], found["model_version"], found["coverage"]) == ("pass", "a_run-7", 1.0)
    assert found["metrics"]["accuracy"]["low"] >= 0.9
    assert len(json.dumps(found)) < 2000
    checks = files.checks()
    assert set(checks) == {"fraud", "fraud/coverage", "fraud/accuracy"}
    assert checks["fraud"].result.verdict is Verdict.PASS
    assert checks["fraud"].result.model_version == "a_run-7"
    assert checks["fraud/accuracy"].result.value == found["metrics"]["accuracy"]["value"]
    assert "accuracy: pass" in ran.log
    f1 = found["metrics"]["f1"]
    assert f"f1: {f1['value']:.6g} [{f1['low']:.6g}, {f1['high']:.6g}], not judged" in ran.log


@pytest.mark.parametrize(("wrong", "verdict", "recorded"), [(0.2, "fail", "fail"), (0.1, "inconclusive", "unknown")])
def test_failing_verdict_is_recorded_and_not_retried(files: GoldenFiles, wrong: float, verdict: str, recorded: str) -> None:
    ran = run_task(evaluation(files, predictor=files.predictions(wrong, "p.csv"), retries=3))
    assert ran.state == "failed"
    assert type(ran.error).__name__ == "AirflowFailException"
    assert str(ran.error).startswith(f"fraud: {verdict}: accuracy")
    assert ran.xcoms["return_value"]["verdict"] == verdict
    check = files.checks()["fraud"].result
    assert (check.verdict, check.evidence["outcome"]) == (recorded, verdict)


def test_empty_fail_on_returns_the_verdict(files: GoldenFiles) -> None:
    ran = run_task(evaluation(files, predictor=files.predictions(0.1, "p.csv"), fail_on=["fail"]))
    assert (ran.state, ran.xcoms["return_value"]["verdict"]) == ("success", "inconclusive")
    assert run_task(evaluation(files, predictor=files.predictions(0.3, "q.csv"), fail_on=["fail"])).state == "failed"


def test_decide_on_value_ignores_interval(files: GoldenFiles) -> None:
    assert run_task(evaluation(files, predictor=files.predictions(0.085, "other.csv"), decide_on="value")).state == "success"


@pytest.mark.parametrize(
    ("candidate", "champion", "margin", "state", "verdict"),
    [(0.02, 0.1, 0.0, "success", "pass"), (0.05, 0.05, 0.0, "failed", "inconclusive"), (0.12, 0.02, "0.03", "failed", "fail")],
)
def test_candidate_is_compared_with_champion(
    files: GoldenFiles, candidate: float, champion: float, margin: Any, state: str, verdict: str
) -> None:
    operator = evaluation(
        files,
        predictor=PredictionFile("{{ params.home }}/candidate.csv"),
        champion=PredictionFile("{{ params.home }}/champion.csv"),
        thresholds={"accuracy": "{{ params.least }}"},
        margin=margin,
        slices=["region"],
        slice_margin=0.2,
        params={"home": str(files.home), "least": 0.8},
    )
    files.predictions(candidate, "candidate.csv")
    files.predictions(champion, "champion.csv")
    ran = run_task(operator)
    assert (ran.state, ran.xcoms["return_value"]["verdict"]) == (state, verdict), ran.log
    compared = files.checks()["fraud/accuracy vs champion"].result
    assert compared.value == ran.xcoms["return_value"]["comparisons"]["accuracy"]["delta"]
    assert compared.evidence["method"] == "mcnemar"


def test_missing_predictions_are_unknown(files: GoldenFiles) -> None:
    half = files.rows.iloc[:500]
    ran = run_task(evaluation(files, predictor=files.predictions(0.0, "half.csv", half)))
    assert (ran.state, ran.xcoms["return_value"]["verdict"]) == ("failed", "unknown")
    assert files.checks()["fraud/coverage"].result.value == 0.5


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda rows: rows.assign(id="same"), "1 ids occur more than once"),
        (lambda rows: rows.iloc[:0], "has no rows"),
        (lambda rows: rows.drop(columns="label"), "no column 'label'"),
        (lambda rows: rows.assign(label=None), "none of 1000 rows has a label"),
    ],
)
def test_invalid_golden_set_is_recorded_as_unknown(files: GoldenFiles, spoil: Any, text: str) -> None:
    predictor = files.predictions(0.0, "p.csv")
    golden = files.write(spoil(files.rows), "spoilt.csv")
    ran = run_task(evaluation(files, golden_set=golden, predictor=predictor, retries=2))
    assert ran.state == "failed"
    assert text in str(ran.error)
    check = files.checks()["fraud"].result
    assert (check.verdict, check.value) == (Verdict.UNKNOWN, None)
    assert text in check.message


def test_missing_golden_set_fails_and_is_recorded(files: GoldenFiles) -> None:
    ran = run_task(evaluation(files, golden_set=str(files.home / "none.csv"), predictor="p", retries=2))
    assert (ran.state, "no such file" in str(ran.error)) == ("failed", True)


def test_reports_are_written_to_report_path(files: GoldenFiles) -> None:
    files.rows["score"] = files.rows["amount"].rank(pct=True)
    golden = files.write(files.rows, "with score.csv")
    operator = evaluation(
        files, golden_set=golden, predictor="score", metrics=["roc_auc"], thresholds={"roc_auc": 0.6},
        report_path=f"file://{files.home}/reports",
    )  # fmt: skip
    ran = run_task(operator, run_id="manual__2026-11-24T05:00:00+00:00")
    assert ran.state == "success", ran.log
    place = Path(ran.xcoms["return_value"]["report"].removeprefix("file://"))
    assert place.parent.name == "evaluate"
    assert "ROC curve" in place.read_text()
    assert json.loads((place.parent / "report.json").read_text())["verdict"] == "pass"
    assert files.checks()["fraud"].result.evidence["report"] == ran.xcoms["return_value"]["report"]


def test_data_interval_is_recorded(files: GoldenFiles) -> None:
    """As Airflow hands it over: pendulum's datetimes."""
    start, end = pendulum.datetime(2026, 11, 1, tz="Europe/Berlin"), pendulum.datetime(2026, 11, 2, tz="Europe/Berlin")
    ran = run_task(evaluation(files, predictor=files.predictions(0.05, "p.csv")), data_interval=(start, end))
    assert ran.state == "success", ran.error
    found = files.checks()["fraud"].result
    assert (found.interval_start, found.interval_end) == (start, end)


def test_retry_keeps_first_observation(files: GoldenFiles) -> None:
    first, second = (
        run_task(evaluation(files, predictor=files.predictions(0.05, "p.csv")), try_number=number) for number in (1, 2)
    )
    assert first.xcoms["return_value"] == second.xcoms["return_value"]
    assert {one.key.try_number for one in files.checks().values()} == {1}, "of each name, the one that was recorded first"


def test_model_server_with_faults_is_evaluated(files: GoldenFiles) -> None:
    connections = {}
    with serving(lambda row: float(row[0] > 0.5)) as server:
        server.faults, server.every = FAULTS, 20
        connections["fraud"] = {"conn_type": "http", "host": "127.0.0.1", "port": server.server_address[1], "password": "tok en"}
        model = HttpModel("{{ params.conn }}", "/v2/models/fraud/infer", batch_size=10, timeout=1, concurrency=8)
        operator = evaluation(
            files, predictor=model, metrics=["accuracy", "latency_p95", "throughput"],
            thresholds={"accuracy": 0.5, "latency_p95": 10}, params={"conn": "fraud"},
        )  # fmt: skip
        ran = run_task(operator, connections=connections)
        assert server.headers[0]["Authorization"] == "Bearer tok en"
        assert ran.state == "success", ran.log
        assert ran.xcoms["return_value"]["coverage"] == 1
        assert ran.xcoms["return_value"]["metrics"]["latency_p95"]["n"] == 100
        assert "rows predicted: 100 %, 1000 of 1000" in ran.log
        server.faults, server.every = ("status",), 1
        down = run_task(
            evaluation(files, predictor=HttpModel("fraud", retries=0, concurrency=1), retries=2), connections=connections
        )
    assert down.state == "up_for_retry"  # the server may recover: a fault, not a verdict
    assert "return_value" not in down.xcoms


def test_model_file_is_compared_with_column(files: GoldenFiles) -> None:
    joblib, linear = pytest.importorskip("joblib"), pytest.importorskip("sklearn.linear_model")
    files.rows["old"] = 1
    golden = files.write(files.rows, "with old.csv")
    path = files.home / "model.joblib"
    joblib.dump(linear.LogisticRegression().fit(files.rows[["amount"]], files.rows["label"]), path)
    ran = run_task(
        evaluation(
            files,
            golden_set=golden,
            predictor=ModelFile(str(path), trusted=True),
            champion=Column("old"),
            features=None,
            metrics=["accuracy", "log_loss"],
            thresholds={"accuracy": 0.6},
            slices=["region"],
            slice_margin=0.0,
        )
    )
    assert ran.state == "success", ran.log
    assert ran.xcoms["return_value"]["comparisons"]["accuracy"]["verdict"] == "pass"


def test_golden_set_from_sql_is_evaluated(files: GoldenFiles) -> None:
    with sqlite3.connect(files.home / "golden.db") as connection:
        files.rows.assign(pred=files.rows["label"]).to_sql("golden", connection, index=False)
    connection.close()
    ran = run_task(
        evaluation(files, golden_set="SELECT * FROM golden", sql_conn_id="warehouse", predictor="pred"),
        connections={"warehouse": {"conn_type": "sqlite", "host": str(files.home / "golden.db")}},
    )
    assert ran.state == "success", ran.error
    assert ran.xcoms["return_value"]["metrics"]["accuracy"]["value"] == 1.0
    wrong = evaluation(files, golden_set="SELECT * FROM nowhere", sql_conn_id="warehouse", predictor="pred")
    refused = run_task(wrong, connections={"warehouse": {"conn_type": "sqlite", "host": str(files.home / "golden.db")}})
    assert "the database refused the query (OperationalError); query: SELECT * FROM nowhere" in str(refused.error)


def test_asset_event_has_the_verdict(files: GoldenFiles) -> None:
    ran = run_task(evaluation(files, predictor=files.predictions(0.01, "p.csv"), outlets=[Asset("evaluated")], model_version="7"))
    assert ran.state == "success", ran.log
    done = next(msg for msg in ran.messages if isinstance(msg, comms.SucceedTask))
    (event,) = done.outlet_events
    assert (event["extra"]["verdict"], event["extra"]["model_version"]) == ("pass", "7")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"metrics": ["acuracy"]}, "did you mean 'accuracy'"),
        ({"thresholds": {"auc": 0.5}}, "thresholds names 'auc'"),
        ({"compare_on": ["accuracy"]}, "without a champion"),
        ({"decide_on": "luck"}, "decide_on"),
        ({"confidence": 95}, "confidence"),
        ({"min_coverage": 0}, "min_coverage"),
        ({"fail_on": ["never"]}, "never"),
        ({"decision_threshold": 50}, "decision_threshold"),
        ({"metrics": ["accuracy", "throughput"], "champion": "c", "compare_on": ["throughput"]}, "throughput is not compared"),
        ({"metrics": ["throughput"], "thresholds": {}, "champion": "c"}, "only latencies"),
        ({"metrics": {"accuracy": "accuracy", "mine": max}, "thresholds": {"mine": 1}}, "has no direction"),
        ({"predictor": 7}, "predictor is 7"),
    ],
)
def test_invalid_arguments_fail_at_parse_time(files: GoldenFiles, arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        evaluation(files, **{"predictor": "p", **arguments})


@pytest.mark.parametrize("wrong", [{"thresholds": {"accuracy": "{{ params.empty }}"}}, {"margin": "{{ params.empty }}"}])
def test_template_without_number_is_recorded_and_not_retried(files: GoldenFiles, wrong: dict[str, Any]) -> None:
    files.predictions(0.0, "p.csv")
    more = {"predictor": f"{files.home}/p.csv", "champion": f"{files.home}/p.csv", "params": {"empty": ""}, **wrong}
    ran = run_task(evaluation(files, retries=2, **more))
    assert (ran.state, type(ran.error).__name__) == ("failed", "AirflowFailException")
    assert "is '', not a number" in str(ran.error)
    assert files.checks()["fraud"].result.verdict is Verdict.UNKNOWN


def test_champion_is_compared_when_only_latency_has_threshold(files: GoldenFiles) -> None:
    files.rows["good"], files.rows["bad"] = files.rows["label"], 1 - files.rows["label"]
    golden = files.write(files.rows, "with models.csv")
    more = {"metrics": ["accuracy", "throughput"], "thresholds": {"throughput": 1}, "champion": "good"}
    ran = run_task(evaluation(files, golden_set=golden, predictor=lambda rows: (rows["amount"] < 0.5).astype(int), **more))
    assert (ran.state, ran.xcoms["return_value"]["comparisons"]["accuracy"]["verdict"]) == ("failed", "fail")


def test_evaluation_without_criterion_fails(files: GoldenFiles) -> None:
    ran = run_task(evaluation(files, predictor=files.predictions(0.0, "p.csv"), thresholds={}))
    assert (ran.state, ran.xcoms["return_value"]["verdict"]) == ("failed", "unknown")
    assert files.checks()["fraud"].result.verdict is Verdict.UNKNOWN


class StoreError(Exception):
    """As gcsfs has it: no OSError."""


def test_storage_fault_is_retried(files: GoldenFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("joblib")
    from airflow_slo_provider.runtime.files import object_storage

    def path(uri: str, _conn_id: str | None) -> Any:
        class Busy:
            def open(self, _mode: str) -> Any:
                raise StoreError("503 backend error")

        return Busy() if uri.startswith("gs://") else Path(uri)

    monkeypatch.setattr(object_storage, "object_path", path)
    ran = run_task(evaluation(files, predictor=ModelFile("gs://models/m.joblib", trusted=True), retries=2))
    assert (ran.state, "503" in str(ran.error)) == ("up_for_retry", True)


def test_documented_example_runs(tmp_path: Path) -> None:
    from airflow.dag_processing.dagbag import DagBag

    text = (REPO / "docs" / "golden-sets.md").read_text()
    (code,) = (one for one in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "def promote_what_passed" in one)
    (tmp_path / "documented.py").write_text(code)
    dag = DagBag(dag_folder=tmp_path / "documented.py", safe_mode=False, load_op_links=False).dags["promote_what_passed"]
    assert dag.get_task("evaluate").downstream_task_ids == {"promote"}
    assert dag.get_task("promote").evaluation.operator is dag.get_task("evaluate")


def test_missing_champion_of_first_model_is_allowed(files: GoldenFiles) -> None:
    def first(**more: Any) -> GoldenSetEvaluationOperator:
        champion = PredictionFile("{{ params.champion }}")
        return evaluation(files, predictor=files.predictions(0.02, "p.csv"), champion=champion, params={"champion": ""}, **more)

    ran = run_task(first(champion_may_be_missing=True))
    assert (ran.state, ran.xcoms["return_value"]["comparisons"]) == ("success", {})
    assert "there is no champion yet" in ran.log
    strict = run_task(first())
    assert (strict.state, "champion_may_be_missing" in str(strict.error)) == ("failed", True)
