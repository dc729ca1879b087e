"""Log failures inside the tracer once per part and type, so that a broken collector does not flood a server's log."""

from __future__ import annotations

import logging

logger = logging.getLogger(__name__)

_logged: set[str] = set()


def log_failure(where: str, error: BaseException) -> None:
    """Log a failure of the tracer, once per part and type of error.

    :param where: the part that failed, e.g. ``headers`` or the name of a span
    :param error: the exception
    """
    key = f"{where}: {type(error).__name__}"
    if key not in _logged and len(_logged) < 1000:
        _logged.add(key)
        logger.warning(
            "tracing: %s failed, the prediction goes on without it (logged once): %s: %s", where, type(error).__name__, error
        )
