"""Progress in a task's log: a line at each tenth, not one at each row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def tenths(log: Any, what: str) -> Callable[[int, int], None]:
    """Return what is called with how much is done, and how much there is.

    :param log: the task's logger
    :param what: what is counted, e.g. ``predicted rows``
    """
    told = 0

    def progress(done: int, total: int) -> None:
        nonlocal told
        tenth = done * 10 // max(1, total)
        if tenth > told:
            told = tenth
            log.info("%s: %d %%, %d of %d", what, 10 * tenth, done, total)

    return progress
