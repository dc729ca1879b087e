"""Where relative paths begin, and documents in object stores, in Airflow's own task runner with DAGs that are read from files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem

from airflow_slo_provider.exceptions import DocumentError, QueryError
from airflow_slo_provider.ledger import open_ledger
from airflow_slo_provider.runtime.error_budget.decision import read_documents
from airflow_slo_provider.triggers.burn_rate import BurnRateTrigger
from tests.airflow.gates import RequestLog, slo, sql_documents
from tests.airflow.task_runs import Ran, run_task

DAG_FILE = """
from datetime import datetime, UTC
from airflow.sdk import DAG

with DAG("a_dag", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
    {code}
"""
GATE = (
    "from airflow_slo_provider.operators.error_budget import ErrorBudgetGateOperator\n"
    "    ErrorBudgetGateOperator(task_id='t', retries=3, slos={slos!r})"
)
SENSOR = (
    "from airflow_slo_provider.sensors.error_budget import ErrorBudgetSensor\n"
    "    ErrorBudgetSensor(task_id='t', retries=3, timeout=0, poke_interval=0, slos={slos!r})"
)
BURNING = (
    "from airflow_slo_provider.operators.incident.checks import BurningCheckOperator\n"
    "    BurningCheckOperator(task_id='t', retries=3, slo='answered', slos={slos!r})"
)
RECOVERED = (
    "from airflow_slo_provider.operators.incident.checks import RecoveredSensor\n"
    "    RecoveredSensor(task_id='t', retries=3, timeout=0, slo='answered', slos={slos!r})"
)
POSTMORTEM = (
    "from airflow_slo_provider.operators.incident import PostmortemOperator\n"
    "    PostmortemOperator(task_id='t', retries=3, path='/nowhere', slos={slos!r})"
)
POLICY = (
    "from airflow_slo_provider.operators.policy_actions import PolicyDecisionOperator\n"
    "    PolicyDecisionOperator(task_id='t', retries=3, decision_path='/nowhere/d.json', slos={slos!r})"
)
GOLDEN = (
    "from airflow_slo_provider.operators.golden_set import GoldenSetEvaluationOperator\n"
    "    GoldenSetEvaluationOperator(\n"
    "        task_id='t', retries=3, golden_set={slos!r}, predictor='p', metrics='accuracy', thresholds={{'accuracy': 0.9}})"
)


@pytest.fixture(autouse=True)
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", url)
    return open_ledger(url)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The folder of the DAG file, and the working directory of the worker."""
    dags, work = tmp_path / "bundle" / "team", tmp_path / "work"
    dags.mkdir(parents=True)
    work.mkdir()
    monkeypatch.chdir(work)
    return dags, work


def task(dags: Path, code: str, **values: Any) -> Any:
    (dags / "the_dag.py").write_text(DAG_FILE.format(code=code.format(**values)))
    bag = DagBag(dag_folder=str(dags / "the_dag.py"))
    assert not bag.import_errors, bag.import_errors
    return bag.dags["a_dag"].get_task("t")


def ran(dags: Path, code: str, slos: Any, log: RequestLog | None = None) -> Ran:
    return run_task(task(dags, code, slos=slos), connections=log.connection if log else None)


@pytest.mark.parametrize("code", [GATE, SENSOR], ids=["gate", "sensor"])
@pytest.mark.parametrize("slos", ["slos", "slos/one.yaml", "./slos/one.yaml", ["slos/one.yaml"]], ids=str)
def test_relative_path_is_resolved_from_dag_file(places: Any, request_log: RequestLog, ledger: Any, code: str, slos: Any) -> None:
    dags, work = places
    request_log.write(1000, 0)
    for place, name in ((dags, "beside"), (work, "elsewhere")):
        (place / "slos").mkdir()
        (place / "slos" / "one.yaml").write_text(sql_documents().replace("answered", name))
    done = ran(dags, code, slos, request_log)
    assert done.state == "success", done.error
    assert [one.result.name for one in ledger.checks("slo")] == ["beside"]


@pytest.mark.parametrize("code", [GATE, SENSOR, BURNING, RECOVERED, POSTMORTEM, POLICY, GOLDEN])
def test_missing_relative_path_fails_and_names_folder(places: Any, code: str) -> None:
    dags, work = places
    for there in (False, True):
        if there:
            (work / "one.yaml").write_text(sql_documents())
        done = ran(dags, code, "one.yaml")
        assert (done.state, type(done.error).__name__) == ("failed", "AirflowFailException"), done.error
        assert f"'one.yaml' is relative to the folder of the DAG file, {dags}" in str(done.error)
        hint = f"{work / 'one.yaml'}, in the working directory, is not read: write its absolute path"
        assert (hint in str(done.error)) is there


def test_absolute_path_and_text_are_read_unchanged(places: Any, request_log: RequestLog, tmp_path: Path) -> None:
    dags, _ = places
    request_log.write(1000, 0)
    (tmp_path / "one.yaml").write_text(sql_documents())
    for slos in (str(tmp_path / "one.yaml"), sql_documents(), f"file://{tmp_path}/one.yaml"):
        assert ran(dags, GATE, slos, request_log).state == "success"


def test_relative_golden_set_is_resolved_from_dag_file(places: Any) -> None:
    dags, work = places
    (dags / "g.csv").write_text("id,label,p\n" + "".join(f"{n},{n % 2},{n % 2}\n" for n in range(100)))
    (work / "g.csv").write_text("id,label,p\n" + "".join(f"{n},{n % 2},0\n" for n in range(100)))
    done = ran(dags, GOLDEN, "g.csv")
    assert done.state == "success", done.error


@pytest.mark.parametrize(
    "code",
    [
        "from airflow_slo_provider.operators.incident import PlaybookTaskGroup\n    PlaybookTaskGroup('t', playbook='mine.yaml')",
        "from airflow_slo_provider.operators.incident import OpenIncidentOperator\n"
        "    OpenIncidentOperator(task_id='t', playbooks=['mine.yaml'])",
    ],
    ids=["group", "open"],
)
def test_relative_playbook_is_resolved_from_dag_file(places: Any, code: str) -> None:
    from airflow_slo_provider.incidents import playbook_library as shipped

    dags, work = places
    (work / "mine.yaml").write_text("this: is no playbook\n")
    source = next(Path(shipped.__file__).parent.rglob("model_serving_degradation*.yaml")).read_text()
    (dags / "the_dag.py").write_text(DAG_FILE.format(code=code))
    bag = DagBag(dag_folder=str(dags / "the_dag.py"))
    assert f"{dags / 'mine.yaml'}' is neither a file nor one of the incident types" in "".join(bag.import_errors.values())
    (dags / "mine.yaml").write_text(source)
    bag = DagBag(dag_folder=str(dags / "the_dag.py"))
    assert not bag.import_errors, bag.import_errors


@pytest.mark.parametrize("slos", ["slos", ["/opt/slos", "more.yaml"]])
def test_trigger_with_relative_path_raises_error(slos: Any) -> None:
    with pytest.raises(ValueError, match="is relative, and a triggerer has no DAG file: write an absolute path"):
        BurnRateTrigger(slos=slos)
    for good in ("/opt/slos", "s3://bucket/slos", sql_documents(), ["/opt/slos"]):
        BurnRateTrigger(slos=good)


# --- object stores


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> MemoryFileSystem:
    monkeypatch.setattr(MemoryFileSystem, "store", {})
    monkeypatch.setattr(MemoryFileSystem, "pseudo_dirs", [""])
    file_system = MemoryFileSystem()
    attach("memory", fs=file_system)
    return file_system


def put(store: MemoryFileSystem, name: str, text: str) -> None:
    with store.open(f"/bucket/{name}", "wb") as file:
        file.write(text.encode())


def test_documents_in_object_store_are_read(places: Any, request_log: RequestLog, store: MemoryFileSystem, ledger: Any) -> None:
    request_log.write(1000, 0)
    put(store, "slos/a/one.yaml", sql_documents())
    put(store, "slos/b/two.yml", slo("other"))
    put(store, "slos/.hidden/three.yaml", "no: document")
    put(store, "slos/readme.md", "no document")
    done = ran(places[0], GATE, "memory://bucket/slos", request_log)
    assert done.state == "success", done.error
    assert {one.result.name for one in ledger.checks("slo")} == {"answered", "other"}
    assert len(read_documents("memory://bucket/slos/a/one.yaml")) == 1
    (places[0] / "third.yaml").write_text(slo("third"))
    assert len(read_documents(["memory://bucket/slos/a/one.yaml", str(places[0] / "third.yaml")])) == 2


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("slos/one.yaml", "kind: nothing\n", "memory:///bucket/slos/one.yaml:1"),
        ("slos/one.yaml", "", "memory:///bucket/slos/one.yaml"),
        ("slos/one.txt", "x", "no *.yaml or *.yml file is in this directory or below it"),
        ("other/one.yaml", "x", "there is no such file or directory"),
    ],
)
def test_error_in_object_store_names_uri(store: MemoryFileSystem, name: str, text: str, message: str) -> None:
    put(store, name, text)
    with pytest.raises(DocumentError) as error:
        read_documents("memory://bucket/slos")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("fault", "transient"),
    [(PermissionError("no"), False), (TimeoutError("late"), True), (OSError("gone"), True), (RuntimeError("x"), True)],
    ids=["forbidden", "timeout", "gone", "client"],
)
def test_unreadable_store_is_retried_unless_forbidden(
    places: Any, store: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch, fault: Exception, transient: bool
) -> None:
    put(store, "slos/one.yaml", sql_documents())

    def fail(*arguments: Any, **options: Any) -> Any:
        raise fault

    monkeypatch.setattr(MemoryFileSystem, "open", fail)
    with pytest.raises(QueryError) as error:
        read_documents("memory://bucket/slos")
    assert error.value.transient is transient
    assert ran(places[0], GATE, "memory://bucket/slos").state == ("up_for_retry" if transient else "failed")


