"""The ledger: one row per task instance and check, written once however often the task is retried."""

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
from airflow_slo_provider.ledger.engine import describe, make_engine, parse_url, transaction
from airflow_slo_provider.ledger.reader import MOST_ROWS, LedgerReader
from airflow_slo_provider.ledger.records import Recorded, RunKey, recorded_of, row_of
from airflow_slo_provider.ledger.row_writer import (
    UPSERTS,
    delete_and_insert,
    insert_into,
    make_way,
    next_attempt,
    next_observation,
    require_written,
    upsert,
)
from airflow_slo_provider.ledger.schema.migrations import check_version, migrate, newest_schema, version_of
from airflow_slo_provider.ledger.schema.tables import COLUMNS, checks
from airflow_slo_provider.results import CheckResult

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine

__all__ = ["MOST_ROWS", "Ledger", "open_ledger"]

#: What an environment may be called: it stands in commands, on pages, and in an index.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def open_ledger(url: str | URL, *, environment: str = "", test_run: bool = False) -> Ledger:
    """Open a ledger, creating or upgrading its tables where needed.

    :param url: any SQLAlchemy URL, e.g. ``sqlite:////var/lib/airflow/slo_ledger.db`` or ``postgresql://user:password@host/database``
    :param environment: whose rows are read and written: several environments may share a database; empty for the unnamed one
    :param test_run: whether a test reads and writes: its rows are marked, and only tests see them
    :raises LedgerError: when it cannot be opened, or a newer release wrote it. The message never holds the password.
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
    """A record of checks. Made by :func:`open_ledger`; safe to use from several processes and threads at once.

    It reads and writes the rows of one environment. What a test run recorded is seen by test runs only.

    Every method raises LedgerError when the database fails; ``error.transient`` says whether a retry may help.
    """

    def __init__(
        self,
        engine: Engine,
        url: URL,
        *,
        environment: str = "",
        test_run: bool = False,
        schema: int | None = None,
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
        """The database, without credentials."""
        return describe(self._url)

    @property
    def is_file(self) -> bool:
        """Whether it is a file of this machine, and no server."""
        return self._url.get_backend_name() == "sqlite"

    def within(self, environment: str) -> Ledger:
        """Return another environment's view of the same ledger. It is closed with this one."""
        return Ledger(self._engine, self._url, environment=environment, test_run=self.test_run, schema=self._schema)

    def seen_by_tests(self, tests: bool = True) -> Ledger:
        """Return the view that a test run has of the same ledger, or any other run. It is closed with this one."""
        return Ledger(self._engine, self._url, environment=self.environment, test_run=tests, schema=self._schema)

    def close(self) -> None:
        """Give all connections back."""
        self._closed = True
        self._engine.dispose()

    def _transaction(self, *, writes: bool = False, patient: bool = False) -> AbstractContextManager[Connection]:
        if self._closed:
            raise LedgerError(f"ledger {self.where} is closed", reason="closed")
        return transaction(self._engine, self._url, writes=writes, schema=self._schema, patient=patient)

    def record(self, results: Iterable[CheckResult], key: RunKey) -> None:
        """Write checks, all or none. A row of the same task instance, kind and name is replaced.

        A row that a later try already wrote stays: a try that was given up for dead must not overwrite its successor.

        :param results: what was found; of two with the same kind, name and labels the later one counts
        :param key: the task instance that found it
        """
        results = list(results)
        if not results:
            return
        with self._transaction(writes=True) as connection:
            self._write(connection, results, key)

    def record_observations(self, results: Iterable[CheckResult], key: RunKey, *, due: datetime) -> list[CheckResult]:
        """Write checks of the present; one that another run of the task has made is not counted again.

        What an earlier try has observed stays beside it: it was made about another time. What it could not find out is replaced.

        :param due: from when on the run could be started (aware); see :mod:`airflow_slo_provider.ledger.observations`
        :return: the checks as they were written: a repeated one has a kind that ends with ``_repeated``
        """
        from airflow_slo_provider.ledger.observations import without_repetitions

        with self._transaction(writes=True) as connection:
            own = self._own(key)
            written = without_repetitions(connection, results, own, due=due)
            by_attempt: dict[int, list[CheckResult]] = {}
            for one in written:
                attempt = next_observation(connection, own, one.kind, one.name, labels_text(one.labels))
                by_attempt.setdefault(attempt, []).append(one)
            for attempt, of_attempt in by_attempt.items():
                self._write(connection, of_attempt, replace(key, attempt=attempt))
        return written

    def record_decision(self, results: Iterable[CheckResult], key: RunKey, *, name: str) -> RunKey:
        """Write a decision and what it looked at. A completed decision of an earlier try stays beside it.

        :param results: the check of kind ``decision``, whose evidence says whether it is ``complete``, and the others
        :param key: the task instance that decided
        :param name: name of the decision's check
        :return: the key under which they were written
        :raises LedgerError: also when a later try has recorded its decision, so that this one is not
        """
        results = list(results)
        with self._transaction(writes=True) as connection:
            key = replace(key, attempt=next_attempt(connection, self._own(key), name))
            self._write(connection, results, key, anew=True)
        return key

    def attempt(self, key: RunKey, *, name: str) -> int:
        """Return the number of the attempt that a decision of this try would be, from 0; see :meth:`record_decision`."""
        with self._transaction() as connection:
            return next_attempt(connection, self._own(key), name)

    def _write(self, connection: Connection, results: Iterable[CheckResult], key: RunKey, *, anew: bool = False) -> None:
        own, now = self._own(key), time.time_ns() // 1000
        rows = {row["identity"]: row for row in (row_of(result, own, recorded_at=now) for result in results)}
        # Everyone locks rows in the same order, so that two writers cannot wait for each other.
        ordered = [rows[identity] for identity in sorted(rows)]
        if anew and ordered:
            make_way(connection, ordered, own)
        if ordered and connection.dialect.name in UPSERTS:
            upsert(connection, ordered, own)
        elif ordered:
            delete_and_insert(connection, ordered, own)
        if anew:
            require_written(connection, ordered, own)

    def withdraw(self, kind: str, name: str, key: RunKey) -> None:
        """Remove the check that a task instance recorded itself, such as one of an earlier try that could not be made."""
        from sqlalchemy import delete

        table = checks()
        with self._transaction(writes=True) as connection:
            connection.execute(delete(table).where(table.c.identity == self._own(key).identity(kind, name)))

    def record_once(self, result: CheckResult, key: RunKey) -> Recorded:
        """Write a check where there is none of that task instance, kind and name yet; return the one that is there.

        Of several who write at once, the database lets one be the first, whatever their clocks say.
        """
        from sqlalchemy import insert, select

        table, row = checks(), row_of(result, self._own(key), recorded_at=time.time_ns() // 1000)
        own = select(*(table.c[column] for column in COLUMNS)).where(table.c.identity == row["identity"])
        with self._transaction(writes=True) as connection:
            if connection.dialect.name in UPSERTS:
                connection.execute(insert_into(connection).on_conflict_do_nothing(index_elements=["identity"]), row)
            elif connection.execute(own).first() is None:
                connection.execute(insert(table).values(**row))  # the unique index refuses whoever comes second
            return recorded_of(dict(connection.execute(own).mappings().one()))


def _require_name(environment: str) -> None:
    if environment and not _NAME.fullmatch(environment):
        raise LedgerError(
            f"[slo] environment {environment!r} cannot be a name; write at most 100 letters, digits and ._- , e.g. production",
            reason="bad_environment",
        )
