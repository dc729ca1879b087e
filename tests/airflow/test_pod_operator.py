"""Checks in pods. No container runs here: what the pod's container would run is run as a process, from the pod's own manifest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk.exceptions import AirflowFailException

from airflow_slo_provider.checks.envelope import serialise
from airflow_slo_provider.exceptions import CheckError
from airflow_slo_provider.ledger import Ledger, open_ledger
from airflow_slo_provider.operators.pod import SLOCheckPodOperator
from airflow_slo_provider.results import CheckResult, Verdict
from tests.airflow.task_runs import Ran, resume, run_task
from tests.support import REPO

OWN_CHECK = """
import os
from airflow_slo_provider.results import CheckResult

def run(spec):
    if "error" in spec:
        raise {"value": ValueError, "os": OSError}[spec["error"]]("no such luck")
    facts = {"value": 0.9, "model_version": os.environ.get("MODEL"), "verdict": spec.get("verdict", "pass")}
    return [CheckResult(kind="golden_set", name=spec["name"], **facts)] * spec.get("times", 1)
"""


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", url)
    return open_ledger(url)


class Pods:
    """Stands in for the cluster's nodes."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.manifests: list[Any] = []
        self.without_result = False

    def run(self, operator: Any, context: Any) -> Any:
        """Run the base container of the pod that an operator asks for, and read what it leaves for the sidecar."""
        operator.name = operator._set_name(operator.name)
        pod = operator.build_pod_request_obj(context)
        self.manifests.append(pod)
        container = pod.spec.containers[0]
        left = self.home / "return.json"
        left.unlink(missing_ok=True)
        assert container.command == ["python", "-m", "airflow_slo_provider"]
        assert container.args[-1] == "--xcom"
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{REPO}:{self.home}"}
        environment |= {one.name: one.value for one in container.env or []}
        command = [sys.executable, *container.command[1:], *container.args, str(left)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        return None if self.without_result else json.loads(left.read_text())


@pytest.fixture
def pods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pods:
    (tmp_path / "my_checks.py").write_text(OWN_CHECK)
    config = tmp_path / "kubeconfig"
    config.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", "clusters": [{"name": "c", "cluster": {"server": "http://x"}}],
                                  "users": [], "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                                  "current-context": "x"}))  # fmt: skip
    extra = {"kube_config_path": str(config), "namespace": "serving"}
    monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps({"conn_type": "kubernetes", "extra": extra}))
    found = Pods(tmp_path)

    def execute_sync(self: Any, context: Any) -> Any:
        monkeypatch.setattr(KubernetesPodOperator, "extract_xcom", lambda self: found.run(self, context))
        return self.extract_xcom()

    monkeypatch.setattr(KubernetesPodOperator, "execute_sync", execute_sync)
    return found


def run(spec: Any, **arguments: Any) -> Ran:
    kind = arguments.pop("kind", "my_checks:run")
    run_arguments = {name: arguments.pop(name) for name in ("conf",) if name in arguments}
    operator = SLOCheckPodOperator(task_id="check", kind=kind, spec=spec, image="registry.example/m:1", retries=2, **arguments)
    return run_task(operator, **run_arguments)


@pytest.mark.parametrize("spec", [{"name": "checkout", "times": 2}, '{"name": "checkout"}'])
def test_result_of_pod_is_recorded(pods: Pods, ledger: Ledger, spec: Any) -> None:
    ran = run(spec, pod={"env_vars": {"MODEL": "7"}, "service_account_name": "checks"})
    assert ran.state == "success"
    (recorded,) = ledger.checks()
    assert (recorded.result.kind, recorded.result.name, recorded.result.verdict) == ("golden_set", "checkout", Verdict.PASS)
    assert (recorded.result.value, recorded.result.model_version, recorded.key.task_id) == (0.9, "7", "check")
    assert ran.xcoms["return_value"][0] == recorded.result.to_dict()
    pod = pods.manifests[0]
    assert (pod.metadata.namespace, pod.spec.service_account_name) == ("serving", "checks")
    assert [one.name for one in pod.spec.containers] == ["base", "airflow-xcom-sidecar"]
    assert "cannot be called outside" not in ran.log


@pytest.mark.parametrize(
    ("verdict", "fail_on", "state"),
    [
        ("warn", None, "success"),
        ("fail", None, "failed"),
        ("unknown", None, "failed"),
        ("warn", ["warn", "fail", "unknown"], "failed"),
        ("fail", [], "success"),
    ],
)
def test_verdict_in_fail_on_fails_task(pods: Pods, ledger: Ledger, verdict: str, fail_on: list[str] | None, state: str) -> None:
    ran = run({"name": "m", "verdict": verdict}, **({} if fail_on is None else {"fail_on": fail_on}))
    assert ran.state == state
    assert ledger.checks()[0].result.verdict == verdict
    assert ran.xcoms["return_value"][0]["verdict"] == verdict


@pytest.mark.parametrize(
    ("spec", "kind", "state", "text"),
    [
        ({"error": "value"}, "my_checks:run", "failed", "no such luck"),
        ({"error": "os"}, "my_checks:run", "up_for_retry", "OSError: no such luck"),
        ({"times": 0, "name": "m"}, "my_checks:run", "failed", "returned no results"),
        ({}, "my_checks:run", "failed", "KeyError: 'name'"),
        ({}, "no_such_module:run", "failed", "needs no_such_module, which is not installed here"),
        ({}, "my_checks:walk", "failed", "has no function 'walk'"),
        ({}, "fresh", "failed", "there is no check of kind 'fresh', only "),
        ("[1]", "my_checks:run", "failed", "not an object"),
        ("{", "my_checks:run", "failed", "the spec cannot be read"),
    ],
)
def test_check_error_is_recorded_as_unknown(pods: Pods, ledger: Ledger, spec: Any, kind: str, state: str, text: str) -> None:
    ran = run(spec, kind=kind)
    assert ran.state == state
    assert isinstance(ran.error, AirflowFailException if state == "failed" else CheckError)
    assert text in str(ran.error)
    (left,) = ledger.checks()
    assert (left.result.kind, left.result.name, left.result.verdict) == ("pod_check", "a_dag.check", Verdict.UNKNOWN)
    assert text in left.result.message


