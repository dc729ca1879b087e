"""Queries of the SLO pages, on SQLite. tests/services/test_browse_postgres.py runs the same tests on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_slo_provider.core.slo_key import SLOKey
from airflow_slo_provider.ledger import Ledger, RunKey, open_ledger
from airflow_slo_provider.ledger.prometheus_text import exposition, newest_checks
from airflow_slo_provider.ledger.queries import checks as browse
from airflow_slo_provider.ledger.queries import slos as browse_slos
from airflow_slo_provider.ledger.queries import sql_text
from airflow_slo_provider.results import Verdict
from tests.unit.ledger.builders import MINUTE, T0, check, downgrade, explain

DAY = timedelta(days=1)


def slos(*names: str, service: str = "") -> list[SLOKey]:
    return [SLOKey(service, name) for name in names]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as opened:
        yield opened


@pytest.fixture
def full(ledger: Ledger) -> Ledger:
    """Two days of hourly checks of three SLOs by two DAGs; ``c`` belongs to the second DAG only."""
    for hour in range(48):
        at = T0 + hour * timedelta(hours=1)
        for dag, names in (("one", ("a", "b")), ("two", ("b", "c"))):
            later = MINUTE if dag == "two" else timedelta(0)
            ledger.record(
                [
                    check(name, at=at + later, value=hour / 100, evidence={"remaining": 1 - hour / 100, "dag": dag})
                    for name in names
                ],
                RunKey(dag, f"run {hour}", "gate"),
            )
    return ledger


def test_newest_returns_one_check_of_each_name(full: Ledger) -> None:
    rows = browse.newest(full, "slo")
    assert [(row.result.name, row.key.dag_id, row.result.value) for row in rows] == [
        ("a", "one", 0.47),
        ("b", "two", 0.47),
        ("c", "two", 0.47),
    ]
    assert [row.result.name for row in browse.newest(full, "slo", limit=2)] == ["a", "b"]
    assert browse.newest(full, "drift") == []
    assert [row.result.name for row in browse_slos.newest(full)] == ["a", "b", "c"]
    assert browse_slos.newest(full)[1].key.dag_id == "two"


def test_newest_is_limited_to_the_dags(full: Ledger) -> None:
    rows = browse.newest(full, "slo", dags={"one"})
    assert [(row.result.name, row.key.dag_id) for row in rows] == [("a", "one"), ("b", "one")]
    assert [row.result.name for row in browse.newest(full, "slo", dags=["two", "one"])] == ["a", "b", "c"]
    assert browse.newest(full, "slo", dags=["two", "one"])[1].key.dag_id == "two"
    assert browse.newest(full, "slo", dags=[]) == []
    assert browse.newest(full, "slo", dags=["absent"]) == []


def test_newest_is_the_last_checked_rather_than_the_last_written(ledger: Ledger) -> None:
    ledger.record([check("a", at=T0 + DAY, value=2.0)], RunKey("one", "r2", "t"))
    ledger.record([check("a", at=T0, value=1.0)], RunKey("one", "r1", "t"))
    assert [row.result.value for row in browse.newest(ledger, "slo")] == [2.0]
    assert [row.result.value for row in browse.newest(ledger, "slo", dags=["one"])] == [2.0]


def test_newest_with_value_skips_checks_without_value(full: Ledger) -> None:
    full.record([check("a", at=T0 + 3 * DAY, verdict="unknown")], RunKey("one", "late", "gate"))
    full.record([check("never", at=T0, verdict="unknown")], RunKey("one", "late", "gate"))
    assert browse.newest(full, "slo")[0].result.value is None
    rows = browse_slos.newest_with_value(full, slos("a", "never", "c"))
    assert {row.result.name: row.result.value for row in rows} == {"a": 0.47, "c": 0.47}
    assert browse_slos.newest_with_value(full, slos("c"), dags=["one"]) == []
    assert browse_slos.newest_with_value(full, slos()) == []


def test_samples_are_the_last_check_of_each_slice(full: Ledger) -> None:
    slices = [(T0 + n * DAY / 2, T0 + (n + 1) * DAY / 2) for n in range(4)]
    found = browse_slos.samples(full, slos("a", "c"), slices, field="remaining")
    assert [(one.slo.name, one.value) for one in found] == [(n, v) for v in (0.11, 0.23, 0.35, 0.47) for n in ("a", "c")]
    assert [one.field for one in found if one.slo.name == "a"] == pytest.approx([0.89, 0.77, 0.65, 0.53])
    assert {one.dag_id for one in browse_slos.samples(full, slos("b"), slices, field="remaining", dags=["one"])} == {"one"}
    assert [one.field for one in browse_slos.samples(full, slos("a"), slices[:1], field="dag")] == [None]
    assert browse_slos.samples(full, slos("a"), [(T0 + 9 * DAY, T0 + 10 * DAY)], field="remaining") == []


@pytest.mark.parametrize("odd", ["NaN", "a lot", None, [1], {"x": 1}, True])
def test_samples_read_non_numeric_evidence_as_none(ledger: Ledger, odd: Any) -> None:
    ledger.record([check("a", evidence={"remaining": odd})], RunKey("one", "r", "t"))
    (found,) = browse_slos.samples(ledger, slos("a"), [(T0, T0 + DAY)], field="remaining")
    assert found.field is None or odd is True
    assert found.verdict is Verdict.PASS


def test_history_is_the_last_check_of_each_slice(full: Ledger) -> None:
    slices = [(T0 + n * DAY, T0 + (n + 1) * DAY) for n in range(3)]
    rows = browse.history(full, "slo", "b", slices)
    assert [(row.result.value, row.key.dag_id) for row in rows] == [(0.23, "two"), (0.47, "two")]
    assert [row.key.dag_id for row in browse.history(full, "slo", "b", slices, dags={"one"})] == ["one", "one"]


def test_recent_returns_the_newest_checks_of_the_kinds(full: Ledger) -> None:
    full.record([check("gate", kind="decision", at=T0 + DAY)], RunKey("one", "d", "t"))
    rows = browse.recent(full, ["decision", "slo"], limit=3)
    assert [row.result.kind for row in rows] == ["slo", "slo", "slo", "decision"]
    assert browse.recent(full, ["slo"], name="c", dags=["one"]) == []
    assert len(browse.recent(full, ["slo"], name="a", since=T0 + 47 * timedelta(hours=1))) == 1


def test_of_run_returns_the_checks_of_the_run(full: Ledger) -> None:
    full.record([check("m", at=T0)], RunKey("one", "run 1", "mapped", map_index=3))
    assert {row.result.name for row in browse.of_run(full, "one", "run 1")} == {"a", "b", "m"}
    assert {row.result.name for row in browse.of_run(full, "one", "run 1", task_id="gate")} == {"a", "b"}
    assert browse.of_run(full, "one", "run 1", task_id="mapped", map_index=2) == []
    assert len(browse.of_run(full, "one", "run 1", task_id="mapped", map_index=3)) == 1
    assert browse.of_run(full, "three", "run 1") == []


def test_by_identity_returns_one_check(full: Ledger) -> None:
    key = RunKey("one", "run 7", "gate")
    found = browse.by_identity(full, key.identity("slo", "a"))
    assert found is not None
    assert (found.key.run_id, found.result.value) == ("run 7", 0.07)
    assert browse.by_identity(full, "0" * 64) is None


def test_dag_ids_and_all_kinds_list_what_is_recorded(full: Ledger) -> None:
    full.record([check("x", kind="drift")], RunKey("three", "r", "t"))
    assert browse.dag_ids(full) == ["one", "three", "two"]
    assert browse.all_kinds(full) == ["drift", "slo"]


@pytest.mark.parametrize("name", ["' OR 1=1 --", "a:b", ":kind", "%", "<img onerror=x>", "🙂"])
def test_names_with_sql_are_bound_as_values(full: Ledger, name: str) -> None:
    full.record([check(name, at=T0, value=0.5, evidence={"remaining": 0.5})], RunKey(name, name, name))
    assert [row.result.value for row in browse.newest(full, "slo", dags=[name])] == [0.5]
    assert [one.slo.name for one in browse_slos.samples(full, slos(name), [(T0, T0 + DAY)], field="remaining", dags=[name])] == [
        name
    ]
    assert [row.result.name for row in browse.of_run(full, name, name, task_id=name)] == [name]


@pytest.fixture
def teams(ledger: Ledger) -> Ledger:
    """Two days of hourly checks of two SLOs of one name, by two DAGs, and by one DAG in two tasks; the first falls silent."""
    for hour in range(48):
        at, run = T0 + hour * timedelta(hours=1), f"run {hour}"
        for number, (service, dag, task) in enumerate(
            (("checkout", "one", "gate"), ("search", "two", "gate"), ("pay", "two", "2"))
        ):
            silent = service == "checkout" and hour > 40
            found: dict[str, Any] = {"verdict": "unknown"} if silent else {"value": hour + number / 10}
            told = {"service": service, "remaining": None if silent else number}
            ledger.record([check("a", at=at + number * MINUTE, evidence=told, **found)], RunKey(dag, run, task))
    ledger.record([check("a", at=T0, value=7.0)], RunKey("one", "before services were named", "gate"))
    return ledger


def test_slos_with_one_name_are_distinguished_by_service(teams: Ledger) -> None:
    def seen(**more: Any) -> list[tuple[str, str, float | None]]:
        return [(*SLOKey.of(row.result)[:2], row.result.value) for row in browse_slos.newest(teams, **more)]

    everything = [("", "a", 7.0), ("checkout", "a", None), ("pay", "a", 47.2), ("search", "a", 47.1)]
    assert seen() == seen(name="a") == everything
    assert seen(dags=["two"]) == seen(name="a", dags=["two"]) == everything[2:]
    teams.record([check("b", evidence={"service": "mapped"})], RunKey("three", "r", "t"))
    for number in range(40):
        teams.record([check("m", evidence={"service": str(number)})], RunKey("three", "r", "t", map_index=number))
    assert len(seen()) == 4 + 1 + 40
    assert seen(name="absent") == seen(dags=[]) == seen(name="a", dags=["absent"]) == []


def test_queries_of_one_service_return_no_other(teams: Ledger) -> None:
    rows = browse_slos.newest_with_value(teams, [SLOKey("checkout", "a"), SLOKey("", "a"), SLOKey("absent", "a")])
    assert sorted((SLOKey.of(row.result).service, row.result.value) for row in rows) == [("", 7.0), ("checkout", 40.0)]
    halves = [(T0, T0 + DAY), (T0 + DAY, T0 + 2 * DAY)]
    found = browse_slos.samples(teams, [SLOKey("search", "a"), SLOKey("pay", "a")], halves, field="remaining")
    assert [(one.slo.service, one.value, one.field) for one in found] == [
        (service, hour + number / 10, number) for hour in (23, 47) for number, service in ((1, "search"), (2, "pay"))
    ]
    assert [row.result.value for row in browse_slos.history(teams, SLOKey("search", "a"), halves)] == [23.1, 47.1]
    assert [row.result.value for row in browse_slos.history(teams, SLOKey("", "a"), halves)] == [7.0]
    recent = browse.recent(teams, ["slo"], name="a", service="search", limit=3)
    assert [row.result.value for row in recent] == [47.1, 46.1, 45.1]


def test_rarely_checked_slo_is_found_beside_a_frequent_one_of_its_name(ledger: Ledger) -> None:
    spent = check("a", at=T0, verdict="fail", value=0.5, evidence={"service": "pay", "remaining": -1.0})
    ledger.record([spent], RunKey("gates", "r", "pay"))
    for number in range(1200):
        at = T0 + number * MINUTE
        ledger.record([check("a", at=at, value=1.0, evidence={"service": "shop"})], RunKey("gates", f"r{number}", "shop"))
    for more in ({}, {"name": "a"}, {"dags": ["gates"]}, {"name": "a", "dags": ["gates"]}):
        rows = browse_slos.newest(ledger, **more)
        assert [(SLOKey.of(row.result).service, row.result.verdict) for row in rows] == [
            ("pay", Verdict.FAIL),
            ("shop", Verdict.PASS),
        ]
    day = [(T0, T0 + DAY)]
    assert [one.field for one in browse_slos.samples(ledger, [SLOKey("pay", "a")], day, field="remaining")] == [-1.0]
    assert [row.result.value for row in browse_slos.history(ledger, SLOKey("pay", "a"), day)] == [0.5]
    assert [row.result.value for row in browse_slos.newest_with_value(ledger, [SLOKey("pay", "a")])] == [0.5]
    assert [row.result.value for row in browse.recent(ledger, ["slo"], name="a", service="pay")] == [0.5]
    assert 'airflow_slo_error_budget_remaining_ratio{slo="a",service="pay"} -1.0' in exposition(newest_checks(ledger))


@pytest.mark.parametrize("more", [{}, {"dags": ["one"]}])
def test_checks_in_the_future_do_not_hide_current_ones(ledger: Ledger, more: dict[str, Any]) -> None:
    now = datetime.now(UTC)
    for name, ahead in (("a", 3 * DAY), ("b", timedelta(hours=20))):
        for kind in ("slo", "drift"):
            ledger.record([check(name, kind=kind, at=now, verdict="fail", value=0.0)], RunKey("one", "live", "t"))
            ledger.record([check(name, kind=kind, at=now + ahead, value=1.0)], RunKey("one", "ahead", "t"))
    # The clock of whoever wrote "b" may be a few hours ahead.
    assert [row.result.value for row in browse_slos.newest(ledger, **more)] == [0.0, 1.0]
    assert [row.result.value for row in browse.newest(ledger, "drift", **more)] == [0.0, 1.0]
    known = browse_slos.newest_with_value(ledger, slos("a", "b"), **more)
    assert sorted((row.result.name, row.result.value) for row in known) == [("a", 0.0), ("b", 1.0)]


def test_migration_fills_in_services(teams: Ledger) -> None:
    odd: list[Any] = [5, None, ["x"], "", "é" * 600, "a\x00b", "\ud800"]
    for number, service in enumerate(odd):
        teams.record([check("odd", evidence={"service": service})], RunKey("three", "r", str(number)))
    newest, columns = browse_slos.newest(teams), _services(teams)
    downgrade(teams, 2)
    with open_ledger(teams._url) as upgraded:
        assert browse_slos.newest(upgraded) == newest
        assert _services(upgraded) == columns
        assert len(set(columns)) == 7


def _services(ledger: Ledger) -> list[str]:
    return [row["service"] for row in sql_text.read_rows(ledger, "SELECT service FROM visible_checks c ORDER BY id", {})]


@pytest.mark.parametrize("odd", [5, None, ["x"], {"x": "y"}, True, "' OR 1=1 --"])
def test_service_of_any_type_is_stored(ledger: Ledger, odd: Any) -> None:
    ledger.record([check("a", evidence={"service": odd})], RunKey("one", "r", "t"))
    ledger.record([check("a", evidence={"service": "shop"})], RunKey("one", "r", "u"))
    told = odd if isinstance(odd, str) else ""
    assert sorted(SLOKey.of(row.result) for row in browse_slos.newest(ledger)) == sorted([SLOKey(told, "a"), SLOKey("shop", "a")])


_SLICES = [(T0 + n * DAY, T0 + (n + 1) * DAY) for n in range(10)]


@pytest.mark.parametrize(
    "ask",
    [
        lambda ledger: browse.newest(ledger, "slo"),
        lambda ledger: browse.newest(ledger, "slo", dags=["dag 3"]),
        lambda ledger: browse_slos.newest_with_value(ledger, slos("slo 1")),
        lambda ledger: browse_slos.samples(ledger, slos("slo 1"), _SLICES, field="remaining"),
        lambda ledger: browse_slos.newest(ledger),
        lambda ledger: browse_slos.newest(ledger, name="slo 1", dags=["dag 3"]),
        lambda ledger: browse_slos.history(ledger, SLOKey("shop", "slo 1"), _SLICES),
        lambda ledger: browse.recent(ledger, ["slo"], name="slo 1", service="shop"),
        lambda ledger: browse.history(ledger, "slo", "slo 1", _SLICES),
        lambda ledger: browse.recent(ledger, ["slo"], name="slo 1"),
        lambda ledger: browse.recent(ledger, ["slo"]),
        lambda ledger: browse.of_run(ledger, "dag 3", "run 3"),
        lambda ledger: browse.by_identity(ledger, "0" * 64),
    ],
    ids=[
        "newest",
        "newest of dags",
        "with value",
        "samples",
        "newest SLOs",
        "SLOs of a name",
        "history of SLO",
        "recent of SLO",
        "history",
        "recent of name",
        "recent",
        "run",
        "identity",
    ],
)
def test_queries_scan_no_table(ledger: Ledger, ask: Callable[[Ledger], object]) -> None:
    for number in range(40):
        at = T0 + number * timedelta(hours=6)
        rows = [check(f"slo {n}", at=at, evidence={"text": "x" * 200}) for n in range(50)]
        ledger.record(rows, RunKey(f"dag {number % 20}", f"run {number}", "t"))
    with ledger._engine.begin() as connection:
        connection.exec_driver_sql("ANALYZE")
    for plan in explain(ledger, ask):
        # SQLite says SCAN for MIN() over an index too, where it takes the first entry: that one says USING.
        scans = [
            line
            for line in plan.splitlines()
            if "Seq Scan on checks" in line or (line.startswith("SCAN c") and "USING" not in line)
        ]
        assert not scans, plan
