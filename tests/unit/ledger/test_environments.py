"""Environments of a ledger, on SQLite; tests/services/test_environments_postgres.py runs the same tests on PostgreSQL."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_slo_provider.core.slo_key import SLOKey
from airflow_slo_provider.exceptions import LedgerError
from airflow_slo_provider.ledger import Ledger, RunKey, open_ledger, row_writer
from airflow_slo_provider.ledger import prometheus_text as exposition
from airflow_slo_provider.ledger.corrections import Correction, corrections, record_correction
from airflow_slo_provider.ledger.environments import Adopted, Environment, adopt, environments
from airflow_slo_provider.ledger.queries import checks as browse
from airflow_slo_provider.ledger.queries import slos as browse_slos
from airflow_slo_provider.ledger.queries.changes import history_entries
from airflow_slo_provider.ledger.records import to_row
from airflow_slo_provider.ledger.schema.migration_4 import OLDER_WRITER
from airflow_slo_provider.ledger.schema.tables import COLUMNS
from airflow_slo_provider.results import CheckResult
from tests.unit.ledger.builders import MINUTE, T0, check, downgrade, key

DAY = timedelta(days=1)
NEW = ("instance", "environment", "labels", "test_run", "attempt")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    with open_ledger(url) as opened:
        yield opened


def old_row(result: CheckResult, run_key: RunKey) -> dict[str, Any]:
    """A row as a release with schema 3 writes it."""
    return {column: value for column, value in to_row(result, run_key, recorded_at=0).items() if column not in NEW}


def insert_as_of_schema_3(ledger: Ledger, row: dict[str, Any]) -> None:
    from sqlalchemy import text

    statement = f"INSERT INTO checks ({', '.join(row)}) VALUES ({', '.join(f':{column}' for column in row)})"
    with ledger._engine.execution_options(slo_writes=True).begin() as connection:
        connection.execute(text(statement), row)


class TestMigration:
    def test_migration_keeps_rows_and_identities(self, ledger: Ledger, url: str) -> None:
        downgrade(ledger, 3)
        keys = [key(f"r{number}") for number in range(3)]
        for number, one in enumerate(keys):
            insert_as_of_schema_3(ledger, old_row(check(value=float(number), at=T0 + number * MINUTE), one))
        with open_ledger(url) as upgraded:
            assert [(row.key, row.result.value) for row in reversed(upgraded.checks())] == [
                (one, float(number)) for number, one in enumerate(keys)
            ]
            assert [upgraded.own("slo", "availability", one) is not None for one in keys] == [True] * 3
            upgraded.record([check(value=9.0)], replace(keys[0], try_number=2))
            assert sorted(row.result.value or 0 for row in upgraded.checks()) == [1.0, 2.0, 9.0]
            assert corrections(upgraded, T0, T0 + DAY) == []

    def test_migrated_decision_is_kept_when_the_gate_is_cleared(self, ledger: Ledger, url: str) -> None:
        downgrade(ledger, 3)
        for run, verdict in (("frozen", "fail"), ("unknown", "unknown")):
            insert_as_of_schema_3(ledger, old_row(check("g", kind="decision", verdict=verdict), key(run)))
        with open_ledger(url) as upgraded:
            assert upgraded.attempt(key("frozen", try_number=2), name="g") == 1
            assert upgraded.attempt(key("unknown", try_number=2), name="g") == 0
            assert upgraded.attempt(key("frozen", try_number=1), name="g") == 0

    def test_insert_of_an_older_release_is_refused_with_a_reason(self, ledger: Ledger) -> None:
        with pytest.raises(Exception, match="restart the process") as caught:
            insert_as_of_schema_3(ledger, old_row(check(), key()))
        assert OLDER_WRITER in str(caught.value)
        assert ledger.checks() == []

    def test_upsert_of_an_older_release_is_refused(self, ledger: Ledger) -> None:
        """What a gate, a retry and a watch of schema 3 send: it would leave the row with values of another release."""
        ledger.record([check(verdict="fail")], key())
        row = old_row(check(), key(try_number=2))
        names = ", ".join(row)
        statement = (
            f"INSERT INTO checks ({names}) VALUES ({', '.join(f':{column}' for column in row)}) "
            "ON CONFLICT (identity) DO UPDATE SET verdict = excluded.verdict"
        )
        from sqlalchemy import text

        with (
            pytest.raises(Exception, match="restart the process"),
            ledger._engine.execution_options(slo_writes=True).begin() as connection,
        ):
            connection.execute(text(statement), row)
        assert [one.result.verdict for one in ledger.checks()] == ["fail"]

    @pytest.mark.parametrize("ask", ["record", "record_once", "checks", "browse"])
    def test_process_with_an_older_schema_is_refused(self, ledger: Ledger, ask: str) -> None:
        from sqlalchemy import text

        with ledger._engine.execution_options(slo_writes=True).begin() as connection:
            connection.execute(text("INSERT INTO slo_ledger_schema (version, applied_at) VALUES (5, 0)"))
        asked = {
            "record": lambda: ledger.record([check()], key()),
            "record_once": lambda: ledger.record_once(check(), key()),
            "checks": lambda: ledger.checks(),
            "browse": lambda: browse.newest(ledger, "slo"),
        }
        with pytest.raises(LedgerError, match="has schema 5 now, and this process opened it with schema 4: restart") as caught:
            asked[ask]()
        assert (caught.value.reason, caught.value.transient) == ("other_schema", True)

    def test_migrated_columns_equal_the_query_columns(self, ledger: Ledger) -> None:
        assert COLUMNS[-5:] == NEW


class TestIdentity:
    def test_identity_without_new_fields_equals_the_first_release(self) -> None:
        digest = hashlib.sha256(b'["gate", "r1", "check", -1, "slo", "availability"]').hexdigest()
        assert RunKey("gate", "r1", "check").identity("slo", "availability") == digest

    def test_identity_depends_on_each_new_field(self) -> None:
        plain = RunKey("gate", "r1", "check")
        keys = [
            plain,
            replace(plain, environment="a"),
            replace(plain, environment="b"),
            replace(plain, attempt=1),
            replace(plain, test_run=True),
            replace(plain, environment="a", test_run=True),
        ]
        digests = {one.identity("slo", "x", labels) for one in keys for labels in ("", '{"a":"b"}')}
        assert len(digests) == 2 * len(keys)

    def test_identity_ignores_the_try(self) -> None:
        assert key(try_number=1).identity("slo", "x") == key(try_number=2).identity("slo", "x")


SEEN = {
    "checks": lambda ledger: [row.result.value for row in ledger.checks()],
    "latest": lambda ledger: [row.result.value for row in [ledger.latest("slo", "availability")] if row],
    "own": lambda ledger: [row.result.value for row in [ledger.own("slo", "availability", key())] if row],
    "points": lambda ledger: [point.value for point in ledger.points("slo", "availability", T0, T0 + DAY)],
    "of versions": lambda ledger: [row.result.value for row in ledger.newest_of_versions("slo")],
    "newest": lambda ledger: [row.result.value for row in browse.newest(ledger, "slo")],
    "newest of a DAG": lambda ledger: [row.result.value for row in browse.newest(ledger, "slo", dags=["gate"])],
    "recent": lambda ledger: [row.result.value for row in browse.recent(ledger, ["slo"])],
    "history": lambda ledger: [row.result.value for row in browse.history(ledger, "slo", "availability", [(T0, T0 + DAY)])],
    "every": lambda ledger: [row.result.value for row in browse.stream(ledger, "slo", "availability", since=T0, until=T0 + DAY)],
    "of a run": lambda ledger: [row.result.value for row in browse.of_run(ledger, "gate", "r1")],
    "newest SLOs": lambda ledger: [row.result.value for row in browse_slos.newest(ledger)],
    "newest SLOs of a DAG": lambda ledger: [row.result.value for row in browse_slos.newest(ledger, dags=["gate"])],
    "SLO with value": lambda ledger: [
        row.result.value for row in browse_slos.newest_with_value(ledger, [SLOKey("", "availability")])
    ],
    "SLO history": lambda ledger: [
        row.result.value for row in browse_slos.history(ledger, SLOKey("", "availability"), [(T0, T0 + DAY)])
    ],
    "samples": lambda ledger: [
        one.value for one in browse_slos.samples(ledger, [SLOKey("", "availability")], [(T0, T0 + DAY)], field="x")
    ],
    "exposition": lambda ledger: [row.result.value for row in exposition.newest_checks(ledger)],
    "names": lambda ledger: [1.0] * len(ledger.names("slo")),
    "kinds": lambda ledger: [1.0] * len(ledger.kinds("availability")),
    "DAGs": lambda ledger: [1.0] * len(browse.dag_ids(ledger)),
    "all kinds": lambda ledger: [1.0] * len(browse.all_kinds(ledger)),
    "services": lambda ledger: [1.0] * len(ledger.services("slo", "availability", T0, T0 + DAY)),
}


class TestWhoSeesWhat:
    @pytest.mark.parametrize("question", SEEN)
    @pytest.mark.parametrize(
        ("environment", "test_run"), [("", False), ("staging", False), ("", True)], ids=["unnamed", "another", "test"]
    )
    def test_queries_return_no_rows_of_other_environments(
        self, ledger: Ledger, url: str, question: str, environment: str, test_run: bool
    ) -> None:
        written = check(value=1.0, model_version="7", evidence={"service": ""})
        with open_ledger(url, environment=environment, test_run=test_run) as other:
            other.record([written], key())
            metrics_of_tests = test_run and question == "exposition"
            assert SEEN[question](other) == ([] if metrics_of_tests else [1.0])
        with open_ledger(url, environment="production") as production:
            assert SEEN[question](production) == []
            production.record([written], key())
            assert SEEN[question](production) == [1.0]
        if test_run:
            assert SEEN[question](ledger) == [], "a test counts nowhere but in tests"

    def test_test_run_sees_all_rows_of_its_environment(self, url: str) -> None:
        for environment, test_run, value in (("a", False, 1.0), ("a", True, 2.0), ("b", False, 3.0), ("b", True, 4.0)):
            with open_ledger(url, environment=environment, test_run=test_run) as opened:
                opened.record([check(value=value)], key(f"{value}"))
        with open_ledger(url, environment="a", test_run=True) as opened:
            assert sorted(row.result.value or 0 for row in opened.checks()) == [1.0, 2.0]

    def test_history_is_limited_to_the_environment(self, ledger: Ledger, url: str) -> None:
        for environment in ("", "a"):
            with open_ledger(url, environment=environment) as opened:
                opened.record([check(environment or "none", kind="decision", evidence={"slos": {}})], key())
        assert [one.name for one in history_entries(ledger)] == ["none"]

    @pytest.mark.parametrize("name", ["a b", "-a", "a/b", "x" * 101, "a\n", "ä"])
    def test_invalid_environment_name_is_refused(self, url: str, name: str) -> None:
        with pytest.raises(LedgerError, match="cannot be a name"):
            open_ledger(url, environment=name)


class TestLabels:
    def test_groups_of_an_slo_are_separate_checks(self, ledger: Ledger) -> None:
        for number, labels in enumerate([{}, {"region": "eu"}, {"region": "us", "tier": "1"}]):
            ledger.record([check(value=float(number), labels=labels, evidence={"service": "shop"})], key())
        assert [row.result.value for row in browse_slos.newest(ledger)] == [0.0, 1.0, 2.0]
        assert [row.result.labels for row in browse_slos.newest(ledger, dags=["gate"])] == [
            {}, {"region": "eu"}, {"region": "us", "tier": "1"},
        ]  # fmt: skip
        found = ledger.latest("slo", "availability", service="shop", labels={"tier": "1", "region": "us"})
        assert found is not None
        assert found.result.value == 2.0
        whole = ledger.latest("slo", "availability", service="shop", labels={})
        assert whole is not None
        assert whole.result.value == 0.0
        assert len({row.identity for row in ledger.checks()}) == 3
        assert browse.by_identity(ledger, found.identity) == found

    def test_labels_are_in_the_dict_only_if_there_are_any(self) -> None:
        labelled = check(labels={"region": "eu"})
        assert CheckResult.from_dict(labelled.to_dict()) == labelled
        assert "labels" not in check().to_dict()
        for wrong in ({"a": 1}, {1: "a"}, {"": "a"}):
            with pytest.raises(ValueError, match="must have a name and a value that are text"):
                check(labels=wrong)

    def test_exposition_has_one_series_per_group(self, ledger: Ledger) -> None:
        for region in ("eu", "us"):
            ledger.record([check(value=0.5, labels={"region": region})], key())
        lines = exposition.exposition(exposition.newest_checks(ledger)).splitlines()
        assert len(lines) == len(set(lines))
        assert sum('labels="{\\"region\\":\\"eu\\"}"' in line for line in lines) > 4


class TestAdopting:
    def test_adopt_moves_unnamed_rows(self, ledger: Ledger, url: str) -> None:
        for number in range(5):
            ledger.record([check(value=float(number), labels={"n": "1"} if number == 3 else {})], key(f"r{number}"))
        ledger.record([check("d", kind="decision", evidence={"complete": True})], key("a"))
        ledger.record_decision([check("d", kind="decision")], key("a", try_number=2), name="d")
        record_correction(ledger, Correction(service="s", starts=T0, ends=T0 + DAY, reason="why"))
        with open_ledger(url, test_run=True) as tests:
            tests.record([check()], key("t"))
        with open_ledger(url, environment="production") as named:
            assert adopt(named) == Adopted(checks=8, corrections=1, left=0)
            assert adopt(named) == Adopted(checks=0, corrections=0, left=0)
            assert len(named.checks()) == 7
            assert all(browse.by_identity(named, row.identity) == row for row in named.checks())
            named.record([check(value=-1.0)], key("r1", try_number=2))
            assert len(named.checks()) == 7, "the row of before is replaced"
            assert named.own("slo", "availability", key("r2")) is not None
            assert [one.reason for one in corrections(named, T0, T0 + DAY)] == ["why"]
            assert environments(named) == [Environment("production", 7, 1)]
        assert ledger.checks() == []

    def test_adopt_leaves_rows_that_exist_already(self, ledger: Ledger, url: str) -> None:
        ledger.record([check(value=1.0)], key())
        ledger.record([check(value=2.0)], key("r2"))
        with open_ledger(url, environment="production") as named:
            named.record([check(value=3.0)], key())
            assert adopt(named) == Adopted(checks=1, corrections=0, left=1)
            assert sorted(row.result.value or 0 for row in named.checks()) == [2.0, 3.0]
        assert [row.result.value for row in ledger.checks()] == [1.0]

    def test_adopt_moves_rows_in_batches(self, ledger: Ledger, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("airflow_slo_provider.ledger.environments._BATCH", 7)
        for number in range(30):
            ledger.record([check()], key(f"r{number}"))
        with open_ledger(url, environment="production") as named:
            assert adopt(named).checks == 30

    def test_adopt_into_unnamed_environment_is_refused(self, ledger: Ledger) -> None:
        with pytest.raises(ValueError, match="cannot be moved to the unnamed environment"):
            adopt(ledger)


class TestCorrections:
    def test_corrections_returns_those_that_overlap_the_window(self, ledger: Ledger) -> None:
        for number, (service, name) in enumerate([("shop", ""), ("shop", "answered"), ("pay", "")]):
            start = T0 + number * DAY
            record_correction(
                ledger, Correction(service=service, name=name, starts=start, ends=start + DAY, reason=f"{number}", by="me")
            )
        assert [one.reason for one in corrections(ledger, T0 + DAY, T0 + 2 * DAY)] == ["1"]
        assert [one.reason for one in corrections(ledger, T0, T0 + 9 * DAY)] == ["0", "1", "2"]
        (found,) = corrections(ledger, T0, T0 + 9 * DAY, service="pay")
        assert (found.by, found.name, found.starts) == ("me", "", T0 + 2 * DAY)
        assert found.recorded_at is not None

    def test_correction_with_the_same_start_is_replaced(self, ledger: Ledger) -> None:
        for days in (1, 2):
            record_correction(ledger, Correction(service="s", starts=T0, ends=T0 + days * DAY, reason="x", labels={"a": "b"}))
        (found,) = corrections(ledger, T0, T0 + 9 * DAY)
        assert (found.ends, found.labels) == (T0 + 2 * DAY, {"a": "b"})

    def test_corrections_are_limited_to_the_environment(self, ledger: Ledger, url: str) -> None:
        record_correction(ledger, Correction(service="s", starts=T0, ends=T0 + DAY, reason="x"))
        with open_ledger(url, environment="other") as other:
            assert corrections(other, T0, T0 + DAY) == []

    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            ({"ends": T0}, "is not after"),
            ({"reason": " "}, "a service and a reason are required"),
            ({"service": ""}, "a service and a reason are required"),
            ({"starts": T0.replace(tzinfo=None)}, "no time zone"),
        ],
    )
    def test_invalid_correction_is_refused(self, wrong: dict[str, Any], said: str) -> None:
        with pytest.raises(ValueError, match=said):
            Correction(**{"service": "s", "starts": T0, "ends": T0 + DAY, "reason": "x", **wrong})


def test_attempts_are_kept_without_upsert(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_writer, "upsert", row_writer.delete_and_insert)
    for number, complete in ((1, False), (2, True), (3, True), (2, True)):
        ledger.record_decision(
            [check("d", kind="decision", evidence={"complete": complete}), check(value=float(number))],
            key(try_number=number),
            name="d",
        )
    assert sorted((row.key.attempt, row.key.try_number) for row in ledger.checks("decision")) == [(0, 2), (1, 3)]
