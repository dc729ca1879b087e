"""How every operator and sensor ends: its checks in the ledger, its verdicts without a retry, its faults with one."""

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

    from airflow_slo_provider.runtime.recording.exception_text import masked

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
    from airflow_slo_provider.runtime.recording.airflow_metrics import emit
    from airflow_slo_provider.runtime.recording.ledger_connection import open_default_ledger, run_key

    results = list(results)
    with open_default_ledger() as ledger:
        ledger.record(results, run_key(context))
        counts = not ledger.test_run
    if counts:
        emit(results)
