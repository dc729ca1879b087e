"""Decide when a request is sent again: a few times, quickly, and only after faults that a retry may fix."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.http.faults import REPEATED, REPEATED_STATUSES
from airflow_slo_provider.http.settings import HttpSettings
from airflow_slo_provider.http.time_limits import has_time_for

if TYPE_CHECKING:
    from tenacity import RetryCallState

_LOG = logging.getLogger(__name__)
#: A longer Retry-After is left to Airflow's own retries.
RETRY_AFTER_CAP = 10.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 2.0


@dataclass(frozen=True)
class HttpAnswer:
    """The complete answer of a server.

    :param status: HTTP status
    :param headers: headers; names are case-insensitive
    :param body: the complete body, decompressed
    :param began: time when the headers arrived (aware)
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    began: datetime


def retry_arguments(settings: HttpSettings, *, repeat: bool) -> dict[str, Any]:
    """Return the arguments of ``tenacity.Retrying`` and ``tenacity.AsyncRetrying``.

    The answer or the error of the last attempt is the result, because it holds the server's own message.

    :param settings: the number of retries, and the address for the log
    :param repeat: False for a request that must not be sent twice
    """
    import tenacity

    retries, server = settings.retries if repeat else 0, urlsplit(settings.address).netloc

    def warn(state: RetryCallState) -> None:
        if state.attempt_number == 1:
            _LOG.warning("the request to %s failed (%s); retrying, at most %d times", server, _failure_text(state), retries)

    return {
        "stop": lambda state: state.attempt_number > retries or not has_time_for(_pause_seconds(state)),
        "wait": _pause_seconds,
        "retry": tenacity.retry_if_exception(_is_repeatable)
        | tenacity.retry_if_result(lambda answer: answer.status in REPEATED_STATUSES),
        "before_sleep": warn,
        "retry_error_callback": lambda state: state.outcome.result(),
    }


def _is_repeatable(error: BaseException) -> bool:
    return isinstance(error, QueryError) and error.transient and error.reason in REPEATED


def _pause_seconds(state: RetryCallState) -> float:
    seconds: float = min(_FIRST_PAUSE * 2 ** (state.attempt_number - 1), _LONGEST_PAUSE)
    outcome = state.outcome
    if outcome is not None and not outcome.failed:
        retry_after = str(outcome.result().headers.get("Retry-After") or "").strip()
        if retry_after.isascii() and retry_after.isdecimal():  # a date is left to Airflow's own retries
            seconds = min(float(retry_after), RETRY_AFTER_CAP)
    return seconds


def _failure_text(state: RetryCallState) -> str:
    outcome = state.outcome
    assert outcome is not None  # tenacity sets it before it sleeps
    error = outcome.exception()
    return f"HTTP {outcome.result().status}" if error is None else getattr(error, "reason", "") or type(error).__name__
