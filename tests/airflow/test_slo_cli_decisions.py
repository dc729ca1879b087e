"""``airflow slo decisions``, through Airflow's own parser."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_slo_provider.ledger import RunKey
from airflow_slo_provider.results import CheckResult, Verdict
from tests.airflow.gates import LedgerFile

END = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.fixture
def recorded(ledger_file: LedgerFile) -> LedgerFile:
    def check(minute: int, kind: str, name: str, verdict: str, **more: Any) -> CheckResult:
        at = END + minute * timedelta(minutes=1)
        return CheckResult(kind=kind, name=name, verdict=Verdict(verdict), checked_at=at, **more)

    frozen = {"outcome": "frozen", "slos": {"answered": "EXHAUSTED"}}
    odd = "it is\nspent?\x1b[31m"
    with ledger_file.open() as ledger:
        ledger.record(
            [
                check(0, "golden_set", "churn", "pass", model_version="2"),
                check(1, "decision", "release.gate", "fail", evidence=frozen, message=odd),
            ],
            RunKey("release", "monday", "gate"),
        )
        moved = {"from": "2", "user": "anna"}
        back = check(2, "rollback", "churn@champion", "pass", model_version="1", evidence=moved, message="it burned")
        ledger.record([back], RunKey("mend", "tuesday", "back"))
    return ledger_file


def test_decisions_are_listed_newest_first(slo_command: Any, recorded: LedgerFile) -> None:
    code, out, err = slo_command("decisions")
    assert (code, err) == (0, f"ledger: {recorded.path}\n")
    lines = [[cell.strip() for cell in re.split(r" {2,}", line)] for line in out.splitlines()]
    assert lines[0] == ["when (UTC)", "what", "outcome", "version", "DAG run", "why"]
    assert lines[2:] == [
        ["2026-03-02 00:02", "rollback churn@champion", "pass", "2 -> 1", "mend / tuesday", "it burned (by anna)"],
        ["2026-03-02 00:01", "decision release.gate", "frozen", "2", "release / monday", "it is spent? [31m"],
    ], "what a message holds does not steer the terminal"


def test_decisions_as_json_with_filter(slo_command: Any, recorded: LedgerFile) -> None:
    code, out, _ = slo_command("decisions", "--select", "answered", "-o", "json")
    (one,) = json.loads(out)
    assert (code, one["outcome"], one["version"], one["slos"]) == (0, "frozen", "2", {"answered": "EXHAUSTED"})
    assert (one["dag_id"], one["run_id"], one["task_id"], one["at"]) == (
        "release", "monday", "gate", "2026-03-02T00:01:00+00:00",
    )  # fmt: skip
    for arguments in (("--dag", "mend"), ("--limit", 1), ("--since", (END + timedelta(minutes=2)).isoformat())):
        (one,) = json.loads(slo_command("decisions", "-o", "json", *arguments)[1])
        assert (one["kind"], one["before"], one["by"]) == ("rollback", "2", "anna"), arguments
    (one,) = json.loads(slo_command("decisions", "-o", "json", "--until", (END + timedelta(minutes=2)).isoformat())[1])
    assert one["kind"] == "decision"


def test_decisions_without_rows_print_message(slo_command: Any, ledger_file: LedgerFile) -> None:
    message = f"ledger: {ledger_file.path}\nno matching record\n"
    assert slo_command("decisions") == (2, "", message)
    assert slo_command("decisions", "-o", "json") == (2, "[]\n", message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("--limit", 0), "must lie between 1 and 10000"), (("--since", "yesterday"), "not a timestamp")],
)
def test_decisions_invalid_arguments_exit_with_message(
    slo_command: Any, recorded: LedgerFile, arguments: Any, message: str
) -> None:
    code, out, err = slo_command("decisions", *arguments)
    assert (code, out) == (2, "")
    assert message in err
