"""``airflow slo environment`` and ``airflow slo prune``, and whose rows the other commands, gates and pages see."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_slo_provider.ledger import Ledger, RunKey, open_ledger
from airflow_slo_provider.results import CheckResult
from tests.airflow.gate_tasks import counts, followed, gate
from tests.airflow.gates import POLICY, LedgerFile, RequestLog, sql_documents
from tests.airflow.page_client import as_user, pages
from tests.airflow.task_runs import run_task
from tests.unit.ledger.builders import check

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
FROZEN = sql_documents("  coolDown: 1h" + POLICY)


def named(ledger_file: LedgerFile, environment: str, *, test_run: bool = False) -> Ledger:
    return open_ledger(f"sqlite:///{ledger_file.path}", environment=environment, test_run=test_run)


class TestEnvironments:
    def test_freeze_does_not_affect_other_environment(
        self, request_log: RequestLog, ledger_file: LedgerFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        outcomes = []
        for number, (name, bad) in enumerate([("a", 10), ("b", 0), ("a", 0), ("b", 0)]):
            monkeypatch.setenv("AIRFLOW__SLO__ENVIRONMENT", name)
            request_log.clear()
            request_log.write(100_000 if not bad else 990, bad)
            ran = run_task(gate(FROZEN), connections=request_log.connection, run_id=f"run {number}")
            outcomes.append((name, ran.xcoms["decision"]["outcome"], ran.xcoms["decision"]["environment"]))
            assert f"Recorded in the ledger {ledger_file.path}, environment {name}" in ran.log
        assert [(name, outcome) for name, outcome, _ in outcomes] == [
            ("a", "frozen"), ("b", "allowed"), ("a", "frozen"), ("b", "allowed"),
        ]  # fmt: skip
        assert all(name == recorded for name, _, recorded in outcomes)

    def test_new_environment_inherits_freeze_of_unnamed(
        self, request_log: RequestLog, ledger_file: LedgerFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        counts(request_log, "frozen")
        assert followed(run_task(gate(FROZEN), connections=request_log.connection, run_id="before")) == {"hold"}
        request_log.write(100_000, 0)
        monkeypatch.setenv("AIRFLOW__SLO__ENVIRONMENT", "production")
        for run in ("first", "second"):
            assert followed(run_task(gate(FROZEN), connections=request_log.connection, run_id=run)) == {"hold"}
        with named(ledger_file, "production") as ledger:
            assert len(ledger.checks("decision")) == 2

    def test_new_environment_inherits_no_pass_and_no_later_freeze(
        self, request_log: RequestLog, ledger_file: LedgerFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        counts(request_log, "allowed")
        with monkeypatch.context() as patched:
            patched.setenv("AIRFLOW__SLO__ENVIRONMENT", "production")
            assert followed(run_task(gate(FROZEN), connections=request_log.connection, run_id="first")) == {"promote"}
        request_log.clear()
        counts(request_log, "frozen")
        assert followed(run_task(gate(FROZEN), connections=request_log.connection, run_id="unnamed")) == {"hold"}
        request_log.clear()
        request_log.write(100_000, 0)
        monkeypatch.setenv("AIRFLOW__SLO__ENVIRONMENT", "production")
        assert followed(run_task(gate(FROZEN), connections=request_log.connection, run_id="second")) == {"promote"}

    def test_adopting_environment_moves_freeze(
        self, slo_command: Any, request_log: RequestLog, ledger_file: LedgerFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        counts(request_log, "frozen")
        run_task(gate(FROZEN), connections=request_log.connection)
        code, _, message = slo_command("environment", "adopt", "production")
        assert (code, "[slo] environment is not set; set it to production first" in message) == (2, True), message
        monkeypatch.setenv("AIRFLOW__SLO__ENVIRONMENT", "production")
        assert slo_command("environment", "adopt", "prodction")[0] == 2
        assert slo_command("environment", "adopt", "production")[:2] == (
            0, "2 rows and 0 corrections moved to environment production\n",
        )  # fmt: skip
        assert slo_command("environment", "adopt", "production")[1].startswith("0 rows")
        assert slo_command("environment", "adopt", "a b")[0] == 2
        monkeypatch.delenv("AIRFLOW__SLO__ENVIRONMENT")
        code, out, _ = slo_command("environment", "list")
        assert code == 0
        assert "production" in out
        assert "(unnamed) has no rows yet" in out
        monkeypatch.setenv("AIRFLOW__SLO__ENVIRONMENT", "production")
        (one,) = json.loads(slo_command("environment", "list", "-o", "json")[1])
        assert one == {"name": "production", "checks": 2, "test_runs": 0, "own": True}
        request_log.write(100_000, 0)
        assert followed(run_task(gate(FROZEN), connections=request_log.connection, run_id="next")) == {"hold"}

    def test_commands_and_pages_show_own_environment_only(
        self, slo_command: Any, request_log: RequestLog, ledger_file: LedgerFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        counts(request_log, "frozen")
        run_task(gate(FROZEN), connections=request_log.connection)
        assert "a_dag.gate" in slo_command("decisions")[1]
        with pages(ledger_file.open()) as client:
            page = client.get("/slo/overview", headers=as_user("admin")).text
            assert "answered" in page
            assert f"Ledger {ledger_file.path}." in page
        monkeypatch.setenv("AIRFLOW__SLO__ENVIRONMENT", "staging")
        code, out, err = slo_command("decisions")
        assert (code, out) == (2, "")
        assert f"ledger: {ledger_file.path}, environment staging" in err
        with pages(named(ledger_file, "staging")) as client:
            page = client.get("/slo/overview", headers=as_user("admin")).text
            assert "answered" not in page
            assert f"Ledger {ledger_file.path}, environment staging." in page
            data = client.get("/slo/data/slos", headers=as_user("admin")).json()
            assert (data["ledger"], data["environment"]) == (str(ledger_file.path), "staging")

    def test_pages_warn_when_tasks_use_other_ledger(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
        from starlette.testclient import TestClient

        from airflow_slo_provider.plugins.slo_page.cached_ledger import CachedLedger

        monkeypatch.delenv("AIRFLOW__SLO__LEDGER_URL", raising=False)
        monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
        monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
        source = CachedLedger()
        source.ledger().close()
        assert isinstance(TestClient, type)
        info = source.info()
        assert info.database == f"{tmp_path}/slo_ledger.db"
        assert "CeleryExecutor" in info.problem


class TestAttempts:
    def test_decisions_of_one_task_instance_are_listed_separately(
        self, slo_command: Any, request_log: RequestLog, ledger_file: LedgerFile
    ) -> None:
        counts(request_log, "frozen")
        operator = gate(FROZEN)
        for number in (1, 2):
            run_task(operator, connections=request_log.connection, try_number=number)
        lines = slo_command("decisions")[1].splitlines()[2:]
        assert ["attempt 2" in line for line in lines] == [True, False]
        assert [one["attempt"] for one in json.loads(slo_command("decisions", "-o", "json")[1])] == [1, 0]
        with pages(ledger_file.open()) as client:
            page = client.get("/slo/run?dag_id=a_dag&run_id=a_run&task_id=gate", headers=as_user("admin")).text
            assert page.count("attempt 2") == 2
            found = client.get("/slo/data/checks?kind=decision", headers=as_user("admin")).json()["checks"]
            assert [one["attempt"] for one in found] == [1, 0]

    def test_test_runs_are_listed_on_request_with_mark(self, slo_command: Any, ledger_file: LedgerFile) -> None:
        with named(ledger_file, "", test_run=True) as ledger:
            ledger.record([check("g", kind="decision", evidence={"outcome": "frozen", "slos": {}})], RunKey("d", "r", "g"))
        assert slo_command("decisions")[0] == 2
        code, out, _ = slo_command("decisions", "--test-runs")
        assert (code, "d / r (test run)" in out) == (0, True)


class TestPrune:
    @pytest.fixture
    def filled(self, ledger_file: LedgerFile) -> LedgerFile:
        """Old and new rows of all that somebody may still need."""

        def old(days: float, name: str, kind: str, **more: Any) -> CheckResult:
            return check(name, kind=kind, at=NOW - days * DAY, **more)

        with ledger_file.open() as ledger:
            for number, days in enumerate((900, 800, 700, 1)):
                frozen = {"outcome": "frozen", "policy_state": {}, "policy": "p", "window": "30d"}
                ledger.record([old(days, "answered", "slo", evidence=frozen)], RunKey("d", f"r{number}", "g"))
                ledger.record([old(days, "d.g", "decision")], RunKey("d", f"r{number}", "g"))
                ledger.record([old(days, "m", "golden_set", model_version="1")], RunKey("d", f"r{number}", "e"))
                ledger.record([old(days, "m@champion", "promote", model_version="1")], RunKey("d", f"r{number}", "p"))
            ledger.record([old(600, "seldom", "slo", evidence={"policy": "p", "window": "30d"})], RunKey("d", "r9", "g"))
            ledger.record([old(650, "m", "golden_set", model_version="1", verdict="fail")], RunKey("d", "r8", "e"))
            for state in ("open", "over"):
                run = RunKey("heal", state, "open")
                ledger.record([old(500, f"i-{state}", "incident", evidence={"state": state})], run)
                ledger.record([old(500, f"i-{state}/step", "incident_step")], RunKey("heal", state, "step"))
                ledger.record([old(500, f"i-{state}", "incident_claim")], RunKey("heal", "claim", "claim"))
                ledger.record([old(500, f"w/{state}", "incident_watch")], RunKey("watch:w", "watch", state))
        with named(ledger_file, "", test_run=True) as ledger:
            ledger.record([old(500, "answered", "slo"), old(1, "new", "slo")], RunKey("d", "t", "g"))
        with named(ledger_file, "other") as ledger:
            ledger.record([old(900, "theirs", "slo"), old(899, "theirs", "decision")], RunKey("d", "o", "g"))
            ledger.record([old(800, "theirs", "slo"), old(799, "theirs", "decision")], RunKey("d", "p", "g"))
        return ledger_file

    def left(self, ledger_file: LedgerFile) -> dict[str, int]:
        found: dict[str, int] = {}
        for row in ledger_file.checks():
            found[row.result.kind] = found.get(row.result.kind, 0) + 1
        return found

    def test_prune_removes_old_rows_and_keeps_needed_ones(self, slo_command: Any, filled: LedgerFile) -> None:
        before = self.left(filled)
        code, out, err = slo_command("prune", "--keep", "400d", "--dry-run")
        assert (code, err) == (0, "")
        assert "would be removed" in out
        assert self.left(filled) == before
        code, out, err = slo_command("prune", "--keep", "400d")
        assert (code, err) == (0, "")
        assert self.left(filled) == {
            "slo": 3,  # yesterday's, the newest old one, and the only one of another
            "decision": 2,
            "golden_set": 3,  # of the version: yesterday's, the newest old pass, the newest old failure
            "promote": 4,
            "incident": 1,
            "incident_step": 1,
            "incident_claim": 1,
            "incident_watch": 2,
        }
        table = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line and line.split()[-1].isdigit()}
        assert (table["slo"], table["promote"], table["incident"]) == (["2", "2"], ["0", "3"], ["1", "1"])
        assert table["(test"] == ["runs)", "1", "0"]
        with named(filled, "", test_run=True) as ledger:
            assert {row.result.name for row in ledger.checks() if row.key.test_run} == {"new"}
        with named(filled, "other") as ledger:
            assert len(ledger.checks()) == 4, "another environment's rows are its own"
        assert slo_command("prune", "--keep", "400d")[1].split("slo ")[1].split()[0] == "0", "again it finds nothing"

    def test_prune_keeps_old_freeze(self, slo_command: Any, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        """A gate that runs once a year: what it froze the last time, it begins from."""
        documents = sql_documents("  coolDown: 900d" + POLICY)
        at = NOW - 500 * DAY
        request_log.write(990, 10, at=at - timedelta(hours=3))
        ran = run_task(gate(documents, at=at.isoformat()), connections=request_log.connection, run_id="then")
        assert followed(ran) == {"hold"}
        assert slo_command("prune", "--keep", "400d")[0] == 0
        request_log.write(100_000, 0)
        assert followed(run_task(gate(documents), connections=request_log.connection, run_id="now")) == {"hold"}

    @pytest.mark.parametrize(
        ("keep", "window", "message"),
        [
            ("7d", "1d", "shorter than 30 days: younger rows are never pruned; write 30d or more, e.g. 400d"),
            ("400", "1d", "is not a duration"),
            ("13M", "1d", "calendar duration, of no fixed length; write 30d or more, e.g. 400d"),
            ("80d", "90d", "shorter than 90 days: the window of answered"),
            ("90d", "1Q", "shorter than 93 days"),
        ],
    )
    def test_prune_within_ledger_window_is_refused(
        self, slo_command: Any, ledger_file: LedgerFile, keep: str, window: str, message: str
    ) -> None:
        with ledger_file.open() as ledger:
            ledger.record([check("answered", at=NOW, evidence={"window": window})], RunKey("d", "r", "t"))
        code, _, err = slo_command("prune", "--keep", keep)
        assert (code, message in err) == (2, True), err

    def test_prune_within_window_of_documents_is_refused(self, slo_command: Any, ledger_file: LedgerFile, tmp_path: Any) -> None:
        (tmp_path / "slos.yaml").write_text(sql_documents().replace("duration: 1d", "duration: 200d"))
        code, _, err = slo_command("prune", tmp_path / "slos.yaml", "--keep", "100d")
        assert (code, "shorter than 200 days" in err) == (2, True), err
        assert slo_command("prune", tmp_path / "slos.yaml", "--keep", "200d")[0] == 0


class TestNothingIsThere:
    @pytest.mark.parametrize("command", ["decisions", "report"])
    @pytest.mark.parametrize(("of", "message"), [("tests", "see --test-runs"), ("others", "others have: (unnamed)")])
    def test_commands_without_rows_name_other_environments(
        self,
        command: str,
        of: str,
        message: str,
        slo_command: Any,
        ledger_file: LedgerFile,
        tmp_path: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        (tmp_path / "slos.yaml").write_text(sql_documents())
        with ledger_file.open() as ledger:
            ledger.seen_by_tests(of == "tests").record([check("answered", at=NOW)], RunKey("d", "r", "t"))
        if of == "others":
            monkeypatch.setenv("AIRFLOW__SLO__ENVIRONMENT", "production")
        code, _, err = slo_command(command, *([tmp_path / "slos.yaml"] if command == "report" else []))
        assert (code, message in err) == (2, True), err
