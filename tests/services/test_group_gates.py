"""A gate of one model version, and of all, on a real Prometheus: what each version did, and what the gate remembers of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.airflow.gate_tasks import followed, gate
from tests.airflow.gates import SERVICE, LedgerFile, data_source, policy
from tests.airflow.task_runs import Ran, run_task
from tests.airflow.test_documented_dags import read_dags
from tests.services.histories import END
from tests.services.prometheus_server import running_prometheus
from tests.support import REPO

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
#: v2 fails half of its requests for half an hour that ends here.
AFTER_FAILURES = END - 5 * HOUR - 30 * MINUTE
#: Half of the failures have left the window: 37.5 % of the budget are left again.
LATER = END - HOUR - 45 * MINUTE
SPEC = """
  rules:
    - name: budget-spent
      action: freeze
      when: {signal: remainingBudget, enter: 0, exit: 0.5}
"""


def openmetrics() -> Iterator[str]:
    """Write ten hours of requests of three versions, 100 a minute; v0 was retired six hours before the end."""
    yield "# HELP predictions Predictions.\n# TYPE predictions counter\n"
    start = int((END - 10 * HOUR).timestamp())
    for version, last in (("v0", 240), ("v1", 600), ("v2", 600)):
        for code in ("200", "500"):
            value = 0
            for minute in range(last + 1):
                fails = version == "v2" and 240 < minute <= 270
                bad = 50 if fails else 0
                value += (bad if code == "500" else 100 - bad) if minute else 0
                labels = f'model_version="{version}",zone="eu",code="{code}"'
                yield f"predictions_total{{{labels}}} {value} {start + minute * 60}\n"
    yield "# HELP lost Predictions of a version that fails and vanishes, and of one that does not.\n# TYPE lost counter\n"
    for version, last in (("v1", 600), ("v4", 270)):
        for code in ("200", "500"):
            for minute in range(last + 1):
                value = minute if (code == "500") == (version == "v4") else 0
                yield f'lost_total{{model_version="{version}",code="{code}"}} {value} {start + minute * 60}\n'
    yield "# EOF\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_prometheus(tmp_path_factory.mktemp("versions"), blocks=openmetrics()) as url:
        yield url


@pytest.fixture
def ledger_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LedgerFile:
    ledger = LedgerFile(tmp_path / "ledger.db")
    monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", f"sqlite:///{ledger.path}")
    return ledger


def documents(*, labels: str = "model_version", metric: str = "predictions_total", annotations: str = "") -> str:
    by, option = (f" by ({labels}) ", f"airflow-slo/group-by: {labels}") if labels else ("", "")
    count = f"sum{by}(increase({metric}%s[{{{{.window}}}}]))"
    return (
        SERVICE
        + policy(SPEC)
        + data_source("Prometheus", "prometheus_default")
        + f"""apiVersion: openslo/v1
kind: SLO
metadata:
  name: answered
  annotations:
    airflow-slo/error-budget-policy: the-policy
    airflow-slo/min-coverage: "0"
    {option}
    {annotations}
spec:
  service: shop
  indicator:
    metadata: {{name: answered-indicator}}
    spec:
      ratioMetric:
        bad:
          metricSource:
            metricSourceRef: source
            spec: {{query: '{count % '{code="500"}'}'}}
        total:
          metricSource:
            metricSourceRef: source
            spec: {{query: '{count % ""}'}}
  timeWindow: [{{duration: 4h, isRolling: true}}]
  budgetingMethod: Occurrences
  objectives: [{{target: 0.95}}]
