"""Read checks from a ledger, limited to its environment; rows of test runs are visible to test runs only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.core.slo_key import labels_text
from airflow_slo_provider.ledger.records import Point, Recorded, RunKey, from_microseconds, from_row, microseconds, service_column
from airflow_slo_provider.ledger.schema.tables import COLUMNS, checks
from airflow_slo_provider.results import Verdict

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Engine

MOST_ROWS = 100_000
_BATCH = 1_000


class LedgerReader:
    """The read methods of a ledger. Each is limited by :meth:`_visible` or :attr:`visible_checks`."""

    environment: str
    test_run: bool
    _engine: Engine

    def _transaction(self, *, writes: bool = False, patient: bool = False) -> AbstractContextManager[Connection]:
        raise NotImplementedError

    def _visible(self) -> list[ColumnElement[bool]]:
        """Return the filters for the rows that this ledger may read."""
        table = checks()
        seen: list[ColumnElement[bool]] = [table.c.environment == self.environment]
        return seen if self.test_run else [*seen, table.c.test_run == 0]

    @property
    def visible_checks(self) -> str:
        """The same as SQL text: a table expression with the parameter ``:environment``. Databases optimise it like the table."""
        only = "" if self.test_run else " AND test_run = 0"
        return f"(SELECT * FROM checks WHERE environment = :environment{only})"  # noqa: S608 - only our own words

    def _own(self, key: RunKey) -> RunKey:
        """Return a key with the ledger's environment and test flag set."""
        return replace(key, environment=self.environment, test_run=self.test_run)

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

        :param kind: only checks of this kind; by default of all
        :param name: only checks of this name; by default of all
        :param since: only those checked at or after this time (aware)
        :param until: only those checked before this time (aware)
        :param dag_id: only those of this DAG
        :param limit: maximum number of rows, up to 100,000
        :param newest_first: whether to sort newest first rather than oldest first
        :raises ValueError: for a limit outside 1 to 100,000
        """
        if not 1 <= limit <= MOST_ROWS:
            raise ValueError(f"limit {limit} must lie between 1 and {MOST_ROWS}")
        table = checks()
        filters = _filters(kind=kind, name=name, dag_id=dag_id) + _window(since, until)
        return self._read(filters, limit=limit, order=None if newest_first else [table.c.checked_at, table.c.id])

    def latest(
        self,
        kind: str,
        name: str,
        before: datetime | None = None,
        exclude_key: RunKey | None = None,
        evidence: Mapping[str, str] | None = None,
        service: str | None = None,
        labels: Mapping[str, str] | None = None,
        since: datetime | None = None,
        written_at_once: timedelta | None = None,
    ) -> Recorded | None:
        """Return the newest check of a kind and name; None if there is none.

        :param kind: kind of the check
        :param name: name of the check
        :param before: only those checked before this time (aware)
        :param exclude_key: a task instance whose own rows are ignored from its ``attempt`` on, so that a retry ignores the try
            that it replaces. Its earlier attempts count, also those checked at ``before`` itself: they were made earlier, even
            though both are about the same time
        :param evidence: texts that the evidence must contain, by key, e.g. ``{"policy": "strict"}``
        :param service: only checks of this service
        :param labels: only checks of the group with these labels; ``{}`` for those without a group
        :param since: only those checked at or after this time (aware)
        :param written_at_once: only those written within this time after they were checked, by the writer's own clock; the
            newest is then the one that was written last, whatever the clocks of several writers show
        """
        from sqlalchemy import and_, not_, or_

        table = checks()
        filters = _filters(kind=kind, name=name) + _window(since, None)
        if written_at_once is not None:
            filters.append(_written_at_once(written_at_once))
        if service is not None:
            filters.append(table.c.service == service_column(service))
        if labels is not None:
            filters.append(table.c.labels == labels_text(labels))
        if exclude_key is None:
            filters += _window(None, before)
        else:
            instance = ("dag_id", "run_id", "task_id", "map_index")
            own = and_(*(table.c[column] == getattr(exclude_key, column) for column in instance))
            filters.append(not_(and_(own, table.c.attempt >= exclude_key.attempt)))
            if before is not None:
                until = microseconds(before, what="before")
                filters += [table.c.checked_at <= until, or_(table.c.checked_at < until, own)]
        filters += self._evidence_equals(evidence)
        found = self._read(filters, limit=1, order=None if written_at_once is None else [table.c.id.desc()])
        return found[0] if found else None

    def wrote_before(self, number: int, kind: str, name: str, *, service: str, at_once: timedelta, but_for: str) -> bool:
        """Return whether this environment had recorded a check of the current state before a given row was written.

        :param number: number of that row
        :param kind: kind of the check
        :param name: name of the check
        :param service: service of the check
        :param at_once: see ``written_at_once`` of :meth:`latest`
        :param but_for: rows with this ``dag_id`` are ignored
        """
        table = checks()
        filters = [*_filters(kind=kind, name=name, service=service_column(service)), table.c.id < number]
        filters += [table.c.dag_id != but_for, _written_at_once(at_once)]
        return bool(self._read(filters, limit=1))

    def newest_of_versions(
        self, kind: str | None = None, name: str | None = None, since: datetime | None = None, limit: int = MOST_ROWS
    ) -> list[Recorded]:
        """Return the newest check of each kind, name and model version.

        :param kind: only checks of this kind; by default of all
        :param name: only checks of this name; by default of all
        :param since: only those checked at or after this time (aware)
        :param limit: maximum number of rows, the newest; several checked at the same time are all included
        """
        from sqlalchemy import func, select, tuple_

        table = checks()
        what = [table.c[column] for column in ("kind", "name", "model_version")]
        filters = [*_filters(kind=kind, name=name), *_window(since, None), table.c.model_version.is_not(None)]
        filters += self._visible()
        newest = select(*what, func.max(table.c.checked_at)).where(*filters).group_by(*what)
        return self._read([*filters, tuple_(*what, table.c.checked_at).in_(newest)], limit=limit)

    def own(self, kind: str, name: str, key: RunKey) -> Recorded | None:
        """Return the check of a kind and name that a task instance recorded itself, in its last attempt.

        :param kind: kind of the check
        :param name: name of the check
        :param key: the task instance
        """
        from sqlalchemy import select

        table, own = checks(), self._own(key)
        instance = {column: getattr(own, column) for column in ("dag_id", "run_id", "task_id", "map_index", "environment")}
        filters = _filters(**instance, test_run=int(own.test_run), labels="", kind=kind, name=name)
        query = select(*(table.c[column] for column in COLUMNS)).where(*filters).order_by(table.c.attempt.desc()).limit(1)
        with self._transaction() as connection:
            row = connection.execute(query).mappings().first()
            return None if row is None else from_row(dict(row))

    def names(self, kind: str) -> list[str]:
        """Return the names of all checks of a kind, in the database's order.

        :param kind: kind of the checks
        """
        return self._distinct("name", kind=kind)

    def kinds(self, name: str) -> list[str]:
        """Return the kinds of check with a name.

        :param name: name of the checks
        """
        return [kind for kind in self._distinct("kind") if self.latest(kind, name) is not None]

    def services(self, kind: str, name: str, start: datetime, end: datetime) -> list[str]:
        """Return the services named by the checks of a window.

        :param kind: kind of the checks
        :param name: name of the checks
        :param start: start of the window (aware)
        :param end: end of the window, exclusive (aware)
        """
        from sqlalchemy import select

        filters = [*self._visible(), *_filters(kind=kind, name=name), *_window(start, end)]
        query = select(self._evidence("service")).where(*filters).distinct()
        with self._transaction() as connection:
            return sorted(str(row[0]) for row in connection.execute(query) if row[0] is not None)

    def points(
        self, kind: str, name: str, start: datetime, end: datetime, *, evidence: Mapping[str, str] | None = None
    ) -> Iterator[Point]:
        """Yield the checks of a window, oldest first, from one consistent snapshot.

        The rows are streamed: one connection stays in use until the iterator is exhausted or closed.

        :param kind: kind of the checks
        :param name: name of the checks
        :param start: start of the window (aware)
        :param end: end of the window, exclusive (aware)
        :param evidence: texts that the evidence must contain, by key
        """
        from sqlalchemy import select

        table = checks()
        query = (
            select(table.c.checked_at, table.c.verdict, table.c.value, table.c.good, table.c.total)
            .where(*self._visible(), *_filters(kind=kind, name=name), *_window(start, end), *self._evidence_equals(evidence))
            .order_by(table.c.checked_at, table.c.id)
        )
        with self._transaction() as connection:
            for row in connection.execution_options(yield_per=_BATCH).execute(query):
                yield Point(from_microseconds(row[0]), Verdict(row[1]), row[2], row[3], row[4])

    def _read(self, filters: list[ColumnElement[bool]], *, limit: int, order: list[Any] | None = None) -> list[Recorded]:
        """Read visible checks, newest first unless another order is set."""
        from sqlalchemy import select

        table = checks()
        query = select(*(table.c[column] for column in COLUMNS)).where(*self._visible(), *filters)
        query = query.order_by(*(order or [table.c.checked_at.desc(), table.c.id.desc()])).limit(limit)
        with self._transaction() as connection:
            return [from_row(dict(row)) for row in connection.execute(query).mappings()]

    def _evidence_equals(self, wanted: Mapping[str, str] | None) -> list[ColumnElement[bool]]:
        return [self._evidence(field) == text for field, text in (wanted or {}).items()]

    def _evidence(self, field: str) -> ColumnElement[Any]:
        """Return the SQL expression of a text in the evidence."""
        from sqlalchemy import JSON, cast, func

        column = checks().c.evidence
        if self._engine.dialect.name == "postgresql":
            found: ColumnElement[Any] = cast(column, JSON)[field].as_string()
            return found
        return func.json_extract(column, f'$."{field}"')

    def _distinct(self, column: str, **equal: str) -> list[str]:
        """Find distinct values by stepping through the index: one lookup per value instead of a scan of all rows."""
        from sqlalchemy import func, select

        table = checks()
        wanted, filters = table.c[column], [*self._visible(), *_filters(**equal)]
        found = select(func.min(wanted).label("item")).where(*filters).cte("found", recursive=True)
        following = select(func.min(wanted)).where(*filters, wanted > found.c.item).scalar_subquery()
        found = found.union_all(select(following).where(found.c.item.is_not(None)))
        with self._transaction() as connection:
            return [str(row[0]) for row in connection.execute(select(found.c.item).where(found.c.item.is_not(None)))]


def _filters(**equal: str | int | None) -> list[ColumnElement[bool]]:
    table = checks()
    return [table.c[column] == value for column, value in equal.items() if value is not None]


def _written_at_once(limit: timedelta) -> ColumnElement[bool]:
    table = checks()
    return table.c.recorded_at - table.c.checked_at < limit // timedelta(microseconds=1)


def _window(since: datetime | None, until: datetime | None) -> list[ColumnElement[bool]]:
    column = checks().c.checked_at
    low = [] if since is None else [column >= microseconds(since, what="since")]
    return low if until is None else [*low, column < microseconds(until, what="until")]
