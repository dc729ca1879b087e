"""Record checks in the ledger and in metrics, and convert errors so that Airflow retries only transient ones."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.exceptions import ReasonedError, SLOProviderError

if TYPE_CHECKING:
    from airflow_slo_provider.results import CheckResult

log = logging.getLogger(__name__)

#: Key in the evidence that marks a check that could not be made.
_FAULT = "fault"
_VERDICTS = {"pass": 0, "warn": 1, "fail": 2, "unknown": 3}
_SEVERITIES = {"fail": "error", "warn": "warn"}


@contextmanager
def non_retryable_errors() -> Iterator[None]:
    """Convert errors that a retry cannot fix into ``AirflowFailException``; transient errors pass through and are retried.

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
def non_retryable_value_errors() -> Iterator[None]:
    """Convert a ``ValueError`` or ``TypeError`` into ``AirflowFailException``, because a retry gets the same arguments.

    :raises AirflowFailException: for every ``ValueError`` and ``TypeError``
    """
    try:
        yield
    except (ValueError, TypeError) as error:
        from airflow.sdk.exceptions import AirflowFailException

        raise AirflowFailException(str(error)) from error


@contextmanager
def record_unknown_on_error(
    context: Mapping[str, Any], unknown: Callable[[], CheckResult], *, write: Callable[..., None] | None = None
) -> Iterator[None]:
    """Record a check with verdict ``unknown`` if it could not be made, and re-raise the error.

    Every try replaces the row of the previous try. A later try that succeeds under other names removes it. Exceptions with
    which Airflow controls a task (a skip, a deferral) are not recorded. If the ledger cannot be written, this is logged and
    does not hide the original error.

    :param context: Airflow's task context
    :param unknown: returns the check: kind, name, and what else is known; message and reason are filled in
    :param write: records checks for the context's task instance; by default :func:`record`
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
        message = str(error) if isinstance(error, SLOProviderError) else f"{type(error).__name__}: {error}"
        write([replace(check, message=masked(message), evidence=evidence)], context)
    except Exception:
        log.exception("The failed check could not be recorded in the ledger")


def _withdraw_fault(context: Mapping[str, Any], check: CheckResult) -> None:
    """Remove the ``unknown`` row of an earlier try after a later try could make the check under another name.

    No later row would replace it, and it would stay ``unknown`` forever.
    """
    from airflow_slo_provider.runtime.recording.ledger_connection import open_default_ledger, run_key

    key = run_key(context)
    with open_default_ledger() as ledger:
        own = ledger.own(check.kind, check.name, key)
        if own is not None and own.result.evidence.get(_FAULT):
            ledger.withdraw(check.kind, check.name, own.key)


def record_intent(check: CheckResult, context: Mapping[str, Any]) -> None:
    """Record a change before it is made; the check of its result later replaces this row.

    A change that cannot be recorded is not made, and a change of a task that died is still in the ledger. The row of an earlier
    try is kept.

    :param check: the intended change, with the kind and name of its later record
    :param context: Airflow's task context
    :raises LedgerError: if the ledger cannot be written
    """
    from airflow_slo_provider.runtime.recording.ledger_connection import open_default_ledger, run_key

    with open_default_ledger() as ledger:
        ledger.record_once(check, run_key(context))


def record(results: Iterable[CheckResult], context: Mapping[str, Any]) -> None:
    """Write checks to the ledger, all or none, with the key of the task instance: a retry replaces its own rows.

    :param results: the checks
    :param context: Airflow's task context
    :raises LedgerError: if they cannot be written; a check that is not recorded must not count
    """
    from airflow_slo_provider.runtime.recording.ledger_connection import open_default_ledger, run_key

    results = list(results)
    with open_default_ledger() as ledger:
        ledger.record(results, run_key(context))
        counts = not ledger.test_run
    if counts:
        emit(results)


def emit(results: Iterable[CheckResult]) -> None:
    """Send gauges for each check to Airflow's metrics.

    The gauges are ``slo.check.verdict`` (0 pass, 1 warn, 2 fail, 3 unknown), ``slo.check.value`` if there is a value, and
    ``slo.budget.remaining`` for an SLO. Errors are logged and never fail a task.

    :param results: the checks
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
        log.warning("the checks are recorded, but their metrics could not be sent", exc_info=True)


def _gauge() -> Callable[..., None]:
    """Return Airflow's function for gauges: from the module since 3.3, from its ``Stats`` before."""
    from airflow.sdk.observability import stats

    return getattr(stats, "gauge", None) or stats.Stats.gauge


def check_results(kind: str, found: Iterable[Mapping[str, Any]], *, table: str, actions: Mapping[str, str]) -> list[Any]:
    """Return checks in the form of Airflow's SQL check operators, for listeners such as OpenLineage.

    :param kind: family of the check, e.g. ``drift``
    :param found: as :func:`airflow_slo_provider.drift.report.ledger_records.assertions` returns them
    :param table: name of the checked data
    :param actions: action per state: ``fail``, ``warn``, ``skip`` or ``pass``
    :return: ``SQLCheckResult`` objects; an empty list if the common-sql provider is older than 2.4
    """
    try:
        from airflow.providers.common.sql.operators.sql import SQLCheckResult
    except ImportError:
        return []
    return [
        SQLCheckResult(
            check_type=kind,
            severity=_SEVERITIES.get(actions.get(check["state"], "pass"), "info"),
            table=table,
            params={"state": check["state"]},
            **{name: check[name] for name in ("name", "success", "column", "expected", "actual", "description")},
        )
        for check in found
    ]
