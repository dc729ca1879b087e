"""Rows of Airflow's test runs are marked, visible to other test runs, and ignored everywhere else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from airflow_slo_provider.ledger import Ledger, open_ledger
from airflow_slo_provider.ledger.queries.changes import history_entries
from tests.airflow.gate_tasks import counts, followed, gate
from tests.airflow.gates import POLICY, LedgerFile, RequestLog, sql_documents
from tests.airflow.task_runs import run_task
from tests.airflow.whole_dags import DagFile, _make_database

FROZEN = sql_documents("  coolDown: 1h" + POLICY)
DAG = """
from airflow.sdk import dag, task
from airflow_slo_provider.operators.error_budget import ErrorBudgetBranchOperator


@dag(schedule=None)
def tested():
    gate = ErrorBudgetBranchOperator(
        task_id="gate", slos={documents!r}, follow_task_ids_if_allowed="promote", if_frozen="hold"
    )

    @task
    def promote(): ...

    @task
    def hold(): ...

    gate >> [promote(), hold()]


tested()
"""


@pytest.fixture
def dag_file(tmp_path: Path, request_log: RequestLog, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "slos.yaml").write_text(FROZEN)
    file = tmp_path / "tested.py"
    file.write_text(dedent(DAG).format(documents=str(tmp_path / "slos.yaml")))
    monkeypatch.setenv("AIRFLOW_CONN_REQUEST_LOG", f'{{"conn_type": "sqlite", "host": "{request_log.path}"}}')
    return file


def as_test(ledger_file: LedgerFile) -> Ledger:
    return open_ledger(f"sqlite:///{ledger_file.path}", test_run=True)


def test_dag_test_marks_its_rows_and_reads_those_of_earlier_tests(
    dag_file: Path, request_log: RequestLog, ledger_file: LedgerFile
) -> None:
    tested = DagFile(dag_file)
    counts(request_log, "frozen")
    assert tested.run("tested").in_state("success") == {"gate", "hold"}
    request_log.write(100_000, 0)
    second = tested.run("tested")
    assert second.in_state("success") == {"gate", "hold"}, "frozen by its cool-down"
    assert second.xcom("gate", "decision")["ledger"] == str(ledger_file.path)
    assert ledger_file.checks() == []
    with as_test(ledger_file) as ledger:
        rows = ledger.checks()
        assert len(rows) == 4
        assert all(row.key.test_run for row in rows)
        assert [one.outcome for one in history_entries(ledger)] == ["frozen", "frozen"]
    ran = run_task(gate(FROZEN), connections=request_log.connection)
    assert followed(ran) == {"promote"}, "a test freezes nothing but tests"


def test_airflow_tasks_test_marks_its_rows(dag_file: Path, request_log: RequestLog, ledger_file: LedgerFile) -> None:
    _make_database()
    tested = DagFile(dag_file)
    counts(request_log, "frozen")
    tested.run("tested")  # so that the metadata database knows the DAG
    before = 2
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "tasks", "test", "tested", "gate"],
        capture_output=True, text=True, check=False, timeout=120, env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert ledger_file.checks() == []
    with as_test(ledger_file) as ledger:
        rows = ledger.checks()
    assert len(rows) == before + 2
    assert any(row.key.run_id.startswith("__airflow_temporary_run_") for row in rows), done.stdout


def test_test_run_inherits_the_freeze_of_production(dag_file: Path, request_log: RequestLog, ledger_file: LedgerFile) -> None:
    counts(request_log, "frozen")
    assert followed(run_task(gate(FROZEN), connections=request_log.connection)) == {"hold"}
    request_log.write(100_000, 0)
    assert DagFile(dag_file).run("tested").in_state("success") == {"gate", "hold"}
    assert ledger_file.outcomes() == ["frozen"]


@pytest.mark.parametrize(
    ("run_id", "test_run"),
    [("__airflow_temporary_run_2026-11-30T00:00:00__", True), ("manual__2026-11-30", False), ("a_run", False)],
)
def test_temporary_run_is_a_test_run_with_any_executor(
    run_id: str, test_run: bool, request_log: RequestLog, ledger_file: LedgerFile
) -> None:
    counts(request_log, "allowed")
    ran = run_task(gate(sql_documents()), connections=request_log.connection, run_id=run_id)
    assert ran.state == "success"
    assert (ledger_file.checks() == []) is test_run
    assert ("this is a test run" in ran.log) is test_run


def test_test_run_does_not_replace_production_rows_of_the_same_task_instance(ledger_file: LedgerFile) -> None:
    from tests.unit.ledger.builders import check, key

    with ledger_file.open() as production, as_test(ledger_file) as test:
        production.record([check(verdict="fail")], key())
        test.record([check(verdict="pass")], key(try_number=9))
        assert [row.result.verdict for row in production.checks()] == ["fail"]
        assert sorted(row.result.verdict for row in test.checks()) == ["fail", "pass"]
        claim = check("i", kind="incident_claim")
        assert test.record_once(claim, key()).key.test_run
        assert not production.record_once(claim, key()).key.test_run
