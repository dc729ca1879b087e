"""The history of decisions and changes: newest first, each with its version."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airflow_slo_provider.ledger import Ledger, RunKey, open_ledger
from airflow_slo_provider.ledger.queries.changes import HistoryEntry, history_entries
from airflow_slo_provider.results import CheckResult

T0 = datetime(2026, 3, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as made:
        yield made


def put(ledger: Ledger, minute: int, kind: str, name: str, run: str, verdict: str = "pass", dag: str = "release", **more) -> None:
    check = CheckResult(kind=kind, name=name, verdict=verdict, checked_at=T0 + minute * MINUTE, **more)
    ledger.record([check], RunKey(dag, run, f"{kind}-{name}"))


def decide(ledger: Ledger, minute: int, run: str, outcome: str, slos: object, **more) -> None:
    verdict = {"allowed": "pass", "warning": "warn", "frozen": "fail"}.get(outcome, "unknown")
    evidence = {"outcome": outcome, "slos": slos}
    put(ledger, minute, "decision", "release.gate", run, verdict, message=f"because of {run}", evidence=evidence, **more)


@pytest.fixture
def history(ledger: Ledger) -> Ledger:
    """A promotion, a freeze, a canary that was withdrawn, and a rollback outside of a gate."""
    put(ledger, 0, "golden_set", "churn", "one", model_version="1")
    decide(ledger, 1, "one", "allowed", {"answers": "HEALTHY"})
    put(ledger, 2, "promote", "churn@champion", "one", model_version="1", evidence={"from": None, "to": "1"})
    put(ledger, 10, "golden_set", "churn", "two", model_version="2")
    decide(ledger, 11, "two", "frozen", {"answers": "EXHAUSTED", "latency[1]": "HEALTHY"})
    decide(ledger, 20, "three", "warning", {"latency[1]": "WARNING"})
    put(ledger, 21, "promote", "churn@canary", "three", model_version="3", evidence={"from": "1"})
    put(ledger, 22, "promote", "churn@canary-back", "three", model_version="1", evidence={"from": "3"})
    put(ledger, 30, "rollback", "churn@champion", "four", "fail", "mend", evidence={"user": "anna", "to": "0"}, message="refused")
    put(ledger, 31, "slo", "answers", "four", dag="mend")
    return ledger


def shown(found: list[HistoryEntry]) -> list[tuple[str, str, str | None]]:
    return [(one.kind, one.outcome, one.version) for one in found]


ALL = [
    ("rollback", "fail", "0"),
    ("promote", "pass", "1"),
    ("promote", "pass", "3"),
    ("decision", "warning", "3"),
    ("decision", "frozen", "2"),
    ("promote", "pass", "1"),
    ("decision", "allowed", "1"),
]


def test_history_has_failed_evaluations_without_their_parts(history: Ledger) -> None:
    key = RunKey("release", "five", "evaluate")
    results = [
        CheckResult(kind="golden_set", name=name, verdict=verdict, checked_at=T0 + 40 * MINUTE, model_version="5", message=why)
        for name, verdict, why in (
            ("churn", "fail", "accuracy is 0.5"), ("churn/accuracy", "fail", "0.5"), ("churn/coverage", "pass", "all"),
        )
    ]  # fmt: skip
    history.record(results, key)
    put(history, 41, "drift", "features", "six", "unknown", message="too few rows")
    put(history, 41, "drift", "others", "six", "warn")
    found = history_entries(history)
    assert shown(found[:2]) == [("drift", "unknown", None), ("golden_set", "fail", "5")] and shown(found[2:]) == ALL
    assert found[1].why == "accuracy is 0.5"


def test_history_is_newest_first_with_versions(history: Ledger) -> None:
    found = history_entries(history)
    assert shown(found) == ALL
    assert (found[0].by, found[0].why, found[0].key.dag_id) == ("anna", "refused", "mend")
    assert (found[2].before, found[5].before) == ("1", None)
    assert (found[4].name, found[4].why, found[4].slos["answers"]) == ("release.gate", "because of two", "EXHAUSTED")
    assert [one.at for one in found] == sorted((one.at for one in found), reverse=True)


def test_history_filters_by_slo_dag_and_time(history: Ledger) -> None:
    assert shown(history_entries(history, limit=2)) == ALL[:2]
    assert shown(history_entries(history, dag_id="mend")) == ALL[:1]
    assert shown(history_entries(history, since=T0 + 11 * MINUTE, until=T0 + 22 * MINUTE)) == ALL[2:5]
    assert shown(history_entries(history, slos=["answers"])) == ALL[4:]
    assert shown(history_entries(history, slos=["latency"])) == ALL[1:5], "an objective of several is found by the SLO's name"
    assert shown(history_entries(history, slos=["answers"], limit=1)) == ALL[4:5], "the newest about it, however many are newer"
    assert history_entries(history, slos=["nothing"]) == []
    for limit in (0, 10_001):
        with pytest.raises(ValueError, match="between 1 and 10000"):
            history_entries(history, limit=limit)


@pytest.mark.parametrize("odd", [None, ["answers"], "answers", {"answers": {"deep": 1}}])
def test_history_with_odd_evidence_is_returned(ledger: Ledger, odd: object) -> None:
    put(ledger, 0, "decision", "gate", "run", "unknown", evidence={"outcome": ["frozen"], "slos": odd})
    put(ledger, 1, "deployment", "server", "run", "unknown", evidence={"to_revision": 4, "from_revision": True, "user": {}})
    found = history_entries(ledger)
    assert shown(found) == [("deployment", "unknown", "4"), ("decision", "unknown", "4")]
    assert (found[0].before, found[0].by) == (None, None)
