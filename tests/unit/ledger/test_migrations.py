"""Migrations of the ledger's schema."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection

from airflow_slo_provider.exceptions import LedgerError
from airflow_slo_provider.ledger import open_ledger
from airflow_slo_provider.ledger.records import to_row
from airflow_slo_provider.ledger.schema import migrations
from airflow_slo_provider.ledger.schema.tables import COLUMNS
from tests.unit.ledger.builders import check, key

BEFORE = list(range(1, len(migrations.MIGRATIONS) + 1))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def _steps(monkeypatch: pytest.MonkeyPatch, *more: Callable[[Connection], None]) -> None:
    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, *more))


def _versions(path: Path) -> list[int]:
    with sqlite3.connect(path) as connection:
        return [row[0] for row in connection.execute("SELECT version FROM slo_ledger_schema ORDER BY version")]


def _add_column(connection: Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE checks ADD COLUMN reviewer TEXT")


def test_migrated_table_equals_the_query_columns(path: Path) -> None:
    open_ledger(f"sqlite:///{path}").close()
    with sqlite3.connect(path) as connection:
        assert tuple(row[1] for row in connection.execute("PRAGMA table_info(checks)")) == COLUMNS
    assert _versions(path) == BEFORE


def test_older_ledger_is_migrated_with_its_rows(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_ledger(f"sqlite:///{path}") as ledger:
        ledger.record([check("kept", value=1.5)], key())
    _steps(monkeypatch, _add_column)
    with open_ledger(f"sqlite:///{path}") as ledger:
        assert [(row.result.name, row.result.value) for row in ledger.checks()] == [("kept", 1.5)]
        ledger.record([check("new")], key())
    assert _versions(path) == [*BEFORE, BEFORE[-1] + 1]
    open_ledger(f"sqlite:///{path}").close()
    assert _versions(path) == [*BEFORE, BEFORE[-1] + 1]


def test_failed_migration_leaves_the_ledger_unchanged(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_ledger(f"sqlite:///{path}") as ledger:
        ledger.record([check("kept")], key())

    def broken(connection: Connection) -> None:
        _add_column(connection)
        connection.exec_driver_sql("ALTER TABLE absent ADD COLUMN x TEXT")

    with monkeypatch.context() as patched:
        _steps(patched, broken)
        with pytest.raises(LedgerError, match="no such table: absent"):
            open_ledger(f"sqlite:///{path}")
    assert _versions(path) == BEFORE
    with sqlite3.connect(path) as connection:
        assert tuple(row[1] for row in connection.execute("PRAGMA table_info(checks)")) == COLUMNS
    with open_ledger(f"sqlite:///{path}") as ledger:
        assert [row.result.name for row in ledger.checks()] == ["kept"]


def test_newer_ledger_is_refused_and_unchanged(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as newer:
        _steps(newer, _add_column)
        with open_ledger(f"sqlite:///{path}") as ledger:
            ledger.record([check("kept")], key())
    with pytest.raises(LedgerError) as caught:
        open_ledger(f"sqlite:///{path}")
    assert str(caught.value) == (
        f"ledger {path} has schema {BEFORE[-1] + 1}, this release of airflow-slo-provider knows up to {BEFORE[-1]}; "
        "upgrade airflow-slo-provider here, or use another ledger"
    )
    assert (caught.value.reason, caught.value.transient) == ("newer_schema", False)
    assert _versions(path) == [*BEFORE, BEFORE[-1] + 1]
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT name FROM checks").fetchall() == [("kept",)]


def test_foreign_table_is_not_changed(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE checks (bank TEXT)")
        connection.execute("INSERT INTO checks VALUES ('mine')")
    with pytest.raises(LedgerError, match="already has a table 'checks' that is not this ledger's") as caught:
        open_ledger(f"sqlite:///{path}")
    assert caught.value.reason == "foreign_table"
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT bank FROM checks").fetchall() == [("mine",)]
        assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'slo_ledger_schema'").fetchone() == (0,)


def test_migration_adds_the_new_indexes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later = {"service", "instance", "environment", "labels", "test_run", "attempt"}
    row = {
        column: value for column, value in to_row(check("kept", value=1.5), key(), recorded_at=0).items() if column not in later
    }
    with monkeypatch.context() as older:
        older.setattr(migrations, "MIGRATIONS", migrations.MIGRATIONS[:1])
        open_ledger(f"sqlite:///{path}").close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"INSERT INTO checks ({', '.join(row)}) VALUES ({', '.join(f':{column}' for column in row)})", row)
    with open_ledger(f"sqlite:///{path}") as ledger:
        assert [row.result.name for row in ledger.checks()] == ["kept"]
    with sqlite3.connect(path) as connection:
        names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}
    assert {"checks_by_dag_and_check", "checks_by_run", "checks_by_check", "checks_by_service"} <= names
