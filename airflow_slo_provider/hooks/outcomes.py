"""How every operator and sensor ends: its checks in the ledger, its verdicts without a retry, its faults with one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.exceptions import ReasonedError, SLOProviderError

if TYPE_CHECKING:
    from airflow_slo_provider.results import CheckResult


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


def intend(check: CheckResult, context: Mapping[str, Any]) -> None:
    """Write into the ledger what is about to be done, in the place of the check that will say what became of it.

    What cannot be recorded is then not done, and what was done by a task that died is in the ledger all the same. What an
    earlier try recorded stays.

    :param check: what is about to be done, with the kind and name of its later record
    :param context: Airflow's task context
    :raises LedgerError: when it cannot be written
    """
    from airflow_slo_provider.hooks.ledger import open_default_ledger, run_key

    with open_default_ledger() as ledger:
        ledger.record_once(check, run_key(context))


def record(results: Iterable[CheckResult], context: Mapping[str, Any]) -> None:
    """Write checks into the ledger, all or none, under the task instance's own key: a retry replaces its own rows.

    :param results: what was found
    :param context: Airflow's task context
    :raises LedgerError: when they cannot be written; a check that is not recorded must not count
    """
    from airflow_slo_provider.hooks.ledger import open_default_ledger, run_key
    from airflow_slo_provider.hooks.metrics import emit

    results = list(results)
    with open_default_ledger() as ledger:
        ledger.record(results, run_key(context))
        counts = not ledger.test_run
    if counts:
        emit(results)
