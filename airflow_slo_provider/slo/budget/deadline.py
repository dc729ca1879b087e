"""Until when one evaluation may ask, and which of its sources it asks no more.

Each query has a time limit of its own. Without a limit for all of them, a database that never answers costs its limit once for
each window of each objective, and a gate of one objective holds its task for minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from airflow_slo_provider.exceptions import MeasurementError, QueryError

#: Seconds one evaluation may take, unless told otherwise.
SECONDS = 300.0
#: HTTP statuses by which a server, or a proxy before it, says that it could not answer in time.
_LATE = frozenset({408, 503, 504})


class Deadline:
    """The time limit of one evaluation, shared by all its sources and threads.

    :param seconds: how long it may take, from now on
    :param clock: a clock that never goes back, in seconds
    :raises ValueError: when that is no positive number
    """

    def __init__(self, seconds: float = SECONDS, *, clock: Callable[[], float] = time.monotonic) -> None:
        if not 0 < seconds < 1e9:
            raise ValueError(f"a deadline of {seconds} s; write a positive number of seconds")
        self.seconds = float(seconds)
        self._clock = clock
        self._end = clock() + self.seconds
        # The sources themselves are kept too: the id of one that is gone may be given to another.
        self._late: dict[int, tuple[object, MeasurementError]] = {}

    def left(self) -> float:
        """Return the seconds that are left, 0 when it has passed."""
        return max(0.0, self._end - self._clock())

    def refusal(self, source: object) -> QueryError | None:
        """Return the error for a source that is not to be asked any more; None where it may be.

        :param source: the source, as it was given to :meth:`note`
        """
        _, late = self._late.get(id(source), (None, None))
        if late is not None:
            return QueryError(
                f"not asked: {late.source or 'the source'} did not answer in time before, in this evaluation ({late.message})",
                reason="not_asked", transient=True, source=late.source,
            )  # fmt: skip
        if self.left() <= 0:
            return QueryError(
                f"not asked: the evaluation's deadline of {self.seconds:g} s has passed; make the queries before it faster, "
                "evaluate fewer SLOs at once, or raise [slo] evaluation_deadline",
                reason="deadline", transient=True,
            )  # fmt: skip
        return None

    def note(self, source: object, answers: Iterable[object]) -> None:
        """Remember a source among whose answers is one that did not come in time.

        :param source: what was asked
        :param answers: measurements, and errors in the place of those that failed
        """
        late = next((one for one in answers if isinstance(one, QueryError) and _is_late(one)), None)
        if late is not None:
            self.give_up(source, late)

    def give_up(self, source: object, error: MeasurementError) -> None:
        """Do not ask a source again, e.g. one to which no connection could be had.

        :param error: why
        """
        self._late.setdefault(id(source), (source, error))


def _is_late(error: MeasurementError) -> bool:
    return error.reason == "timeout" or error.http_status in _LATE
