"""The latency breakdown as a task: what it records, its final state, and the branch it follows."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airflow_slo_provider.operators.latency import LatencyBreakdownBranchOperator, LatencyBreakdownOperator
from airflow_slo_provider.runtime.recording.ledger_connection import open_default_ledger
from tests.airflow.task_runs import in_dag, resume, run_task
from tests.services.trace_replay import TempoReplay, serving
from tests.support import acceptance

INTERVAL = (datetime(2026, 11, 23, 21, 52, tzinfo=UTC), datetime(2026, 11, 23, 21, 53, tzinfo=UTC))
GENEROUS = {"ml_prediction_request": {"p50": 1, "p99": 1}, "model_inference": "1s"}


@pytest.fixture(autouse=True)
def ledger(tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", f"sqlite:///{tmp_path / 'ledger.db'}")


def files(path: Path | str | None = None) -> dict[str, dict[str, object]]:
    where = str(path or acceptance("traces", "otlp.json"))
    return {"traces": {"conn_type": "trace_store", "extra": {"kind": "otlp_json", "path": where}}}


def operator(kind: type = LatencyBreakdownOperator, **arguments: object):
    given = {"task_id": "latency", "service": "model-server", "trace_store_conn_id": "traces", "min_spans": 30, **arguments}
    return kind(**given)


def branch(**arguments: object):
    ways = {
        "follow_task_ids_if_within": "go_on", "if_exceeded": "stop", "if_slower": "roll_back", "if_warning": "look",
        "if_unknown": "ask", **arguments,
    }  # fmt: skip
    return in_dag(operator(LatencyBreakdownBranchOperator, **ways), ("go_on", "stop", "roll_back", "look", "ask"))


def recorded() -> dict[str, object]:
    with open_default_ledger() as ledger:
        return {one.result.name: one.result for one in ledger.checks()}


def test_latency_over_budget_fails_without_retry_and_is_recorded():
    ran = run_task(operator(retries=3), connections=files(), data_interval=INTERVAL)
    assert ran.state == "failed"
    assert "ml_prediction_request p50 is 64.29 ms, budget 50 ms" in str(ran.error)
    checks = recorded()
    assert len(checks) == 7
    p99 = checks["model-server/ml_prediction_request/p99"]
    assert (p99.kind, p99.verdict.value, p99.model_version) == ("latency", "fail", "v2")
    assert (p99.interval_start, p99.interval_end) == INTERVAL
    assert (p99.good, p99.total, p99.unit) == (78, 80, "seconds")
    assert checks["model-server/version"].evidence["span"] == "model_inference"
    found = ran.xcoms["return_value"]
    assert (found["verdict"], found["slower"], found["span"], found["traces"]) == ("fail", "v2", "model_inference", 240)
    assert "roll back v2" in ran.log


def test_latency_within_budget_succeeds_and_slower_version_is_a_warning(tmp_path):
    ran = run_task(operator(budgets=GENEROUS, report_path=str(tmp_path / "r")), connections=files(), data_interval=INTERVAL)
    assert ran.state == "success", ran.error
    found = ran.xcoms["return_value"]
    assert (found["verdict"], found["slower"]) == ("warn", "v2")
    assert len(json.dumps(found)) < 4000
    report = tmp_path / "r" / "a_dag" / "a_run" / "latency" / "latency.html"
    assert str(report) in found["report"]
    assert "model_inference is slower since v2" in report.read_text()
    assert recorded()["model-server/version"].evidence["report"] == found["report"]
    strict = run_task(operator(budgets=GENEROUS, slower="fail"), connections=files(), data_interval=INTERVAL)
    assert strict.state == "failed"
    calm = run_task(operator(budgets=GENEROUS, slower="ignore"), connections=files(), data_interval=INTERVAL)
    assert calm.xcoms["return_value"]["verdict"] == "pass"


def test_latency_retry_replaces_its_own_records():
    for number in (1, 2):
        run_task(operator(retries=3), connections=files(), data_interval=INTERVAL, try_number=number)
    with open_default_ledger() as ledger:
        assert len(ledger.checks()) == 7


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"service": "nobody"}, "no traces of this service"),
        ({"limit": 20}, "limit of 20 traces"),
        ({"min_spans": 1000}, "spans are too few"),
        ({"budgets": {"gpu": "1ms"}}, "no such spans of version v2"),
        ({"attributes": {"model_version": "v9"}}, "no traces of this service"),
    ],
)
def test_latency_unknown_fails_the_task_and_is_recorded(arguments, reason):
    ran = run_task(operator(retries=3, **arguments), connections=files(), data_interval=INTERVAL)
    assert ran.state == "failed"
    assert "unknown" in str(ran.error)
    assert reason in str(ran.error)
    assert "pass" not in {check.verdict.value for check in recorded().values()}


@pytest.mark.parametrize("baseline", [None, "", "{{ params.baseline or '' }}"])
def test_latency_empty_baseline_is_the_version_before(baseline):
    task = operator(budgets=GENEROUS, slower="fail", baseline=baseline, params={"baseline": None})
    ran = run_task(task, connections=files(), data_interval=INTERVAL)
    assert "model_inference is slower since v2" in str(ran.error)


@pytest.mark.parametrize(
    ("arguments", "verdict"),
    [
        ({"version_keys": ["model_versoin"], "slower": "fail"}, "unknown"),
        ({"version_keys": ["model_versoin"]}, "unknown"),
        ({"version_keys": ["model_versoin"], "slower": "ignore"}, "unknown"),
        ({"slower": "fail"}, "unknown"),
        ({"baseline": "v1"}, "unknown"),
        ({}, "pass"),  # nobody has said that there are versions
    ],
)
def test_latency_spans_without_version_follow_the_arguments(tmp_path, arguments, verdict):
    traces = tmp_path / "traces.json"
    traces.write_text(acceptance("traces", "otlp.json").read_text().replace("model_version", "another_attribute"))
    ran = run_task(operator(budgets=GENEROUS, **arguments), connections=files(traces), data_interval=INTERVAL)
    assert ran.xcoms["return_value"]["verdict"] == verdict, ran.error
    if verdict == "unknown":
        assert recorded()["model-server/version"].verdict.value == "unknown"
        assert ("versions: none" if "baseline" in arguments else "; check version_keys") in str(ran.error)


def test_latency_allow_truncated_assesses_a_truncated_answer():
    ran = run_task(
        operator(budgets=GENEROUS, limit=100, allow_truncated=True, slower="ignore"), connections=files(), data_interval=INTERVAL
    )
    assert ran.state == "success"
    assert ran.xcoms["return_value"]["truncated"] is True


def test_latency_unreachable_store_is_retried():
    gone = {"traces": {"conn_type": "trace_store", "host": "http://127.0.0.1:1", "extra": {"kind": "tempo", "retries": 0}}}
    ran = run_task(operator(retries=1), connections=gone, data_interval=INTERVAL)
    assert ran.state == "up_for_retry"
    assert recorded()["model-server"].verdict.value == "unknown"
    with serving(TempoReplay()) as tempo:
        tempo.fail = [(400, "bad")] * 5
        bad = {"traces": {"conn_type": "trace_store", "host": tempo.url, "extra": {"kind": "tempo"}}}
        assert run_task(operator(retries=1), connections=bad, data_interval=INTERVAL).state == "failed"
    missing = run_task(operator(retries=1), connections=files("/nowhere"), data_interval=INTERVAL)
    assert missing.state == "failed"


def test_latency_through_tempo_is_equal():
    with serving(TempoReplay()) as tempo:
        connections = {"traces": {"conn_type": "trace_store", "host": tempo.url, "extra": {"kind": "tempo"}}}
        ran = run_task(operator(), connections=connections, data_interval=INTERVAL)
    other = run_task(operator(), connections=files(), data_interval=INTERVAL)
    assert ran.xcoms["return_value"] == other.xcoms["return_value"]


def test_latency_version_keys_are_selected_in_tempo():
    """A search of Tempo leaves out every attribute that is not selected; then no span would have a version."""
    with serving(TempoReplay()) as tempo:
        connections = {"traces": {"conn_type": "trace_store", "host": tempo.url, "extra": {"kind": "tempo"}}}
        run_task(operator(version_keys=["release", "ml version"]), connections=connections, data_interval=INTERVAL)
        searches = [params["q"] for path, params in tempo.requests if path == "/api/search"]
    assert searches
    assert all('span.release, span."ml version"' in search for search in searches)


# --- the interval


def test_latency_manual_run_reads_the_last_window(tmp_path):
    before = datetime.now(UTC)
    ran = run_task(operator(window=timedelta(minutes=5)), connections=files())
    assert "no traces" in str(ran.error)
    check = recorded()["model-server/traces"]
    assert check.interval_end - check.interval_start == timedelta(minutes=5)
    assert before <= check.interval_end + timedelta(minutes=1) <= datetime.now(UTC)


def test_latency_start_and_end_are_templates():
    task = operator(start="{{ params.from }}", end="2026-11-23T21:53:00+00:00", params={"from": "2026-11-23T21:52:00Z"})
    ran = run_task(task, connections=files())
    assert ran.xcoms["return_value"]["traces"] == 240
    for wrong, message in (("yesterday", "ISO 8601"), ("2026-11-23T21:53:00", "no time zone")):
        assert message in str(run_task(operator(end=wrong), connections=files()).error)
    nothing = run_task(operator(start="2026-11-23T22:00:00Z", end="2026-11-23T21:53:00Z"), connections=files())
    assert "is not before end" in str(nothing.error)


@pytest.mark.parametrize("make", [operator, branch])
def test_latency_recent_interval_defers(make):
    end = datetime.now(UTC) - timedelta(seconds=5)
    task = make(lag=timedelta(seconds=60))
    ran = run_task(task, connections=files(), data_interval=(end - timedelta(minutes=1), end))
    assert ran.state == "deferred"
    assert ran.deferral.trigger_kwargs["moment"]
    task.lag = timedelta(0)
    again = resume(task, ran.deferral, datetime.now(UTC), connections=files(), data_interval=INTERVAL)
    assert again.state in ("failed", "success")
    assert recorded()


# --- branches


@pytest.mark.parametrize(
    ("arguments", "taken"),
    [
        ({"budgets": GENEROUS, "slower": "ignore"}, "go_on"),
        ({"budgets": GENEROUS}, "roll_back"),
        ({"budgets": GENEROUS, "if_slower": None}, "look"),
        ({"budgets": GENEROUS, "if_slower": None, "if_warning": None}, "go_on"),
        ({"slower": "ignore"}, "stop"),
        ({}, "roll_back"),
        ({"slower": "ignore", "if_exceeded": None}, None),
        ({"service": "nobody"}, "ask"),
    ],
)
def test_latency_branch_follows_the_verdict(arguments, taken):
    ran = run_task(branch(**arguments), connections=files(), data_interval=INTERVAL)
    assert ran.state in ("success", "skipped"), ran.error
    everything = {"go_on", "stop", "roll_back", "look", "ask"}
    assert ran.skipped == everything - {taken}
    assert ran.xcoms["latency"]["service"] == arguments.get("service", "model-server")
    assert recorded()


@pytest.mark.parametrize(("arguments", "taken"), [({}, "ask"), ({"slower": "ignore"}, "go_on"), ({"if_unknown": None}, None)])
def test_latency_branch_missing_baseline_is_unknown(arguments, taken):
    ran = run_task(
        branch(baseline="v0", budgets=GENEROUS, model_version="v2", **arguments), connections=files(), data_interval=INTERVAL
    )
    assert ran.state == ("failed" if taken is None else "success"), ran.error
    checks = {name: check.verdict.value for name, check in recorded().items()}
    assert checks.pop("model-server/version", None) == (None if "slower" in arguments else "unknown")
    assert set(checks.values()) == {"pass"}
    if taken is not None:
        assert ran.skipped == {"go_on", "stop", "roll_back", "look", "ask"} - {taken}
    if taken != "go_on":
        assert "no spans of version v0" in ran.xcoms["latency"]["why"]


def test_latency_branch_without_if_unknown_fails():
    ran = run_task(branch(service="nobody", if_unknown=None), connections=files(), data_interval=INTERVAL)
    assert ran.state == "failed"
    assert recorded()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"slower": "maybe"}, "slower"),
        ({"limit": 0}, "limit"),
        ({"window": timedelta(0)}, "window"),
        ({"fail_on": ("pass",)}, "fail_on"),
        ({"version_keys": ""}, "version_keys"),
    ],
)
def test_latency_invalid_arguments_fail_at_parse_time(arguments, message):
    with pytest.raises(ValueError, match=message):
        operator(**arguments)


def test_latency_ids_paths_and_queries_are_templates():
    assert {"service", "trace_store_conn_id", "start", "end", "attributes", "budgets", "report_path"} <= set(
        LatencyBreakdownOperator.template_fields
    )
    bad = run_task(operator(retries=3, budgets={"a": "soon"}), connections=files(), data_interval=INTERVAL)
    assert type(bad.error).__name__ == "AirflowFailException", "the text stays as it is"
    assert "budget of a" in str(bad.error)


def test_latency_docstring_example_parses(tmp_path):
    import re
    import textwrap

    from tests.airflow.test_documented_dags import read_dags

    match = re.search(r"\.\. code-block:: python\n\n((?:        .*\n|\n)+)", LatencyBreakdownOperator.__doc__ or "")
    assert match
    head = "from airflow.sdk import DAG\nfrom airflow_slo_provider.operators.latency import *\nwith DAG('documented'):\n"
    (tmp_path / "documented.py").write_text(head + textwrap.indent(textwrap.dedent(match[1]), "    "))
    (dag,) = read_dags(tmp_path / "documented.py").values()
    assert isinstance(dag.get_task("latency"), LatencyBreakdownOperator)
