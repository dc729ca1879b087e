"""Decide when a request is sent again: a few times, quickly, and only after faults that a retry may fix."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.http.faults import REPEATED, REPEATED_STATUSES
from airflow_slo_provider.http.time_limits import at_most, is_over

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


def policy(retries: int, where: str) -> dict[str, Any]:
    """Return the arguments of ``tenacity.Retrying`` and ``tenacity.AsyncRetrying``.

    The answer or the error of the last attempt is the result, because it holds the server's own message.

    :param retries: number of attempts after the first
    :param where: host and port, for the log
    """
    import tenacity

    def warn(state: RetryCallState) -> None:
        if state.attempt_number == 1:
            _LOG.warning("the request to %s failed (%s); trying again, %d more at most", where, _why(state), retries)

    def last(state: RetryCallState) -> Any:
        return state.outcome.result() if state.outcome is not None else None

    return {
        "stop": lambda state: state.attempt_number > retries or is_over(),
        "wait": _pause,
        "retry": tenacity.retry_if_exception(_may_help) | tenacity.retry_if_result(_is_passing),
        "before_sleep": warn,
        "retry_error_callback": last,
    }


def _may_help(error: BaseException) -> bool:
    return isinstance(error, QueryError) and error.transient and error.reason in REPEATED


def _is_passing(answer: HttpAnswer) -> bool:
    return answer.status in REPEATED_STATUSES


def _pause(state: RetryCallState) -> float:
    seconds: float = min(_FIRST_PAUSE * 2 ** (state.attempt_number - 1), _LONGEST_PAUSE)
    outcome = state.outcome
    if outcome is not None and not outcome.failed:
        asked = str(outcome.result().headers.get("Retry-After") or "").strip()
        if asked.isascii() and asked.isdecimal():  # a date is left to Airflow's own retries
            seconds = min(float(asked), RETRY_AFTER_CAP)
    return at_most(seconds)


def _why(state: RetryCallState) -> str:
    outcome = state.outcome
    if outcome is None:
        return "no answer"
    error = outcome.exception()
    return getattr(error, "reason", "") or type(error).__name__ if error is not None else f"HTTP {outcome.result().status}"
