"""A worker is killed at each step of a gate, a promotion, a rollback and a registration; the retry continues correctly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_slo_provider.deployment.registries.history import RegistryError
from airflow_slo_provider.deployment.registries.registry import MoveRequest
from airflow_slo_provider.operators.error_budget import ErrorBudgetGateOperator
from tests.airflow.gates import LedgerFile, RequestLog, sql_documents
from tests.airflow.task_runs import Ran, in_dag, run_task
from tests.e2e.faults.killed_process import Step, killed_at
from tests.e2e.faults.models import Models

LEDGER, GATE = "airflow_slo_provider.ledger.store", "airflow_slo_provider.runtime.error_budget.decision"
ROW_WRITER = "airflow_slo_provider.ledger.row_writer"
REGISTRY, MOVES = "airflow_slo_provider.deployment.registries.directory", "airflow_slo_provider.operators.model_registry"

#: Step of the gate -> number of rows that the killed try has recorded.
GATE_STEPS = {
    Step("nothing is measured", f"{GATE}:read_documents", False): 0,
    Step("measured, nothing recorded", f"{LEDGER}:Ledger.record_decision", False): 0,
    Step("in the middle of the record", f"{ROW_WRITER}:upsert", True): 0,
    Step("recorded, not told to Airflow", f"{LEDGER}:Ledger.record_decision", True): 2,
    Step("told, no way taken", "airflow_slo_provider.runtime.error_budget.decision:evaluate_gate", True): 2,
}


@pytest.mark.parametrize("step", GATE_STEPS, ids=str)
@pytest.mark.parametrize(("bad", "outcome"), [(0, "allowed"), (20, "frozen")])
def test_gate_killed_at_each_step_decides_on_retry(
    request_log: RequestLog, ledger_file: LedgerFile, seen: Callable[[str], None], step: Step, bad: int, outcome: str
) -> None:
    request_log.write(1000 - bad, bad)

    def gate(try_number: int) -> Ran:
        operator = in_dag(ErrorBudgetGateOperator(task_id="gate", slos=sql_documents(), retries=1), ["promote"])
        return run_task(operator, try_number=try_number, connections=request_log.connection)

    killed_at(step, lambda: gate(1))
    assert len(ledger_file.checks()) == GATE_STEPS[step]
    ran = gate(2)
    assert (ran.state, ran.skipped) == ("success", set() if outcome == "allowed" else {"promote"})
    assert ran.xcoms["decision"]["outcome"] == outcome
    rows = ledger_file.checks()
    by_killed = [(kind, 0, 1) for kind in ("decision", "slo")] if GATE_STEPS[step] else []
    by_retry = [(kind, int(bool(by_killed)), 2) for kind in ("decision", "slo")]
    found = sorted((row.result.kind, row.key.attempt, row.key.try_number) for row in rows)
    assert found == sorted([*by_killed, *by_retry])
    seen("the retry decides the same; each decision stands once")


#: Step of a promotion or rollback -> whether the alias is moved, and verdicts in the ledger: of a promotion, of a rollback.
MOVE_STEPS: dict[Step, tuple[bool, list[str], list[str]]] = {
    Step("nothing is moved", f"{REGISTRY}:DirectoryRegistry.move", False): (False, ["unknown"], []),
    Step("written, not yet in place", "pathlib:Path.replace", False): (False, ["unknown"], []),
    Step("moved, not recorded", f"{REGISTRY}:DirectoryRegistry.move", True): (True, ["unknown"], []),
    Step("recorded, not told to Airflow", f"{MOVES}:record", True): (True, ["pass"], ["pass"]),
}


@pytest.mark.parametrize("step", MOVE_STEPS, ids=str)
@pytest.mark.parametrize(("kind", "to"), [("promote", "3"), ("rollback", "1")])
def test_version_change_killed_at_each_step_happens_once(
    models: Models, ledger_file: LedgerFile, seen: Callable[[str], None], step: Step, kind: str, to: str
) -> None:
    moved, promoting, rolling_back = MOVE_STEPS[step]
    killed_at(step, lambda: models.run(kind, 1))
    assert models.registry.alias("fraud", "champion") == (to if moved else "2")
    assert models.moves() == ([("2", to)] if moved else [])
    assert [row.result.verdict for row in ledger_file.checks(kind)] == (promoting if kind == "promote" else rolling_back)
    ran = models.run(kind, 2)
    assert (ran.state, ran.xcoms["return_value"]["changed"]) == ("success", not moved)
    assert (models.registry.alias("fraud", "champion"), models.moves()) == (to, [("2", to)])
    (row,) = ledger_file.checks(kind)
    assert (row.result.verdict, row.result.evidence["from"], row.key.try_number) == ("pass", "2", 2)
    seen("the retry succeeds; 1 move, 1 row")


@pytest.mark.parametrize(
    ("kind", "place", "done", "moved", "rows"),
    [
        ("promote", f"{LEDGER}:from_row", False, False, []),  # the first of its two records, that it is about to begin
        ("promote", f"{ROW_WRITER}:upsert", True, True, ["unknown"]),
        ("rollback", f"{ROW_WRITER}:upsert", True, True, []),
    ],
)
def test_version_change_killed_during_its_record_happens_once(
    models: Models, ledger_file: LedgerFile, kind: str, place: str, done: bool, moved: bool, rows: list[str]
) -> None:
    """An interrupted record leaves no row; the record before it is complete."""
    to = {"promote": "3", "rollback": "1"}[kind]
    killed_at(Step("", place, done), lambda: models.run(kind, 1))
    assert models.moves() == ([("2", to)] if moved else [])
    assert [row.result.verdict for row in ledger_file.checks()] == rows
    assert models.run(kind, 2).state == "success"
    (row,) = ledger_file.checks()
    assert (models.moves(), row.result.verdict) == ([("2", to)], "pass")


def test_registration_killed_halfway_is_completed_on_retry(models: Models, tmp_path: Path, seen: Callable[[str], None]) -> None:
    """An incomplete version cannot be promoted; the retry completes it."""
    source = tmp_path / "candidate"
    source.mkdir()
    for name in ("model.bin", "model.json"):
        (source / name).write_text(name)
    killed_at(Step("", f"{REGISTRY}:_write", True), lambda: models.registry.register("fraud", "4", source))
    with pytest.raises(RegistryError, match="no version 4"):
        models.registry.move("fraud", MoveRequest(kind="promote", alias="champion", key="early", to="4"))
    models.registry.register("fraud", "4", source)
    assert models.registry.move("fraud", MoveRequest(kind="promote", alias="champion", key="then", to="4")).changed
    assert {path.name for path in (tmp_path / "registry" / "fraud" / "versions" / "4").iterdir()} == {
        "model.bin", "model.json", ".complete",
    }  # fmt: skip
    seen("not promoted while it is half; whole after the retry")
