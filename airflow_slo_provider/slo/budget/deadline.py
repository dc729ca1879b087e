"""Limit the time of one evaluation, and skip sources that did not answer in time.

Each query has a time limit of its own. Without a limit for all of them, a database that never answers costs its limit once for
each window of each objective, and a gate with a single objective occupies its task for minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from airflow_slo_provider.exceptions import MeasurementError, QueryError

#: Default time limit of one evaluation in seconds.
SECONDS = 300.0
#: HTTP statuses with which a server, or a proxy in front of it, reports that it did not answer in time.
_TIMEOUT_STATUSES = frozenset({408, 503, 504})


class Deadline:
    """The time limit of one evaluation, shared by all its sources and threads.

    :param seconds: time limit in seconds from now on
    :param clock: a monotonic clock, in seconds
    :raises ValueError: when ``seconds`` is not a positive number
    """

    def __init__(self, seconds: float = SECONDS, *, clock: Callable[[], float] = time.monotonic) -> None:
        if not 0 < seconds < 1e9:
            raise ValueError(f"deadline {seconds} s must be a positive number of seconds")
        self.seconds = float(seconds)
        self._clock = clock
        self._end = clock() + self.seconds
        # The sources are stored too: the id of a deleted object may be reused.
        self._late: dict[int, tuple[object, MeasurementError]] = {}

    def left(self) -> float:
        """Return the seconds left; 0 after the deadline."""
        return max(0.0, self._end - self._clock())

    def refusal(self, source: object) -> QueryError | None:
        """Return the error for a source that must not be queried any more; None if it may be queried.

        :param source: the source, as it was passed to :meth:`note`
        """
        _, late = self._late.get(id(source), (None, None))
        if late is not None:
            message = (
                f"not queried: {late.source or 'the source'} did not answer in time earlier in this evaluation ({late.message})"
            )
            return QueryError(message, reason="not_asked", transient=True, source=late.source)
        if self.left() <= 0:
            message = (
                f"not queried: the evaluation's deadline of {self.seconds:g} s has passed; make the earlier queries faster, "
            )
            message += "evaluate fewer SLOs at once, or raise [slo] evaluation_deadline"
            return QueryError(message, reason="deadline", transient=True)
        return None

    def note(self, source: object, answers: Iterable[object]) -> None:
        """Remember a source if one of its answers did not arrive in time.

        :param source: the source that was queried
        :param answers: measurements, or the errors of those that failed
        """
        late = next((answer for answer in answers if isinstance(answer, QueryError) and _is_timeout(answer)), None)
        if late is not None:
            self.exclude(source, late)

    def exclude(self, source: object, error: MeasurementError) -> None:
        """Do not query a source again, e.g. when no connection could be opened.

        :param source: the source
        :param error: the reason
        """
        self._late.setdefault(id(source), (source, error))


def _is_timeout(error: MeasurementError) -> bool:
    return error.reason == "timeout" or error.http_status in _TIMEOUT_STATUSES
