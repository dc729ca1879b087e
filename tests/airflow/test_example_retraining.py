"""Every exit of dags/retraining.py. In tests/e2e people answer; here, answers are put into the operator's hands."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from airflow.sdk import DAG

from airflow_slo_provider.deployment.registries.directory import DirectoryRegistry
from airflow_slo_provider.ledger import open_ledger
from airflow_slo_provider.results import CheckResult
from tests.airflow.whole_dags import WholeRun, answering, example, nobody_answering
from tests.support import REPO

pytest.importorskip("sklearn")
pytest.importorskip("pyarrow")

EXITS = {"data_is_stale", "keep_model", "inspect_data", "keep_champion", "hold", "withdraw", "promote"}


class Deployment:
    """A ledger, a model registry and data of its own.

    :param home: AIRFLOW_HOME
    """

    def __init__(self, home: Path) -> None:
        self.home = home

    def run(self, **arguments) -> WholeRun:
        return example("retraining.py").run("retraining", **arguments)

    def serving(self, alias: str = "champion") -> str | None:
        return DirectoryRegistry(self.home / "slo_models").alias("churn", alias)

    def ledger(self, kind: str, name: str) -> list[CheckResult]:
        """What was recorded, newest first."""
        with open_ledger(f"sqlite:///{self.home / 'slo_ledger.db'}", test_run=True) as ledger:
            return [row.result for row in ledger.checks(kind, name)]

    def exits(self, ran: WholeRun) -> set[str]:
        return ran.in_state("success") & EXITS


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """Nothing was trained yet."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "home"))
    return Deployment(tmp_path / "home")


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, WholeRun]:
    home = tmp_path_factory.mktemp("first") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_HOME", str(home))
        return home, Deployment(home).run()


@pytest.fixture
def trained(first_run, empty: Deployment) -> Deployment:
    """A champion is trained on the very data that come today."""
    shutil.copytree(first_run[0], empty.home)
    return empty


def test_first_model_is_trained_and_promoted(first_run):
    home, ran = first_run
    deployment = Deployment(home)
    assert (ran.state, deployment.exits(ran)) == ("success", {"promote"}), ran.states
    assert ran.states["drifted"] == "skipped", "there is nothing to compare with"
    version = deployment.serving()
    assert version is not None
    assert ran.xcom("report") == {"champion": version, "canary": version}
    assert ran.xcom("evaluate")["verdict"] == "pass"
    assert ran.asset_events() == {"churn_customers"}
    with open_ledger(f"sqlite:///{home / 'slo_ledger.db'}", test_run=True) as ledger:
        kinds = {row.result.kind for row in ledger.checks(limit=1000)}
    assert {"freshness", "requests", "golden_set", "slo", "decision", "promote"} <= kinds


def test_no_drift_and_young_model_trains_nothing(trained):
    ran = trained.run()
    assert (ran.state, trained.exits(ran)) == ("success", {"keep_model"}), ran.states
    assert ran.states["train"] == "skipped"
    assert ran.states["report"] == "success"


def test_drift_with_good_candidate_promotes(trained):
    before = trained.serving()
    ran = trained.run(shift=1.0)
    assert (ran.state, trained.exits(ran)) == ("success", {"promote"}), ran.states
    assert ran.xcom("drifted", key="drift")["drifted"] == ["amount"]
    assert ran.xcom("evaluate")["comparisons"]["roc_auc"]["verdict"] == "pass"
    assert trained.serving() not in (None, before)
    assert trained.serving("canary") == trained.serving()
    assert trained.exits(trained.run(shift=1.0)) == {"keep_model"}, "the new champion has learned these data"


def test_old_model_without_drift_is_retrained(trained):
    before = trained.serving()
    ran = trained.run(change=lambda dag: setattr(dag.get_task("model_age"), "max_age", timedelta(microseconds=1)))
    assert (ran.state, trained.exits(ran)) == ("success", {"promote"}), ran.states
    assert ran.states["drifted"] == "skipped"
    assert trained.serving() != before


def test_unknown_drift_trains_nothing(trained):
    ran = trained.run(rows=100)
    assert (ran.state, trained.exits(ran)) == ("success", {"inspect_data"}), ran.states
    assert ran.xcom("drifted", key="drift")["verdict"] == "insufficient_data"


def test_worse_candidate_is_not_promoted(trained):
    before = trained.serving()
    ran = trained.run(shift=1.0, wrong_labels=1.0)
    assert (ran.state, trained.exits(ran)) == ("success", {"keep_champion"}), ran.states
    assert ran.xcom("evaluate")["comparisons"]["roc_auc"]["verdict"] == "fail"
    assert (ran.states["gate"], trained.serving()) == ("skipped", before)


def test_spent_budget_does_not_promote(trained):
    before = trained.serving()
    ran = trained.run(shift=1.0, failed=0.5)
    assert (ran.state, trained.exits(ran)) == ("success", {"hold"}), ran.states
    assert ran.xcom("gate", key="decision")["outcome"] == "frozen"
    assert (ran.states["request_review"], trained.serving()) == ("skipped", before)


