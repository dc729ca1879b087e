"""Reading and writing a ledger, on SQLite. tests/services/test_ledger_postgres.py runs the same tests on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from airflow_slo_provider.exceptions import LedgerError
from airflow_slo_provider.ledger import Ledger, Point, RunKey, open_ledger, row_writer
from airflow_slo_provider.results import Verdict
from tests.unit.ledger.builders import MINUTE, T0, check, explain, key


@pytest.fixture
def ledger_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'slo ledger.db'}"


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    with open_ledger(ledger_url) as opened:
        yield opened


def test_recorded_check_keeps_every_field(ledger: Ledger) -> None:
    result = check(
        verdict="warn",
        value=0.1 + 0.2,
        unit="ratio",
        good=999_999_999_999.0,
        total=1e15,
        target=0.999,
        op="gte",
        message="schnell → 50 %",
        at=datetime(2026, 11, 1, 13, 30, 0, 123456, tzinfo=timezone(timedelta(hours=5, minutes=30))),
        interval_start=T0 - timedelta(days=30),
        interval_end=T0,
        model_version="7",
        evidence={"query": "sum(x)", "rows": 3, "nested": {"a": [1, 2.5, None, True]}},
    )
    ledger.record([result], key(map_index=3, try_number=2))
    (found,) = ledger.checks()
    assert found.result == result
    assert found.result.checked_at.utcoffset() == timedelta(0)
    assert found.key == RunKey("gate", "r1", "check", 3, 2)
    assert abs(found.recorded_at - datetime.now(UTC)) < timedelta(minutes=5)


def test_text_that_a_database_rejects_is_replaced(ledger: Ledger) -> None:
    ledger.record(
        [check(message="a\x00b\udc80", evidence={"nul": "\x00", "n": float("nan"), "d": Decimal("0.10"), 1: {2}})], key()
    )
    (found,) = ledger.checks()
    assert found.result.message == "a\ufffdb?"
    assert found.result.evidence == {"nul": "\ufffd", "n": "nan", "d": "0.10", "1": [2]}


def test_retry_replaces_its_own_row(ledger: Ledger) -> None:
    ledger.record([check(verdict="fail"), check("latency")], key(try_number=1))
    ledger.record([check(verdict="pass", at=T0 + MINUTE)], key(try_number=2))
    rows = {row.result.name: row for row in ledger.checks()}
    assert len(ledger.checks()) == 2
    assert rows["availability"].result.verdict is Verdict.PASS
    assert rows["availability"].key.try_number == 2
    assert rows["latency"].key.try_number == 1


def test_earlier_try_does_not_overwrite_a_later_one(ledger: Ledger) -> None:
    ledger.record([check(verdict="fail")], key(try_number=2))
    ledger.record([check(verdict="pass")], key(try_number=1))
    (found,) = ledger.checks()
    assert (found.result.verdict, found.key.try_number) == (Verdict.FAIL, 2)


def test_rows_are_replaced_without_upsert(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_writer, "upsert", row_writer.delete_and_insert)
    for attempt, verdict in ((1, "fail"), (3, "warn"), (2, "pass"), (3, "unknown")):
        ledger.record([check(verdict=verdict), check(f"only in {attempt}")], key(try_number=attempt))
    rows = {row.result.name: row for row in ledger.checks()}
    assert sorted(rows) == ["availability", "only in 1", "only in 2", "only in 3"]
    assert (rows["availability"].result.verdict, rows["availability"].key.try_number) == (Verdict.UNKNOWN, 3)


@pytest.mark.parametrize("dialect", [None, "another"])
def test_record_once_keeps_the_first_check(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, dialect: str | None) -> None:
    if dialect:
        monkeypatch.setattr(row_writer, "UPSERTS", ())
    first = ledger.record_once(check(verdict="pass", evidence={"who": "a"}), key())
    second = ledger.record_once(check(verdict="fail", at=T0 - MINUTE, evidence={"who": "b"}), key(try_number=2))
    assert first == second
    assert (second.result.evidence, second.result.checked_at, len(ledger.checks())) == ({"who": "a"}, T0, 1)
    assert ledger.record_once(check("other"), key()).result.name == "other"


@pytest.mark.parametrize("other", [{"dag_id": "x"}, {"run_id": "x"}, {"task_id": "x"}, {"map_index": 0}])
def test_task_instances_have_separate_rows(ledger: Ledger, other: dict[str, object]) -> None:
    ledger.record([check()], key())
    ledger.record([check()], RunKey(**{"dag_id": "gate", "run_id": "r1", "task_id": "check", **other}))  # type: ignore[arg-type]
    ledger.record([check(kind="decision")], key())
    ledger.record([check("other")], key())
    assert len(ledger.checks()) == 4


def test_identity_separates_adjacent_ids(ledger: Ledger) -> None:
    ledger.record([check()], RunKey("a", "b,c", "t"))
    ledger.record([check()], RunKey("a,b", "c", "t"))
    assert len(ledger.checks()) == 2


def test_record_writes_all_checks_or_none(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match=r"check slo/n+: name has 501 characters, the ledger holds 500"):
        ledger.record([check("fine"), check("n" * 501)], key())
    assert ledger.checks() == []
    ledger.record([], key())
    ledger.record([check(verdict="pass"), check(verdict="fail")], key())
    assert [row.result.verdict for row in ledger.checks()] == ["fail"]


def test_checks_exclude_the_end_and_are_newest_first(ledger: Ledger) -> None:
    for number in range(10):
        ledger.record([check(at=T0 + number * MINUTE, value=float(number))], key(f"r{number}"))
    ledger.record([check("other", at=T0)], RunKey("other", "r", "t"))

    def values(**asked: object) -> list[float | None]:
        return [row.result.value for row in ledger.checks("slo", "availability", **asked)]  # type: ignore[arg-type]

    assert values(since=T0 + 2 * MINUTE, until=T0 + 5 * MINUTE) == [4, 3, 2]
    assert values(since=T0 + 2 * MINUTE, until=T0 + 5 * MINUTE, newest_first=False) == [2, 3, 4]
    assert values(limit=3) == [9, 8, 7]
    assert values(until=T0 + timedelta(microseconds=1)) == [0]
    assert len(ledger.checks(dag_id="gate")) == 10
    assert [row.result.name for row in ledger.checks(dag_id="other")] == ["other"]
    assert len(ledger.checks(kind="slo")) == 11
    assert ledger.checks(kind="drift") == []
    for limit in (0, -1, 100_001):
        with pytest.raises(ValueError, match=f"limit {limit} must lie between 1 and 100000"):
            ledger.checks(limit=limit)
    with pytest.raises(LedgerError, match="since 2025-11-01 00:00:00 has no time zone"):
        ledger.checks(since=T0.replace(tzinfo=None))


def test_latest_excludes_the_given_task_instance(ledger: Ledger) -> None:
    assert ledger.latest("decision", "a") is None
    ledger.record([check("a", kind="decision", at=T0)], key("r1"))
    ledger.record([check("a", kind="decision", at=T0 + MINUTE)], key("r2", try_number=1))
    newest, past = ledger.latest("decision", "a"), ledger.latest("decision", "a", exclude_key=key("r2", try_number=2))
    assert newest is not None
    assert newest.key.run_id == "r2"
    assert past is not None
    assert past.key.run_id == "r1"
    before = ledger.latest("decision", "a", before=T0 + MINUTE)
    assert before is not None
    assert before.key.run_id == "r1"
    assert ledger.latest("decision", "a", before=T0) is None
    # Another mapped instance of the same task is not the asking task.
    mapped = ledger.latest("decision", "a", exclude_key=key("r2", map_index=4))
    assert mapped is not None
    assert mapped.key.run_id == "r2"


def test_latest_is_limited_to_the_service(ledger: Ledger) -> None:
    for number, service in enumerate(["shop", 'billing\'s "own"', None]):
        evidence = {} if service is None else {"service": service, "more": [1, {"service": "elsewhere"}]}
        ledger.record([check("a", kind="slo", at=T0 + number * MINUTE, evidence=evidence)], key(f"r{number}"))
    found = {name: ledger.latest("slo", "a", evidence={"service": name}) for name in ("shop", 'billing\'s "own"', "elsewhere")}
    assert [row and row.key.run_id for row in found.values()] == ["r0", "r1", None]
    newest = ledger.latest("slo", "a")
    assert newest is not None
    assert newest.key.run_id == "r2"


def test_newest_of_versions_returns_one_check_per_version(ledger: Ledger) -> None:
    for number, (kind, version) in enumerate([("drift", "1"), ("drift", "2"), ("drift", "1"), ("drift", None), ("slo", "1")]):
        for name in "ab":
            ledger.record([check(name, kind=kind, at=T0 + number * MINUTE, model_version=version)], key(f"r{number}"))
    # Another check at the moment of the newest one of something else is not the newest of its own.
    ledger.record([check("b", kind="drift", at=T0 + 9 * MINUTE, model_version="1")], key("r9"))

    def found(*arguments: Any, **more: Any) -> list[tuple[str, str | None, str]]:
        rows = ledger.newest_of_versions(*arguments, **more)
        return [(one.result.name, one.result.model_version, one.key.run_id) for one in rows]

    assert found("drift") == [("b", "1", "r9"), ("a", "1", "r2"), ("b", "2", "r1"), ("a", "2", "r1")]
    assert found("drift", "a", T0 + 2 * MINUTE) == [("a", "1", "r2")]
    assert found(name="a") == [("a", "1", "r4"), ("a", "1", "r2"), ("a", "2", "r1")]
    assert found("drift", limit=1) == [("b", "1", "r9")]


def test_names_and_kinds_list_what_is_recorded(ledger: Ledger) -> None:
    assert ledger.names("slo") == []
    for number, (kind, name) in enumerate([("slo", "b"), ("slo", "a"), ("drift", "a"), ("slo", "b"), ("golden_set", "z")]):
        ledger.record([check(name, kind=kind)], key(f"r{number}"))
    assert ledger.names("slo") == ["a", "b"]
    assert sorted(ledger.kinds("a")) == ["drift", "slo"]
    assert ledger.kinds("nothing") == []


def test_points_stream_one_snapshot(ledger: Ledger) -> None:
    ledger.record([check(at=T0 - MINUTE), check("b", at=T0)], key("outside"))
    for number in range(2500):
        if number % 500 == 0:
            ledger.record([check(f"x{n}", at=T0) for n in range(number, number + 500)], key(f"noise{number}"))
    for number in range(30):
        ledger.record([check(at=T0 + number * MINUTE, value=float(number), good=1.0, total=2.0)], key(f"r{number}"))
    end = T0 + 29 * MINUTE
    points = list(ledger.points("slo", "availability", T0, end))
    assert points[0] == Point(T0, Verdict.PASS, 0.0, 1.0, 2.0)
    assert [point.value for point in points] == [float(number) for number in range(29)]

    stream = ledger.points("slo", "availability", T0, T0 + timedelta(days=1))
    first = next(stream)
    ledger.record([check(at=T0 + timedelta(hours=2), value=-1.0)], key("r0", try_number=2))  # the row just read moves to the end
    assert [first.value, *(point.value for point in stream)] == [float(number) for number in range(30)]

    stopped = ledger.points("slo", "availability", T0, end)
    next(stopped)
    stopped.close()  # type: ignore[attr-defined]
    assert ledger._engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_closed_ledger_is_refused(ledger: Ledger) -> None:
    ledger.close()
    ledger.close()
    with pytest.raises(LedgerError, match="is closed"):
        ledger.checks()
    with pytest.raises(LedgerError, match="is closed"):
        ledger.record([check()], key())


def test_reopened_ledger_keeps_its_rows(ledger: Ledger, ledger_url: str) -> None:
    ledger.record([check()], key())
    with open_ledger(ledger_url) as again:
        assert len(again.checks()) == 1
        assert "s3cr" not in repr(again)
        assert repr(again) == f"<Ledger {again.where}>"


ASKED = {
    "by check and window": lambda ledger: ledger.checks("slo", "n7", since=T0, until=T0 + 50 * MINUTE, limit=20),
    "by check, oldest first": lambda ledger: ledger.checks("slo", "n7", newest_first=False, limit=20),
    "by kind": lambda ledger: ledger.checks("drift", limit=20),
    "by dag": lambda ledger: ledger.checks(dag_id="dag3", limit=20),
    "all, newest first": lambda ledger: ledger.checks(limit=20),
    "latest": lambda ledger: ledger.latest("slo", "n7", before=T0 + 90 * MINUTE, exclude_key=key()),
    "latest of a service": lambda ledger: ledger.latest("slo", "n7", exclude_key=key(), evidence={"service": "s"}),
    "names": lambda ledger: ledger.names("slo"),
    "kinds": lambda ledger: ledger.kinds("n7"),
    "points": lambda ledger: list(ledger.points("slo", "n7", T0, T0 + 50 * MINUTE)),
}


@pytest.fixture
def full_ledger(ledger: Ledger) -> Ledger:
    """A ledger with 12,000 rows: 100 names of two kinds, in 10 DAGs."""
    for number in range(60):
        at = T0 + number * MINUTE
        ledger.record(
            [check(f"n{n}", kind=kind, at=at, value=0.5) for n in range(100) for kind in ("slo", "drift")],
            RunKey(f"dag{number % 10}", f"r{number}", "t"),
        )
    with ledger._engine.execution_options(slo_writes=True).begin() as connection:
        connection.exec_driver_sql("ANALYZE")
    return ledger


def test_queries_use_an_index(full_ledger: Ledger) -> None:
    for asked, ask in ASKED.items():
        for plan in explain(full_ledger, ask):
            if full_ledger._engine.dialect.name == "sqlite":
                scans = [line for line in plan.splitlines() if line.startswith("SCAN checks") and "USING" not in line]
                sorts = "TEMP B-TREE" in plan
            else:
                scans = [line for line in plan.splitlines() if "Seq Scan on checks" in line]
                # A whole window may be sorted after it was found, and the few rows that are expected of a service.
                sorts = "Sort" in plan and "Limit" in plan and asked != "latest of a service"
            assert not scans, f"{asked}:\n{plan}"
            assert not sorts, f"{asked}:\n{plan}"
            assert "checks_by_" in plan, f"{asked}:\n{plan}"


def test_own_returns_the_check_of_the_task_instance(ledger: Ledger) -> None:
    ledger.record([check(value=1.0)], key("r1", try_number=1))
    ledger.record([check(value=2.0, at=T0 + MINUTE)], key("r2"))
    found = ledger.own("slo", "availability", key("r1", try_number=3))
    assert found is not None
    assert (found.result.value, found.key.try_number) == (1.0, 1)
    assert ledger.own("slo", "availability", key("r3")) is None
    assert ledger.own("slo", "latency", key("r1")) is None
    assert ledger.own("freshness", "availability", key("r1")) is None
