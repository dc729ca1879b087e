"""Recording what a check observed: the present once, however many runs looked at it, and a past window for its own time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_slo_provider.results import CheckResult


def record_observations(
    results: Iterable[CheckResult], context: Mapping[str, Any], log: Any, *, subject: str | None = None
) -> None:
    """Write checks of the present into the ledger.

    A run that is caught up, backfilled or cleared looks at the present as the runs beside it do: what another run of the task has
    observed since this one was due is recorded as repeated, and counts nowhere.

    :param results: what was found
    :param context: Airflow's task context
    :param log: the task's logger
    :param subject: what was looked at, where that may change from run to run (a path with a date in it)
    :raises LedgerError: when they cannot be written
    """
    from airflow_slo_provider.ledger.observations import REPEATED, SUBJECT
    from airflow_slo_provider.runtime.evaluation_time import due
    from airflow_slo_provider.runtime.recording.checks import emit, record
    from airflow_slo_provider.runtime.recording.ledger_connection import open_default_ledger, run_key

    results = list(results)
    if subject is not None:
        results = [replace(one, evidence={**one.evidence, SUBJECT: subject}) for one in results]
    since = due(context)
    if since is None:
        record(results, context)
        return
    with open_default_ledger() as ledger:
        written = ledger.record_observations(results, run_key(context), due=since)
        counts = not ledger.test_run
    repeated = sorted({one.name for one in written if one.kind.endswith(REPEATED)})
    if repeated:
        log.info(
            "Recorded as repeated, and not counted: another run of this task has observed %s since this run was due (%s)",
            ", ".join(repeated)[:500],
            since.isoformat(),
        )
    if counts:
        emit([one for one in written if not one.kind.endswith(REPEATED)])


def of_window(results: Iterable[CheckResult], start: datetime, end: datetime) -> list[CheckResult]:
    """Date checks of a window that is over: checked a whole window later or more, they are about its end, and not about now.

    :param results: what was found in the window
    :param start: start of the window (aware)
    :param end: its end (aware)
    """
    if datetime.now(UTC) <= end + (end - start):
        return list(results)
    return [replace(one, checked_at=end.astimezone(UTC)) for one in results]