def test_unknown_store_fails_without_retry(places: Any) -> None:
    done = ran(places[0], GATE, "nosuchstore://bucket/slos")
    assert (done.state, type(done.error).__name__) == ("failed", "AirflowFailException")
    assert "nosuchstore://bucket/slos cannot be read" in str(done.error)


def test_dag_folder_is_that_of_the_workers_bundle(
    places: Any, request_log: RequestLog, ledger: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a worker begins a task with: the DAG file of a bundle, by its path within the bundle."""
    from types import SimpleNamespace

    import structlog
    from airflow.sdk.execution_time import task_runner

    dags, _ = places
    bundle = dags.parent
    (dags / "the_dag.py").write_text(DAG_FILE.format(code=GATE.format(slos="slos/one.yaml")))
    (dags / "slos").mkdir()
    (dags / "slos" / "one.yaml").write_text(sql_documents())
    kind = "airflow.dag_processing.bundles.local.LocalDagBundle"
    listed = [{"name": "here", "classpath": kind, "kwargs": {"path": str(bundle)}}]
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps(listed))
    ti = SimpleNamespace(dag_id="a_dag", task_id="t", model_dump=lambda **_: {"dag_id": "a_dag", "task_id": "t"})
    what = SimpleNamespace(
        bundle_info=SimpleNamespace(name="here", version=None), dag_rel_path="team/the_dag.py", ti=ti, start_date=None,
        ti_context=SimpleNamespace(max_tries=0), sentry_integration="",
    )  # fmt: skip
    found = task_runner.parse(what, structlog.get_logger("task"))  # type: ignore[arg-type]
    assert found.task.dag.folder == str(dags)
    request_log.write(1000, 0)
    done = run_task(found.task, connections=request_log.connection)
    assert done.state == "success", done.error
