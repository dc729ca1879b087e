"""Record observations of the current state only once, however many runs made them at the same time.

Twelve runs that are caught up, backfilled or cleared at the same time all observe the same current state. Recorded for each run,
one pass would count twelve times and wrongly restore a spent error budget.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from airflow_slo_provider.ledger.records import RunKey, microseconds
from airflow_slo_provider.ledger.schema.tables import checks
from airflow_slo_provider.results import CheckResult, Verdict

if TYPE_CHECKING:
    from sqlalchemy import Connection

#: Suffix of the kind of an observation that another run has already made. Indicators and pages count only the other one.
REPEATED = "_repeated"
_GOOD = (Verdict.PASS.value, Verdict.WARN.value)
#: Evidence field that distinguishes observations of one check: the observed subject, if it changes from run to run.
SUBJECT = "subject"


def without_repetitions(
    connection: Connection, results: Iterable[CheckResult], key: RunKey, *, due: datetime
) -> list[CheckResult]:
    """Return the checks to write, with an observation that another run has already made marked by another kind.

    An observation is repeated if another run of the same task has observed the same (kind, name, model version, subject) at or
    after the time from which this run was due: that observation covers this run too. A repeated observation still counts if it
    is worse: the other one passed, and this one did not.

    The caller's transaction holds a lock for the task until it ends, so that of several concurrent runs one is first.

    :param connection: connection of a write transaction
    :param results: the check results of this run
    :param key: the task instance, with its environment
    :param due: earliest time at which the run could start (aware)
    """
    _lock(connection, key)
    return [
        replace(result, kind=f"{result.kind}{REPEATED}") if _is_repeated(connection, result, key, due) else result
        for result in results
    ]


def _is_repeated(connection: Connection, result: CheckResult, key: RunKey, due: datetime) -> bool:
    from sqlalchemy import select

    table = checks()
    filters = [table.c[column] == getattr(key, column) for column in ("environment", "dag_id", "task_id", "map_index")]
    filters += [table.c.test_run == int(key.test_run), table.c.run_id != key.run_id]
    filters += [table.c.kind == result.kind, table.c.name == result.name]
    # SQLAlchemy writes "== None" as IS NULL.
    filters += [table.c.model_version == result.model_version, table.c.checked_at >= microseconds(due, what="due")]
    found = select(table.c.verdict, table.c.evidence).where(*filters).order_by(table.c.checked_at.desc(), table.c.id.desc())
    subject = result.evidence.get(SUBJECT)
    for verdict, evidence in connection.execute(found.limit(1_000)):
        if json.loads(evidence).get(SUBJECT) == subject:
            return verdict not in _GOOD or result.verdict.value in _GOOD
    return False


def _lock(connection: Connection, key: RunKey) -> None:
    """Serialise writes of a task's runs by a lock. SQLite allows only one writer anyway."""
    from sqlalchemy import text

    if connection.dialect.name != "postgresql":
        return
    task = json.dumps([key.dag_id, key.task_id, key.map_index]).encode()
    number = int.from_bytes(hashlib.sha256(task).digest()[:8], signed=True)
    connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})
