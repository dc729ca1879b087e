"""Drift operators in Airflow's own task runner."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from airflow.sdk import Asset
from airflow.sdk.execution_time import comms

from airflow_slo_provider.drift import load_profile
from airflow_slo_provider.ledger import open_ledger
from airflow_slo_provider.operators.drift import DriftBranchOperator, DriftOperator, DriftProfileOperator
from tests.airflow.task_runs import in_dag, run_task

DAY = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.fixture(autouse=True)
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", url)
    return url


@pytest.fixture
def data(tmp_path: Path) -> dict[str, str]:
    rng = np.random.default_rng(1)

    def frame(shift: float, nulls: float = 0.0) -> pd.DataFrame:
        amount = rng.normal(shift, 1, 2000)
        amount[rng.random(2000) < nulls] = np.nan
        return pd.DataFrame({"amount": amount, "country": rng.choice(["de", "fr"], 2000), "customer_id": np.arange(2000)})

    frames = {
        "reference": frame(0),
        "same": frame(0),
        "shifted": frame(1),
        "text": frame(0).astype({"amount": str}),
        "few": frame(0).head(20),
    }
    paths = {name: str(tmp_path / f"{name}.parquet") for name in frames}
    for name, held in frames.items():
        held.to_parquet(paths[name])
    return paths


def recorded_checks(url: str):
    with open_ledger(url) as held:
        return {row.result.name: row.result for row in held.checks()}


def test_drift_operator_records_checks_and_writes_report(data, ledger, tmp_path) -> None:
    report = tmp_path / "reports" / "a_run.html"
    operator = DriftOperator(
        task_id="drift",
        reference=data["reference"],
        current="{{ params.current }}",
        params={"current": data["shifted"]},
        ignore=["*_id"],
        report_path=str(tmp_path / "reports" / "{{ run_id }}.html"),
        model_version="7",
    )
    ran = run_task(operator, data_interval=(DAY, DAY + timedelta(days=1)))
    assert ran.state == "success", ran.error
    found = ran.xcoms["return_value"]
    assert found["verdict"] == "drift"
    assert found["drifted"] == ["amount"]
    assert found["worst"][0]["column"] == "amount"
    assert found["report"] == str(report)
    assert len(json.dumps(found)) < 4000
    checks = recorded_checks(ledger)
    assert set(checks) == {"drift", "drift.amount"}
    assert checks["drift"].verdict == checks["drift.amount"].verdict == "fail"
    assert checks["drift"].model_version == "7"
    assert checks["drift"].interval_start == DAY
    assert checks["drift"].evidence["report"] == str(report)
    assert "<html" in report.read_text()
    assert "amount" in ran.log
    # A second try replaces its own rows.
    run_task(operator, try_number=2, data_interval=(DAY, DAY + timedelta(days=1)))
    assert set(recorded_checks(ledger)) == {"drift", "drift.amount"}


@pytest.mark.parametrize(
    ("options", "current", "state", "verdict"),
    [
        ({}, "same", "success", "pass"),
        ({"fail_on_drift": True}, "same", "success", "pass"),
        ({"fail_on_drift": True}, "shifted", "failed", "fail"),
        ({"fail_on_drift": True}, "text", "failed", "fail"),
        ({"fail_on_drift": True}, "few", "failed", "fail"),
        ({}, "few", "success", "unknown"),
        ({"on_states": {"drift": "skip"}}, "shifted", "skipped", "unknown"),
        ({"on_states": {"drift": "pass"}}, "shifted", "success", "pass"),
        ({"on_states": {"drift": "warn"}}, "shifted", "success", "warn"),
        (
            {"thresholds": {"amount": {"psi": 5.0, "ks": 0.9, "psi_warn": None, "out_of_range": None}}},
            "shifted",
            "success",
            "pass",
        ),
    ],
)
def test_drift_operator_state_leads_to_task_state_and_verdict(data, ledger, options, current, state, verdict) -> None:
    ran = run_task(
        DriftOperator(task_id="t", reference=data["reference"], current=data[current], ignore=["customer_id"], **options)
    )
    assert ran.state == state, ran.log
    assert recorded_checks(ledger)["t"].verdict == verdict
    assert ran.xcoms["drift"]["verdict"]


def test_drift_operator_check_results_have_one_entry_per_column(data) -> None:
    operator = DriftOperator(
        task_id="t",
        reference=data["reference"],
        current=data["shifted"],
        ignore=["customer_id"],
        fail_on_drift=True,
        thresholds={"amount": {"psi": 0.5}},
    )
    ran = run_task(operator)
    assert ran.state == "failed"
    whole, amount, country = ran.task.check_results
    assert (whole.name, whole.success, whole.severity, whole.column) == ("t", False, "error", None)
    assert (amount.name, amount.check_type, amount.success, amount.column) == ("t.amount", "drift", False, "amount")
    assert amount.expected == "psi < 0.5, ks < 0.1, null_rate_change < 0.05"
    assert amount.actual.startswith("psi 0.")
    assert amount.table == data["shifted"]
    assert (country.success, country.params) == (True, {"state": "ok"})


def test_drift_operator_unreadable_data_fails_without_retry(data, ledger, tmp_path) -> None:
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(Path(data["same"]).read_bytes()[:-400])
    for path, text in ((str(tmp_path / "no*.parquet"), "no file matches"), (str(broken), "not a readable Parquet file")):
        ran = run_task(DriftOperator(task_id="t", reference=data["reference"], current=path, retries=3))
        assert ran.state == "failed"
        assert text in str(ran.error)
        assert recorded_checks(ledger)["t"].verdict == "unknown"
        assert text in recorded_checks(ledger)["t"].message


@pytest.mark.parametrize(
    ("current", "followed"), [("shifted", "retrain"), ("same", "keep"), ("few", "investigate"), ("text", "investigate")]
)
def test_drift_branch_operator_follows_branch_of_state(data, current, followed) -> None:
    branches = ["retrain", "keep", "investigate"]
    operator = DriftBranchOperator(
        task_id="drifted", reference=data["reference"], current=data[current], ignore=["customer_id"],
        if_drift="retrain", if_ok="keep", if_unknown="investigate",
    )  # fmt: skip
    ran = run_task(in_dag(operator, branches))
    assert ran.state == "success", (ran.error, ran.log)
    assert ran.skipped == set(branches) - {followed}
    pushed = ran.position(lambda msg: isinstance(msg, comms.SetXCom) and msg.key == "drift")
    assert pushed < ran.position(lambda msg: isinstance(msg, comms.SkipDownstreamTasks))


def test_drift_branch_operator_without_unknown_branch_fails(data) -> None:
    operator = DriftBranchOperator(task_id="d", reference=data["reference"], current=data["few"], if_drift="a", if_ok="b")
    ran = run_task(in_dag(operator, ["a", "b"]))
    assert ran.state == "failed"
    assert "insufficient_data" in str(ran.error)


def test_drift_profile_operator_saves_profile_for_comparison(data, tmp_path) -> None:
    path = tmp_path / "profile.json"
    asset = Asset("churn_profile")
    ran = run_task(DriftProfileOperator(task_id="p", data=data["reference"], profile_path=str(path), outlets=[asset]))
    assert ran.state == "success", (ran.error, ran.log)
    assert ran.xcoms["return_value"]["hash"] == load_profile(path).hash
    done = next(msg for msg in ran.messages if isinstance(msg, comms.SucceedTask))
    assert done.outlet_events[0]["extra"]["profile"] == str(path)
    for current, verdict in (("same", "ok"), ("shifted", "drift")):
        found = run_task(DriftOperator(task_id="t", reference=str(path), current=data[current], ignore=["customer_id"]))
        assert found.xcoms["return_value"]["verdict"] == verdict
    few = run_task(DriftProfileOperator(task_id="p", data=data["few"], profile_path=str(path)))
    assert few.state == "failed"
    assert "20 rows; a reference needs 500" in str(few.error)


@pytest.mark.parametrize(("current", "events"), [("shifted", 1), ("same", 0)])
def test_drift_operator_asset_event_only_on_drift(data, current, events) -> None:
    retraining = Asset("churn_drifted")
    operator = DriftOperator(
        task_id="t",
        reference=data["reference"],
        current=data[current],
        ignore=["customer_id"],
        drift_asset=retraining,
        asset=Asset("checked"),
    )
    ran = run_task(operator)
    assert ran.state == "success", (ran.error, ran.log)
    done = next(msg for msg in ran.messages if isinstance(msg, comms.SucceedTask))
    drifted = [event for event in done.outlet_events or () if event["dest_asset_key"]["name"] == "churn_drifted"]
    by_alias = [event for event in done.outlet_events if (event.get("source_alias_name") or "").startswith("drift:")]
    assert len(by_alias) == len([event for event in drifted if event.get("source_alias_name")]) == events
    always = [event for event in done.outlet_events if event["dest_asset_key"]["name"] == "checked"]
    assert always[0]["extra"]["verdict"] == ("drift" if events else "ok")


def test_drift_operator_reads_rows_of_data_interval(tmp_path, ledger) -> None:
    rng = np.random.default_rng(2)
    days = 15
    at = pd.Timestamp(DAY) - pd.to_timedelta(rng.uniform(0, days, 30_000), unit="D")
    today = pd.Timestamp(DAY) + pd.to_timedelta(rng.uniform(0, 1, 2000), unit="D")
    frame = pd.DataFrame({"at": at.append(today), "x": np.concatenate([rng.normal(size=30_000), rng.normal(1, 1, 2000)])})
    frame.to_parquet(tmp_path / "all.parquet")
    options = {"reference": str(tmp_path / "all.parquet"), "time_column": "at", "ignore": ["at"]}
    interval = (DAY, DAY + timedelta(days=1))
    ran = run_task(DriftOperator(task_id="t", reference_window=timedelta(days=14), **options), data_interval=interval)
    found = ran.xcoms["return_value"]
    assert (found["verdict"], found["current_rows"]) == ("drift", 2000)
    assert 27_000 < found["reference_rows"] < 29_000
    weekly = run_task(
        DriftOperator(task_id="t", reference_window=timedelta(days=14), same_weekday=True, **options), data_interval=interval
    )
    assert 3600 < weekly.xcoms["return_value"]["reference_rows"] < 4400
    before = run_task(
        DriftOperator(task_id="t", reference_window=timedelta(days=7), **options), data_interval=(DAY - timedelta(days=1), DAY)
    )
    assert before.xcoms["return_value"]["verdict"] == "ok"
    without = run_task(DriftOperator(task_id="t", **options))
    assert without.state == "failed"
    assert "needs the run's data interval" in str(without.error)


def test_drift_operator_compares_tables_of_a_database(tmp_path, ledger) -> None:
    rng = np.random.default_rng(3)
    path = tmp_path / "facts.db"
    with sqlite3.connect(path) as connection:
        pd.DataFrame({"x": rng.normal(size=3000), "word": rng.choice(["a", "b"], 3000), "day": 1}).to_sql(
            "before", connection, index=False
        )
        pd.DataFrame({"x": rng.normal(1, 1, 3000), "word": rng.choice(["a", "b"], 3000), "day": 2}).to_sql(
            "after", connection, index=False
        )
    connections = {"facts": {"conn_type": "sqlite", "host": str(path)}}
    options = {"engine": "sql", "sql_conn_id": "facts", "ignore": ["day"]}
    ran = run_task(
        DriftOperator(task_id="t", reference="before", current="SELECT * FROM after", **options), connections=connections
    )
    assert ran.state == "success", (ran.error, ran.log)
    assert ran.xcoms["return_value"]["drifted"] == ["x"]
    none = run_task(
        DriftOperator(task_id="t", reference="before", current="after", where="day = 3", **options), connections=connections
    )
    assert none.xcoms["return_value"]["verdict"] == "insufficient_data"
    profile = tmp_path / "p.json"
    made = run_task(
        DriftProfileOperator(task_id="p", data="before", profile_path=str(profile), engine="sql", sql_conn_id="facts"),
        connections=connections,
    )
    assert made.state == "success", made.log
    again = run_task(DriftOperator(task_id="t", reference=str(profile), current="before", **options), connections=connections)
    assert again.xcoms["return_value"]["verdict"] == "ok"
    gone = run_task(DriftOperator(task_id="t", reference="before", current="nowhere", **options), connections=connections)
    assert gone.state == "failed"
    assert "nowhere" in str(gone.error)


def test_drift_operator_categorical_column_in_database_is_counted_by_value(tmp_path, ledger) -> None:
    path = tmp_path / "facts.db"
    with sqlite3.connect(path) as connection:
        rows = {"postcode": np.arange(6000) % 9, "at": [str(DAY - timedelta(hours=n % 48)) for n in range(6000)]}
        pd.DataFrame(rows).to_sql("facts", connection, index=False)
    options = {"engine": "sql", "sql_conn_id": "facts", "columns": ["postcode"], "categorical": "postcode"}
    connections = {"facts": {"conn_type": "sqlite", "host": str(path)}}
    profile = tmp_path / "p.json"
    made = run_task(
        DriftProfileOperator(task_id="p", data="facts", profile_path=str(profile), **options), connections=connections
    )
    assert made.state == "success", made.log
    assert load_profile(str(profile))["postcode"].kind == "text"
    ran = run_task(
        DriftOperator(task_id="t", reference="facts", time_column="at", reference_window=timedelta(days=1), **options),
        connections=connections,
        data_interval=(DAY - timedelta(days=1), DAY),
    )
    assert ran.xcoms["return_value"]["verdict"] == "ok", ran.xcoms["return_value"]


def test_drift_operator_without_spark_reports_what_to_install(data, ledger) -> None:
    ran = run_task(DriftOperator(task_id="t", reference="a/b", current="c/d", engine="spark", retries=2))
    assert ran.state == "failed"
    assert "pip install --constraint constraints.txt 'airflow-slo-provider[spark]'" in str(ran.error)
    assert recorded_checks(ledger)["t"].verdict == "unknown"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"reference": "a"}, "current is missing"),
        ({"reference": "a", "current": "b", "engine": "abacus"}, "engine is 'abacus'"),
        ({"reference": "a", "current": "b", "engine": "sql"}, "go together"),
        ({"reference": "a", "current": "b", "spark_conn_id": "spark"}, "need engine='spark'"),
        ({"reference": "a", "current": "b", "thresholds": {"psy": 1}}, "no gate 'psy'"),
        ({"reference": "a", "current": "b", "thresholds": {"psi": float("nan")}}, "psi is nan"),
        ({"reference": "a", "current": "b", "on_states": {"drift": "explode"}}, "action 'explode'"),
        ({"reference": "a", "current": "b", "alpha": 1.5}, "alpha 1.5"),
        ({"reference": "a", "current": "b", "reference_window": timedelta(days=1)}, "needs time_column"),
    ],
)
def test_drift_operator_invalid_arguments_raise(arguments, text) -> None:
    with pytest.raises(ValueError, match=text):
        DriftOperator(task_id="t", **arguments)
