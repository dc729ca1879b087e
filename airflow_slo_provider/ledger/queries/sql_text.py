"""Write and run the SQL of the ledger's queries: names and groups by index lookups, the newest check of each, filters.

A statement reads from ``visible_checks``, which is replaced by the rows that the ledger may read. The functions that return SQL
add their parameters to ``values``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.ledger.records import microseconds
from airflow_slo_provider.ledger.schema.tables import COLUMNS

if TYPE_CHECKING:
    from sqlalchemy import Connection, CursorResult

    from airflow_slo_provider.ledger.store import Ledger

#: A check with a time further in the future than this is not a newest check: it was recorded with a wrong clock, and would hide
#: current results. Smaller differences between workers' clocks are tolerated.
AHEAD = timedelta(days=1)
COLUMN_LIST = ", ".join(f"c.{column}" for column in COLUMNS)


def values_of(column: str, table: str, source: str, *keys: str) -> str:
    """Return SQL for a table of all values of a column in the checks of a kind, for each row of another table.

    They are found by stepping through an index: one lookup per value, however many checks there are. The row after the last value
    has NULL.

    :param column: the column
    :param table: name of the new table; its columns are the keys and the column
    :param source: the table that the rows come from
    :param keys: columns of the source that the checks must have the same values of
    """
    outer, own = (["c.kind = :kind", *(f"c.{key} = {name}.{key}" for key in keys)] for name in ("s", table))
    following = " AND ".join([*own, f"c.{column} > {table}.{column}"])
    return f"""
{table}({", ".join([*keys, column])}) AS (
    SELECT {"".join(f"s.{key}, " for key in keys)}(SELECT MIN(c.{column}) FROM visible_checks c WHERE {" AND ".join(outer)})
    FROM {source} s WHERE {" AND ".join(f"s.{key} IS NOT NULL" for key in keys) or "1 = 1"}
    UNION ALL
    SELECT {"".join(f"{table}.{key}, " for key in keys)}(SELECT MIN(c.{column}) FROM visible_checks c WHERE {following})
    FROM {table} WHERE {table}.{column} IS NOT NULL
)"""  # noqa: S608 - only our own words


#: All names of a kind, and the same for each of some DAGs.
NAMES = values_of("name", "found", "(SELECT 1 AS start)")
NAMES_OF_DAGS = values_of("name", "found", "dags", "dag_id")


def read_rows(ledger: Ledger, statement: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Run a query on ``visible_checks``, the rows that this ledger may read."""
    with ledger._transaction() as connection:
        return [dict(row) for row in execute(ledger, connection, statement, values).mappings()]


def execute(ledger: Ledger, connection: Connection, statement: str, values: Mapping[str, Any]) -> CursorResult[Any]:
    """Run a query on ``visible_checks`` on an open connection."""
    from sqlalchemy import text

    statement = statement.replace("visible_checks", ledger.visible_checks)
    return connection.execute(text(statement), {**values, "environment": ledger.environment})


def values_table(name: str, rows: Collection[tuple[str, ...]], values: dict[str, Any], *columns: str) -> str:
    """Return SQL for a named table of values."""
    values |= {f"{name}_{number}_{place}": text for number, row in enumerate(rows) for place, text in enumerate(row)}
    lines = (", ".join(f":{name}_{number}_{place}" for place in range(len(columns))) for number in range(len(rows)))
    return f"{name}({', '.join(columns)}) AS (VALUES {', '.join(f'({line})' for line in lines)})"


def slices_table(slices: Sequence[tuple[datetime, datetime]]) -> str:
    """Return SQL for a table ``slices`` of starts and ends."""
    # Inlined, as they are computed numbers: PostgreSQL would treat parameters as text.
    rows = ", ".join(f"({microseconds(start, what='start')}, {microseconds(end, what='end')})" for start, end in slices)
    return f"slices(low, high) AS (VALUES {rows})"


def newest_of_each(ledger: Ledger, columns: str, outer: str, where: str) -> str:
    """Return a query for the newest check ``c`` of each row of ``outer``, by one index lookup each."""
    newest = f"FROM visible_checks c WHERE {where} ORDER BY c.checked_at DESC, c.id DESC LIMIT 1"
    if ledger._engine.dialect.name == "postgresql":
        return f"SELECT {columns} FROM {outer} CROSS JOIN LATERAL (SELECT * {newest}) c"  # noqa: S608 - only our own words
    # SQLite does not support LATERAL.
    return f"SELECT {columns} FROM (SELECT (SELECT id {newest}) AS id FROM {outer}) last JOIN visible_checks c ON c.id = last.id"  # noqa: S608


def latest_time() -> int:
    """Return the latest accepted time of a newest check, in microseconds since 1970."""
    return microseconds(datetime.now(UTC) + AHEAD)


def equal(values: dict[str, Any], **columns: str | int | None) -> str:
    """Return an SQL filter for the values of some columns; None is ignored."""
    wanted = {column: value for column, value in columns.items() if value is not None}
    values |= wanted
    return " AND ".join(f"c.{column} = :{column}" for column in wanted)


def in_dags(dags: Collection[str] | None, values: dict[str, Any]) -> str:
    """Return an SQL filter for the checks of some DAGs, as a further condition; empty for None."""
    if dags is None:
        return ""
    values |= {f"in_{number}": dag_id for number, dag_id in enumerate(dags)}
    return f" AND c.dag_id IN ({', '.join(f':in_{number}' for number in range(len(dags)))})"
