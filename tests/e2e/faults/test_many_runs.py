"""Two hundred concurrent runs in eight processes on one ledger: tasks in Airflow's task runner, without its components."""

from __future__ import annotations

import json
import multiprocessing
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

from airflow_slo_provider.incidents import Incident
from airflow_slo_provider.ledger import Ledger, Recorded, RunKey, open_ledger
from airflow_slo_provider.operators.error_budget import ErrorBudgetGateOperator
from airflow_slo_provider.operators.incident import OpenIncidentOperator
from airflow_slo_provider.operators.model_registry import PromoteModelOperator
from airflow_slo_provider.results import CheckResult
from airflow_slo_provider.runtime.incidents.current_incident import claim
from tests.airflow.gates import RequestLog, sql_documents
from tests.airflow.task_runs import in_dag, run_task
from tests.e2e.faults.models import Models

PROCESSES, EACH = 8, 25
RUNS = PROCESSES * EACH
_processes = multiprocessing.get_context("fork")


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URL of a ledger that does not exist yet."""
    if request.param == "sqlite":
        found = f"sqlite:///{tmp_path / 'ledger.db'}"
    else:
        server, database = request.getfixturevalue("postgres"), request.getfixturevalue("postgres_database")
        found = str(server.url(database))
    monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", found)
    return found


def all_at_once(run: Callable[[str, int], str]) -> Counter[str]:
    """Call ``run`` for every run id and round, eight at a time; return the number of each result."""
    start, told = _processes.Barrier(PROCESSES), _processes.Queue()

    def work(process: int) -> None:
        for number in range(EACH):
            start.wait(60)
            told.put(run(f"run-{process}-{number}", number))

    workers = [_processes.Process(target=work, args=(process,)) for process in range(PROCESSES)]
    for worker in workers:
        worker.start()
    answers = Counter(told.get(timeout=120) for _ in range(RUNS))
    for worker in workers:
        worker.join(30)
    assert [worker.exitcode for worker in workers] == [0] * PROCESSES
    return answers


@pytest.mark.parametrize("url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)], indirect=True)
def test_concurrent_gates_and_promotions_lose_and_repeat_nothing(
    url: str, request_log: RequestLog, tmp_path: Path, seen: Callable[[str], None]
) -> None:
    """All runs pass the gate and promote version 3 instead of 2; one succeeds."""
    request_log.write(1000, 0)
    models = Models(tmp_path)

    def run(run_id: str, _round: int) -> str:
        gate = in_dag(ErrorBudgetGateOperator(task_id="gate", slos=sql_documents()), ["promote"])
        decided = run_task(gate, run_id=run_id, connections=request_log.connection)
        promotion = PromoteModelOperator(
            task_id="promote", model="fraud", version="3", expected_champion="2", registry_path=models.path
        )
        promoted = run_task(in_dag(promotion), run_id=run_id)
        return f"{decided.state}, {promoted.state}"

    assert all_at_once(run) == {"success, success": 1, "success, failed": RUNS - 1}
    assert models.moves() == [("2", "3")]
    with open_ledger(url) as ledger:
        rows = ledger.checks(limit=10_000)
    kinds = Counter((row.result.kind, str(row.result.verdict)) for row in rows)
    assert kinds == {("slo", "pass"): RUNS, ("decision", "pass"): RUNS, ("promote", "pass"): 1, ("promote", "fail"): RUNS - 1}
    assert len({row.key.run_id for row in rows if row.result.kind == "decision"}) == RUNS
    assert all(
        "somebody moved it" in row.result.message for row in rows if (row.result.kind, row.result.verdict) == ("promote", "fail")
    )
    seen(f"{RUNS} decisions and {RUNS} records of promotions, 1 move")


@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
def test_run_overtaken_while_opening_an_incident_does_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slow run read the clock first, the fast one wrote first; without a lock, both would consider themselves first."""
    one = incident("answered-1")
    fast, slow = RunKey("a_dag", "fast", "open"), RunKey("a_dag", "slow", "open")
    record_once, taken = Ledger.record_once, []

    def overtaken(self: Ledger, result: CheckResult, key: RunKey) -> Recorded:
        if result.evidence["run_id"] == slow.run_id:
            with open_ledger(url) as ledger:
                taken.append(claim(ledger, one, fast, {}))
        return record_once(self, result, key)

    monkeypatch.setattr(Ledger, "record_once", overtaken)
    with open_ledger(url) as ledger:
        assert claim(ledger, one, slow, {}) == fast
        assert [row.key for row in ledger.checks("incident")] == [fast]
    assert taken == [None]


def incident(name: str) -> Incident:
    return Incident(
        id=name, kind="burning", subject="answered", severity="page", started_at=datetime.now(UTC), message="it burns",
        evidence={"slo": "answered"},
    )  # fmt: skip


@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
def test_concurrent_runs_handle_an_incident_once(url: str, seen: Callable[[str], None]) -> None:
    """Events of 25 incidents, each delivered eight times: eight runs open one incident at the same time."""

    def run(run_id: str, number: int) -> str:
        conf = {"incident": json.loads(json.dumps(incident(f"answered-{number}").to_dict()))}
        with DAG("incident", schedule=None):
            operator = OpenIncidentOperator(task_id="open")
            operator >> EmptyOperator(task_id="act")
        ran = run_task(operator, run_id=run_id, conf=conf)
        return f"{ran.state}, {'skips' if ran.skipped else 'acts'}"

    assert all_at_once(run) == {"success, acts": EACH, "success, skips": RUNS - EACH}
    with open_ledger(url) as ledger:
        assert len(ledger.checks("incident", limit=10_000)) == EACH, "only who acts keeps a record, which somebody will close"
    seen(f"{EACH} runs acted, {RUNS - EACH} did not")
