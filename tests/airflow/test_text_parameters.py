"""Text parameters stay text: with native rendering, with numbers from XComs, and as a single text instead of a list."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, BaseOperator

from airflow_slo_provider.operators.drift import DriftOperator, DriftProfileOperator
from airflow_slo_provider.operators.error_budget import ErrorBudgetGateOperator
from airflow_slo_provider.operators.freshness import FreshnessCheckOperator
from airflow_slo_provider.operators.golden_set import GoldenSetEvaluationOperator
from airflow_slo_provider.operators.incident import PostmortemOperator
from airflow_slo_provider.operators.incident.checks import BurningCheckOperator, CulpritOperator
from airflow_slo_provider.operators.incident.steps import ManualStepOperator
from airflow_slo_provider.operators.kubernetes import DeploymentRollbackOperator, DeploymentSetImageOperator
from airflow_slo_provider.operators.latency import LatencyBreakdownOperator
from airflow_slo_provider.operators.metrics import PushLedgerMetricsOperator
from airflow_slo_provider.operators.model_registry import PromoteModelOperator, RollbackModelOperator
from airflow_slo_provider.operators.pod import SLOCheckPodOperator
from airflow_slo_provider.operators.policy_actions import PolicyDecisionOperator, ServingDecisionOperator
from airflow_slo_provider.runtime.required_parameters import require
from tests.airflow.task_runs import Ran, run_task

SERVING = {"name": "model-server", "namespace": "serving"}
PROMOTE = {"model": "m", "version": "1"}
GOLDEN = {"golden_set": "/g.csv", "predictor": "p", "metrics": ["accuracy"], "thresholds": {"accuracy": 0.9}}

#: Operator, what else it needs, and its text parameters.
TEXTS: list[tuple[type[BaseOperator], dict[str, Any], str]] = [
    (PromoteModelOperator, PROMOTE, "model version alias expected_champion registry_path model_registry_conn_id"),
    (RollbackModelOperator, {"model": "m"}, "version reason"),
    (DeploymentRollbackOperator, SERVING, "name namespace bad_version"),
    (DeploymentSetImageOperator, {**SERVING, "images": {"a": "b"}}, "change_cause"),
    (DriftOperator, {"reference": "/r", "current": "/c"}, "name model_version report_path time_column"),
    (DriftProfileOperator, {"data": "/c", "profile_path": "/p.json"}, "model_version"),
    (GoldenSetEvaluationOperator, GOLDEN, "golden_set name model_version report_path pushgateway_conn_id"),
    (LatencyBreakdownOperator, {"service": "s"}, "service baseline model_version report_path"),
    (FreshnessCheckOperator, {"max_age": None, "model": "m", "alias": "a"}, "model alias name conn_id"),
    (CulpritOperator, {"query": "up"}, "query by"),
    (BurningCheckOperator, {"slos": "/slos"}, "slo"),
    (SLOCheckPodOperator, {"kind": "slo", "spec": {}, "image": "i"}, "kind image namespace"),
    (ServingDecisionOperator, {"decision_path": "/d", "action": "allow", "reason": "r"}, "decision_path reason held_by"),
    (PolicyDecisionOperator, {"slos": "/slos", "decision_path": "/d"}, "decision_path"),
    (PushLedgerMetricsOperator, {}, "job conn_id"),
    (PostmortemOperator, {"path": "/p"}, "path"),
    (ManualStepOperator, {"step": None, "recorder": None}, "link"),
]  # fmt: skip
CASES = [(kind, more, name) for kind, more, names in TEXTS for name in names.split()]
#: What a template gave as text, and Airflow makes a number of under native rendering.
WRITTEN = ("3", "3.10", "1e5", "0x1f", "1_000", "True")


def dag(*, native: bool = True) -> DAG:
    return DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), render_template_as_native_obj=native)


def capturing_operator(kind: type[BaseOperator], names: tuple[str, ...]) -> type[BaseOperator]:
    """The operator, which checks its parameters and returns them in place of what it does."""

    class Looked(kind):  # type: ignore[misc, valid-type]
        def execute(self, context: Any) -> Any:
            require(self)
            return {name: getattr(self, name) for name in names}

    return Looked


def rendered_value(
    kind: type[BaseOperator], more: dict[str, Any], /, *, params: dict[str, Any] | None = None, **arguments: Any
) -> Ran:
    names = tuple(arguments)
    more = {**more, **arguments}
    if "max_age" in more:
        from datetime import timedelta

        more["max_age"] = timedelta(hours=1)
    with dag():
        operator = capturing_operator(kind, names)(task_id="t", retries=3, params=params or {}, **more)
    return run_task(operator)


@pytest.mark.parametrize(("kind", "more", "name"), CASES, ids=lambda one: getattr(one, "__name__", None) or str(one)[:30])
def test_text_parameter_with_native_rendering_keeps_the_text(kind, more, name):
    for written in WRITTEN:
        ran = rendered_value(kind, more, params={"x": written}, **{name: "{{ params.x }}"})
        assert ran.xcoms["return_value"] == {name: written}, ran.error


def test_text_parameters_of_a_mapped_task_are_converted():
    with dag():
        mapped = capturing_operator(RollbackModelOperator, ("model", "version")).partial(
            task_id="t", model="{{ params.x }}", params={"x": "7.10"}
        ).expand(version=["{{ params.x }}"])  # fmt: skip
    ran = run_task(mapped, map_index=0)
    assert ran.xcoms["return_value"] == {"model": "7.10", "version": "7.10"}, ran.error


@pytest.mark.parametrize(("value", "text"), [(3, "3"), (3.5, "3.5"), ("3", "3")])
def test_number_from_an_xcom_becomes_text(value, text):
    with dag(native=False):
        before = EmptyOperator(task_id="before")
        operator = capturing_operator(RollbackModelOperator, ("version",))(task_id="t", model="m", version=before.output)
    ran = run_task(operator, xcoms={("before", "return_value"): value})
    assert ran.xcoms["return_value"] == {"version": text}, ran.error


@pytest.mark.parametrize("value", [["3"], {"version": "3"}, True, float("nan"), float("inf")])
@pytest.mark.parametrize("kind", [PromoteModelOperator, RollbackModelOperator])
def test_text_parameter_of_invalid_type_fails_without_retry(kind, value, tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", f"sqlite:///{tmp_path / 'ledger.db'}")
    with dag(native=False):
        before = EmptyOperator(task_id="before")
        operator = kind(task_id="t", model="m", version=before.output, retries=3)
    ran = run_task(operator, xcoms={("before", "return_value"): value})
    assert (ran.state, type(ran.error).__name__) == ("failed", "AirflowFailException")
    assert f"version is {value!r}, a {type(value).__name__}: write a text" in str(ran.error)


@pytest.mark.parametrize(
    ("kind", "more", "name"),
    [
        (DriftOperator, {"reference": "/r", "current": "/c"}, "columns"),
        (DriftOperator, {"reference": "/r", "current": "/c"}, "ignore"),
        (DeploymentRollbackOperator, SERVING, "checks"),
        (PushLedgerMetricsOperator, {}, "kinds"),
        (ErrorBudgetGateOperator, {"slos": "/slos"}, "select"),
    ],
)
def test_list_parameter_accepts_text_list_and_rendered_list(kind, more, name):
    def value(given: Any, **params: Any) -> Any:
        ran = rendered_value(kind, more, params=params, **{name: given})
        assert ran.state == "success", ran.error
        return getattr(ran.task, name)

    assert value("psi") == ("psi",)
    assert value("{{ params.x }}", x="3.10") == ("3.10",)
    assert value(["{{ params.x }}", "b"], x="3.10") == ("3.10", "b")
    assert value("{{ params.x }}", x=["a", "b"]) == ("a", "b")
    assert rendered_value(kind, more, params={"x": {"a": 1}}, **{name: "{{ params.x }}"}).state == "failed"


@pytest.mark.parametrize("value", [{"a": 1}, b"ab", True])
def test_list_parameter_of_invalid_type_fails_without_retry(value):
    with dag():
        operator = DriftOperator(task_id="t", reference="/r", current="/c", columns=value, retries=3)
    ran = run_task(operator)
    assert (ran.state, type(ran.error).__name__) == ("failed", "AirflowFailException")
    assert f"columns is {value!r}, a {type(value).__name__}: write a text" in str(ran.error)


def test_rendered_list_without_native_rendering_fails_with_a_remedy():
    with dag(native=False):
        operator = DriftOperator(
            task_id="t", reference="/r", current="/c", columns="{{ params.x }}", params={"x": ["a"]}, retries=3
        )
    ran = run_task(operator)
    assert (ran.state, type(ran.error).__name__) == ("failed", "AirflowFailException")
    assert "columns is the text of a list or mapping, \"['a']\": pass the XCom itself (task.output)" in str(ran.error)


def test_mapping_parameter_with_native_rendering_keeps_texts():
    more = {**SERVING, "variables": {"MODEL_VERSION": "{{ params.x }}", "N": 3}}
    images = {"server": "{{ params.x }}"}
    ran = rendered_value(DeploymentSetImageOperator, more, params={"x": "3.10"}, images=images)
    assert ran.xcoms["return_value"] == {"images": {"server": "3.10"}}
    ran = rendered_value(DeploymentSetImageOperator, {**SERVING, "images": {"a": "b"}}, variables={"MODEL_VERSION": 3})
    assert ran.xcoms["return_value"] == {"variables": {"MODEL_VERSION": "3"}}


@pytest.mark.parametrize(
    ("make", "name", "value"),
    [
        (lambda **more: DriftOperator(reference="/r", current="/c", **more), "tests", ("psi",)),
        (lambda **more: DriftOperator(reference="/r", current="/c", **more), "categorical", ("age",)),
        (lambda **more: DriftOperator(reference="/r", current="/c", **more), "prediction_columns", ("age",)),
        (lambda **more: DriftOperator(reference="/r", current="/c", **more), "label_columns", ("age",)),
        (lambda **more: GoldenSetEvaluationOperator(**GOLDEN, **more), "fail_on", frozenset({"fail"})),
        (lambda **more: GoldenSetEvaluationOperator(**GOLDEN, **more), "slices", ("age",)),
        (lambda **more: LatencyBreakdownOperator(service="s", **more), "fail_on", frozenset({"fail"})),
        (lambda **more: LatencyBreakdownOperator(service="s", **more), "version_keys", ("model",)),
        (lambda **more: SLOCheckPodOperator(kind="slo", spec={}, image="i", **more), "fail_on", frozenset({"fail"})),
        (lambda **more: SLOCheckPodOperator(kind="slo", spec={}, image="i", **more), "command", ("python",)),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_single_text_is_one_value(make, name, value):
    (text,) = value
    assert getattr(make(task_id="t", **{name: text}), name) == value


def test_a_known_good_version_as_text_is_one_version(tmp_path, monkeypatch):
    from airflow_slo_provider.operators.kubernetes import _read_versions

    assert (_read_versions("k", "v10"), _read_versions("k", 3), _read_versions("k", [3, "v10"])) == (("v10",), (3,), (3, "v10"))
    for wrong in ([], {"a": 1}, "['v10']", [3.5], [True]):
        with pytest.raises(ValueError, match=r"write a revision number, an image, a model version, or a list"):
            _read_versions("k", wrong)
