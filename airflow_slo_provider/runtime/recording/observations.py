"""Record observations: of the present once, even if several runs made them, and of a past window at its end."""

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
    """Write checks of the present to the ledger.

    A run that is caught up, backfilled or cleared measures the same present as other runs. If another run of the task has
    recorded the check since this run was due, it is recorded as repeated and not counted.

    :param results: the checks
    :param context: Airflow's task context
    :param log: the task's logger
    :param subject: what was measured, if it may change from run to run (a path with a date in it); None by default
    :raises LedgerError: if they cannot be written
    """
    from airflow_slo_provider.ledger.observations import REPEATED, SUBJECT
    from airflow_slo_provider.runtime.evaluation_time import scheduled_start
    from airflow_slo_provider.runtime.recording.checks import emit, record
    from airflow_slo_provider.runtime.recording.ledger_connection import open_default_ledger, run_key

    results = list(results)
    if subject is not None:
        results = [replace(check, evidence={**check.evidence, SUBJECT: subject}) for check in results]
    since = scheduled_start(context)
    if since is None:
        record(results, context)
        return
    with open_default_ledger() as ledger:
        written = ledger.record_observations(results, run_key(context), due=since)
        counts = not ledger.test_run
    repeated = sorted({check.name for check in written if check.kind.endswith(REPEATED)})
    if repeated:
        message = "Recorded as repeated, and not counted: another run of this task has observed %s since this run was due (%s)"
        log.info(message, ", ".join(repeated)[:500], since.isoformat())
    if counts:
        emit([check for check in written if not check.kind.endswith(REPEATED)])


def date_at_window_end(results: Iterable[CheckResult], start: datetime, end: datetime) -> list[CheckResult]:
    """Date the checks of a past window at its end, if they were made at least a window's length after it.

    :param results: the checks
    :param start: start of the window (aware)
    :param end: end of the window (aware)
    """
    if datetime.now(UTC) <= end + (end - start):
        return list(results)
    return [replace(check, checked_at=end.astimezone(UTC)) for check in results]
