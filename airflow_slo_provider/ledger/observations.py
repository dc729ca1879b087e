"""Writing observations of the present: each is recorded once, for the time it was made about, however many runs made it.

Twelve runs that are caught up, backfilled or cleared on one morning look at the same present. Recorded under each of them, one
pass would count twelve times and mend a budget that is spent.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.ledger.records import RunKey, microseconds
from airflow_slo_provider.ledger.schema.tables import checks
from airflow_slo_provider.results import CheckResult, Verdict

if TYPE_CHECKING:
    from sqlalchemy import Connection

#: Ends the kind of an observation that another run has made already. Indicators and pages count the other one.
REPEATED = "_repeated"
_GOOD = (Verdict.PASS.value, Verdict.WARN.value)
#: Evidence that tells observations of one check apart: what was looked at, where that changes from run to run.
SUBJECT = "subject"


def without_repetitions(
    connection: Connection, results: Iterable[CheckResult], key: RunKey, *, due: datetime
) -> list[CheckResult]:
    """Return the checks to write: an observation that another run of the task has made already is one of another kind.

    It is repeated when another run of the same task has observed the same (kind, name, model version, subject) at or after the
    moment from which this run was due: that run looked at the present for this one too. A repeated observation counts all the
    same where it is worse: the other one passed, and this one did not.

    The caller's transaction holds a lock for the task until it ends: of several runs at once, one is the first.

    :param connection: of a transaction that writes
    :param key: the task instance, with its environment
    :param due: from when on the run could be started (aware)
    """
    _lock(connection, key)
    return [_marked(one) if _is_repeated(connection, one, key, due) else one for one in results]


def _marked(result: CheckResult) -> CheckResult:
    return replace(result, kind=f"{result.kind}{REPEATED}")


def _is_repeated(connection: Connection, result: CheckResult, key: RunKey, due: datetime) -> bool:
    from sqlalchemy import select

    table = checks()
    filters = [table.c[column] == getattr(key, column) for column in ("environment", "dag_id", "task_id", "map_index")]
    filters.append(table.c.test_run == int(key.test_run))
    filters += [table.c.kind == result.kind, table.c.name == result.name, table.c.run_id != key.run_id]
    filters.append(table.c.checked_at >= microseconds(due, what="due"))
    filters.append(
        table.c.model_version.is_(None) if result.model_version is None else table.c.model_version == result.model_version
    )
    found = select(table.c.verdict, table.c.evidence).where(*filters).order_by(table.c.checked_at.desc(), table.c.id.desc())
    subject = result.evidence.get(SUBJECT)
    for verdict, evidence in connection.execute(found.limit(1_000)):
        if json.loads(evidence).get(SUBJECT) == subject:
            return verdict not in _GOOD or result.verdict.value in _GOOD
    return False


def _lock(connection: Connection, key: RunKey) -> None:
    """Let the runs of a task write one after the other. SQLite has one writer at a time anyway."""
    if connection.dialect.name != "postgresql":
        return
    text = json.dumps([key.dag_id, key.task_id, key.map_index]).encode()
    number = int.from_bytes(hashlib.sha256(text).digest()[:8], signed=True)
    _execute(connection, "SELECT pg_advisory_xact_lock(:number)", number=number)


def _execute(connection: Connection, statement: str, **values: Any) -> None:
    from sqlalchemy import text

    connection.execute(text(statement), values)
