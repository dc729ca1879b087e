"""``airflow slo validate|status|rules|report|backfill``, through Airflow's own parser."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_slo_provider.ledger import RunKey
from airflow_slo_provider.runtime.error_budget.decision import read_documents
from tests.airflow.gates import DAY, POLICY, SERVICE, LedgerFile, RequestLog, prometheus_documents, slo, sql_documents
from tests.airflow.page_data import slo_check
from tests.services.faulty_prometheus import FaultyPrometheus
from tests.services.prometheus_server import running_prometheus
from tests.support import REPO, need

END = datetime(2025, 3, 2, tzinfo=UTC)


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    path = tmp_path / "shop.yaml"
    path.write_text(sql_documents())
    return path


@pytest.fixture
def connected(request_log: RequestLog, monkeypatch: pytest.MonkeyPatch) -> RequestLog:
    monkeypatch.setenv("AIRFLOW_CONN_REQUEST_LOG", json.dumps(request_log.connection["request_log"]))
    return request_log


class TestValidate:
    def test_validate_valid_documents_exits_0(self, slo_command: Any, documents: Path) -> None:
        assert slo_command("validate", documents) == (0, "1 SLO, no errors, no warnings\n", "")
        assert slo_command("validate", REPO / "demo" / "slos")[0] == 0

    def test_validate_reports_every_error_with_line(self, slo_command: Any, tmp_path: Path) -> None:
        path = tmp_path / "broken.yaml"
        text = sql_documents().replace("Occurrences", "Ocurrences").replace("target: 0.99", "target: 99")
        path.write_text(text)
        code, out, err = slo_command("validate", path)
        assert code == 1
        lines = text.splitlines()
        for word in ("budgetingMethod", "target"):
            line = next(number for number, one in enumerate(lines, start=1) if word in one)
            assert f"error: {path}:{line}: SLO/answered" in out
        assert err == "2 errors, no warnings\n"

    def test_sloth_period_is_an_option_and_a_configuration(
        self, slo_command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "sloth.yml"
        queries = 'error_query: "sum(rate(e_total[{{.window}}]))", total_query: "sum(rate(r_total[{{.window}}]))"'
        slos = f"[{{name: requests, objective: 99, sli: {{events: {{{queries}}}}}}}]"
        path.write_text(f"version: prometheus/v1\nservice: shop\nslos: {slos}\n")

        def period(*arguments: str) -> str:
            code, out, err = slo_command("rules", path, *arguments)
            assert code == 0, err
            return next(text for text in ("30d", "28d", "21d") if f"99 % over {text}," in out)

        assert period() == "30d" and period("--sloth-period", "28d") == "28d"
        monkeypatch.setenv("AIRFLOW__SLO__SLOTH_PERIOD", "21d")
        assert period() == "21d" and period("--sloth-period", "28d") == "28d"
        (slo,) = read_documents(str(path)).slos
        assert slo.window.duration.text == "21d"
        monkeypatch.setenv("AIRFLOW__SLO__SLOTH_PERIOD", "monthly")
        code, _, err = slo_command("validate", path)
        assert (code, err) == (1, "[slo] sloth_period is 'monthly'; write a fixed duration, e.g. 28d\n")

    def test_validate_missing_file_exits_1(self, slo_command: Any, tmp_path: Path) -> None:
        code, out, _ = slo_command("validate", tmp_path / "nothing.yaml", tmp_path / "nor.yaml")
        assert code == 1
        assert len([line for line in out.splitlines() if line.startswith("error: ")]) == 2

    def test_validate_against_a_server_reports_metrics_without_series(
        self, slo_command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path, now = tmp_path / "prom.yaml", int(datetime.now(UTC).timestamp())
        samples = (f'http_requests_total{{code="200"}} {60 - ago} {now - 60 * ago}\n' for ago in range(60, -1, -1))
        blocks = ["# TYPE http_requests counter\n", *samples, "# EOF\n"]
        with running_prometheus(tmp_path / "prometheus", blocks=blocks) as url:
            monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps({"conn_type": "prometheus", "host": url}))
            path.write_text(prometheus_documents())
            code, out, err = slo_command("validate", path, "--against", "shop")
            assert (code, err) == (0, "")
            assert "answered: total selects 1 series of http_requests_total\n" in out
            assert out.endswith("1 SLO, no errors, no warnings\n")
            path.write_text(prometheus_documents().replace("http_requests", "htp_requests"))
            code, out, err = slo_command("validate", path, "--against", "shop")
        assert (code, err) == (1, "3 errors, no warnings\n")
        line = next(number for number, one in enumerate(path.read_text().splitlines(), start=1) if "htp_requests" in one)
        assert f"error: {path}:{line}: SLO/answered spec.indicator.spec.ratioMetric.good.metricSource.spec.query: " in out

    def test_validate_against_a_faulty_server_exits_2(
        self, slo_command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "prom.yaml"
        path.write_text(prometheus_documents())
        with FaultyPrometheus("503") as server:
            connection = {"conn_type": "prometheus", "host": server.url, "extra": {"retries": 0}}
            monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps(connection))
            code, _, err = slo_command("validate", path, "--against", "shop")
        assert code == 2
        assert "HTTP 503" in err
        code, _, err = slo_command("validate", path, "--against", "nowhere")
        assert code == 2
        assert "connection nowhere cannot be used" in err

    def test_validate_invalid_documents_asks_no_server(self, slo_command: Any, tmp_path: Path) -> None:
        path = tmp_path / "prom.yaml"
        path.write_text(prometheus_documents().replace("[{{.window}}]", "[5m]"))
        code, out, _ = slo_command("validate", path, "--against", "nowhere")
        assert code == 1
        assert out.count("error: ") == 2


class TestStatus:
    @pytest.mark.parametrize(
        ("bad", "code", "status"), [(0, 0, "HEALTHY"), (9, 0, "WARNING"), (10, 1, "EXHAUSTED"), (11, 1, "EXHAUSTED")]
    )
    def test_status_prints_budgets(
        self, slo_command: Any, documents: Path, connected: RequestLog, ledger_file: LedgerFile, bad: int, code: int, status: str
    ) -> None:
        connected.write(1000 - bad, bad)
        found, out, _ = slo_command("status", documents)
        assert found == code
        row = next(line for line in out.splitlines() if line.startswith("answered"))
        assert row.endswith(status)
        assert ledger_file.checks() == [], "nothing is recorded"
        assert not ledger_file.path.exists()

    def test_status_at_past_time_as_json(self, slo_command: Any, documents: Path, connected: RequestLog) -> None:
        connected.write(995, 5, at=END - DAY / 2)
        code, out, _ = slo_command("status", documents, "--at", END.isoformat(), "--output", "json")
        found = json.loads(out)
        assert (code, found["at"]) == (0, "2025-03-02T00:00:00+00:00")
        (one,) = found["slos"]
        assert (one["name"], one["sli"], one["remaining"], one["error"]) == ("answered", 0.995, 0.5, None)
        assert "SELECT" in one["query"]

    def test_status_unknown_exits_2(self, slo_command: Any, tmp_path: Path, connected: RequestLog) -> None:
        path = tmp_path / "two.yaml"
        path.write_text(
            sql_documents(POLICY, slo(), slo("other", query="SELECT nonsense FROM nowhere WHERE :date_from < :date_to"))
        )
        connected.write(0, 10)
        code, out, _ = slo_command("status", path)
        assert code == 2
        assert "other: " in out
        assert "nowhere" in out
        assert slo_command("status", path, "--select", "answered")[0] == 1
        connected.clear()
        code, out, _ = slo_command("status", path, "--select", "answered", "-o", "json")
        assert (code, json.loads(out)["slos"][0]["error"]["reason"]) == (2, "no_events")

    def test_status_server_unavailable_exits_2(self, slo_command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "prom.yaml"
        path.write_text(prometheus_documents())
        with FaultyPrometheus("503") as server:
            connection = {"conn_type": "prometheus", "host": server.url, "extra": {"retries": 0}}
            monkeypatch.setenv("AIRFLOW_CONN_PROMETHEUS_DEFAULT", json.dumps(connection))
            code, out, _ = slo_command("status", path)
        assert code == 2
        assert "HTTP 503" in out

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--at", "yesterday"), "not a timestamp"),
            (("--at", "2999-01-01T00:00:00+00:00"), "--at 2999-01-01T00:00:00+00:00 lies in the future"),
            (("--at", "2025-03-02T00:00:00"), "no time zone"),
            (("--select", "answred"), "answered"),
        ],
    )
    def test_invalid_arguments_exit_with_message(
        self, slo_command: Any, documents: Path, connected: RequestLog, arguments: Any, message: str
    ) -> None:
        code, out, err = slo_command("status", documents, *arguments)
        assert (code, out) == (2, "")
        assert message in err

    def test_status_invalid_documents_exit_2(self, slo_command: Any, tmp_path: Path) -> None:
        code, _, err = slo_command("status", tmp_path / "nothing.yaml")
        assert code == 2
        assert "error: " in err


class TestRules:
    def test_rules_writes_rules_and_dashboard(self, slo_command: Any, tmp_path: Path) -> None:
        path, file, dashboard = tmp_path / "prom.yaml", tmp_path / "rules.yml", tmp_path / "dashboard.json"
        path.write_text(prometheus_documents())
        code, out, _ = slo_command("rules", path)
        assert code == 0
        assert yaml.safe_load(out)["groups"]
        more = ("--interval", "30s", "--label", "team=ml", "--label", "x=a=b", "--grafana", dashboard)
        done = slo_command("rules", path, "--output-file", file, *more)
        assert done == (0, "", "")
        groups = yaml.safe_load(file.read_text())["groups"]
        assert "30s" in {group.get("interval") for group in groups}
        assert {rule["labels"]["x"] for group in groups for rule in group["rules"] if "record" in rule} == {"a=b"}
        assert json.loads(dashboard.read_text())["panels"]
        checked = subprocess.run([need("promtool"), "check", "rules", file], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr

    def test_rules_dashboard_lists_selected_slos(self, slo_command: Any, tmp_path: Path) -> None:
        path, dashboard = tmp_path / "prom.yaml", tmp_path / "dashboard.json"
        one = prometheus_documents()
        another = one[one.rindex("apiVersion: openslo/v1\nkind: SLO") :].replace("answered", "other")
        path.write_text(f"{one}---\n{another}")
        offered = {}
        for arguments in ((), ("--select", "other")):
            assert slo_command("rules", path, "--grafana", dashboard, *arguments)[0] == 0
            offered[len(arguments)] = {name for name in ("answered", "other") if f'"{name}"' in dashboard.read_text()}
        assert offered == {0: {"answered", "other"}, 2: {"other"}}

    @pytest.mark.parametrize(
        "arguments",
        [("--interval", "soon"), ("--interval", "1h"), ("--label", "team"), ("--label", "=x"), ("--select", "nothing")],
    )
    def test_invalid_arguments_exit_with_message(self, slo_command: Any, tmp_path: Path, arguments: Any) -> None:
        path = tmp_path / "prom.yaml"
        path.write_text(prometheus_documents())
        code, out, err = slo_command("rules", path, *arguments)
        assert (code, out) == (1, "")
        assert err


def test_slo_command_runs_in_a_process(documents: Path, connected: RequestLog, tmp_path: Path) -> None:
    """``airflow slo status`` in a process of its own: what is on standard output is the answer and nothing else."""
    connected.write(1000, 0)
    command = [sys.executable, "-m", "airflow", "slo", "status", str(documents), "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ}, check=False, timeout=120)
    if "invalid choice: 'slo'" in done.stderr:
        message = "airflow-slo-provider is not installed in this environment"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["slos"][0]["status"] == "HEALTHY"


class TestHistory:
    def test_backfill_records_once_and_report_shows_it(
        self, slo_command: Any, documents: Path, connected: RequestLog, ledger_file: LedgerFile
    ) -> None:
        connected.write(1000, 0, at=END - 3.5 * DAY)
        connected.write(980, 20, at=END - 2.5 * DAY)
        connected.write(999, 1, at=END - 0.5 * DAY)
        span = ("--since", (END - 3 * DAY).isoformat(), "--until", END.isoformat())
        for _ in range(2):
            code, out, err = slo_command("backfill", documents, *span)
            assert (code, "4 times recorded, 1 of them" in out) == (2, True), err
        rows = ledger_file.checks()
        states = {row.result.checked_at: row.result.evidence["status"] for row in rows}
        assert [states[at] for at in sorted(states)] == ["HEALTHY", "EXHAUSTED", "NO_DATA", "HEALTHY"]
        assert len(rows) == 4
        code, out, _ = slo_command("report", documents, *span[:2], "--until", (END + DAY).isoformat())
        assert code == 0
        # Frozen at -100 %, still frozen while nothing was known, thawed with 90 % left.
        assert "| answered | HEALTHY | 90.0 % | -100.0 % | 2025-02-28 00:00 | 4 | 1 | 1 |" in out.splitlines()
        code, out, _ = slo_command("report", documents, *span[:2], "--until", (END + DAY).isoformat(), "-o", "json")
        (one,) = json.loads(out)
        assert (one["freezes"], one["statuses"]) == (1, {"HEALTHY": 2, "EXHAUSTED": 1, "NO_DATA": 1})

    def test_report_excludes_same_name_of_other_service(
        self, slo_command: Any, documents: Path, connected: RequestLog, ledger_file: LedgerFile
    ) -> None:
        connected.write(1000, 0, at=END - 0.5 * DAY)
        at = END.isoformat()
        assert slo_command("backfill", documents, "--since", at, "--until", at)[0] == 0
        theirs = slo_check("answered", "EXHAUSTED", "fail", -9.0, 0.5, END, service="theirs")
        with ledger_file.open() as ledger:
            ledger.record([theirs], RunKey("team_b", "r", "gate"))
        code, out, err = slo_command("report", documents, "--since", at, "--until", (END + DAY).isoformat(), "-o", "json")
        assert (code, err) == (0, "")
        (one,) = json.loads(out)
        assert (one["checks"], one["status"], one["lowest"]) == (1, "HEALTHY", 1.0)
        assert one["service"] not in ("", "theirs")

    def test_report_includes_all_checks(
        self, slo_command: Any, documents: Path, connected: RequestLog, ledger_file: LedgerFile
    ) -> None:
        more = 100_000
        connected.write(1000, 0, at=END - 0.5 * DAY)
        assert slo_command("backfill", documents, "--since", END.isoformat(), "--until", END.isoformat())[0] == 0
        (kept,) = ledger_file.checks()
        first = END - timedelta(seconds=more)
        spent = slo_check("answered", "EXHAUSTED", "fail", -2.0, 0.5, first, service=kept.result.evidence["service"])
        with ledger_file.open() as ledger:
            ledger.record([spent], RunKey("promote", "0", "gate"))
        with sqlite3.connect(ledger_file.path) as connection:
            names = [row[1] for row in connection.execute("PRAGMA table_info(checks)") if row[1] != "id"]
            changed = {"identity": "'copy ' || n", "checked_at": "checked_at + n * 1000000"}
            connection.execute(
                f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {more - 1})"
                f"INSERT INTO checks ({', '.join(names)}) SELECT {', '.join(changed.get(name, name) for name in names)} "
                "FROM checks, numbers WHERE dag_id = 'promote'"
            )
        span = ("--since", (first - DAY).isoformat(), "--until", (END + DAY).isoformat(), "-o", "json")
        code, out, err = slo_command("report", documents, *span)
        (one,) = json.loads(out)
        assert (code, err, one["checks"], one["lowest_at"]) == (0, "", more + 1, first.isoformat())

    def test_backfill_replaces_own_rows_after_documents_change(
        self, slo_command: Any, documents: Path, connected: RequestLog, ledger_file: LedgerFile
    ) -> None:
        connected.write(1000, 0, at=END - 0.5 * DAY)
        at = ("--since", END.isoformat(), "--until", END.isoformat())
        assert slo_command("backfill", documents, *at)[0] == 0
        search = slo("found").replace("service: shop", "service: search")
        documents.write_text(SERVICE.replace("shop", "search") + sql_documents(POLICY, slo(), search))
        assert slo_command("backfill", documents, *at)[0] == 0
        rows = ledger_file.checks()
        assert sorted((row.result.name, row.result.evidence["service"]) for row in rows) == [
            ("answered", "shop"),
            ("found", "search"),
        ]

    @pytest.mark.parametrize("option", ["--since", "--until"])
    def test_backfill_in_future_exits_2(
        self, slo_command: Any, documents: Path, connected: RequestLog, ledger_file: LedgerFile, option: str
    ) -> None:
        span = {"--since": END.isoformat(), option: (datetime.now(UTC) + DAY).isoformat()}
        code, _, err = slo_command("backfill", documents, *(word for pair in span.items() for word in pair))
        assert code == 2
        assert f"{option} {span[option]} lies in the future" in err
        assert ledger_file.checks() == []

    def test_report_without_checks_prints_message(self, slo_command: Any, documents: Path, ledger_file: LedgerFile) -> None:
        code, _, err = slo_command("report", documents)
        assert (code, err) == (2, f"no check recorded in this time range: answered (ledger: {ledger_file.path})\n")

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((), "--since is required"),
            (("--since", "2025-03-02"), "has no time zone"),
            (("--since", "2025-03-02T00:00:00+00:00", "--until", "2025-03-01T00:00:00+00:00"), "lies after"),
            (("--since", "2016-03-02T00:00:00+00:00", "--every", "1m"), "more than 10000"),
            (("--since", "2025-03-01T00:00:00+00:00", "--every", "soon"), "is not a duration"),
        ],
    )
    def test_backfill_invalid_span_exits_2(
        self, slo_command: Any, documents: Path, ledger_file: LedgerFile, arguments: tuple[str, ...], message: str
    ) -> None:
        code, _, err = slo_command("backfill", documents, *arguments)
        assert code == 2
        assert message in err
        assert ledger_file.checks() == []
