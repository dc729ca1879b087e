"""Every exit of dags/scheduled_checks.py and dags/serving_slos.py."""

from __future__ import annotations

import os
import shutil
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from airflow_slo_provider import slo
from airflow_slo_provider.indicators.ledger import LedgerSource
from airflow_slo_provider.ledger import open_ledger
from tests.airflow.whole_dags import WholeRun, example
from tests.support import REPO

pytest.importorskip("pyarrow")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    monkeypatch.setenv("AIRFLOW_CONN_SERVING_LOG", "")
    monkeypatch.delenv("AIRFLOW_CONN_SERVING_LOG")  # whatever the DAG sets is undone
    return tmp_path


def check(dag_id: str, **arguments) -> WholeRun:
    return example("scheduled_checks.py").run(dag_id, **arguments)


def successful_branches(ran: WholeRun, *all_ways: str) -> set[str]:
    assert ran.state == "success", ran.states
    return ran.in_state("success") & set(all_ways)


FRESHNESS = ("all_fresh", "data_are_stale", "model_is_stale")
DRIFT = ("no_drift", "drifted", "inspect_data")
GOLDEN = ("good_enough", "model_is_worse", "inspect_golden_set")


def test_freshness_check_records_age(home):
    from airflow_slo_provider.deployment.registries.directory import DirectoryRegistry
    from airflow_slo_provider.deployment.registries.names import CHAMPION, PROMOTE
    from airflow_slo_provider.deployment.registries.registry import MoveRequest

    ran = check("hourly_freshness")
    assert successful_branches(ran, *FRESHNESS) == {"model_is_stale"}, "there is no champion"
    assert ran.asset_events() == {"churn_model_stale"}
    (home / "model").write_text("a model")
    registry = DirectoryRegistry(home / "slo_models")
    registry.register("churn", "1", home / "model")
    registry.move("churn", MoveRequest(kind=PROMOTE, alias=CHAMPION, key="k", to="1"))
    ran = check("hourly_freshness")
    assert (successful_branches(ran, *FRESHNESS), ran.asset_events()) == ({"all_fresh"}, set())
    ran = check("hourly_freshness", age_hours=30)
    assert (successful_branches(ran, *FRESHNESS), ran.asset_events()) == ({"data_are_stale"}, set())
    shutil.rmtree(home / "slo_models")
    assert successful_branches(check("hourly_freshness", age_hours=30), *FRESHNESS) == {"data_are_stale", "model_is_stale"}


@pytest.mark.parametrize(
    ("conf", "way", "events"),
    [
        ({}, "no_drift", set()),
        ({"shift": 1.0}, "drifted", {"churn_drifted"}),
        ({"rows": 100}, "inspect_data", set()),
    ],
)
def test_drift_check_records_state(home, conf, way, events):
    ran = check("daily_drift", **conf)
    assert (successful_branches(ran, *DRIFT), ran.asset_events()) == ({way}, events)


@pytest.mark.parametrize("dag_id", ["hourly_freshness", "daily_drift", "nightly_golden_set"])
def test_documents_without_checks_create_no_tasks(home, tmp_path, dag_id):
    """A misspelt annotation is no green run that has checked nothing."""
    documents = tmp_path / "documents"
    shutil.copytree(REPO / "dags" / "slos" / "checks", documents)
    for file in documents.iterdir():
        file.write_text(file.read_text().replace("scheduled-checks/source", "scheduled-check/source"))
    ran = check(dag_id, slos=str(documents))
    assert (ran.state, ran.states["documents"]) == ("failed", "failed"), ran.states
    assert not ran.in_state("success") - {"example_data"}


@pytest.mark.parametrize(
    ("conf", "way"),
    [({}, "good_enough"), ({"wrong": 0.6}, "model_is_worse"), ({"wrong": 0.2}, "inspect_golden_set")],
)
def test_golden_set_check_records_verdict(home, conf, way):
    assert successful_branches(check("nightly_golden_set", **conf), *GOLDEN) == {way}


