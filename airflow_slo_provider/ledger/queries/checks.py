"""Query checks for the SLO pages: the newest of each check, a downsampled history, the checks of one run.

Every query uses an index and reads a bounded number of rows, however many the ledger holds. ``dags`` limits a query to the checks
of the DAGs that a user may read; None for all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.ledger.observations import REPEATED
from airflow_slo_provider.ledger.records import Recorded, microseconds, recorded_of, service_column
from airflow_slo_provider.ledger.schema.tables import COLUMNS

if TYPE_CHECKING:
    from sqlalchemy import Connection, CursorResult

    from airflow_slo_provider.ledger.store import Ledger

MOST_ROWS = 5_000
#: A check with a time further in the future than this is not a newest check: it was recorded with a wrong clock, and would hide
#: current results. Smaller differences between workers' clocks are tolerated.
AHEAD = timedelta(days=1)
COLUMN_LIST = ", ".join(f"c.{column}" for column in COLUMNS)

#: All names of a kind, by stepping through the index: one lookup per name.
NAMES = """
found(name) AS (
    SELECT MIN(c.name) FROM visible_checks c WHERE c.kind = :kind
    UNION ALL
    SELECT (SELECT MIN(c.name) FROM visible_checks c WHERE c.kind = :kind AND c.name > found.name)
    FROM found WHERE found.name IS NOT NULL
)"""
#: The same for each of some DAGs.
NAMES_OF_DAGS = """
found(dag_id, name) AS (
    SELECT d.dag_id, (SELECT MIN(c.name) FROM visible_checks c WHERE c.dag_id = d.dag_id AND c.kind = :kind) FROM dags d
    UNION ALL
    SELECT found.dag_id,
        (SELECT MIN(c.name) FROM visible_checks c WHERE c.dag_id = found.dag_id AND c.kind = :kind AND c.name > found.name)
    FROM found WHERE found.name IS NOT NULL
)"""
FOUND = "(SELECT * FROM found WHERE name IS NOT NULL LIMIT :limit) found"


def newest(ledger: Ledger, kind: str, *, dags: Collection[str] | None = None, limit: int = MOST_ROWS) -> list[Recorded]:
    """Return the newest check of each name of a kind, ordered by name, except those further in the future than :data:`AHEAD`.

    :param ledger: the ledger
    :param kind: kind of the checks
    :param dags: only checks of these DAGs; None for all
    :param limit: maximum number of results
    """
    values: dict[str, Any] = {"kind": kind, "limit": limit, "before": before()}
    if dags is None:
        head, own = f"WITH RECURSIVE {NAMES}", "c.kind = :kind AND c.name = found.name"
    else:
        if not dags:
            return []
        head = f"WITH RECURSIVE {table_of('dags', [(dag,) for dag in dags], values, 'dag_id')}, {NAMES_OF_DAGS}"
        own = "c.dag_id = found.dag_id AND c.kind = :kind AND c.name = found.name"
    rows = rows_of(
        ledger,
        f"{head} {last(ledger, COLUMN_LIST, FOUND, f'{own} AND c.checked_at < :before')} ORDER BY c.name, c.checked_at, c.id",
        values,
    )
    # With several DAGs a name occurs once per DAG; the last one is the newest.
    return list({row["name"]: recorded_of(row) for row in rows}.values())


def history(
    ledger: Ledger, kind: str, name: str, slices: Sequence[tuple[datetime, datetime]], *, dags: Collection[str] | None = None
) -> list[Recorded]:
    """Return the last check in each time slice, oldest first, with full evidence.

    :param ledger: the ledger
    :param kind: kind of the checks
    :param name: name of the checks
    :param slices: start and end (exclusive) of each slice
    :param dags: only checks of these DAGs; None for all
    """
    if not slices or (dags is not None and not dags):
        return []
    values: dict[str, Any] = {"kind": kind, "name": name}
    where = "c.kind = :kind AND c.name = :name AND c.checked_at >= slices.low AND c.checked_at < slices.high "
    found = last(ledger, COLUMN_LIST, "slices", where + in_dags(dags, values))
    rows = rows_of(ledger, f"WITH {spans(slices)} {found} ORDER BY c.checked_at, c.id", values)
    return [recorded_of(row) for row in rows]


def recent(
    ledger: Ledger,
    kinds: Iterable[str],
    *,
    name: str | None = None,
    service: str | None = None,
    since: datetime | None = None,
    dags: Collection[str] | None = None,
    limit: int = 200,
) -> list[Recorded]:
    """Return the newest checks of some kinds, newest first.

    :param ledger: the ledger
    :param kinds: kinds of the checks
    :param dags: only checks of these DAGs; None for all
    :param name: only checks of this name
    :param service: only checks of this service; empty for those without a service
    :param since: only those checked at or after this time (aware)
    :param limit: maximum number of results of each kind
    """
    if dags is not None and not dags:
        return []
    found: list[Recorded] = []
    for kind in kinds:
        values: dict[str, Any] = {"kind": kind, "limit": limit}
        where = in_dags(dags, values)
        if name is not None:
            values["name"], where = name, f"AND c.name = :name {where}"
        if since is not None:
            values["since"], where = microseconds(since, what="since"), f"AND c.checked_at >= :since {where}"
        if service is not None:
            values["service"], where = service_column(service), f"AND c.service = :service {where}"
        where = f"c.kind = :kind {where} ORDER BY c.checked_at DESC, c.id DESC LIMIT :limit"
        text = f"SELECT {COLUMN_LIST} FROM visible_checks c WHERE {where}"  # noqa: S608
        found += [recorded_of(row) for row in rows_of(ledger, text, values)]
    return sorted(found, key=lambda row: row.result.checked_at, reverse=True)


def every(ledger: Ledger, kind: str, name: str, *, since: datetime, until: datetime) -> Iterator[Recorded]:
    """Yield all checks of a name, oldest first, without a limit.

    The rows are streamed: one connection stays in use until the iterator is exhausted or closed.

    :param ledger: the ledger
    :param kind: kind of the checks
    :param name: name of the checks
    :param since: only those checked at or after this time (aware)
    :param until: only those checked before this time (aware)
    """
    values = {"kind": kind, "name": name, "since": microseconds(since, what="since"), "until": microseconds(until, what="until")}
    where = "c.kind = :kind AND c.name = :name AND c.checked_at >= :since AND c.checked_at < :until"
    statement = f"SELECT {COLUMN_LIST} FROM visible_checks c WHERE {where} ORDER BY c.checked_at, c.id"  # noqa: S608 - only our own words
    with ledger._transaction() as connection:
        for row in _asked(ledger, connection.execution_options(yield_per=1000), statement, values).mappings():
            yield recorded_of(dict(row))


def of_run(
    ledger: Ledger, dag_id: str, run_id: str, *, task_id: str | None = None, map_index: int | None = None, limit: int = 1000
) -> list[Recorded]:
    """Return the checks recorded by one run, or by one of its task instances, newest first.

    :param ledger: the ledger
    :param dag_id: id of the DAG
    :param run_id: id of the run
    :param task_id: only checks of this task
    :param map_index: only checks of this index of a mapped task
    :param limit: maximum number of results
    """
    values: dict[str, Any] = {"dag_id": dag_id, "run_id": run_id, "limit": limit}
    where = "c.dag_id = :dag_id AND c.run_id = :run_id"
    if task_id is not None:
        values["task_id"], where = task_id, f"{where} AND c.task_id = :task_id"
        if map_index is not None:
            values["map_index"], where = map_index, f"{where} AND c.map_index = :map_index"
    text = f"SELECT {COLUMN_LIST} FROM visible_checks c WHERE {where} ORDER BY c.checked_at DESC, c.id DESC LIMIT :limit"  # noqa: S608
    return [recorded_of(row) for row in rows_of(ledger, text, values)]


def by_identity(ledger: Ledger, identity: str) -> Recorded | None:
    """Return the check with an identity (:meth:`RunKey.identity`); None if there is none."""
    text = f"SELECT {COLUMN_LIST} FROM visible_checks c WHERE c.identity = :identity"  # noqa: S608
    rows = rows_of(ledger, text, {"identity": identity})
    return recorded_of(rows[0]) if rows else None


def dag_ids(ledger: Ledger) -> list[str]:
    """Return all DAG ids with recorded checks."""
    return ledger._distinct("dag_id")


def all_kinds(ledger: Ledger) -> list[str]:
    """Return all recorded kinds of check, except repeated observations, which are not counted anywhere."""
    return [kind for kind in ledger._distinct("kind") if not kind.endswith(REPEATED)]


def rows_of(ledger: Ledger, statement: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Run a query on ``visible_checks``, the rows that this ledger may read."""
    with ledger._transaction() as connection:
        return [dict(row) for row in _asked(ledger, connection, statement, values).mappings()]


