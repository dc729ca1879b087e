"""Checks outside of Airflow: the command line, the envelope, and error budgets by URL."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest

from airflow_slo_provider.__main__ import main
from airflow_slo_provider.checks import kinds as registry
from airflow_slo_provider.checks.envelope import deserialise, serialise, serialise_error
from airflow_slo_provider.exceptions import CheckError, QueryError
from airflow_slo_provider.ledger import RunKey, open_ledger
from airflow_slo_provider.results import CheckResult, Verdict
from airflow_slo_provider.slo.budget.ledger_records import policy_state
from tests.airflow.gates import SQL, RequestLog, data_source, prometheus_documents, slo, sql_documents
from tests.services.faulty_prometheus import FaultyPrometheus
from tests.support import REPO


@pytest.fixture
def log(tmp_path: Path) -> RequestLog:
    return RequestLog(tmp_path / "requests.db")


def sql_spec(log: RequestLog, **more: Any) -> dict[str, Any]:
    return {"documents": sql_documents(), "sources": {"source": {"url": f"sqlite:///{log.path}"}}, **more}


@pytest.mark.parametrize(("good", "bad", "verdict"), [(1000, 0, "pass"), (999, 1, "pass"), (980, 20, "fail"), (0, 0, "unknown")])
def test_slo_check_of_a_database_returns_budget(log: RequestLog, good: int, bad: int, verdict: str) -> None:
    log.write(good, bad)
    (result,) = registry.run_check("slo", sql_spec(log))
    assert (result.kind, result.name, result.verdict) == ("error_budget", "answered", verdict)
    assert (result.good, result.total) == ((good, good + bad) if good else (None, None))
    assert result.target == 0.99


def test_slo_check_with_stricter_policy_takes_its_verdict(log: RequestLog) -> None:
    log.write(994, 6)
    early = "\n  rules:\n    - name: half\n      action: freeze\n      when: {signal: remainingBudget, enter: 0.5}\n"
    assert registry.run_check("slo", sql_spec(log))[0].verdict is Verdict.PASS
    (result,) = registry.run_check("slo", sql_spec(log, documents=sql_documents(early)))
    assert result.verdict is Verdict.FAIL
    assert "rule half: 40 % of the error budget is left" in result.message


def test_source_is_found_by_document_or_type(log: RequestLog) -> None:
    log.write(100, 0)
    for name in ("source", "SQL"):
        spec = {"documents": sql_documents(), "sources": {name: {"url": f"sqlite:///{log.path}"}}}
        assert registry.run_check("slo", spec)[0].verdict is Verdict.PASS
    (result,) = registry.run_check("slo", {"documents": sql_documents(), "sources": {"other": {"url": "sqlite://"}}})
    assert result.verdict is Verdict.UNKNOWN
    assert "no source is named source or SQL" in result.message


def test_slo_check_of_prometheus_returns_counts_or_error() -> None:
    with FaultyPrometheus("ok") as server:
        sources = {"Prometheus": {"url": server.url}}
        (result,) = registry.run_check("slo", {"documents": prometheus_documents(), "sources": sources})
        assert (result.verdict, result.good, result.total) == (Verdict.PASS, 1000, 1000)
    with FaultyPrometheus("503") as server:
        sources = {"Prometheus": {"url": server.url, "retries": 0}}
        (result,) = registry.run_check("slo", {"documents": prometheus_documents(), "sources": sources})
        assert result.verdict is Verdict.UNKNOWN
        assert result.evidence["error"]["transient"]


def test_slo_check_of_the_ledger_returns_counts(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    now = datetime.now(UTC)
    with open_ledger(url) as ledger:
        for hours in range(1, 21):
            check = CheckResult(kind="golden_set", name="m", verdict=Verdict.PASS, checked_at=now - timedelta(hours=hours))
            ledger.record([check], RunKey("d", f"r{hours}", "t"))
    documents = sql_documents().replace(data_source("SQL", "request_log"), data_source("Ledger", None))
    documents = documents.replace(f'query: "{SQL}"', "kind: golden_set\n            check: m")
    (result,) = registry.run_check("slo", {"documents": documents, "sources": {"Ledger": {"url": url}}})
    assert result.evidence["status"] != "QUERY_ERROR", result.message
    assert (result.verdict is Verdict.UNKNOWN, result.total) == (False, 20)
    named = {"Ledger": {"url": url, "environment": "production"}}
    (result,) = registry.run_check("slo", {"documents": documents, "sources": named})
    assert result.verdict is Verdict.UNKNOWN, "another environment's checks count for nothing here"


def test_slo_check_is_not_read_as_a_gate_decision(log: RequestLog, tmp_path: Path) -> None:
    log.write(900, 100)
    (result,) = registry.run_check("slo", sql_spec(log))
    assert policy_state(result.evidence) is not None
    with open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        ledger.record([result], RunKey("d", "r", "t"))
        assert ledger.latest("slo", "answered") is None


def test_variables_in_sources_are_read_from_the_environment(log: RequestLog, monkeypatch: pytest.MonkeyPatch) -> None:
    log.write(100, 0)
    spec = {"documents": sql_documents(), "sources": {"SQL": {"url": "sqlite:///${LOG_FILE}"}}}
    with pytest.raises(CheckError, match="there is no environment variable LOG_FILE"):
        registry.run_check("slo", spec)
    monkeypatch.setenv("LOG_FILE", str(log.path))
    assert registry.run_check("slo", spec)[0].verdict is Verdict.PASS


def test_password_of_a_source_is_not_in_messages(tmp_path: Path) -> None:
    for source in (
        {"SQL": {"url": "postgresql+psycopg://u:hunter2@127.0.0.1:1/x"}},
        {"SQL": {"url": "nonsense://u:hunter2@127.0.0.1/x"}},
        {"SQL": {"url": "sqlite://", "password": "hunter2"}},
    ):
        (result,) = registry.run_check("slo", {"documents": sql_documents(), "sources": source})
        assert result.verdict is Verdict.UNKNOWN
        assert "hunter2" not in json.dumps(result.to_dict())


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"documents": ""}, "no documents"),
        ({"document": "x"}, "unknown key 'document'"),
        ({"documents": "apiVersion: openslo/v1\nkind: Slo\n"}, "kind"),
        ({"select": ["nobody"]}, "there is no SLO named 'nobody'"),
        ({"at": "yesterday"}, "yesterday"),
        ({"at": "2026-11-24T05:00:00"}, "no time zone"),
    ],
)
def test_invalid_spec_is_rejected(log: RequestLog, change: dict[str, Any], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "slo", "--spec", json.dumps(sql_spec(log, **change))]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert text in error["message"]
    assert not error["transient"]


def test_slo_check_at_a_timestamp_with_selection_returns_selected(log: RequestLog) -> None:
    then = datetime(2026, 11, 20, 12, tzinfo=UTC)
    log.write(10, 90, at=then - timedelta(hours=1))
    log.write(100, 0)
    documents = sql_documents() + slo("other")
    found = registry.run_check("slo", sql_spec(log, documents=documents, select=["other"], at=then.isoformat()))
    assert [(one.name, one.verdict, one.checked_at) for one in found] == [("other", Verdict.FAIL, then)]


@pytest.mark.parametrize(("good", "bad", "code"), [(100, 0, 0), (90, 10, 1), (0, 0, 1)])
def test_command_exit_code_is_the_verdict(log: RequestLog, good: int, bad: int, code: int, tmp_path: Path) -> None:
    log.write(good, bad)
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps(sql_spec(log)))
    command = [sys.executable, "-m", "airflow_slo_provider", "check", "slo", "--spec"]
    done = subprocess.run([*command, f"@{spec}"], capture_output=True, text=True, cwd=REPO, check=False)
    assert done.returncode == code, done.stderr
    assert len(json.loads(done.stdout)["results"]) == 1


def test_command_with_xcom_ends_with_zero(log: RequestLog, tmp_path: Path) -> None:
    left = tmp_path / "return.json"
    log.write(90, 10)
    assert main(["check", "slo", "--spec", json.dumps(sql_spec(log)), "--xcom", str(left)]) == 0
    assert [one.verdict for one in deserialise(json.loads(left.read_text()))] == [Verdict.FAIL]
    assert main(["check", "slo", "--spec", "{}", "--xcom", str(left)]) == 0
    with pytest.raises(CheckError, match="no documents"):
        deserialise(json.loads(left.read_text()))


class TestEnvelope:
    def test_results_are_serialised_and_deserialised(self) -> None:
        result = CheckResult(kind="drift", name="m", verdict=Verdict.WARN, value=0.5, evidence={"a": [1]})
        assert deserialise(json.loads(json.dumps(serialise([result])))) == [result]

    @pytest.mark.parametrize(
        ("error", "reason", "transient"),
        [
            (QueryError("q", reason="timeout", transient=True), "timeout", True),
            (QueryError("q", reason="bad_query"), "bad_query", False),
            (ValueError("v"), "bad_spec", False),
            (MemoryError("m"), "crashed", True),
            (TypeError("a list where a number is"), "crashed", False),
            (KeyError("spec"), "crashed", False),
            (URLError("no route to host"), "crashed", True),  # its own `reason` is a text too
        ],
    )
    def test_errors_are_serialised_and_raised(self, error: Exception, reason: str, transient: bool) -> None:
        with pytest.raises(CheckError) as read:
            deserialise(json.loads(json.dumps(serialise_error(error))))
        assert (read.value.reason, read.value.transient) == (reason, transient)

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (None, "no_result"),
            ("__airflow_xcom_result_empty__", "no_result"),
            ([], "no_result"),
            ({}, "no_result"),
            ({"envelope_version": 1, "results": []}, "no_result"),
            ({"envelope_version": 2, "results": []}, "other_release"),
            ({"results": []}, "other_release"),
            ({"envelope_version": 1, "results": [{"kind": "x"}]}, "bad_result"),
            ({"envelope_version": 1, "results": [{"kind": "x", "name": "n", "verdict": "good"}]}, "bad_result"),
        ],
    )
    def test_invalid_envelope_is_an_error(self, content: Any, reason: str) -> None:
        with pytest.raises(CheckError) as refused:
            deserialise(content)
        assert refused.value.reason == reason
