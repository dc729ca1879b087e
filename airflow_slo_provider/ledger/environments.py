"""List the environments of a ledger shared by several Airflow deployments; adopt the rows of the unnamed environment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.ledger.corrections import correction_identity
from airflow_slo_provider.ledger.records import RunKey
from airflow_slo_provider.ledger.schema.tables import checks, slo_corrections

if TYPE_CHECKING:
    from sqlalchemy import Connection, TableClause

    from airflow_slo_provider.ledger.store import Ledger

_BATCH = 5_000


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
    return sorted(found, key=lambda one: one.name)


def adopt(ledger: Ledger) -> Adopted:
    """Move the rows of the unnamed environment to the ledger's own environment, in one transaction. Idempotent.

    :raises ValueError: for a ledger of the unnamed environment
    """
    if not ledger.environment:
        raise ValueError("the unnamed environment adopts nothing: name one")
    with ledger._transaction(writes=True) as connection:
        moved, left = _move_checks(connection, ledger.environment)
        corrections, more = _move_corrections(connection, ledger.environment)
    return Adopted(moved, corrections, left + more)


def _move_checks(connection: Connection, name: str) -> tuple[int, int]:
    table = checks()
    columns = ("kind", "name", "labels", "dag_id", "run_id", "task_id", "map_index", "attempt", "test_run")

    def identity(row: Any) -> str:
        key = RunKey(row.dag_id, row.run_id, row.task_id, row.map_index, attempt=row.attempt, test_run=bool(row.test_run))
        return replace(key, environment=name).identity(row.kind, row.name, row.labels)

    return _move(connection, table, columns, name, identity)


def _move_corrections(connection: Connection, name: str) -> tuple[int, int]:
    def identity(row: Any) -> str:
        return correction_identity(name, row.service, row.name, row.labels, row.starts)

    return _move(connection, slo_corrections(), ("service", "name", "labels", "starts"), name, identity)


def _move(connection: Connection, table: TableClause, columns: tuple[str, ...], name: str, identity: Any) -> tuple[int, int]:
    """Move rows under their new identities; rows whose new identity exists already are left."""
    from sqlalchemy import bindparam, select, update

    change = (
        update(table)
        .where(table.c.id == bindparam("row_id"))
        .values(identity=bindparam("new_identity"), environment=bindparam("new_environment"))
    )
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


def _batches(connection: Connection, table: TableClause, columns: tuple[str, ...]) -> Iterator[list[Any]]:
    """Yield the rows of the unnamed environment in batches, ordered by id."""
    from sqlalchemy import select

    last = -1
    while True:
        query = (
            select(table.c.id, *(table.c[column] for column in columns))
            .where(table.c.environment == "", table.c.id > last)
            .order_by(table.c.id)
            .limit(_BATCH)
        )
        rows = list(connection.execute(query))
        if not rows:
            return
        yield rows
        last = rows[-1].id
