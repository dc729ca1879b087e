"""What the documentation shows is a DAG that Airflow reads."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_slo_provider.operators.error_budget import ErrorBudgetBranchOperator, ErrorBudgetGateOperator
from airflow_slo_provider.sensors.error_budget import ErrorBudgetSensor
from airflow_slo_provider.slo import read
from airflow_slo_provider.slo.budget import text_table as table
from tests.airflow.gates import LedgerFile
from tests.airflow.task_runs import run_task
from tests.support import REPO

HEAVY = {"numpy", "pandas", "scipy", "sklearn", "pyarrow", "duckdb", "kubernetes", "mlflow", "requests", "httpx", "joblib"}


def read_dags(path: Path) -> dict[str, Any]:
    """Read a DAG file as the DAG processor does."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=path, safe_mode=False, load_op_links=False)
    assert not bag.import_errors
    return dict(bag.dags)


def test_readme_dag_runs(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (REPO / "README.md").read_text(), re.DOTALL)
    file = tmp_path / "readme.py"
    file.write_text(code)
    (dag,) = read_dags(file).values()
    gate = dag.get_task("gate")
    assert isinstance(gate, ErrorBudgetBranchOperator)
    assert gate.downstream_task_ids == {"promote", "hold"}
    assert {gate.follow_task_ids_if_allowed, gate.if_frozen} == {"promote", "hold"}


def test_readme_documents_are_measured_with_connection(tmp_path: Path, ledger_file: LedgerFile) -> None:
    text = (REPO / "README.md").read_text()
    (documents,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (connection,) = re.findall(r"export AIRFLOW_CONN_ORDERS_DB='(.*)'", text)
    assert read(documents).warnings == []
    log = tmp_path / "orders.db"
    with sqlite3.connect(log) as database:
        database.execute("CREATE TABLE requests (created_at TEXT, status INTEGER)")
        at = (datetime.now(UTC) - timedelta(hours=3)).strftime("%Y-%m-%d %H:%M:%S")
        database.executemany("INSERT INTO requests VALUES (?, ?)", [(at, 200)] * 995 + [(at, 500)] * 5)
    database.close()
    fields = {**json.loads(connection), "host": str(log)}
    ran = run_task(ErrorBudgetGateOperator(task_id="gate", slos=documents), connections={"orders_db": fields})
    (found,) = ran.xcoms["decision"]["slos"]
    assert (ran.xcoms["decision"]["outcome"], found["remaining"]) == ("allowed", 0.5)


def test_documented_gate_runs(tmp_path: Path) -> None:
    text = (REPO / "docs" / "gates.md").read_text()
    code, *_ = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    file = tmp_path / "gates.py"
    file.write_text(code)
    (dag,) = read_dags(file).values()
    gate = dag.get_task("gate")
    assert {gate.follow_task_ids_if_allowed, gate.if_warning, gate.if_escalated, gate.if_frozen} == gate.downstream_task_ids
    assert table.BEGIN in text
    assert table.END in text


@pytest.mark.parametrize("file", sorted((REPO / "dags").glob("*.py")), ids=lambda file: file.stem)
def test_every_example_dag_parses(file: Path) -> None:
    dags = read_dags(file)
    assert dags
    assert f"`{file.name}`" in (REPO / "README.md").read_text()
    for dag in dags.values():
        for task in dag.tasks:
            if isinstance(task, ErrorBudgetBranchOperator):
                ways = (task.follow_task_ids_if_allowed, task.if_warning, task.if_frozen, task.if_unknown, task.if_escalated)
                assert {way for way in ways if way} <= task.downstream_task_ids


#: Reads every example, and tells what else that did: libraries it loaded, files it wrote or opened, connections it made.
READING = """
import json, os, sys
import airflow.dag_processing.processor
from airflow.dag_processing.dagbag import DagBag
before, done, reading = set(sys.modules), [], True

def watch(event, arguments):
    if not reading:
        return
    if event in ("socket.connect", "sqlite3.connect", "subprocess.Popen", "os.mkdir", "os.remove", "os.rename", "shutil.rmtree"):
        done.append([event, str(arguments[:2])])
    elif event == "open" and isinstance(arguments[0], str):
        writes = isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        data = not arguments[0].endswith((".py", ".pyc", ".so")) and "/site-packages/" not in arguments[0]
        if writes or (data and os.path.isfile(arguments[0]) and sys.prefix not in arguments[0]):
            done.append([event, arguments[0]])

sys.addaudithook(watch)
bags = [DagBag(dag_folder=file, safe_mode=False, load_op_links=False) for file in sys.argv[1:]]
reading = False
assert not any(bag.import_errors for bag in bags), [bag.import_errors for bag in bags]
print(json.dumps([[name for bag in bags for name in bag.dags], sorted(set(sys.modules) - before), done]))
"""


def test_parsing_examples_has_no_side_effects() -> None:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(REPO)}
    command = [sys.executable, "-W", "ignore", "-c", READING, *map(str, sorted((REPO / "dags").glob("*.py")))]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert ran.returncode == 0, ran.stderr
    dags, loaded, done = json.loads(ran.stdout.splitlines()[-1])
    assert {"retraining", "rollback", "hourly_freshness", "serving_slos", "per_model_gate", "gated_model_promotion"} <= set(dags)
    assert [name for name in loaded if name.partition(".")[0] in HEAVY] == []
    playbooks = str(Path("airflow_slo_provider", "incidents", "playbooks"))
    assert [one for one in done if playbooks not in one[1]] == []


@pytest.mark.parametrize("documented", [ErrorBudgetBranchOperator, ErrorBudgetGateOperator, ErrorBudgetSensor])
def test_docstring_examples_parse(documented: type, tmp_path: Path) -> None:
    match = re.search(r"\.\. code-block:: python\n\n((?:        .*\n|\n)+)", documented.__doc__ or "")
    assert match
    code = textwrap.dedent(match[1])
    names = [name for name in ("promote", "request_review", "hold", "deploy") if re.search(rf"\b{name}\b(?!\")", code)]
    file = tmp_path / "example.py"
    file.write_text(
        "from datetime import datetime, timedelta\n"
        "from airflow.sdk import DAG\n"
        "from airflow.providers.standard.operators.empty import EmptyOperator\n"
        f"from {documented.__module__} import {documented.__name__}\n"
        "with DAG('example', schedule=None, start_date=datetime(2026, 1, 1)):\n"
        + textwrap.indent("".join(f"{name} = EmptyOperator(task_id={name!r})\n" for name in names) + code, "    ")
    )
    (dag,) = read_dags(file).values()
    (task,) = (task for task in dag.tasks if isinstance(task, documented))
    described = set(re.findall(r"^\s*:param (\w+):", documented.__doc__ or "", re.MULTILINE))
    assert set(task.template_fields) <= described | {"slos", "select"}
