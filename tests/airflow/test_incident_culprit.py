"""The version that fails, found in the ledger; with Prometheus it is in tests/e2e."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_slo_provider.hooks.prometheus import PrometheusHook
from airflow_slo_provider.ledger import RunKey, open_ledger
from airflow_slo_provider.operators.incident.checks import CulpritOperator
from airflow_slo_provider.results import CheckResult
from tests.airflow.task_runs import Ran, run_task

CHECK = "recommender/requests"


@pytest.fixture
def count_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", url)
    numbers = iter(range(100))

    def count(version: str | None, good: int, total: int, *, minutes_ago: float = 1, name: str = CHECK) -> None:
        at = datetime.now(UTC) - timedelta(minutes=minutes_ago)
        check = CheckResult(
            kind="requests", name=name, verdict="pass", good=good, total=total, model_version=version, checked_at=at
        )
        with open_ledger(url) as ledger:
            ledger.record([check], RunKey("serve", "run", "count", next(numbers)))

    return count


def test_culprit_is_version_with_highest_failure_share(count_requests):
    count_requests("1", 900, 1000)
    count_requests("1", 1000, 1000)  # together a twentieth
    count_requests("2", 60, 100)
    count_requests("3", 0, 1000, minutes_ago=11)  # too old
    count_requests("4", 0, 1000, name="another")
    count_requests(None, 0, 1000)  # of nobody knows which version
    ran = run_task(CulpritOperator(task_id="t", check=CHECK))
    assert ran.state == "success", ran.error
    assert (ran.xcoms["version"], ran.xcoms["return_value"]["values"]) == ("2", {"2": 0.4, "1": 0.05})


@pytest.mark.parametrize("failed", [(0, 0), (30, 40)], ids=["none", "both"])
def test_similar_values_skip(count_requests, failed):
    for version, bad in zip("12", failed, strict=True):
        count_requests(version, 100 - bad, 100)
    ran = run_task(CulpritOperator(task_id="t", check=CHECK))
    assert ran.state == "skipped"
    assert ran.xcoms["version"] is None


def test_no_values_skip(count_requests):
    ran = run_task(CulpritOperator(task_id="t", check=CHECK))
    assert (ran.state, ran.xcoms["message"]) == ("skipped", "there are no values to compare")


def run_with_series(monkeypatch: pytest.MonkeyPatch, *series: tuple[dict[str, str], str]) -> Ran:
    samples = [SimpleNamespace(labels=labels, value=Fraction(value)) for labels, value in series]
    monkeypatch.setattr(PrometheusHook, "query", lambda hook, query: samples)
    return run_task(CulpritOperator(task_id="t", query="failures"))


def test_several_series_of_one_version_fail(count_requests, monkeypatch: pytest.MonkeyPatch):
    """Version 8 fails on one of its pods only: taken from the other one, its number would make 7 the culprit."""
    pods = [("8", "a", "1/2"), ("7", "a", "1/50"), ("8", "b", "0")]
    ran = run_with_series(monkeypatch, *[({"model_version": version, "pod": pod}, value) for version, pod, value in pods])
    assert isinstance(ran.error, AirflowFailException)
    assert "several series have model_version='8'" in str(ran.error) and "sum by (model_version)" in str(ran.error)


def test_series_without_label_is_ignored(count_requests, monkeypatch: pytest.MonkeyPatch):
    ran = run_with_series(monkeypatch, ({}, "1/2"), ({"model_version": ""}, "1/3"), ({"model_version": "7"}, "1/50"))
    assert (ran.state, ran.xcoms["version"], list(ran.xcoms["return_value"]["values"])) == ("success", "7", ["7"])
    ran = run_with_series(monkeypatch, ({}, "1/2"))
    assert (ran.state, ran.xcoms["version"]) == ("skipped", None)


@pytest.mark.parametrize("arguments", [{}, {"query": "up", "check": CHECK}, {"check": CHECK, "by": "region"}])
def test_query_and_check_are_exclusive(arguments):
    with pytest.raises(ValueError, match="query"):
        CulpritOperator(task_id="t", **arguments)


def test_negative_at_least_is_rejected():
    with pytest.raises(ValueError, match="t: at_least="):
        CulpritOperator(task_id="t", check=CHECK, at_least="-0.01")
