"""Every public operator, sensor, trigger and notifier has a how-to, and the snippets that can be run here are run."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.execution_time import comms

from tests.airflow.task_runs import Ran, run_task
from tests.docs.pages import DOCS, Block, blocks, blocks_of
from tests.docs.public import public_classes, public_names
from tests.docs.test_snippets import dags_of, is_dag_code
from tests.docs.world import DAY, World


def how_to(name: str) -> Block | None:
    """Return the snippet below the heading that names the class."""
    found = [one for one in blocks("python") if f"`{name}`" in one.heading and re.search(rf"\b{name}\(", one.text)]
    return found[0] if found else None


@pytest.mark.parametrize("name", public_names())
def test_public_class_has_a_how_to(name: str) -> None:
    assert how_to(name), f"no page below docs/ has a heading with `{name}` and a Python snippet that uses it"


def test_list_of_how_tos_is_complete() -> None:
    text = (DOCS / "how-to.md").read_text()
    assert [name for name in public_names() if f"`{name}`" not in text] == []


def documented(name: str) -> str:
    """Return the docstrings of a class and of its base classes in this package."""
    return "\n".join(
        inspect.getdoc(one) or "" for one in public_classes()[name].__mro__ if one.__module__.startswith("airflow_slo")
    )


def parameters(cls: type) -> set[str]:
    """Return the parameters of a class, including those of its base classes."""
    found: set[str] = set()
    for one in cls.__mro__:
        if one.__module__.startswith("airflow_slo") and "__init__" in vars(one):
            found |= set(inspect.signature(vars(one)["__init__"]).parameters) - {"self", "kwargs"}
    return found - {"poke_interval", "timeout", "mode"}  # parameters of every Airflow sensor


@pytest.mark.parametrize("name", public_names())
def test_public_parameters_are_documented(name: str) -> None:
    described = set(re.findall(r":param (\w+):", documented(name)))
    assert parameters(public_classes()[name]) - described == set()


@pytest.mark.parametrize("name", public_names())
def test_docstring_links_to_parameters_of_base_classes(name: str) -> None:
    """The docstring of the class names the base class that documents them, and so does the reference page."""
    cls = public_classes()[name]
    page = (DOCS / "reference" / "operators.md").read_text()
    missing = parameters(cls) - set(re.findall(r":param (\w+):", cls.__doc__ or ""))
    for base in cls.__mro__[1:]:
        described = set(re.findall(r":param (\w+):", vars(base).get("__doc__") or ""))
        if missing & described:
            assert f"{base.__name__}`" in str(cls.__doc__), f"{base.__name__} has {sorted(missing & described)}"
            assert re.search(rf"^\| .*`{name}`.* \| `{base.__name__}`", page, re.M)
        missing -= described


@pytest.mark.parametrize("name", public_names())
def test_template_fields_are_documented_as_templated(name: str) -> None:
    """A reader of the reference sees which parameters Jinja renders."""
    cls = public_classes()[name]
    text = " ".join(documented(name).split())
    described = dict(re.findall(r":param (\w+): (.*?)(?= :param | :raises |\Z)", text))
    silent = [one for one in getattr(cls, "template_fields", ()) if one in described and "emplated" not in described[one]]
    assert not silent


@pytest.mark.parametrize("name", public_names())
def test_raised_errors_are_documented(name: str) -> None:
    """Each class documents what fails, what is retried and what is rejected when the DAG is read."""
    assert re.search(r":raises |\bfails?\b|retried|refuse", documented(name))


@dataclass(frozen=True)
class Run:
    """How to run the snippet of a class.

    :param sees: expected text in its log, error or XCom
    :param before: prepares the world
    :param arguments: arguments of ``run_task``, created when the snippet runs because some depend on the time
    """

    state: str = "success"
    sees: str = ""
    before: Callable[[World], Any] = lambda world: None
    arguments: Callable[[], dict[str, Any]] = dict


def profiled(world: World) -> None:
    from airflow_slo_provider import drift

    drift.profile(f"{world.home}/opt/data/training/*.csv").save(f"{world.home}/opt/models/churn/7/profile.json")


def promoted(world: World) -> None:
    from airflow_slo_provider.deployment.registries.directory import DirectoryRegistry
    from airflow_slo_provider.deployment.registries.registry import MoveRequest

    wanted = MoveRequest(kind="promote", alias="champion", key="made/fraud", to="7", by="world")
    DirectoryRegistry(world.home / "opt" / "registry").move("fraud", wanted)


def of_the_day() -> dict[str, Any]:
    return {"data_interval": (DAY, DAY + timedelta(days=1))}


def of_the_last_day() -> dict[str, Any]:
    now = datetime.now(UTC)
    return {"data_interval": (now - timedelta(days=1), now - timedelta(minutes=2))}


def of_an_incident() -> dict[str, Any]:
    incident = {
        "id": "orders-1", "kind": "burning", "subject": "orders-answered", "severity": "page", "message": "orders-answered burns",
        "started_at": datetime.now(UTC).isoformat(), "evidence": {"slo": "orders-answered"},
    }  # fmt: skip
    return {"conf": {"incident": incident}}


RUNS = {
    "ErrorBudgetBranchOperator": Run(sees="decision: allowed"),
    "ErrorBudgetGateOperator": Run(sees="decision: allowed"),
    "ErrorBudgetSensor": Run(sees="decision: allowed"),
    "FeatureFreshnessSensor": Run(sees="table:features"),
    "ModelFreshnessSensor": Run(sees="model:churn@champion"),
    "FreshnessCheckOperator": Run(sees="churn-model-age"),
    "DriftProfileOperator": Run(sees="profile.json"),
    "DriftOperator": Run(sees="ok", before=profiled, arguments=of_the_day),
    "DriftBranchOperator": Run(sees="keep", before=profiled, arguments=of_the_day),
    "GoldenSetEvaluationOperator": Run(sees="cost"),
    "PromoteModelOperator": Run(
        sees="promoted from 6 to 7",
        arguments=lambda: {"xcoms": {("evaluate", "return_value"): {"verdict": "pass", "model_version": "7"}}},
    ),
    "RollbackModelOperator": Run(sees="rolled back from 7 to 6", before=promoted),
    "LatencyBreakdownOperator": Run(sees="ml_prediction_request", before=World.traces, arguments=of_the_last_day),
    "LatencyBreakdownBranchOperator": Run(sees="keep", before=World.traces, arguments=of_the_last_day),
    "OpenIncidentOperator": Run(sees="model_serving_degradation", arguments=of_an_incident),
    "OtherIncidentsOperator": Run(sees="return_value", arguments=of_an_incident),
    "BurningCheckOperator": Run(sees="orders-answered", arguments=of_an_incident),
    "PostmortemOperator": Run(sees="orders-1.md", arguments=of_an_incident),
    "PolicyDecisionOperator": Run(sees="allow"),
    "ServingDecisionOperator": Run(sees="degrade"),
}
#: Their snippets are only read as DAGs (tests/docs/test_snippets.py); running them needs several processes.
READ_ONLY = {
    "AlertmanagerTrigger": "an Alertmanager: tests/services/test_alertmanager_trigger.py",
    "BurnRateTrigger": "a triggerer: tests/services/test_burn_rate_trigger.py, tests/e2e/test_incident_stack.py",
    "CulpritOperator": "a Prometheus: tests/airflow/test_incident_culprit.py",
    "DeploymentRollbackOperator": "a cluster: tests/services/test_kube_oracle.py",
    "DeploymentScaleOperator": "a cluster: tests/services/test_kube_changes.py",
    "DeploymentSetImageOperator": "a cluster: tests/services/test_kube_changes.py",
    "IncidentNotifier": "somebody to tell: tests/airflow/test_incident_notifier.py",
    "PipelineFreshnessSensor": "another pipeline: tests/e2e/test_freshness_stack.py",
    "PlaybookTaskGroup": "a whole run: tests/e2e/test_playbooks_stack.py",
    "PushLedgerMetricsOperator": "a Pushgateway: tests/services/test_pushgateway.py",
    "RecoveredSensor": "a mitigation: tests/airflow/test_incident_operators.py",
    "SLOCheckPodOperator": "a cluster: tests/airflow/test_pod_operator.py",
}


def test_how_to_snippet_is_run_or_names_a_reason() -> None:
    assert sorted([*RUNS, *READ_ONLY]) == public_names()
    for reason in READ_ONLY.values():
        for file in re.findall(r"tests/[\w/]+\.py", reason):
            assert (DOCS.parent / file).exists(), file


@pytest.mark.parametrize("name", RUNS)
def test_how_to_snippet_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path)
    monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", f"sqlite:///{tmp_path / 'ledger.db'}")
    RUNS[name].before(world)
    block = how_to(name)
    assert block
    tasks = [task for dag in dags_of(block, world).values() for task in dag.tasks if type(task).__name__ == name]
    assert tasks
    for task in tasks:
        check(name, run_task(task, connections=world.connections, **RUNS[name].arguments()))


def golden_sets(heading: str, world: World) -> dict[str, Any]:
    """Return the tasks of the snippet below a heading of docs/golden-sets.md, by id."""
    (block,) = (one for one in blocks_of(DOCS / "golden-sets.md") if one.heading == heading and is_dag_code(one))
    (dag,) = dags_of(block, world).values()
    return {task.task_id: task for task in dag.tasks}


def test_ranking_golden_set_snippet_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path)
    monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", f"sqlite:///{tmp_path / 'ledger.db'}")
    ran = run_task(golden_sets("Judge a ranking, query by query", world)["evaluate"])
    assert ran.state == "success", ran.log
    assert re.search(r"ndcg@10 vs champion: pass: .* against ", ran.log), ran.log


@pytest.mark.parametrize(("serving", "said"), [("", "promoted from nothing to 7"), ("6", "promoted from 6 to 7")])
def test_champion_snippet_promotes_the_first_and_the_next_version(
    serving: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_slo_provider.deployment.registries.directory import DirectoryRegistry
    from airflow_slo_provider.deployment.registries.registry import MoveRequest

    world = World(tmp_path)
    monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", f"sqlite:///{tmp_path / 'ledger.db'}")
    registry = DirectoryRegistry(world.home / "opt" / "registry")
    for version in "67":
        registry.register("fraud-eu", version, world.home / "opt" / "models" / "fraud" / "7")
    if serving:
        registry.move("fraud-eu", MoveRequest(kind="promote", alias="champion", key="made", to=serving, by="world"))
    tasks = golden_sets("The first champion", world)
    asked = run_task(tasks["serving"], connections=world.connections)
    assert asked.xcoms["return_value"] == serving
    pulled = {comms.GetXComSequenceSlice: comms.XComSequenceSliceResult(root=[serving])}
    evaluated = run_task(tasks["evaluate"], answers=pulled)
    assert evaluated.state == "success", evaluated.log
    assert ("only the thresholds decide" in evaluated.log) == (not serving)
    known = {("evaluate", "return_value"): evaluated.xcoms["return_value"]}
    assert said in run_task(tasks["promote"], xcoms=known, answers=pulled, connections=world.connections).log


READ = {
    "label": "the class",
    "score": ("score", "probabilit"),
    "number": "a number",
    "ranking": "within a group",
    "latency": ("seconds a", "a second"),
}


def test_table_of_metrics_is_complete() -> None:
    """Check names, aliases and the better direction."""
    from airflow_slo_provider.evaluation.metrics import metric_names as metrics

    text = (DOCS / "golden-sets.md").read_text().partition("### Metrics by name")[2].partition("\n### ")[0]
    shown: dict[str, str] = {}
    for names, gets, better in re.findall(r"^\| (`.*?) \| (.*?) \| (higher|lower) \|$", text, re.M):
        for name in re.findall(r"`([\w@]+)`", names):
            shown[name] = better
            metric = metrics.find_metric(name.replace("@k", "@10"))
            assert metric.higher_is_better == (better == "higher"), name
            words = READ[metric.reads]
            assert any(word in gets for word in ([words] if isinstance(words, str) else words)), f"{name}: {gets}"
    cut = {f"{name}@k" for name in ("ndcg", "ndcg_exp", "map", "mrr", "recall")}
    assert set(shown) == {*metrics._KNOWN, *metrics._ALIASES, *cut, "ndcg", "ndcg_exp", "map", "mrr"}
    for name in ("recall", "recall@10"):  # precision of classes and of rankings: both are in the table
        assert metrics.find_metric(name).reads == ("label" if name == "recall" else "ranking")


@pytest.fixture
def classified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Create a world whose golden set is separable by its features, and version 7 of a classifier that reads both."""
    import joblib
    import numpy as np
    import pandas as pd
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    world = World(tmp_path)
    monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", f"sqlite:///{tmp_path / 'ledger.db'}")
    rng = np.random.default_rng(7)
    rows = pd.DataFrame({"id": np.arange(2000), "amount": rng.normal(50, 10, 2000), "country": rng.choice(["de", "fr"], 2000)})
    rows["label"] = (rng.random(2000) < 1 / (1 + np.exp((50 - rows["amount"]) / 2))).astype(int)
    rows.to_csv(world.home / "opt" / "data" / "golden" / "fraud.csv", index=False)
    model = make_pipeline(
        make_column_transformer((OneHotEncoder(), ["country"]), remainder="passthrough"), LogisticRegression(max_iter=1000)
    )
    model.fit(rows[["amount", "country"]], rows["label"])
    joblib.dump(model, world.home / "opt" / "models" / "fraud" / "7" / "model.joblib")
    return world