def test_additional_slo_adds_check_without_python(home, tmp_path):
    text = (REPO / "dags" / "slos" / "checks" / "churn.yaml").read_text()
    documents = tmp_path / "more"
    documents.mkdir()
    (documents / "all.yaml").write_text(text)
    document = text.split("---\n")[2]
    one_more = document.replace("churn-customers", "churn-golden").replace("churn/customers", "churn/golden")
    (documents / "more.yaml").write_text(one_more.replace("path: today.csv", "path: golden_set.csv"))
    ran = check("hourly_freshness", slos=str(documents))
    assert {"freshness[0]", "freshness[1]", "freshness[2]"} <= ran.in_state("success")
    with open_ledger(f"sqlite:///{home / 'slo_ledger.db'}", test_run=True) as ledger:
        assert {row.result.name for row in ledger.checks("freshness")} == {"churn/customers", "churn/model", "churn/golden"}


def test_missing_source_fails_run(home, tmp_path):
    text = (REPO / "dags" / "slos" / "checks" / "churn.yaml").read_text()
    documents = tmp_path / "documents.yaml"
    documents.write_text(text.replace("reference: training.csv", "reference: nowhere.csv"))
    ran = check("daily_drift", slos=str(documents))
    assert ran.state == "failed"
    assert ran.states["drift[0]"] == "failed"
    assert not ran.in_state("success") & set(DRIFT)


def test_each_check_is_counted_by_its_slo(home):
    for dag_id in ("hourly_freshness", "daily_drift", "nightly_golden_set"):
        assert check(dag_id).state == "success"
    catalog = slo.load(REPO / "dags" / "slos" / "checks")
    with open_ledger(f"sqlite:///{home / 'slo_ledger.db'}", test_run=True) as ledger:
        source = LedgerSource(ledger)
        reports = slo.SLOMonitor(catalog, lambda *_: source).evaluate(at=datetime.now(UTC))
    assert {one.name: one.sli for one in reports if one.name in ("churn-no-drift", "churn-golden-set")} == {
        "churn-no-drift": 1,
        "churn-golden-set": 1,
    }
    assert all(one.error is None for one in reports)


TIERS = [f"{tier}.{way}" for tier in ("gold", "silver") for way in ("healthy", "running_low", "spent", "not_known")]


@pytest.mark.parametrize(
    ("conf", "taken"),
    [
        ({}, {"gold.healthy", "silver.healthy"}),
        ({"failed": 0.009}, {"gold.running_low", "silver.healthy"}),
        ({"failed": 0.02}, {"gold.spent", "silver.healthy"}),
        ({"slow": 0.02}, {"gold.spent", "silver.healthy"}),
        ({"requests": 1200}, {"gold.healthy", "silver.spent"}),
        ({"index_age_hours": 2}, {"gold.healthy", "silver.spent"}),
        ({"requests": 0}, {"gold.not_known", "silver.not_known"}),
    ],
    ids=["good", "low", "failures", "slow", "few", "stale", "nothing"],
)
def test_serving_dag_follows_branch_of_tiers(home, conf, taken):
    ran = example("serving_slos.py").run("serving_slos", **conf)
    assert successful_branches(ran, *TIERS) == taken
    shown = ran.xcom("show")
    assert set(shown) == {"search-answers", "search-p99", "search-p50", "search-throughput", "search-index-fresh"}


def test_connection_replaces_example_log(home, tmp_path, monkeypatch):
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE search_requests (ts TEXT, status INT, latency_ms REAL, index_age_s REAL)")
        at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        connection.executemany("INSERT INTO search_requests VALUES (?, 500, 10, 10)", [(at,)] * 100)
    connection.close()
    monkeypatch.setenv("AIRFLOW_CONN_SERVING_LOG", f'{{"conn_type": "sqlite", "host": "{other}"}}')
    ran = example("serving_slos.py").run("serving_slos")
    assert "gold.spent" in successful_branches(ran, *TIERS)
    assert ran.xcom("gold.judge", key="decision")["slos"][0]["sli"] == 0
    assert os.environ["AIRFLOW_CONN_SERVING_LOG"].count(str(other)) == 1
