"""Log the progress of a task at each tenth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def log_progress(log: Any, what: str) -> Callable[[int, int], None]:
    """Return a progress callback with the arguments ``done`` and ``total``.

    :param log: the task's logger
    :param what: the unit that is counted, e.g. ``predicted rows``
    """
    logged = 0

    def progress(done: int, total: int) -> None:
        nonlocal logged
        tenth = done * 10 // max(1, total)
        if tenth > logged:
            logged = tenth
            log.info("%s: %d %%, %d of %d", what, 10 * tenth, done, total)

    return progress