def test_segment_snippet_accepts_a_feature(classified: World) -> None:
    """With ``features`` set the segment column is passed to the model; without it the model reports a missing column."""
    task = golden_sets("What the model is given: `features`", classified)["evaluate"]
    ran = run_task(task)
    assert ran.state == "success", ran.log
    task.features = None
    assert "columns are missing: {'country'}" in str(run_task(task).error)


def test_metric_snippet_receives_probabilities(classified: World) -> None:
    ran = run_task(golden_sets("What a metric gets", classified)["evaluate"])
    assert ran.state == "success", ran.log
    found = ran.xcoms["return_value"]["metrics"]
    assert 0 < found["expected_cost"]["value"] < 1
    assert found["recall"]["value"] > 0.9  # with threshold 0.2; with 0.5 it is lower


@pytest.mark.parametrize("predictor", ["model", "classes", "probabilities", "words"])
def test_metric_snippet_receives_documented_arguments(predictor: str, tmp_path: Path) -> None:
    """Each row of the table in docs/golden-sets.md matches what a metric receives."""
    import numpy as np

    from airflow_slo_provider import evaluation

    got = []

    def seen(truth: Any, said: Any) -> float:
        got.append(said)
        return 0.5

    chances = np.asarray([0.1, 0.3, 0.6, 0.9] * 25)
    truth = np.asarray([0, 0, 1, 1] * 25)
    classes = (chances >= 0.7).astype(int)  # thresholded by the model
    beside = chances if predictor == "model" else None
    said = {"probabilities": chances, "words": np.asarray(["no", "yes"])[classes]}.get(predictor, classes)
    if predictor == "words":
        truth = np.asarray(["no", "yes"])[truth]
    names = ["recall", "roc_auc", seen]
    found = evaluation.evaluate(truth, said, names, y_score=beside, decision_threshold=0.4, replicates=100)
    assert sorted(got[0]) == sorted(said)  # all of them, without a threshold
    assert found["recall"].value == (1.0 if predictor == "probabilities" else 0.5)
    assert found["roc_auc"].value == {"model": 1.0, "probabilities": 1.0, "classes": 0.75, "words": None}[predictor]


