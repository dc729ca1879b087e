"""Return the error of one request in place of its result, so that it does not affect other requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from airflow_slo_provider.exceptions import MeasurementError, NoData
from airflow_slo_provider.slo.budget.deadline import Deadline

_T = TypeVar("_T")


def result_or_error(function: Callable[..., _T], *arguments: Any) -> _T | MeasurementError:
    """Call a function, and return its result or its measurement error."""
    try:
        return function(*arguments)
    except MeasurementError as error:
        return error


def result_or_none(function: Callable[..., _T], *arguments: Any) -> _T | None:
    """Call a function, and return its result, or None if there is no data."""
    try:
        return function(*arguments)
    except NoData:
        return None


def unwrap(result: _T | MeasurementError) -> _T:
    """Return a result; raise it if it is an error."""
    if isinstance(result, MeasurementError):
        raise result
    return result


def check_deadline(deadline: Deadline | None, source: object, *, query: str, url: str | None = None) -> None:
    """Check that a query may still be sent.

    :param deadline: deadline of the evaluation; None for no limit
    :param source: key by which the deadline remembers a failed source
    :param query: text of the query, for the message
    :param url: the server, for the message
    :raises QueryError: reason ``not_asked`` or ``deadline``
    """
    refusal = None if deadline is None else deadline.refusal(source)
    if refusal is not None:
        refusal.query, refusal.source = query, url or refusal.source
        raise refusal
