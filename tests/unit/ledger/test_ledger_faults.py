"""Faults of a SQLite ledger or of its URL, and their messages."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event

from airflow_slo_provider.exceptions import LedgerError
from airflow_slo_provider.ledger import engine, open_ledger
from tests.support import REPO
from tests.unit.ledger.builders import check, key


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def unprivileged_directory() -> Iterator[Path]:
    """A directory of a user to whom permissions apply: root may write everywhere, so become nobody for the test."""
    directory = Path(tempfile.mkdtemp(prefix="slo-ro-"))
    if os.geteuid() != 0:
        yield directory
    else:
        os.chown(directory, 65534, 65534)
        os.seteuid(65534)
        try:
            yield directory
        finally:
            os.seteuid(0)
    shutil.rmtree(directory, ignore_errors=True)


def test_sqlite_uses_wal_and_one_writer_at_a_time(path: Path) -> None:
    with open_ledger(f"sqlite:///{path}") as ledger:
        sent: list[str] = []
        event.listen(ledger._engine, "before_cursor_execute", lambda c, cu, statement, *rest: sent.append(statement))
        ledger.record([check()], key())
        ledger.checks()
        assert [statement for statement in sent if statement.startswith("BEGIN")] == ["BEGIN IMMEDIATE", "BEGIN"]
        with ledger._engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 1
            assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 30_000


def test_reader_is_not_blocked_by_a_writer(path: Path) -> None:
    with open_ledger(f"sqlite:///{path}") as ledger:
        ledger.record([check()], key())
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM checks")
        assert len(ledger.checks()) == 1
        other.execute("ROLLBACK")
        other.close()


def test_wait_for_a_held_lock_ends_with_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "LOCK_WAIT_SECONDS", 0.2)
    with open_ledger(f"sqlite:///{path}") as ledger:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError) as caught:
            ledger.record([check()], key())
        other.execute("ROLLBACK")
        other.close()
        assert str(caught.value) == (
            f"ledger {path}: another process kept it locked for too long; the task may be retried "
            "(OperationalError: database is locked)"
        )
        assert (caught.value.reason, caught.value.transient) == ("locked", True)
        ledger.record([check()], key())
        assert len(ledger.checks()) == 1


def test_full_disk_keeps_existing_rows(path: Path) -> None:
    with open_ledger(f"sqlite:///{path}") as ledger:
        ledger.record([check()], key("before"))
        event.listen(ledger._engine, "begin", lambda c: c.exec_driver_sql("PRAGMA max_page_count=1"), insert=True)
        with pytest.raises(LedgerError) as caught:
            ledger.record([check(str(number), message="x" * 1000) for number in range(200)], key("too much"))
        assert str(caught.value) == (
            f"ledger {path}: there is no space left; free some and retry (OperationalError: database or disk is full)"
        )
        assert (caught.value.reason, caught.value.transient) == ("disk_full", True)
        assert [row.key.run_id for row in ledger.checks()] == ["before"]


def test_missing_directory_is_refused(tmp_path: Path) -> None:
    where = tmp_path / "not there" / "ledger.db"
    with pytest.raises(LedgerError) as caught:
        open_ledger(f"sqlite:///{where}")
    assert str(caught.value) == f"ledger {where}: directory {where.parent} does not exist; create it or change [slo] ledger_url"
    assert not caught.value.transient


def test_read_only_directory_is_refused(unprivileged_directory: Path) -> None:
    unprivileged_directory.chmod(0o555)
    where = unprivileged_directory / "ledger.db"
    with pytest.raises(LedgerError) as caught:
        open_ledger(f"sqlite:///{where}")
    assert str(caught.value) == (
        f"ledger {where}: the file cannot be opened; check that it and its directory belong to the user that runs Airflow "
        "(OperationalError: unable to open database file)"
    )
    assert (caught.value.reason, caught.value.transient) == ("cannot_open", False)


def test_read_only_file_is_refused(unprivileged_directory: Path) -> None:
    where = unprivileged_directory / "ledger.db"
    open_ledger(f"sqlite:///{where}").close()
    where.chmod(0o444)
    with pytest.raises(LedgerError) as caught, open_ledger(f"sqlite:///{where}") as ledger:
        ledger.record([check()], key())
    assert str(caught.value) == (
        f"ledger {where}: it is read-only for this user; make the file and its directory writable for the user that runs Airflow "
        "(OperationalError: attempt to write a readonly database)"
    )
    assert (caught.value.reason, caught.value.transient) == ("read_only", False)


def test_file_that_is_not_a_database_is_refused(path: Path) -> None:
    path.write_text("timestamp,value\n" * 100)
    with pytest.raises(LedgerError, match="the file is not a SQLite database; name another file") as caught:
        open_ledger(f"sqlite:///{path}")
    assert (caught.value.reason, caught.value.transient) == ("not_a_database", False)
    assert path.read_text().startswith("timestamp,value")


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true"])
def test_in_memory_ledger_is_refused(url: str) -> None:
    with pytest.raises(LedgerError, match="an in-memory ledger is lost"):
        open_ledger(url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hunter2@h:hunter2port/d",  # the port is no number: the parser would quote it
        "postgresql://u:hunter2@127.0.0.1:1/d",
        "postgresql://u:hunt%65r2@127.0.0.1:1/d",
        "postgresql://u@127.0.0.1:1/d?password=hunter2",
        "hunter2",
        "nosuchdatabase://u:hunter2@h/d",
        "postgresql+nosuchdriver://u:hunter2@h/d",
    ],
)
def test_password_is_not_in_the_error(url: str) -> None:
    with pytest.raises(LedgerError) as caught:
        open_ledger(url)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    assert len(str(caught.value)) > 40


def test_driver_message_with_password_is_redacted() -> None:
    url = engine.parse_url("postgresql://u:p%40ss%20word@h/d?sslpassword=topsecret")
    said = 'invalid dsn "password=p@ss word", postgresql://u:p%40ss%20word@h/d, p%40ss+word, topsecret'
    assert engine.redact_password(said, url) == 'invalid dsn "password=***", postgresql://u:***@h/d, ***, ***'
    assert engine.describe(url) == "postgresql://h/d"


def test_row_values_are_not_in_the_error(path: Path) -> None:
    with open_ledger(f"sqlite:///{path}") as ledger:
        with sqlite3.connect(path) as other:
            other.execute("ALTER TABLE checks RENAME COLUMN message TO said")
        with pytest.raises(LedgerError, match="the database refused a statement") as caught:
            ledger.record([check(message="customer 4711", evidence={"query": "SELECT pin"})], key())
        assert not caught.value.transient
        assert "4711" not in str(caught.value)
        assert "pin" not in str(caught.value)


def test_import_of_the_ledger_loads_no_sqlalchemy() -> None:
    import subprocess
    import sys

    code = (
        "import sys, airflow_slo_provider.ledger, airflow_slo_provider.indicators.ledger\n"
        "import airflow_slo_provider.indicators.sql.source\n"
        "print([m for m in ('sqlalchemy', 'airflow', 'pandas') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=REPO)
    assert (found.stdout.strip(), found.stderr) == ("[]", "")
