"""What people look at: the newest of each check, a history in few points, the checks of one run.

Every question is answered from an index and reads a bounded number of rows, however many the ledger holds. ``dags`` limits a
question to the checks of some DAGs, as a person's permissions ask for; None asks for all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_slo_provider.ledger.records import Recorded, microseconds, moment, recorded_of
from airflow_slo_provider.ledger.schema import COLUMNS
from airflow_slo_provider.results import Verdict

if TYPE_CHECKING:
    from airflow_slo_provider.ledger.store import Ledger

MOST_ROWS = 5_000
_COLUMNS = ", ".join(f"c.{column}" for column in COLUMNS)

#: All names of a kind, by stepping through the index: one look-up a name.
_NAMES = """
found(name) AS (
    SELECT MIN(name) FROM checks WHERE kind = :kind
    UNION ALL
    SELECT (SELECT MIN(c.name) FROM checks c WHERE c.kind = :kind AND c.name > found.name) FROM found WHERE found.name IS NOT NULL
)"""
#: The same for each of some DAGs.
_NAMES_OF_DAGS = """
found(dag_id, name) AS (
    SELECT d.dag_id, (SELECT MIN(c.name) FROM checks c WHERE c.dag_id = d.dag_id AND c.kind = :kind) FROM dags d
    UNION ALL
    SELECT found.dag_id,
        (SELECT MIN(c.name) FROM checks c WHERE c.dag_id = found.dag_id AND c.kind = :kind AND c.name > found.name)
    FROM found WHERE found.name IS NOT NULL
)"""
_FOUND = "(SELECT * FROM found WHERE name IS NOT NULL LIMIT :limit) found"


class Sample(NamedTuple):
    """The last check of a slice of time, without what a small chart does not need."""

    name: str
    dag_id: str
    checked_at: datetime
    verdict: Verdict
    value: float | None
    field: float | None


def newest(ledger: Ledger, kind: str, *, dags: Collection[str] | None = None, limit: int = MOST_ROWS) -> list[Recorded]:
    """Return the newest check of each name of a kind, ordered by name.

    :param limit: at most so many
    """
    values: dict[str, Any] = {"kind": kind, "limit": limit}
    if dags is None:
        head, own = f"WITH RECURSIVE {_NAMES}", "c.kind = :kind AND c.name = found.name"
    else:
        if not dags:
            return []
        head = f"WITH RECURSIVE {_table('dags', dags, values)}, {_NAMES_OF_DAGS}"
        own = "c.dag_id = found.dag_id AND c.kind = :kind AND c.name = found.name"
    rows = _rows(
        ledger,
        f"{head} {_last(ledger, _COLUMNS, _FOUND, own)} ORDER BY c.name, c.checked_at, c.id",
        values,
    )
    # With several DAGs a name comes once for each; the newest is the last of them.
    return list({row["name"]: recorded_of(row) for row in rows}.values())


def newest_with_value(
    ledger: Ledger, kind: str, names: Collection[str], *, dags: Collection[str] | None = None
) -> list[Recorded]:
    """Return, for each name, the newest check that measured something: what was known before a source fell silent."""
    if not names or (dags is not None and not dags):
        return []
    values: dict[str, Any] = {"kind": kind}
    where = f"c.kind = :kind AND c.name = names.name AND c.value IS NOT NULL {_in_dags(dags, values)}"
    rows = _rows(
        ledger,
        f"WITH {_table('names', names, values, 'name')} {_last(ledger, _COLUMNS, 'names', where)}",
        values,
    )
    return [recorded_of(row) for row in rows]


def samples(
    ledger: Ledger,
    kind: str,
    names: Collection[str],
    slices: Sequence[tuple[datetime, datetime]],
    *,
    field: str,
    dags: Collection[str] | None = None,
) -> list[Sample]:
    """Return the last check of each name in each slice of time, oldest first.

    :param slices: start and end (exclusive) of each
    :param field: a number of the evidence that comes along
    """
    if not names or not slices or (dags is not None and not dags):
        return []
    values: dict[str, Any] = {"kind": kind, "field": field}
    picked = "CAST(c.evidence AS json) ->> :field"
    if ledger._engine.dialect.name != "postgresql":
        picked, values["field"] = "json_extract(c.evidence, :field)", f'$."{field}"'
    columns = f"c.name, c.dag_id, c.checked_at, c.verdict, c.value, {picked} AS field"
    rows = _rows(ledger, _last_of_slices(ledger, columns, names, slices, dags, values), values)
    return [
        Sample(
            row["name"], row["dag_id"], moment(row["checked_at"]), Verdict(row["verdict"]), row["value"], _number(row["field"])
        )
        for row in rows
    ]


def history(
    ledger: Ledger, kind: str, name: str, slices: Sequence[tuple[datetime, datetime]], *, dags: Collection[str] | None = None
) -> list[Recorded]:
    """Return the last check in each slice of time, oldest first, with everything."""
    if not slices or (dags is not None and not dags):
        return []
    values: dict[str, Any] = {"kind": kind}
    rows = _rows(ledger, _last_of_slices(ledger, _COLUMNS, [name], slices, dags, values), values)
    return [recorded_of(row) for row in rows]


def recent(
    ledger: Ledger,
    kinds: Iterable[str],
    *,
    name: str | None = None,
    since: datetime | None = None,
    dags: Collection[str] | None = None,
    limit: int = 200,
) -> list[Recorded]:
    """Return the newest checks of some kinds, newest first.

    :param name: only those of that name
    :param since: only those checked at or after this moment (aware)
    :param limit: at most so many of each kind
    """
    if dags is not None and not dags:
        return []
    found: list[Recorded] = []
    for kind in kinds:
        values: dict[str, Any] = {"kind": kind, "limit": limit}
        where = _in_dags(dags, values)
        if name is not None:
            values["name"], where = name, f"AND c.name = :name {where}"
        if since is not None:
            values["since"], where = microseconds(since, what="since"), f"AND c.checked_at >= :since {where}"
        text = f"SELECT {_COLUMNS} FROM checks c WHERE c.kind = :kind {where} ORDER BY c.checked_at DESC, c.id DESC LIMIT :limit"  # noqa: S608
        found += [recorded_of(row) for row in _rows(ledger, text, values)]
    return sorted(found, key=lambda row: row.result.checked_at, reverse=True)


def of_run(
    ledger: Ledger, dag_id: str, run_id: str, *, task_id: str | None = None, map_index: int | None = None, limit: int = 1000
) -> list[Recorded]:
    """Return what one run, or one task instance of it, has recorded, newest first."""
    values: dict[str, Any] = {"dag_id": dag_id, "run_id": run_id, "limit": limit}
    where = "c.dag_id = :dag_id AND c.run_id = :run_id"
    if task_id is not None:
        values["task_id"], where = task_id, f"{where} AND c.task_id = :task_id"
        if map_index is not None:
            values["map_index"], where = map_index, f"{where} AND c.map_index = :map_index"
    text = f"SELECT {_COLUMNS} FROM checks c WHERE {where} ORDER BY c.checked_at DESC, c.id DESC LIMIT :limit"  # noqa: S608
    return [recorded_of(row) for row in _rows(ledger, text, values)]


def by_identity(ledger: Ledger, identity: str) -> Recorded | None:
    """Return the one check with that identity (:meth:`RunKey.identity`), None where there is none."""
    text = f"SELECT {_COLUMNS} FROM checks c WHERE c.identity = :identity"  # noqa: S608
    rows = _rows(ledger, text, {"identity": identity})
    return recorded_of(rows[0]) if rows else None


def dag_ids(ledger: Ledger) -> list[str]:
    """Return every DAG id that checks were recorded under."""
    return ledger._distinct("dag_id")


def all_kinds(ledger: Ledger) -> list[str]:
    """Return every kind of check there is."""
    return ledger._distinct("kind")


def _rows(ledger: Ledger, statement: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    from sqlalchemy import text

    with ledger._transaction() as connection:
        return [dict(row) for row in connection.execute(text(statement), dict(values)).mappings()]


def _table(table: str, items: Collection[str], values: dict[str, Any], column: str = "dag_id") -> str:
    """A table of values under a name of its own, its parameters put into ``values``."""
    values |= {f"{table}_{number}": item for number, item in enumerate(items)}
    return f"{table}({column}) AS (VALUES {', '.join(f'(:{table}_{number})' for number in range(len(items)))})"


def _last_of_slices(
    ledger: Ledger,
    columns: str,
    names: Collection[str],
    slices: Sequence[tuple[datetime, datetime]],
    dags: Collection[str] | None,
    values: dict[str, Any],
) -> str:
    # Numbers of our own making: as parameters PostgreSQL would take them for text.
    spans = ", ".join(f"({microseconds(start, what='start')}, {microseconds(end, what='end')})" for start, end in slices)
    where = "c.kind = :kind AND c.name = names.name AND c.checked_at >= slices.low AND c.checked_at < slices.high " + _in_dags(
        dags, values
    )
    tables = f"{_table('names', names, values, 'name')}, slices(low, high) AS (VALUES {spans})"
    return f"WITH {tables} {_last(ledger, columns, 'names CROSS JOIN slices', where)} ORDER BY c.checked_at, c.id"


def _last(ledger: Ledger, columns: str, outer: str, where: str) -> str:
    """A query for the newest check, ``c``, of each row of ``outer``: one look-up in an index each."""
    newest = f"FROM checks c WHERE {where} ORDER BY c.checked_at DESC, c.id DESC LIMIT 1"
    if ledger._engine.dialect.name == "postgresql":
        return f"SELECT {columns} FROM {outer} CROSS JOIN LATERAL (SELECT * {newest}) c"  # noqa: S608 - only our own words
    # SQLite knows no LATERAL.
    return f"SELECT {columns} FROM (SELECT (SELECT c.id {newest}) AS id FROM {outer}) last JOIN checks c ON c.id = last.id"  # noqa: S608


def _in_dags(dags: Collection[str] | None, values: dict[str, Any]) -> str:
    if dags is None:
        return ""
    values |= {f"in_{number}": dag_id for number, dag_id in enumerate(dags)}
    return f"AND c.dag_id IN ({', '.join(f':in_{number}' for number in range(len(dags)))})"


def _number(value: Any) -> float | None:
    """A number of evidence, which may hold anything."""
    import math

    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
