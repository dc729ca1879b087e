"""The retraining example on real Airflow components: first champion, a second one, and a spent budget."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airflow_slo_provider.deployment.registry_directory import DirectoryRegistry
from airflow_slo_provider.ledger import open_ledger
from demo.model_server import SCHEMA

pytest.importorskip("sklearn")
pytestmark = pytest.mark.e2e

DAG = "example_retrain_on_schedule"
MODEL = "tumour-classifier"


def log_requests(path: Path, good: int, bad: int) -> None:
    at = (datetime.now(UTC) - timedelta(hours=3)).strftime("%Y-%m-%d %H:%M:%S.%f")
    with sqlite3.connect(path) as connection:
        connection.executescript(SCHEMA)
        start = connection.execute("SELECT COUNT(*) FROM predictions").fetchone()[0]
        rows = [(f"q{start + one}", at, "1", "benign", 5.0, 500 if one < bad else 200) for one in range(good + bad)]
        columns = "request_id, ts, model_version, prediction, latency_ms, status"
        connection.executemany(f"INSERT INTO predictions ({columns}) VALUES (?, ?, ?, ?, ?, ?)", rows)
    connection.close()


def test_train_evaluate_gate_promote(airflow_stack, run_dag, tmp_path: Path) -> None:
    client = airflow_stack.client
    log = tmp_path / "predictions.db"
    log_requests(log, 5000, 0)
    client.add_connection("prediction_log", "sqlite", host=str(log))
    conf = {"registry": str(tmp_path / "registry"), "reports": str(tmp_path / "reports")}
    registry = DirectoryRegistry(tmp_path / "registry")

    first, state = run_dag(DAG, run_id="first", conf=conf, timeout=400)
    assert state == "success", client.task_states(DAG, first)
    assert client.task_states(DAG, first)["promote"] == "success"
    assert registry.alias(MODEL, "champion") == "first"
    found = client.xcom(DAG, first, "evaluate")
    assert (found["verdict"], found["model_version"]) == ("pass", "first")
    assert Path(found["report"].removeprefix("file://")).read_text().startswith("<!doctype html>")

    second, state = run_dag(DAG, run_id="second", conf=conf, timeout=400)
    assert state == "success", client.task_states(DAG, second)
    assert [(move.before, move.after) for move in registry.moves(MODEL)] == [(None, "first"), ("first", "second")]
    assert client.xcom(DAG, second, "evaluate")["comparisons"]["roc_auc"]["verdict"] == "pass"
    with open_ledger(f"sqlite:///{airflow_stack.home / 'slo_ledger.db'}") as ledger:
        # The DAG has a schedule: unpausing it starts a run of its own, in the default registry.
        ours = [one for one in ledger.checks(kind="promote", newest_first=False) if one.key.run_id in (first, second)]
        assert [one.result.model_version for one in ours] == ["first", "second"]

    log_requests(log, 0, 500)
    third, _ = run_dag(DAG, run_id="third", conf=conf, timeout=400)
    states = client.task_states(DAG, third)
    assert (states["promote"], states["hold"]) == ("skipped", "success")
    assert registry.alias(MODEL, "champion") == "second"
