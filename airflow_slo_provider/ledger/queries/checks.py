"""Query checks for the SLO pages: the newest of each check, a downsampled history, the checks of one run.

Every query uses an index and reads a bounded number of rows, however many the ledger holds. ``dags`` limits a query to the checks
of the DAGs that a user may read; None for all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.ledger.observations import REPEATED
from airflow_slo_provider.ledger.queries import sql_text as sql
from airflow_slo_provider.ledger.records import Recorded, from_row, microseconds, service_column

if TYPE_CHECKING:
    from airflow_slo_provider.ledger.store import Ledger

MOST_ROWS = 5_000


def newest(ledger: Ledger, kind: str, *, dags: Collection[str] | None = None, limit: int = MOST_ROWS) -> list[Recorded]:
    """Return the newest check of each name of a kind, by name, except those further in the future than :data:`.sql_text.AHEAD`.

    :param ledger: the ledger
    :param kind: kind of the checks
    :param dags: only checks of these DAGs; None for all
    :param limit: maximum number of results
    """
    if dags is not None and not dags:
        return []
    values: dict[str, Any] = {"kind": kind, "limit": limit, "before": sql.latest_time()}
    tables, where = [sql.NAMES], "c.kind = :kind AND c.name = found.name AND c.checked_at < :before"
    if dags is not None:
        tables = [sql.values_table("dags", [(dag,) for dag in dags], values, "dag_id"), sql.NAMES_OF_DAGS]
        where = f"c.dag_id = found.dag_id AND {where}"
    found = sql.newest_of_each(ledger, sql.COLUMN_LIST, "(SELECT * FROM found WHERE name IS NOT NULL LIMIT :limit) found", where)
    statement = f"WITH RECURSIVE {', '.join(tables)} {found} ORDER BY c.name, c.checked_at, c.id"
    # With several DAGs a name occurs once per DAG; the last one is the newest.
    return list({row["name"]: from_row(row) for row in sql.read_rows(ledger, statement, values)}.values())


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
    values: dict[str, Any] = {}
    where = sql.equal(values, kind=kind, name=name) + sql.in_dags(dags, values)
    where += " AND c.checked_at >= slices.low AND c.checked_at < slices.high"
    found = sql.newest_of_each(ledger, sql.COLUMN_LIST, "slices", where)
    rows = sql.read_rows(ledger, f"WITH {sql.slices_table(slices)} {found} ORDER BY c.checked_at, c.id", values)
    return [from_row(row) for row in rows]


def recent(
    ledger: Ledger,
    kinds: Iterable[str],
    *,
    name: str | None = None,
    service: str | None = None,
    labels: str | None = None,
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
    :param labels: only checks of this group, as :func:`.labels_text` writes it; empty for those without a group
    :param since: only those checked at or after this time (aware)
    :param limit: maximum number of results of each kind
    """
    if dags is not None and not dags:
        return []
    found: list[Recorded] = []
    for kind in kinds:
        values: dict[str, Any] = {}
        where = sql.equal(
            values, kind=kind, name=name, service=None if service is None else service_column(service), labels=labels
        )
        if since is not None:
            values["since"], where = microseconds(since, what="since"), f"{where} AND c.checked_at >= :since"
        found += _newest_first(ledger, where + sql.in_dags(dags, values), values, limit)
    return sorted(found, key=lambda row: row.result.checked_at, reverse=True)


def stream(ledger: Ledger, kind: str, name: str, *, since: datetime, until: datetime) -> Iterator[Recorded]:
    """Yield all checks of a name, oldest first, without a limit.

    The rows are streamed: one connection stays in use until the iterator is exhausted or closed.

    :param ledger: the ledger
    :param kind: kind of the checks
    :param name: name of the checks
    :param since: only those checked at or after this time (aware)
    :param until: only those checked before this time (aware)
    """
    values: dict[str, Any] = {"since": microseconds(since, what="since"), "until": microseconds(until, what="until")}
    where = f"{sql.equal(values, kind=kind, name=name)} AND c.checked_at >= :since AND c.checked_at < :until"
    with ledger._transaction() as connection:
        streamed = connection.execution_options(yield_per=1000)
        for row in sql.execute(ledger, streamed, _select(f"{where} ORDER BY c.checked_at, c.id"), values).mappings():
            yield from_row(dict(row))


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
    values: dict[str, Any] = {}
    map_index = None if task_id is None else map_index
    where = sql.equal(values, dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=map_index)
    return _newest_first(ledger, where, values, limit)


def by_identity(ledger: Ledger, identity: str) -> Recorded | None:
    """Return the check with an identity (:meth:`RunKey.identity`); None if there is none."""
    rows = sql.read_rows(ledger, _select("c.identity = :identity"), {"identity": identity})
    return from_row(rows[0]) if rows else None


def dag_ids(ledger: Ledger) -> list[str]:
    """Return all DAG ids with recorded checks."""
    return ledger._distinct("dag_id")


def all_kinds(ledger: Ledger) -> list[str]:
    """Return all recorded kinds of check, except repeated observations, which are not counted anywhere."""
    return [kind for kind in ledger._distinct("kind") if not kind.endswith(REPEATED)]


def _select(where: str) -> str:
    return f"SELECT {sql.COLUMN_LIST} FROM visible_checks c WHERE {where}"  # noqa: S608 - only our own words


def _newest_first(ledger: Ledger, where: str, values: dict[str, Any], limit: int) -> list[Recorded]:
    statement = _select(f"{where} ORDER BY c.checked_at DESC, c.id DESC LIMIT :limit")
    return [from_row(row) for row in sql.read_rows(ledger, statement, {**values, "limit": limit})]
