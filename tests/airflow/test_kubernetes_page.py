"""The examples of docs/kubernetes.md and of the docstrings are valid DAGs."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from airflow_slo_provider.operators.kubernetes import DeploymentRollbackOperator
from airflow_slo_provider.operators.pod import SLOCheckPodOperator
from tests.airflow.test_documented_dags import read_dags
from tests.support import REPO

PAGE = (REPO / "docs" / "kubernetes.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
HEAD = "from airflow.sdk import DAG\nwith DAG('example', schedule=None):\n"


def tasks_of(code: str, home: Path) -> dict[str, object]:
    file = home / "example.py"
    file.write_text(code if "@dag" in code else HEAD + textwrap.indent(code, "    "))
    (dag,) = read_dags(file).values()
    return dict(dag.task_dict)


@pytest.mark.parametrize(
    ("number", "tasks"),
    [(0, {"roll_back"}), (1, {"gate", "release"}), (2, {"scale"}), (3, {"error_budget"})],
    ids=["rollback", "release", "scale", "pod"],
)
def test_documented_kubernetes_examples_are_valid_dags(number: int, tasks: set[str], tmp_path: Path) -> None:
    assert len(EXAMPLES) == 4
    assert tasks_of(EXAMPLES[number], tmp_path).keys() == tasks


@pytest.mark.parametrize("documented", [DeploymentRollbackOperator, SLOCheckPodOperator])
def test_docstring_examples_are_valid_dags(documented: type, tmp_path: Path) -> None:
    match = re.search(r"\.\. code-block:: python\n\n((?:        .*\n|\n)+)", documented.__doc__ or "")
    assert match
    code = f"from {documented.__module__} import {documented.__name__}\n" + textwrap.dedent(match[1])
    (task,) = tasks_of(code, tmp_path).values()
    assert isinstance(task, documented)
