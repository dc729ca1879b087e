"""Remove old rows from the ledger, except those that a decision may still need.

Of the rows older than the limit, these are kept:

- the newest row of each check (by service, group, policy, DAG and model version, and of a version each verdict): they hold a
  freeze with its cool-down and exit level, the last measurement of an SLO, and the verdicts on a model version;
- promotions, deployments, rollbacks and culprits: they show the serving version, and evidence against a version;
- all rows of the runs of an open incident, and its claim.

Rows of test runs are removed by age alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.ledger.records import microseconds
from airflow_slo_provider.ledger.schema.tables import checks

if TYPE_CHECKING:
    from airflow_slo_provider.ledger.store import Ledger

#: Kinds whose rows show the serving version, or evidence against a version.
_KEPT_KINDS = frozenset({"promote", "promotion", "deployment", "rollback", "culprit"})
#: Kinds named after incidents: their newest rows are needed while the incident is open.
_INCIDENT_KINDS = frozenset({"incident", "incident_step", "incident_claim"})
_BATCH = 5_000


@dataclass(frozen=True)
class Pruned:
    """The result of pruning the rows older than the limit.

    :param removed: number of removed rows by kind; for a trial, the number that would be removed
    :param kept: number of rows kept because they may still be needed, by kind
    :param test_runs: number of removed rows of test runs
    """

    removed: Mapping[str, int]
    kept: Mapping[str, int]
    test_runs: int


def prune(ledger: Ledger, before: datetime, *, trial: bool = False) -> Pruned:
    """Remove the environment's rows that were checked before a time and are no longer needed.

    Rows are removed in batches, so that writers are blocked only briefly. After an interruption, the next call continues.

    :param ledger: the ledger
    :param before: the limit (aware)
    :param trial: only report what would be removed
    """
    from sqlalchemy import delete

    table, limit = checks(), microseconds(before, what="before")
    newest, (incidents, runs) = _newest(ledger, limit), _open_incidents(ledger)
    removed: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    tests = 0

    def is_needed(row: Any) -> bool:
        known = row.kind in _KEPT_KINDS or row.id in newest or (row.dag_id, row.run_id) in runs
        return not row.test_run and (known or (row.kind in _INCIDENT_KINDS and row.name in incidents))

    for rows in _batches(ledger, limit):
        needless = [row for row in rows if not is_needed(row)]
        kept.update(row.kind for row in rows if is_needed(row))
        removed.update(row.kind for row in needless if not row.test_run)
        tests += sum(row.test_run for row in needless)
        if needless and not trial:
            with ledger._transaction(writes=True) as connection:
                connection.execute(delete(table).where(table.c.id.in_([row.id for row in needless])))
    return Pruned(dict(removed), dict(kept), tests)


def _newest(ledger: Ledger, limit: int) -> set[int]:
    """Return the ids of the newest row before the limit of each check, by every key that queries use."""
    from sqlalchemy import text

    policy = "json_extract(evidence, '$.policy')"
    if ledger._engine.dialect.name == "postgresql":
        policy = "CAST(evidence AS json) ->> 'policy'"
    what = (
        "kind, name, service, labels, dag_id, model_version, value IS NULL, "
        f"CASE WHEN kind = 'slo' THEN {policy} END, CASE WHEN model_version IS NOT NULL THEN verdict END"
    )
    numbered = (
        f"SELECT id, kind, ROW_NUMBER() OVER (PARTITION BY {what} ORDER BY checked_at DESC, id DESC) AS place "  # noqa: S608
        "FROM checks WHERE environment = :environment AND test_run = 0 AND checked_at < :limit"
    )
    query = text(f"SELECT id, kind FROM ({numbered}) numbered WHERE place = 1")  # noqa: S608 - only our own words
    with ledger._transaction(patient=True) as connection:
        found = connection.execute(query, {"environment": ledger.environment, "limit": limit})
        return {row.id for row in found if row.kind not in _INCIDENT_KINDS}


def _open_incidents(ledger: Ledger) -> tuple[set[str], set[tuple[str, str]]]:
    """Return names and runs of the open incidents, by their newest rows."""
    import json

    from sqlalchemy import select

    table = checks()
    own = (table.c.environment == ledger.environment, table.c.test_run == 0, table.c.kind == "incident")
    query = select(table.c.dag_id, table.c.run_id, table.c.name, table.c.evidence).where(*own)
    query = query.order_by(table.c.checked_at, table.c.id)
    with ledger._transaction(patient=True) as connection:
        newest = {(row.dag_id, row.run_id, row.name): row.evidence for row in connection.execute(query)}
    opened = [key for key, evidence in newest.items() if json.loads(evidence).get("state") != "over"]
    return {name for _, _, name in opened}, {(dag_id, run_id) for dag_id, run_id, _ in opened}


def _batches(ledger: Ledger, limit: int) -> Iterator[list[Any]]:
    """Yield batches of rows older than the limit, including those of test runs, oldest first."""
    from sqlalchemy import select, tuple_

    table = checks()
    columns = [table.c[name] for name in ("id", "checked_at", "kind", "name", "dag_id", "run_id", "test_run")]
    older = (table.c.environment == ledger.environment, table.c.checked_at < limit)
    last = (-(2**62), -1)
    while True:
        query = select(*columns).where(*older, tuple_(table.c.checked_at, table.c.id) > last)
        query = query.order_by(table.c.checked_at, table.c.id).limit(_BATCH)
        with ledger._transaction() as connection:
            rows = list(connection.execute(query))
        if not rows:
            return
        yield rows
        last = (rows[-1].checked_at, rows[-1].id)
