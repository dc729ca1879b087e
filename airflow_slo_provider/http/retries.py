"""Retries of urllib3 that say so once, and briefly. Imports urllib3: only for where a request is made."""

from __future__ import annotations

import logging

from urllib3.util.retry import Retry

_URLLIB3 = logging.getLogger("urllib3.connectionpool")


class QuietRetry(Retry):
    """A retry policy whose repetitions are one short warning for each request, not a long line for each attempt."""


class _OnceAndShort(logging.Filter):
    """Shorten urllib3's line of the first repetition, and drop those after it. What others retry is not touched."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether the record is kept."""
        arguments = record.args if isinstance(record.args, tuple) else ()
        retry = arguments[0] if len(arguments) == 3 else None
        if not isinstance(retry, QuietRetry):
            return True
        if len(retry.history) != 1:
            return False
        # urllib3 would add the path that was asked for, parameters and all.
        left = retry.total + 1 if isinstance(retry.total, int) else 1
        record.msg = "the connection%s failed (%s); trying again, %d more at most"
        record.args = (_to(arguments[1]), type(arguments[1]).__name__, left)
        return True


def _to(error: object) -> str:
    """Where a connection was to lead, as far as the error knows it."""
    place = getattr(error, "conn", None) or getattr(error, "pool", None)
    host, port = getattr(place, "host", None), getattr(place, "port", None)
    return f" to {host}:{port}" if host else ""


if not any(isinstance(one, _OnceAndShort) for one in _URLLIB3.filters):
    _URLLIB3.addFilter(_OnceAndShort())
