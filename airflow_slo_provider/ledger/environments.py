"""List the environments of a ledger shared by several Airflow deployments; adopt the rows of the unnamed environment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.ledger.corrections import correction_identity
from airflow_slo_provider.ledger.records import RunKey
from airflow_slo_provider.ledger.schema.tables import checks, slo_corrections

if TYPE_CHECKING:
    from sqlalchemy import Connection, TableClause

    from airflow_slo_provider.ledger.store import Ledger

_BATCH = 5_000
#: Columns that a row's identity is computed from.
_CHECK_KEY = (
    "identity", "kind", "name", "service", "labels", "dag_id", "run_id", "task_id", "map_index", "attempt", "test_run",
)  # fmt: skip
_CORRECTION_KEY = ("service", "name", "labels", "starts")


@dataclass(frozen=True)
class Environment:
    """One environment of a ledger.

    :param name: name of the environment; empty for the unnamed one
    :param checks: number of rows written by its runs
    :param test_runs: number of rows written by test runs
    """

    name: str
    checks: int
    test_runs: int


@dataclass(frozen=True)
class Adopted:
    """The result of adopting the unnamed environment's rows.

    :param checks: number of moved rows, including those of test runs
    :param corrections: number of moved corrections
    :param left: number of rows left unnamed, because the environment has rows of the same task instances
    """

    checks: int
    corrections: int
    left: int


def environments(ledger: Ledger) -> list[Environment]:
    """Return every environment with rows, ordered by name. Reads the whole table."""
    from sqlalchemy import func, select

    table = checks()
    query = select(table.c.environment, func.count(), func.sum(table.c.test_run)).group_by(table.c.environment)
    with ledger._transaction(patient=True) as connection:
        found = [Environment(name, count - int(tests), int(tests)) for name, count, tests in connection.execute(query)]
    return sorted(found, key=lambda environment: environment.name)


def adopt(ledger: Ledger) -> Adopted:
    """Move the rows of the unnamed environment to the ledger's own environment, in one transaction. Idempotent.

    :raises ValueError: for a ledger of the unnamed environment
    """
    if not ledger.environment:
        raise ValueError("rows cannot be moved to the unnamed environment; set a name")
    name = ledger.environment

    def check_key(row: Any) -> str:
        key = RunKey(row.dag_id, row.run_id, row.task_id, row.map_index, attempt=row.attempt, test_run=bool(row.test_run))
        has_service = row.identity != key.identity(row.kind, row.name, row.labels)
        return replace(key, environment=name).identity(row.kind, row.name, row.labels, row.service if has_service else "")

    def correction_key(row: Any) -> str:
        return correction_identity(name, row.service, row.name, row.labels, row.starts)

    with ledger._transaction(writes=True) as connection:
        moved, left = _move(connection, checks(), _CHECK_KEY, name, check_key)
        moved_corrections, left_corrections = _move(connection, slo_corrections(), _CORRECTION_KEY, name, correction_key)
    return Adopted(moved, moved_corrections, left + left_corrections)


def _move(
    connection: Connection, table: TableClause, columns: Sequence[str], name: str, identity: Callable[[Any], str]
) -> tuple[int, int]:
    """Move rows under their new identities; rows whose new identity exists already are left."""
    from sqlalchemy import bindparam, select, update

    new: dict[str, Any] = {"identity": bindparam("new_identity"), "environment": bindparam("new_environment")}
    change = update(table).where(table.c.id == bindparam("row_id")).values(**new)
    moved = left = 0
    for rows in _batches(connection, table, columns):
        wanted = {identity(row): row.id for row in rows}
        taken = set(connection.scalars(select(table.c.identity).where(table.c.identity.in_(wanted))))
        changes = [
            {"row_id": row_id, "new_identity": new, "new_environment": name} for new, row_id in wanted.items() if new not in taken
        ]
        if changes:
            connection.execute(change, changes)
        moved, left = moved + len(changes), left + len(rows) - len(changes)
    return moved, left


def _batches(connection: Connection, table: TableClause, columns: Sequence[str]) -> Iterator[list[Any]]:
    """Yield the rows of the unnamed environment in batches, ordered by id."""
    from sqlalchemy import select

    selected, last = [table.c[column] for column in ("id", *columns)], -1
    while True:
        query = select(*selected).where(table.c.environment == "", table.c.id > last).order_by(table.c.id).limit(_BATCH)
        rows = list(connection.execute(query))
        if not rows:
            return
        yield rows
        last = rows[-1].id