def _asked(ledger: Ledger, connection: Connection, statement: str, values: Mapping[str, Any]) -> CursorResult[Any]:
    from sqlalchemy import text

    statement = statement.replace("visible_checks", ledger.visible_checks)
    return connection.execute(text(statement), {**values, "environment": ledger.environment})


def table_of(table: str, items: Collection[tuple[str, ...]], values: dict[str, Any], *columns: str) -> str:
    """Return SQL for a named table of values; its parameters are added to ``values``."""
    values |= {f"{table}_{row}_{place}": text for row, item in enumerate(items) for place, text in enumerate(item)}
    rows = (", ".join(f":{table}_{row}_{place}" for place in range(len(columns))) for row in range(len(items)))
    return f"{table}({', '.join(columns)}) AS (VALUES {', '.join(f'({row})' for row in rows)})"


def spans(slices: Sequence[tuple[datetime, datetime]]) -> str:
    """Return SQL for a table ``slices`` of starts and ends."""
    # Inlined, as they are computed numbers: PostgreSQL would treat parameters as text.
    rows = ", ".join(f"({microseconds(start, what='start')}, {microseconds(end, what='end')})" for start, end in slices)
    return f"slices(low, high) AS (VALUES {rows})"


def last(ledger: Ledger, columns: str, outer: str, where: str) -> str:
    """Return a query for the newest check ``c`` of each row of ``outer``, by one index lookup each."""
    newest = f"FROM visible_checks c WHERE {where} ORDER BY c.checked_at DESC, c.id DESC LIMIT 1"
    if ledger._engine.dialect.name == "postgresql":
        return f"SELECT {columns} FROM {outer} CROSS JOIN LATERAL (SELECT * {newest}) c"  # noqa: S608 - only our own words
    # SQLite does not support LATERAL.
    return f"SELECT {columns} FROM (SELECT (SELECT id {newest}) AS id FROM {outer}) last JOIN visible_checks c ON c.id = last.id"  # noqa: S608


def before() -> int:
    """Return the latest accepted time of a newest check, in microseconds since 1970."""
    return microseconds(datetime.now(UTC) + AHEAD)


def in_dags(dags: Collection[str] | None, values: dict[str, Any]) -> str:
    """Return an SQL filter for the checks of some DAGs; its parameters are added to ``values``."""
    if dags is None:
        return ""
    values |= {f"in_{number}": dag_id for number, dag_id in enumerate(dags)}
    return f"AND c.dag_id IN ({', '.join(f':in_{number}' for number in range(len(dags)))})"
