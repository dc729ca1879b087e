"""The wheel, installed by pip without this tree, with the oldest supported Airflow.

Checks the section "Use it" of README.md. All other tests with that Airflow: ``make test AIRFLOW=3.2``.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airflow_slo_provider import __version__
from airflow_slo_provider.ledger import open_ledger
from tests import wheel
from tests.peers import may_install
from tests.support import REPO

#: Runs the gate of a DAG file in Airflow's task runner (CONTRIBUTING.md explains why not with ``dag.test()``).
GATE = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
sys.path.append(sys.argv[2])  # last: the package is the installed one
from tests.airflow.task_runs import run_task

(dag,) = DagBag(dag_folder=sys.argv[1], load_op_links=False).dags.values()
ran = run_task(dag.get_task("gate"))
print(json.dumps({"state": ran.state, "outcome": ran.xcoms["decision"]["outcome"], "skipped": sorted(ran.skipped)}))
"""


class Installed:
    """The environment, used from a directory outside of the tree."""

    def __init__(self, programs: Path, home: Path) -> None:
        self.programs, self.home = programs, home
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON"))}
        self.env |= {
            "AIRFLOW_HOME": str(home / "airflow"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "NO_PROXY": "127.0.0.1,localhost",
        }

    def python(self, *arguments: str, code: int = 0) -> str:
        """Run its Python and return the output."""
        done = subprocess.run(
            [str(self.programs / "python"), *arguments], env=self.env, cwd=self.home, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=180, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout[-6000:]
        return done.stdout

    def airflow(self, *arguments: str, code: int = 0) -> str:
        """Run a command of its Airflow."""
        return self.python("-m", "airflow", *arguments, code=code)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    if not wheel.is_made() and not may_install():
        pytest.skip(f"there is no environment {wheel.NAME}; set SLO_TEST_INSTALL=1 to let the test make it")
    try:
        programs = wheel.make()
    except subprocess.CalledProcessError as error:
        pytest.fail(f"{' '.join(error.cmd)} ended with {error.returncode}:\n{error.output[-4000:]}")
    return Installed(programs, tmp_path_factory.mktemp("a user"))


def test_installed_dependencies_are_consistent(installed: Installed):
    assert "No broken requirements" in installed.python("-m", "pip", "--disable-pip-version-check", "check")


def test_installed_entry_points_and_modules_import(installed: Installed):
    code = (
        "import airflow, importlib, importlib.metadata as m, json, pathlib, pkgutil\n"
        "import airflow_slo_provider as p\n"
        "points = {g: [e.load().__name__ for e in m.entry_points(group=g) if e.dist.name == 'airflow-slo-provider']"
        " for g in ('apache_airflow_provider', 'airflow.plugins')}\n"
        "names = [one.name for one in pkgutil.walk_packages(p.__path__, p.__name__ + '.') if not one.name.endswith('__main__')]\n"
        "for name in names: importlib.import_module(name)\n"
        "print(json.dumps({'points': points, 'modules': len(names), 'from': p.__file__, 'airflow': airflow.__version__}))"
    )
    found = json.loads(installed.python("-c", code).splitlines()[-1])
    assert found["points"] == {"apache_airflow_provider": ["get_provider_info"], "airflow.plugins": ["SLOPagePlugin"]}
    assert found["modules"] > 150
    assert found["from"].startswith(str(installed.programs.parent))
    assert found["airflow"].startswith(f"{wheel.AIRFLOW}.")


def test_installed_provider_is_listed_and_has_its_command(installed: Installed):
    listed = json.loads(re.search(r"^\[\{.*\}\]$", installed.airflow("providers", "list", "--output", "json"), re.MULTILINE)[0])
    assert [one["version"] for one in listed if one["package_name"] == "airflow-slo-provider"] == [__version__]
    said = installed.airflow("slo", "--help")
    assert all(command in said for command in ("validate", "status", "report", "rules", "drift", "backfill"))


def test_example_dags_are_read_with_the_wheel(installed: Installed):
    code = (
        "import json, sys\nfrom airflow.dag_processing.dagbag import DagBag\n"
        "bag = DagBag(dag_folder=sys.argv[1], load_op_links=False)\n"
        "print(json.dumps({'dags': sorted(bag.dags), 'errors': bag.import_errors}))"
    )
    found = json.loads(installed.python("-c", code, str(REPO / "dags")).splitlines()[-1])
    assert found["errors"] == {}
    assert "gated_model_promotion" in found["dags"]
    assert len(found["dags"]) >= len(list((REPO / "dags").glob("*.py")))


def test_readme_steps_work_with_the_wheel(installed: Installed):
    text = (REPO / "README.md").read_text()
    (documents,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (connection,) = re.findall(r"export AIRFLOW_CONN_ORDERS_DB='(.*)'", text)
    (besides,) = re.findall(r"^pip install --constraint constraints.txt \. (.+)$", text, re.MULTILINE)
    installed.python(
        "-m", "pip", "install", "-q", "--constraint", str(installed.programs.parent / "constraints.txt"), *besides.split()
    )
    slos, dag, log = (installed.home / name for name in ("orders.yaml", "airflow/dags/gate.py", "orders.db"))
    dag.parent.mkdir(parents=True)
    slos.write_text(documents)
    dag.write_text(code.replace("/opt/slos/orders.yaml", str(slos)))
    at = (datetime.now(UTC) - timedelta(hours=3)).strftime("%Y-%m-%d %H:%M:%S")
    with sqlite3.connect(log) as database:
        database.execute("CREATE TABLE requests (created_at TEXT, status INTEGER)")
        database.executemany("INSERT INTO requests VALUES (?, ?)", [(at, 200)] * 980 + [(at, 500)] * 20)
    database.close()
    installed.env["AIRFLOW_CONN_ORDERS_DB"] = json.dumps({**json.loads(connection), "host": str(log)})
    assert "1 SLO, no errors" in installed.airflow("slo", "validate", str(slos))
    installed.airflow("slo", "status", str(slos), code=1)  # spent
    decided = json.loads(installed.python("-c", GATE, str(dag), str(REPO)).splitlines()[-1])
    assert decided == {"state": "success", "outcome": "frozen", "skipped": ["promote"]}
    with open_ledger(f"sqlite:///{installed.home / 'airflow' / 'slo_ledger.db'}") as ledger:
        recorded = {row.result.kind: row.result.name for row in ledger.checks()}
    assert recorded == {"slo": "orders-answered", "decision": "promote_when_the_budget_allows.gate"}


def test_extras_are_installable_with_the_constraints() -> None:
    """pip resolves all extras together with constraints.txt; nothing is installed."""
    if not may_install():
        pytest.skip("asks the package index; set SLO_TEST_INSTALL=1 to let the test do that")
    pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--constraint", "constraints.txt", ".[all]"]
    done = subprocess.run(
        pip, cwd=REPO, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