@pytest.mark.parametrize(("answer", "way"), [("Try it", "promote"), ("Keep the champion", "hold")])
def test_low_budget_waits_for_approval(trained, answer, way):
    before = trained.serving()
    ran = trained.run(change=answering("request_review", answer), shift=1.0, failed=0.0175)
    assert (ran.state, trained.exits(ran)) == ("success", {way}), ran.states
    assert ran.xcom("gate", key="decision")["outcome"] == "warning"
    assert (trained.serving() == before) is (way == "hold")


@pytest.mark.parametrize(("failed", "outcome"), [(0.009, "warning"), (None, "unknown")])
def test_unanswered_approval_does_not_promote(trained, failed, outcome):
    before = trained.serving()
    (trained.home / "slo_ledger.db").unlink()  # yesterday's requests are not counted either
    with nobody_answering("request_review") as change:
        ran = trained.run(change=change, shift=1.0, failed=failed)
    assert (ran.state, trained.exits(ran)) == ("success", {"hold"}), ran.states
    assert ran.xcom("gate", key="decision")["outcome"] == outcome
    assert (ran.states["canary"], trained.serving(), trained.serving("canary")) == ("skipped", before, before)


def test_unknown_budget_waits_for_approval(empty):
    ran = empty.run(change=answering("request_review", "Keep the champion"), failed=None)
    assert (ran.state, empty.exits(ran)) == ("success", {"hold"}), ran.states
    assert ran.xcom("gate", key="decision")["outcome"] == "unknown"
    assert empty.serving() is None


def test_failed_canary_is_withdrawn(trained):
    before = trained.serving()
    ran = trained.run(shift=1.0, missing=0.1)
    assert (ran.state, trained.exits(ran)) == ("success", {"withdraw"}), ran.states
    assert ran.xcom("canary_budget", key="decision")["outcome"] == "frozen"
    assert (ran.states["promote"], trained.serving(), trained.serving("canary")) == ("skipped", before, before)


@pytest.mark.parametrize("asked", [0, 99])
def test_canary_with_few_requests_is_withdrawn(trained, asked):
    """The one before it was asked enough, within the same hour: that says nothing about this one."""
    before = trained.serving()
    ran = trained.run(shift=1.0, asked=asked)
    assert (ran.state, trained.exits(ran)) == ("success", {"withdraw"}), ran.states
    assert (ran.states["canary_budget"], ran.states["promote"]) == ("skipped", "skipped")
    assert ran.xcom("report") == {"champion": before, "canary": before}
    version = ran.xcom("train")["version"]
    (counted, *_) = trained.ledger("requests", "churn/canary-requests")
    assert (counted.model_version, counted.total) == (version, asked)
    assert [one.model_version for one in trained.ledger("promote", "churn@champion")] == [before]
    assert [one.model_version for one in trained.ledger("promote", "churn@canary")] == [before, version, before]


def test_failed_first_canary_has_no_rollback_target(empty):
    ran = empty.run(asked=0)
    assert (ran.state, empty.exits(ran), ran.states["withdraw"]) == ("failed", set(), "failed"), ran.states
    assert (empty.serving(), empty.serving("canary")) == (None, ran.xcom("train")["version"])
    assert len(empty.ledger("promote", "churn@canary")) == 1, "that it was withdrawn is not recorded"


def test_canary_without_verdict_is_withdrawn(trained, tmp_path):
    before = trained.serving()
    text = (REPO / "dags" / "slos" / "retraining" / "churn.yaml").read_text()
    documents = tmp_path / "churn.yaml"
    documents.write_text(text.replace('min-events: "100"', 'min-events: "5000"'))
    ran = trained.run(shift=1.0, slos=str(documents))
    assert (ran.state, trained.exits(ran)) == ("success", {"withdraw"}), ran.states
    decision = ran.xcom("canary_budget", key="decision")
    assert (decision["outcome"], decision["slos"][0]["status"]) == ("warning", "LOW_TRAFFIC")
    assert "1000 events, fewer than the 5000" in decision["reasons"][0]
    assert (ran.states["promote"], trained.serving(), trained.serving("canary")) == ("skipped", before, before)


def test_failed_profile_promotes_nothing(trained):
    before = trained.serving()
    ran = trained.run(change=lambda dag: setattr(dag.get_task("profile"), "min_rows", 10**9), shift=1.0)
    assert (ran.state, trained.exits(ran)) == ("failed", set()), ran.states
    assert (ran.states["promote"], trained.serving()) == ("upstream_failed", before)


def test_stale_data_trains_nothing(trained):
    def too_old(dag: DAG) -> None:
        sensor = dag.get_task("features_fresh")
        sensor.max_age, sensor.timeout, sensor.deferrable = timedelta(microseconds=1), 0, False

    ran = trained.run(change=too_old)
    assert (ran.state, trained.exits(ran)) == ("failed", {"data_is_stale"}), ran.states
    assert ran.states["train"] == ran.states["report"] == "upstream_failed"
