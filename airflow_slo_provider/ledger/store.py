"""The ledger: one row per task instance and check, written once however often the task is retried."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.exceptions import LedgerError
from airflow_slo_provider.ledger.engine import describe, make_engine, parse_url, transaction
from airflow_slo_provider.ledger.migrations import check_version, migrate, version_of
from airflow_slo_provider.ledger.records import Point, Recorded, RunKey, microseconds, moment, recorded_of, row_of
from airflow_slo_provider.ledger.schema import COLUMNS, checks
from airflow_slo_provider.ledger.writing import UPSERTS, insert_into, replace, upsert
from airflow_slo_provider.results import CheckResult, Verdict

if TYPE_CHECKING:
    from sqlalchemy import URL, ColumnElement, Connection, Engine

MOST_ROWS = 100_000
_BATCH = 1_000


def open_ledger(url: str | URL) -> Ledger:
    """Open a ledger, creating or upgrading its tables where needed.

    :param url: any SQLAlchemy URL, e.g. ``sqlite:////var/lib/airflow/slo_ledger.db`` or ``postgresql://user:password@host/database``
    :raises LedgerError: when it cannot be opened, or a newer release wrote it. The message never holds the password.
    """
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
    return Ledger(engine, parsed)


class Ledger:
    """A record of checks. Made by :func:`open_ledger`; safe to use from several processes and threads at once.

    Every method raises LedgerError when the database fails; ``error.transient`` says whether a retry may help.
    """

    def __init__(self, engine: Engine, url: URL) -> None:
        self._engine = engine
        self._url = url
        self._closed = False

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

    def close(self) -> None:
        """Give all connections back."""
        self._closed = True
        self._engine.dispose()

    def _transaction(self, *, writes: bool = False) -> AbstractContextManager[Connection]:
        if self._closed:
            raise LedgerError(f"ledger {self.where} is closed", reason="closed")
        return transaction(self._engine, self._url, writes=writes)

    def record(self, results: Iterable[CheckResult], key: RunKey) -> None:
        """Write checks, all or none. A row of the same task instance, kind and name is replaced.

        A row that a later try already wrote stays: a try that was given up for dead must not overwrite its successor.

        :param results: what was found; of two with the same kind and name the later one counts
        :param key: the task instance that found it
        """
        results = list(results)
        if not results:
            return
        with self._transaction(writes=True) as connection:
            self._write(connection, results, key)

    def record_observations(self, results: Iterable[CheckResult], key: RunKey, *, due: datetime) -> list[CheckResult]:
        """Write checks of the present, as :meth:`record` does; one that another run of the task has made is not counted again.

        :param due: from when on the run could be started (aware); see :mod:`airflow_slo_provider.ledger.observations`
        :return: the checks as they were written: a repeated one has a kind that ends with ``_repeated``
        """
        from airflow_slo_provider.ledger.observations import without_repetitions

        with self._transaction(writes=True) as connection:
            written = without_repetitions(connection, results, key, due=due)
            self._write(connection, written, key)
        return written

    def _write(self, connection: Connection, results: Iterable[CheckResult], key: RunKey) -> None:
        now = time.time_ns() // 1000
        rows = {row["identity"]: row for row in (row_of(result, key, recorded_at=now) for result in results)}
        # Everyone locks rows in the same order, so that two writers cannot wait for each other.
        ordered = [rows[identity] for identity in sorted(rows)]
        if ordered and connection.dialect.name in UPSERTS:
            upsert(connection, ordered)
        elif ordered:
            replace(connection, ordered)

    def record_once(self, result: CheckResult, key: RunKey) -> Recorded:
        """Write a check where there is none of that task instance, kind and name yet; return the one that is there.

        Of several who write at once, the database lets one be the first, whatever their clocks say.
        """
        from sqlalchemy import insert, select

        table, row = checks(), row_of(result, key, recorded_at=time.time_ns() // 1000)
        own = select(*(table.c[column] for column in COLUMNS)).where(table.c.identity == row["identity"])
        with self._transaction(writes=True) as connection:
            if connection.dialect.name in UPSERTS:
                connection.execute(insert_into(connection).on_conflict_do_nothing(index_elements=["identity"]), row)
            elif connection.execute(own).first() is None:
                connection.execute(insert(table).values(**row))  # the unique index refuses whoever comes second
            return recorded_of(dict(connection.execute(own).mappings().one()))

    def checks(
        self,
        kind: str | None = None,
        name: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        dag_id: str | None = None,
        limit: int = 1000,
        newest_first: bool = True,
    ) -> list[Recorded]:
        """Read checks.

        :param since: only those checked at or after this moment (aware)
        :param until: only those checked before this moment (aware)
        :param limit: at most this many rows, up to 100,000
        :raises ValueError: for a limit outside 1 to 100,000
        """
        if not 1 <= limit <= MOST_ROWS:
            raise ValueError(f"limit {limit} must lie between 1 and {MOST_ROWS}")
        table = checks()
        filters = _filters(kind=kind, name=name, dag_id=dag_id) + _window(since, until)
        return self._read(filters, limit=limit, newest_first=newest_first, columns=[table.c[column] for column in COLUMNS])

    def latest(
        self,
        kind: str,
        name: str,
        before: datetime | None = None,
        exclude_key: RunKey | None = None,
        evidence: Mapping[str, str] | None = None,
    ) -> Recorded | None:
        """Return the newest check of that kind and name, None where there is none.

        :param before: only those checked before this moment (aware)
        :param exclude_key: a task instance whose own row does not count, so that a retry does not see itself as its past
        :param evidence: texts that the evidence must hold, by key, e.g. ``{"service": "checkout"}``
        """
        from sqlalchemy import and_, not_

        table = checks()
        filters = _filters(kind=kind, name=name) + _window(None, before)
        if exclude_key is not None:
            own = [table.c[column] == getattr(exclude_key, column) for column in ("dag_id", "run_id", "task_id", "map_index")]
            filters.append(not_(and_(*own)))
        filters += self._evidence_is(evidence)
        found = self._read(filters, limit=1, newest_first=True, columns=[table.c[column] for column in COLUMNS])
        return found[0] if found else None

    def newest_of_versions(
        self, kind: str | None = None, name: str | None = None, since: datetime | None = None, limit: int = MOST_ROWS
    ) -> list[Recorded]:
        """Return the newest check of each kind and name about each model version, however many there were before it.

        :param since: only those checked at or after this moment (aware)
        :param limit: at most this many rows, the newest; several that were checked at the same moment are all there
        """
        from sqlalchemy import func, select, tuple_

        table = checks()
        what = [table.c[column] for column in ("kind", "name", "model_version")]
        filters = [*_filters(kind=kind, name=name), *_window(since, None), table.c.model_version.is_not(None)]
        newest = select(*what, func.max(table.c.checked_at)).where(*filters).group_by(*what)
        columns = [table.c[column] for column in COLUMNS]
        return self._read(
            [*filters, tuple_(*what, table.c.checked_at).in_(newest)], limit=limit, newest_first=True, columns=columns
        )

    def own(self, kind: str, name: str, key: RunKey) -> Recorded | None:
        """Return the check of that kind and name a task instance recorded itself, in this try or an earlier one."""
        table = checks()
        columns = [table.c[column] for column in COLUMNS]
        found = self._read([table.c.identity == key.identity(kind, name)], limit=1, newest_first=True, columns=columns)
        return found[0] if found else None

    def names(self, kind: str) -> list[str]:
        """Return the names of all checks of a kind, in the database's order."""
        return self._distinct("name", kind=kind)

    def kinds(self, name: str) -> list[str]:
        """Return the kinds of check that have that name."""
        return [kind for kind in self._distinct("kind") if self.latest(kind, name) is not None]

    def services(self, kind: str, name: str, start: datetime, end: datetime) -> list[str]:
        """Return the services that the checks of a window are about, as far as they say it.

        :param start: start of the window (aware)
        :param end: end of the window, exclusive (aware)
        """
        from sqlalchemy import select

        query = select(self._evidence("service")).where(*_filters(kind=kind, name=name), *_window(start, end)).distinct()
        with self._transaction() as connection:
            return sorted(str(row[0]) for row in connection.execute(query) if row[0] is not None)

    def points(
        self, kind: str, name: str, start: datetime, end: datetime, *, evidence: Mapping[str, str] | None = None
    ) -> Iterator[Point]:
        """Yield the checks of a window, oldest first, as they were at one instant.

        The rows are streamed: one connection stays busy until the iterator is used up or closed.

        :param start: start of the window (aware)
        :param end: end of the window, exclusive (aware)
        :param evidence: texts that the evidence must hold, by key
        """
        from sqlalchemy import select

        table = checks()
        query = (
            select(table.c.checked_at, table.c.verdict, table.c.value, table.c.good, table.c.total)
            .where(*_filters(kind=kind, name=name), *_window(start, end), *self._evidence_is(evidence))
            .order_by(table.c.checked_at, table.c.id)
        )
        with self._transaction() as connection:
            for row in connection.execution_options(yield_per=_BATCH).execute(query):
                yield Point(moment(row[0]), Verdict(row[1]), row[2], row[3], row[4])

    def _read(self, filters: list[ColumnElement[bool]], *, limit: int, newest_first: bool, columns: list[Any]) -> list[Recorded]:
        from sqlalchemy import select

        table = checks()
        order = [table.c.checked_at.desc(), table.c.id.desc()] if newest_first else [table.c.checked_at, table.c.id]
        with self._transaction() as connection:
            rows = connection.execute(select(*columns).where(*filters).order_by(*order).limit(limit)).mappings()
            return [recorded_of(dict(row)) for row in rows]

    def _evidence_is(self, wanted: Mapping[str, str] | None) -> list[ColumnElement[bool]]:
        return [self._evidence(field) == text for field, text in (wanted or {}).items()]

    def _evidence(self, field: str) -> ColumnElement[Any]:
        """A text of the evidence."""
        from sqlalchemy import JSON, cast, func

        column = checks().c.evidence
        if self._engine.dialect.name == "postgresql":
            found: ColumnElement[Any] = cast(column, JSON)[field].as_string()
            return found
        return func.json_extract(column, f'$."{field}"')

    def _distinct(self, column: str, **equal: str) -> list[str]:
        """Find distinct values by stepping through the index: one look-up per value instead of a look at every row."""
        from sqlalchemy import func, select

        table = checks()
        wanted, filters = table.c[column], _filters(**equal)
        found = select(func.min(wanted).label("item")).where(*filters).cte("found", recursive=True)
        following = select(func.min(wanted)).where(*filters, wanted > found.c.item).scalar_subquery()
        found = found.union_all(select(following).where(found.c.item.is_not(None)))
        with self._transaction() as connection:
            return [str(row[0]) for row in connection.execute(select(found.c.item).where(found.c.item.is_not(None)))]


def _filters(**equal: str | None) -> list[ColumnElement[bool]]:
    table = checks()
    return [table.c[column] == value for column, value in equal.items() if value is not None]


def _window(since: datetime | None, until: datetime | None) -> list[ColumnElement[bool]]:
    column = checks().c.checked_at
    found: list[ColumnElement[bool]] = []
    if since is not None:
        found.append(column >= microseconds(since, what="since"))
    if until is not None:
        found.append(column < microseconds(until, what="until"))
    return found
