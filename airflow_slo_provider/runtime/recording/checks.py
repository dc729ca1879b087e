"""How every operator and sensor ends: its checks in the ledger and in Airflow's metrics, its verdicts without a retry, its faults
with one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.exceptions import ReasonedError, SLOProviderError

if TYPE_CHECKING:
    from airflow_slo_provider.results import CheckResult

log = logging.getLogger(__name__)

#: Marks, in the evidence, a check that could not be made.
_FAULT = "fault"
_VERDICTS = {"pass": 0, "warn": 1, "fail": 2, "unknown": 3}
_SEVERITIES = {"fail": "error", "warn": "warn"}


@contextmanager
def failing_rightly() -> Iterator[None]:
    """Turn what a retry cannot mend into ``AirflowFailException``; let faults that may pass through, so that Airflow retries.

    :raises AirflowFailException: for every error of this provider that is not ``transient``
    """
    try:
        yield
    except SLOProviderError as error:
        if isinstance(error, ReasonedError) and error.transient:
            raise
        from airflow.sdk.exceptions import AirflowFailException

        raise AirflowFailException(str(error)) from error


@contextmanager
def failing_over_values() -> Iterator[None]:
    """Turn a ``ValueError`` or ``TypeError`` into ``AirflowFailException``: what was handed in stays as wrong as it is.

    :raises AirflowFailException: for every ``ValueError`` and ``TypeError``
    """
    try:
        yield
    except (ValueError, TypeError) as error:
        from airflow.sdk.exceptions import AirflowFailException

        raise AirflowFailException(str(error)) from error


@contextmanager
def recording_faults(
    context: Mapping[str, Any], unknown: Callable[[], CheckResult], *, write: Callable[..., None] | None = None
) -> Iterator[None]:
    """Leave a row ``unknown`` in the ledger when a check could not be made, and let the error go on.

    Every try leaves its row, in the place of the row of the try before it; a later try that finds something out under other names
    removes it. What Airflow raises to steer a task (a skip, a deferral) is no fault. A ledger that cannot be written is
    logged, and does not hide the error.

    :param context: Airflow's task context
    :param unknown: makes the check: kind, name, and what else is known of it; message and reason are filled in
    :param write: records checks under the context's task instance, as :func:`record` does, which is the default
    """
    from airflow.sdk.exceptions import (
        AirflowRescheduleException,
        AirflowSkipException,
        AirflowTaskTimeout,
        DownstreamTasksSkipped,
    )

    try:
        yield
    except (AirflowSkipException, AirflowRescheduleException, DownstreamTasksSkipped):
        raise
    except (Exception, AirflowTaskTimeout) as error:
        _record_fault(context, unknown, error, write or record)
        raise
    if context["ti"].try_number > 1:
        _withdraw_fault(context, unknown())


def _record_fault(
    context: Mapping[str, Any], unknown: Callable[[], CheckResult], error: BaseException, write: Callable[..., None]
) -> None:
    from dataclasses import replace

    from airflow_slo_provider.runtime.secret_masks import masked

    reason = error.reason if isinstance(error, ReasonedError) else type(error).__name__
    try:
        check = unknown()
        evidence = {**check.evidence, "reason": reason, "transient": getattr(error, "transient", None), _FAULT: True}
        said = str(error) if isinstance(error, SLOProviderError) else f"{type(error).__name__}: {error}"
        write([replace(check, message=masked(said), evidence=evidence)], context)
    except Exception:
        log.exception("The failed check could not be recorded in the ledger")


def _withdraw_fault(context: Mapping[str, Any], check: CheckResult) -> None:
    """Remove what an earlier try left under a name of its own, once a later one could make the check.

    It must not stay ``unknown`` for ever, and nothing was measured under that name that could replace it.
    """
    from airflow_slo_provider.runtime.recording.ledger_connection import open_default_ledger, run_key

    key = run_key(context)
    with open_default_ledger() as ledger:
        own = ledger.own(check.kind, check.name, key)
        if own is not None and own.result.evidence.get(_FAULT):
            ledger.withdraw(check.kind, check.name, own.key)


def intend(check: CheckResult, context: Mapping[str, Any]) -> None:
    """Write into the ledger what is about to be done, in the place of the check that will say what became of it.

    What cannot be recorded is then not done, and what was done by a task that died is in the ledger all the same. What an
    earlier try recorded stays.

    :param check: what is about to be done, with the kind and name of its later record
    :param context: Airflow's task context
    :raises LedgerError: when it cannot be written
    """
    from airflow_slo_provider.runtime.recording.ledger_connection import open_default_ledger, run_key

    with open_default_ledger() as ledger:
        ledger.record_once(check, run_key(context))


def record(results: Iterable[CheckResult], context: Mapping[str, Any]) -> None:
    """Write checks into the ledger, all or none, under the task instance's own key: a retry replaces its own rows.

    :param results: what was found
    :param context: Airflow's task context
    :raises LedgerError: when they cannot be written; a check that is not recorded must not count
    """
    from airflow_slo_provider.runtime.recording.ledger_connection import open_default_ledger, run_key

    results = list(results)
    with open_default_ledger() as ledger:
        ledger.record(results, run_key(context))
        counts = not ledger.test_run
    if counts:
        emit(results)


def emit(results: Iterable[CheckResult]) -> None:
    """Send a gauge for each check: ``slo.check.verdict`` (0 pass, 1 warn, 2 fail, 3 unknown), ``slo.check.value`` where there is
    one, and for an SLO ``slo.budget.remaining``. Metrics never fail a task: what goes wrong is logged.
    """
    from airflow_slo_provider.core.slo_key import SLOKey, labels_text

    try:
        gauge = _gauge()
        for result in results:
            tags = {"kind": result.kind, "name": result.name}
            if result.kind == "slo" and (service := SLOKey.of(result).service):
                tags["service"] = service
            if result.labels:
                tags["labels"] = labels_text(result.labels)
            gauge("slo.check.verdict", _VERDICTS[result.verdict.value], tags=tags)
            if result.value is not None:
                gauge("slo.check.value", result.value, tags=tags)
            remaining = result.evidence.get("remaining")
            if result.kind == "slo" and isinstance(remaining, (int, float)):
                gauge("slo.budget.remaining", float(remaining), tags=tags)
    except Exception:
        log.warning("the checks are recorded, their metrics could not be sent", exc_info=True)


def _gauge() -> Callable[..., None]:
    """Airflow's function for gauges: of the module since 3.3, of its ``Stats`` before."""
    from airflow.sdk.observability import stats

    return getattr(stats, "gauge", None) or stats.Stats.gauge


def check_results(kind: str, found: Iterable[Mapping[str, Any]], *, table: str, actions: Mapping[str, str]) -> list[Any]:
    """Return checks as Airflow's SQL check operators leave them for listeners, OpenLineage's among them.

    :return: ``SQLCheckResult`` objects; none where the common-sql provider is older than 2.4

    :param kind: family of the check, e.g. ``drift``
    :param found: as :func:`airflow_slo_provider.drift.report.ledger_records.assertions` returns them
    :param table: what was checked
    :param actions: what a state does to the task: ``fail``, ``warn``, ``skip`` or ``pass``
    """
    try:
        from airflow.providers.common.sql.operators.sql import SQLCheckResult
    except ImportError:
        return []
    return [
        SQLCheckResult(
            name=one["name"],
            check_type=kind,
            success=one["success"],
            severity=_SEVERITIES.get(actions.get(one["state"], "pass"), "info"),
            column=one["column"],
            table=table,
            expected=one["expected"],
            actual=one["actual"],
            description=one["description"],
            params={"state": one["state"]},
        )
        for one in found
    ]
