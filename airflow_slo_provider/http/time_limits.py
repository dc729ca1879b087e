"""Limit the time of HTTP requests: a limit for all requests of a thread, and a watchdog over one exchange.

A socket's timeout starts anew with each byte that arrives: a server that sends single bytes can hold a client indefinitely. The
watchdog closes the connection when the whole exchange has taken too long.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any


class _ThreadState(threading.local):
    """The limit and the watchdog of the current thread."""

    seconds_left: Callable[[], float] | None = None
    watchdog: Watchdog | None = None


_THREAD = _ThreadState()


@contextmanager
def within(seconds_left: Callable[[], float]) -> Iterator[None]:
    """Limit the time of this thread's requests, including their retries.

    :param seconds_left: returns the seconds that are left
    """
    before = _THREAD.seconds_left
    _THREAD.seconds_left = seconds_left
    try:
        yield
    finally:
        _THREAD.seconds_left = before


def at_most(seconds: float) -> float:
    """Limit a number of seconds to the time left of the thread's limit.

    The result is never 0, which would mean no limit.
    """
    return seconds if _THREAD.seconds_left is None else max(0.001, min(seconds, _THREAD.seconds_left()))


def has_time_for(seconds: float) -> bool:
    """Return whether more than this number of seconds is left of the thread's limit."""
    return _THREAD.seconds_left is None or _THREAD.seconds_left() > seconds


class Watchdog:
    """Close this thread's connection when the time is over, and set :attr:`expired`. Use it as ``with``.

    :param seconds: seconds until then
    """

    def __init__(self, seconds: float) -> None:
        self.expired = False
        self._socket: Any = None
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._seconds = seconds
        self._began = self._ends = time.monotonic()

    def __enter__(self) -> Watchdog:
        _THREAD.watchdog = self
        self.extend(self._seconds)
        return self

    def __exit__(self, *exc_info: object) -> None:
        _THREAD.watchdog = None
        if self._timer is not None:
            self._timer.cancel()

    def extend(self, seconds: float) -> None:
        """Restart the timer with this number of seconds."""
        if self._timer is not None:
            self._timer.cancel()
        self._ends = time.monotonic() + seconds
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True
        self._timer.start()

    @property
    def elapsed(self) -> float:
        """Seconds since the exchange began."""
        return time.monotonic() - self._began

    def check(self) -> bool:
        """Return whether the time is over, also if the timer has not run yet."""
        self.expired = self.expired or time.monotonic() > self._ends
        return self.expired

    def watch(self, connection: Any) -> None:
        """Set the socket that is in use."""
        with self._lock:
            self._socket = connection
            if self.expired:
                _shut_down(connection)

    def _expire(self) -> None:
        with self._lock:
            self.expired = True
            _shut_down(self._socket)


def watch(connection: Any) -> None:
    """Report the socket in use to this thread's watchdog, if there is one."""
    if _THREAD.watchdog is not None and connection is not None:
        _THREAD.watchdog.watch(connection)


def _shut_down(connection: Any) -> None:
    if isinstance(connection, socket.socket):
        with suppress(OSError):
            # Not SSLSocket.shutdown: it drops the TLS session, and the following bytes would be read as plain text.
            socket.socket.shutdown(connection, socket.SHUT_RDWR)
