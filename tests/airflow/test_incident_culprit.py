"""The version that fails, found in the ledger; with Prometheus it is in tests/e2e."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airflow_slo_provider.ledger import RunKey, open_ledger
from airflow_slo_provider.operators.incident_checks import CulpritOperator
from airflow_slo_provider.results import CheckResult
from tests.airflow.running import run_task

CHECK = "recommender/requests"


@pytest.fixture
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
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


def test_the_version_with_the_highest_share_of_failures(counted):
    counted("1", 900, 1000)
    counted("1", 1000, 1000)  # together a twentieth
    counted("2", 60, 100)
    counted("3", 0, 1000, minutes_ago=11)  # too old
    counted("4", 0, 1000, name="another")
    counted(None, 0, 1000)  # of nobody knows which version
    ran = run_task(CulpritOperator(task_id="t", check=CHECK))
    assert ran.state == "success", ran.error
    assert (ran.xcoms["version"], ran.xcoms["return_value"]["values"]) == ("2", {"2": 0.4, "1": 0.05})


@pytest.mark.parametrize("failed", [(0, 0), (30, 40)], ids=["none", "both"])
def test_nobody_stands_out(counted, failed):
    for version, bad in zip("12", failed, strict=True):
        counted(version, 100 - bad, 100)
    ran = run_task(CulpritOperator(task_id="t", check=CHECK))
    assert ran.state == "skipped"
    assert ran.xcoms["version"] is None


def test_nothing_was_counted(counted):
    ran = run_task(CulpritOperator(task_id="t", check=CHECK))
    assert (ran.state, ran.xcoms["message"]) == ("skipped", "nothing is known: there are no values to compare")


@pytest.mark.parametrize("arguments", [{}, {"query": "up", "check": CHECK}, {"check": CHECK, "by": "region"}])
def test_one_question_and_no_other(arguments):
    with pytest.raises(ValueError, match="query"):
        CulpritOperator(task_id="t", **arguments)
