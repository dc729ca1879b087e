"""The decisions of a mapped gate share a name in the ledger, and show their index wherever they are shown."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_slo_provider.links.slo import SLOLink
from airflow_slo_provider.operators.error_budget import ErrorBudgetGateOperator
from tests.airflow.gates import LedgerFile, RequestLog, sql_documents
from tests.airflow.page_client import as_user, pages
from tests.airflow.task_runs import Ran, run_task


def gate(index: int, log: RequestLog, *, label: str | None = None) -> Ran:
    operator = ErrorBudgetGateOperator(task_id="gate", slos=sql_documents(), map_index_template=label)
    return run_task(operator, map_index=index, connections=log.connection)


@pytest.fixture
def gate_runs(request_log: RequestLog, ledger_file: LedgerFile) -> list[Ran]:
    request_log.write(1000, 0)
    labels = [None, "{{ 'e' ~ 'u' }}", "<b>us</b>\x1b[31m"]
    return [gate(-1, request_log), *(gate(index, request_log, label=label) for index, label in enumerate(labels))]


def test_mapped_decision_keeps_name_and_logs_index(gate_runs: list[Ran], ledger_file: LedgerFile) -> None:
    rows = ledger_file.open().checks("decision")
    assert {row.result.name for row in rows} == {"a_dag.gate"}
    assert sorted(row.key.map_index for row in rows) == [-1, 0, 1, 2]
    for ran, said in zip(gate_runs, ("", "a_dag.gate[0]", "a_dag.gate[1 eu]", "a_dag.gate[2 <b>us</b>"), strict=True):
        assert ran.state == "success", ran.error
        assert (f"This is the decision of {said}" in ran.log) is bool(said)


def test_command_shows_index_and_label(gate_runs: list[Ran], slo_command: Any) -> None:
    code, out, _ = slo_command("decisions")
    assert code == 0
    for said in (
        "decision a_dag.gate ",
        "decision a_dag.gate[0] ",
        "decision a_dag.gate[1 eu] ",
        "decision a_dag.gate[2 <b>us</b>",
    ):
        assert said in out
    assert "\x1b" not in out
    listed = json.loads(slo_command("decisions", "-o", "json")[1])
    assert {one["map_index"]: one["map_label"] for one in listed}[1] == "eu"


def test_pages_show_index_and_label(gate_runs: list[Ran], ledger_file: LedgerFile) -> None:
    with pages(ledger_file.open()) as client:
        text = client.get("/slo/deployments", headers=as_user("admin")).text
        for said in ("a_dag.gate</td>", "a_dag.gate[0]</td>", "a_dag.gate[1 eu]</td>", "a_dag.gate[2 &lt;b&gt;us&lt;/b&gt;"):
            assert said in text
        assert "<b>us</b>" not in text
        page = client.get("/slo/run?dag_id=a_dag&run_id=a_run&task_id=gate&map_index=1", headers=as_user("admin")).text
        assert "Checks of gate[1] of a_dag" in page
        assert "a_dag.gate[1 eu]</a>" in page
        assert "a_dag.gate[0]" not in page


def test_link_of_mapped_gate_opens_own_decision() -> None:
    from types import SimpleNamespace

    key = SimpleNamespace(dag_id="d", run_id="r", task_id="gate", map_index=3)
    assert "map_index=3" in SLOLink().get_link(None, ti_key=key)  # type: ignore[arg-type]
