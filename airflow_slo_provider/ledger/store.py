"""Open a ledger and record checks in it: one row per task instance and check, however often the task is retried."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING

from airflow_slo_provider.core.slo_key import labels_text
from airflow_slo_provider.exceptions import LedgerError
from airflow_slo_provider.ledger import row_writer
from airflow_slo_provider.ledger.engine import describe, make_engine, parse_url, transaction
from airflow_slo_provider.ledger.reader import MOST_ROWS, LedgerReader
from airflow_slo_provider.ledger.records import Recorded, RunKey, from_row, to_row, to_rows
from airflow_slo_provider.ledger.schema.migrations import check_version, migrate, newest_schema, version_of
from airflow_slo_provider.ledger.schema.tables import COLUMNS, checks
from airflow_slo_provider.results import CheckResult

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine

__all__ = ["MOST_ROWS", "Ledger", "open_ledger"]

#: Valid names of environments, which are used in commands, on pages, and in an index.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def open_ledger(url: str | URL, *, environment: str = "", test_run: bool = False) -> Ledger:
    """Open a ledger; create or migrate its tables if needed.

    :param url: any SQLAlchemy URL, e.g. ``sqlite:////var/lib/airflow/slo_ledger.db`` or ``postgresql://user:password@host/database``
    :param environment: the environment to read and write, as several may share a database; empty for the unnamed one
    :param test_run: whether this is a test run: its rows are marked, and visible to test runs only
    :raises LedgerError: when it cannot be opened, or a newer release wrote it. The message never contains the password.
    """
    _require_name(environment)
    parsed = parse_url(url)
    where = describe(parsed)
    engine = make_engine(parsed)
    try:
        with transaction(engine, parsed, writes=False) as connection:
            current = check_version(version_of(connection), where=where)
        if not current:
            with transaction(engine, parsed, writes=True) as connection:
                migrate(connection, where=where)
    except BaseException:
        engine.dispose()
        raise
    return Ledger(engine, parsed, environment=environment, test_run=test_run)


class Ledger(LedgerReader):
    """A database of check results, opened by :func:`open_ledger`. Safe to use from several processes and threads.

    It reads and writes the rows of one environment. Rows of test runs are visible to test runs only.

    Every method raises LedgerError when the database fails; ``error.transient`` shows whether a retry may help.
    """

    def __init__(
        self, engine: Engine, url: URL, *, environment: str = "", test_run: bool = False, schema: int | None = None
    ) -> None:
        self._engine = engine
        self._url = url
        self._schema = newest_schema() if schema is None else schema
        self._closed = False
        self.environment = environment
        self.test_run = test_run

    def __repr__(self) -> str:
        return f"<Ledger {self.where}>"

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def where(self) -> str:
        """The name of the database, without credentials."""
        return describe(self._url)

    @property
    def is_file(self) -> bool:
        """Whether the database is a local file rather than a server."""
        return self._url.get_backend_name() == "sqlite"

    def within(self, environment: str) -> Ledger:
        """Return a view of the same ledger for another environment; it is closed with this one.

        :param environment: name of the environment
        """
        return Ledger(self._engine, self._url, environment=environment, test_run=self.test_run, schema=self._schema)

    def seen_by_tests(self, tests: bool = True) -> Ledger:
        """Return a view of the same ledger for test runs, or for other runs; it is closed with this one.

        :param tests: whether the view is for test runs
        """
        return Ledger(self._engine, self._url, environment=self.environment, test_run=tests, schema=self._schema)

    def close(self) -> None:
        """Close all connections."""
        self._closed = True
        self._engine.dispose()

    def _transaction(self, *, writes: bool = False, patient: bool = False) -> AbstractContextManager[Connection]:
        if self._closed:
            raise LedgerError(f"ledger {self.where} is closed", reason="closed")
        return transaction(self._engine, self._url, writes=writes, schema=self._schema, patient=patient)

    def record(self, results: Iterable[CheckResult], key: RunKey) -> None:
        """Write checks in one transaction. A row of the same task instance, kind and name is replaced.

        A row already written by a later try is kept: a try that was considered dead must not overwrite its successor.

        :param results: the check results; of two with the same kind, name, service and labels the last one is written
        :param key: the task instance that recorded them
        """
        results = list(results)
        if not results:
            return
        with self._transaction(writes=True) as connection:
            self._write(connection, results, key)

    def record_observations(self, results: Iterable[CheckResult], key: RunKey, *, due: datetime) -> list[CheckResult]:
        """Write checks of the current state; a check already made by another run of the task is not counted again.

        An observation of an earlier try is kept, as it was made at another time; one without a result is replaced.

        :param results: the check results
        :param key: the task instance that recorded them
        :param due: earliest time at which the run could start (aware); see :mod:`airflow_slo_provider.ledger.observations`
        :return: the checks as written: the kind of a repeated one ends with ``_repeated``
        """
        from airflow_slo_provider.ledger.observations import without_repetitions

        with self._transaction(writes=True) as connection:
            own = self._own(key)
            written = without_repetitions(connection, results, own, due=due)
            by_attempt: dict[int, list[CheckResult]] = {}
            for result in written:
                attempt = row_writer.next_observation(connection, own, result.kind, result.name, labels_text(result.labels))
                by_attempt.setdefault(attempt, []).append(result)
            for attempt, members in by_attempt.items():
                self._write(connection, members, replace(key, attempt=attempt))
        return written

    def record_decision(self, results: Iterable[CheckResult], key: RunKey, *, name: str) -> RunKey:
        """Write a decision and the checks it is based on. A completed decision of an earlier try is kept.

        :param results: the check of kind ``decision``, with ``complete`` in its evidence, and the checks it is based on
        :param key: the task instance that decided
        :param name: name of the decision's check
        :return: the key under which they were written
        :raises LedgerError: also when a later try has already recorded its decision; this one is then not written
        """
        with self._transaction(writes=True) as connection:
            key = replace(key, attempt=row_writer.next_attempt(connection, self._own(key), name))
            self._write(connection, results, key, replaces=True)
        return key

    def attempt(self, key: RunKey, *, name: str) -> int:
        """Return the attempt number that a decision of this try would get, from 0; see :meth:`record_decision`.

        :param key: the task instance that decides
        :param name: name of the decision's check
        """
        with self._transaction() as connection:
            return row_writer.next_attempt(connection, self._own(key), name)

    def _write(self, connection: Connection, results: Iterable[CheckResult], key: RunKey, *, replaces: bool = False) -> None:
        own, now = self._own(key), time.time_ns() // 1000
        # All writers lock rows in the same order, to avoid deadlocks.
        ordered = sorted(to_rows(results, own, recorded_at=now), key=lambda row: str(row["identity"]))
        if replaces and ordered:
            row_writer.delete_replaced(connection, ordered, own)
        if ordered and connection.dialect.name in row_writer.UPSERTS:
            row_writer.upsert(connection, ordered, own)
        elif ordered:
            row_writer.delete_and_insert(connection, ordered, own)
        if replaces:
            row_writer.require_written(connection, ordered, own)

    def withdraw(self, kind: str, name: str, key: RunKey) -> None:
        """Remove a check that a task instance recorded itself, e.g. an earlier try's record of a failed check.

        :param kind: kind of the check
        :param name: name of the check
        :param key: the task instance
        """
        from sqlalchemy import delete

        table = checks()
        with self._transaction(writes=True) as connection:
            connection.execute(delete(table).where(table.c.identity == self._own(key).identity(kind, name)))

    def record_once(self, result: CheckResult, key: RunKey) -> Recorded:
        """Write a check unless the task instance has one of that kind and name; return the stored one.

        Of several concurrent writers the database accepts one, whatever their clocks show.

        :param result: the check result
        :param key: the task instance
        """
        from sqlalchemy import insert, select

        table, row = checks(), to_row(result, self._own(key), recorded_at=time.time_ns() // 1000)
        own = select(*(table.c[column] for column in COLUMNS)).where(table.c.identity == row["identity"])
        with self._transaction(writes=True) as connection:
            if connection.dialect.name in row_writer.UPSERTS:
                statement = row_writer.insert_statement(connection)
                connection.execute(statement.on_conflict_do_nothing(index_elements=["identity"]), row)
            elif connection.execute(own).first() is None:
                connection.execute(insert(table).values(**row))  # the unique index rejects a concurrent writer
            return from_row(dict(connection.execute(own).mappings().one()))


def _require_name(environment: str) -> None:
    if environment and not _NAME.fullmatch(environment):
        raise LedgerError(
            f"[slo] environment {environment!r} cannot be a name; write at most 100 letters, digits and ._- , e.g. production",
            reason="bad_environment",
        )