"""
    )


def run_gate(url: str, text: str, run_id: str = "run", **arguments: Any) -> Ran:
    address = urlsplit(url)
    connection = {"conn_type": "prometheus", "host": address.hostname, "port": address.port}
    return run_task(gate(text, **arguments), connections={"prometheus_default": connection}, run_id=run_id)


def outcomes(ran: Ran) -> dict[str, str]:
    return {slo["group"]["model_version"]: slo["status"] for slo in ran.xcoms["decision"]["slos"]}


@pytest.mark.parametrize(
    ("version", "branch"), [("v1", "promote"), ("v2", "hold"), ("v3", "look"), ("", "failed"), ("{{ none }}", "look")]
)
def test_gate_evaluates_one_version(server: str, ledger_file: LedgerFile, version: str, branch: str) -> None:
    group = {"model_version": "{{ '" + version + "' }}" if "{" not in version else version}
    ran = run_gate(server, documents(), at=AFTER_FAILURES, group=group)
    version = "None" if "{" in version else version
    if branch == "failed":
        assert ran.state == "failed"
        assert "the value of model_version in the group is empty" in str(ran.error)
        return
    assert followed(ran) == {branch}, ran.log
    assert set(outcomes(ran)) == {version}
    (check,) = ledger_file.checks("slo")
    assert (check.result.name, check.result.labels) == ("answered", {"model_version": version})


def test_gate_without_group_evaluates_all_versions(server: str, ledger_file: LedgerFile) -> None:
    ran = run_gate(server, documents(), at=AFTER_FAILURES)
    assert followed(ran) == {"hold"}
    assert outcomes(ran) == {"v2": "EXHAUSTED", "v0": "HEALTHY", "v1": "HEALTHY"}
    assert next(iter(outcomes(ran))) == "v2", "the worst first"
    assert 'answered{model_version="v2"}' in ran.log


@pytest.mark.parametrize(
    ("expected", "branch"), [("", "look"), ("v1, v2", "promote"), ("v0, v1, v2", "look"), ("v1, v3", "look")]
)
def test_retired_version_blocks_unless_other_versions_are_expected(
    server: str, ledger_file: LedgerFile, expected: str, branch: str
) -> None:
    """v0 has vanished, and was used within the window; v3 has never existed."""
    text = documents(annotations=f"airflow-slo/expected-groups: '{expected}'" if expected else "").replace("4h", "9h")
    ran = run_gate(server, text.replace("target: 0.95", "target: 0.5"), at=END)
    assert followed(ran) == {branch}, ran.log
    assert outcomes(ran)["v0"] == "NO_DATA"
    if branch == "promote":
        (retired,) = [check for check in ledger_file.checks("slo") if check.result.labels == {"model_version": "v0"}]
        assert retired.result.evidence["retired"] is True


def test_version_without_earlier_freeze_is_allowed(server: str, ledger_file: LedgerFile) -> None:
    ran = run_gate(server, documents(), at=LATER + MINUTE, group={"model_version": "v2"})
    assert followed(ran) == {"promote"}, ran.log


def test_each_version_keeps_its_own_freeze(server: str, ledger_file: LedgerFile) -> None:
    """37.5 % are left, which does not freeze a version that was never frozen, and does not unfreeze one that was."""
    run_gate(server, documents(), "first", at=AFTER_FAILURES)
    ran = {
        version: run_gate(server, documents(), f"then {version}", at=LATER + MINUTE, group={"model_version": version})
        for version in ("v1", "v2")
    }
    assert {version: followed(each) for version, each in ran.items()} == {"v1": {"promote"}, "v2": {"hold"}}


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("", "model_version"),
        ("model_version", ""),
        ("model_version", "model_version,zone"),
        ("model_version,zone", "model_version"),
        ("model_version", "zone"),
    ],
)
def test_new_or_removed_label_does_not_unfreeze(server: str, ledger_file: LedgerFile, first: str, then: str) -> None:
    """What is left then is too little to unfreeze, and enough not to freeze: of all versions together with another target."""
    targets = ["0.99" if labels == "zone" else "0.98" if not labels else "0.95" for labels in (first, then)]
    before, after = (
        documents(labels=labels).replace("0.95", target) for labels, target in zip((first, then), targets, strict=True)
    )
    at = LATER + MINUTE
    assert run_gate(server, before, "first", at=AFTER_FAILURES).xcoms["decision"]["outcome"] == "frozen"
    ran = run_gate(server, after, "then", at=at)
    frozen = {slo["name"]: slo["remaining"] for slo in ran.xcoms["decision"]["slos"]}
    assert ran.xcoms["decision"]["outcome"] == "frozen", frozen


def test_version_without_block_is_allowed_with_the_new_label(server: str, ledger_file: LedgerFile) -> None:
    run_gate(server, documents(), "first", at=AFTER_FAILURES)
    group = {"model_version": "v1", "zone": "eu"}
    ran = run_gate(server, documents(labels="model_version,zone"), "then", at=LATER, group=group)
    assert followed(ran) == {"promote"}


@pytest.mark.parametrize(("annotations", "outcome"), [("", "frozen"), ("airflow-slo/expected-groups: v1", "allowed")])
def test_frozen_version_that_vanishes_stays_frozen(server: str, ledger_file: LedgerFile, annotations: str, outcome: str) -> None:
    """Its window has no events any more; only the list of expected versions says that it may be gone."""
    text = documents(metric="lost_total", annotations=annotations).replace("4h", "1h")
    text = text.replace("spec:\n\n  rules", "spec:\n  coolDown: 1d\n  rules")
    assert run_gate(server, text, "first", at=AFTER_FAILURES).xcoms["decision"]["outcome"] == "frozen"
    for hours in (2, 3):
        ran = run_gate(server, text, f"after {hours}", at=AFTER_FAILURES + hours * HOUR)
        assert ran.xcoms["decision"]["outcome"] == outcome


def test_block_of_a_version_lasts_while_the_versions_cannot_be_found(server: str, ledger_file: LedgerFile) -> None:
    run_gate(server, documents(), "first", at=AFTER_FAILURES)
    text = documents(annotations="airflow-slo/max-groups: '1'")
    ran = run_gate(server, text, "then", at=LATER)
    assert ran.state == "failed", "more versions than max-groups is an error that a retry does not fix"
    (failed,) = [check for check in ledger_file.checks("slo") if not check.result.labels]
    assert failed.result.evidence["outcome"] == "frozen"


@pytest.mark.parametrize(
    ("version", "at", "branch"),
    [
        ("v1", AFTER_FAILURES, "promote"),
        ("v2", AFTER_FAILURES, "remove_canary"),
        ("v2", END + 30 * MINUTE, "promote"),
        ("v0", END, "failed"),
    ],
)
def test_canary_example_promotes_version_that_keeps_its_slo(
    server: str, ledger_file: LedgerFile, version: str, at: datetime, branch: str
) -> None:
    (dag,) = read_dags(REPO / "dags" / "canary_gate.py").values()
    task = dag.get_task("gate")
    task.at = at
    address = urlsplit(server)
    connection = {"conn_type": "prometheus", "host": address.hostname, "port": address.port}
    ran = run_task(task, connections={"prometheus_default": connection}, conf={"version": version})
    assert ran.state == ("failed" if branch == "failed" else "success"), ran.log
    if branch != "failed":
        assert {"promote", "keep_canary", "remove_canary"} - ran.skipped == {branch}


def test_group_of_slo_without_group_by_fails(server: str, ledger_file: LedgerFile) -> None:
    ran = run_gate(server, documents(labels=""), at=AFTER_FAILURES, group={"model_version": "v1"})
    assert ran.state == "failed"
    assert "is evaluated by no label, not by model_version" in str(ran.error)