def test_pod_without_result_fails(pods: Pods, ledger: Ledger) -> None:
    pods.without_result = True
    ran = run({"name": "m"})
    assert ran.state == "up_for_retry"
    assert [one.result.verdict for one in ledger.checks()] == [Verdict.UNKNOWN]
    assert "left no result" in str(ran.error)


def test_template_fields_are_rendered(pods: Pods, ledger: Ledger) -> None:
    query = "rate(x[{{.window}}])"
    spec = {"name": "{{ dag_run.conf['name'] }}", "query": query}
    ran = run(
        spec,
        pod={"labels": {"run": "{{ run_id }}"}, "env_vars": {"MODEL": "{{ dag_run.conf['v'] }}"}},
        conf={"name": "n", "v": 3},
    )
    assert ran.state == "success"
    assert (ledger.checks()[0].result.name, ledger.checks()[0].result.model_version) == ("n", "3")
    arguments = pods.manifests[0].spec.containers[0].args
    assert json.loads(arguments[arguments.index("--spec") + 1])["query"] == query
    assert pods.manifests[0].metadata.labels["run"] == "a_run"


def test_deferred_pod_result_is_recorded(pods: Pods, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    def execute_async(self: Any, context: Any) -> None:
        from airflow.providers.cncf.kubernetes.triggers.pod import KubernetesPodTrigger

        assert self.deferrable
        self.defer(trigger=KubernetesPodTrigger(**waiting), method_name="trigger_reentry")

    from datetime import UTC, datetime

    waiting = {"pod_name": "p", "pod_namespace": "n", "trigger_start_time": datetime.now(UTC), "base_container_name": "base"}

    def trigger_reentry(self: Any, context: Any, event: Any) -> Any:
        assert event == {"status": "success"}
        monkeypatch.setattr(KubernetesPodOperator, "extract_xcom", lambda self: found)
        return self.extract_xcom()

    found = serialise([CheckResult(kind="golden_set", name="m", verdict=Verdict.PASS)])
    monkeypatch.setattr(KubernetesPodOperator, "execute_async", execute_async)
    monkeypatch.setattr(KubernetesPodOperator, "trigger_reentry", trigger_reentry)
    operator = SLOCheckPodOperator(task_id="check", kind="my_checks:run", spec={}, image="i", deferrable=True)
    ran = run_task(operator)
    assert ran.state == "deferred"
    assert resume(operator, ran.deferral, {"status": "success"}).state == "success"
    assert ledger.checks()[0].result.name == "m"


def test_pod_ended_before_deferral_is_recorded(pods: Pods, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider's operator drops the result then; see ``KubernetesPodOperator.invoke_defer_method``."""
    found = serialise([CheckResult(kind="golden_set", name="m", verdict=Verdict.PASS)])
    monkeypatch.setattr(KubernetesPodOperator, "extract_xcom", lambda self: found)
    monkeypatch.setattr(KubernetesPodOperator, "execute_async", lambda self, context: self.extract_xcom() and None)
    operator = SLOCheckPodOperator(task_id="check", kind="my_checks:run", spec={}, image="i", deferrable=True)
    assert run_task(operator).state == "success"
    assert ledger.checks()[0].result.name == "m"


def test_invalid_pod_arguments_fail(pods: Pods, ledger: Ledger) -> None:
    ran = run({"name": "m"}, pod={"contaner_resources": {}})
    assert ran.state == "failed"
    assert "contaner_resources" in str(ran.error)
    for arguments, text in (({"pod": {"image": "x"}}, "set by this operator"), ({"fail_on": ["failed"]}, "no verdict")):
        with pytest.raises(ValueError, match=text):
            SLOCheckPodOperator(task_id="t", kind="slo", spec={}, image="i", **arguments)


def test_killed_task_deletes_pod(pods: Pods, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[Any] = []
    monkeypatch.setattr(KubernetesPodOperator, "on_kill", lambda self: killed.append(self.image))

    def kill(self: Any, context: Any) -> None:
        context["ti"].task.on_kill()
        raise RuntimeError("terminated")

    monkeypatch.setattr(KubernetesPodOperator, "execute_sync", kill)
    operator = SLOCheckPodOperator(task_id="check", kind="my_checks:run", spec={"name": "m"}, image="i")
    operator.on_kill()
    assert killed == []
    assert run_task(operator).state == "failed"
    assert killed == ["i"]


def test_operator_and_command_load_no_unneeded_library() -> None:
    operator = "from airflow_slo_provider.operators.pod import SLOCheckPodOperator as P\n"
    operator += "P(task_id='t', kind='slo', spec={}, image='i')\n"
    command = "from airflow_slo_provider.__main__ import main\nmain(['check', 'json:loads', '--spec', '{}'])\n"
    for code, banned in (
        (operator, ("kubernetes", "kubernetes_asyncio")),
        (command, ("airflow", "kubernetes", "sqlalchemy", "pandas")),
    ):
        report = f"import sys\n{code}loaded = [name for name in sys.modules if name.split('.')[0] in {banned}]\n"
        report += "sys.exit(repr(loaded[:3]) if loaded else 0)\n"
        done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