@pytest.mark.parametrize(("wrong", "way"), [(0.03, "gate"), (0.5, "hold")])
def test_quality_branch_snippet_holds_a_bad_model(
    wrong: float, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bad model ends at hold; promote rejects it if the branch is wired wrongly."""
    import random

    world = World(tmp_path)
    monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", f"sqlite:///{tmp_path / 'ledger.db'}")
    chance, golden = random.Random(5), (world.home / "opt" / "data" / "golden" / "fraud.csv").read_text().splitlines()[1:]
    labels = {row.split(",")[0]: int(row.split(",")[1]) for row in golden}
    said = [f"{row},{1 - label if chance.random() < wrong else label}" for row, label in labels.items()]
    file = world.home / "opt" / "models" / "fraud" / "7" / "predictions.csv"
    file.write_text("\n".join(["id,prediction", *said]) + "\n")
    tasks = golden_sets("Another way than a red run", world)
    evaluated = run_task(tasks["evaluate"])
    assert evaluated.state == "success", evaluated.log
    made = {"dag_id": tasks["gate"].dag_id, "run_id": "a_run", "task_id": "gate", "map_index": -1}
    decision = {"schema_version": 1, "outcome": "allowed", "allowed": True, "satisfied": True, **made}
    decision["decided_at"] = datetime.now(UTC).isoformat()
    known = {
        ("evaluate", "return_value"): evaluated.xcoms["return_value"],
        ("gate", "decision"): decision,
        ("gate", "blocked"): ["hold"],
    }
    gate = {comms.GetTaskStates: comms.TaskStatesResult(task_states={"a_run": {"gate": "success"}})}
    assert run_task(tasks["good_enough"], xcoms=known).skipped == (set() if way == "gate" else {"gate"})
    promoted = run_task(tasks["promote"], xcoms=known, connections=world.connections, answers=gate)
    assert promoted.state == ("success" if way == "gate" else "failed"), promoted.log
    assert way == "gate" or "its evaluation ended with fail" in str(promoted.error)
    file.unlink()
    assert run_task(tasks["evaluate"]).state == "failed"  # a model that could not be judged has no verdict


def check(name: str, ran: Ran) -> None:
    """Check that the task ended as expected and shows its result."""
    assert ran.state == RUNS[name].state, f"{ran.error}\n{ran.log}"
    assert RUNS[name].sees in f"{ran.log}\n{ran.xcoms}"
