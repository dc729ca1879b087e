"""How long requests may take: a limit around the requests of a thread, and a watchdog over one exchange.

The timeouts of a socket begin anew with each byte that arrives: a server that sends one now and then holds a client for as long
as it likes. The watchdog shuts the connection when the exchange as a whole has taken too long.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

_LOCAL = threading.local()


@contextmanager
def within(seconds_left: Callable[[], float]) -> Iterator[None]:
    """Let this thread's requests take no longer than is left, their repetitions included.

    :param seconds_left: what is left, whenever it is called
    """
    before = getattr(_LOCAL, "seconds_left", None)
    _LOCAL.seconds_left = seconds_left
    try:
        yield
    finally:
        _LOCAL.seconds_left = before


def at_most(seconds: float) -> float:
    """Return these seconds, or what is left of the thread's limit: never nothing, which would mean no limit."""
    left: Callable[[], float] | None = getattr(_LOCAL, "seconds_left", None)
    return seconds if left is None else max(0.001, min(seconds, left()))


def is_over() -> bool:
    """Whether nothing is left of the thread's limit."""
    left: Callable[[], float] | None = getattr(_LOCAL, "seconds_left", None)
    return left is not None and left() <= 0


class Watchdog:
    """Shuts this thread's connection when the time is over. Use it as ``with``; :attr:`expired` says whether it had to.

    :param seconds: until then
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.expired = False
        self._socket: Any = None
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._ends = 0.0

    def __enter__(self) -> Watchdog:
        _LOCAL.watchdog = self
        self.extend(self.seconds)
        return self

    def __exit__(self, *exc_info: object) -> None:
        _LOCAL.watchdog = None
        if self._timer is not None:
            self._timer.cancel()

    def extend(self, seconds: float) -> None:
        """Begin to count anew: what arrives from now on has this long."""
        if self._timer is not None:
            self._timer.cancel()
        self.seconds, self._ends = seconds, time.monotonic() + seconds
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True
        self._timer.start()

    def check(self) -> bool:
        """Whether the time is over, also where the timer has not run yet."""
        self.expired = self.expired or time.monotonic() > self._ends
        return self.expired

    def watch(self, connected: Any) -> None:
        """Take the socket that is in use now."""
        with self._lock:
            self._socket = connected
            if self.expired:
                _shut(connected)

    def _expire(self) -> None:
        with self._lock:
            self.expired = True
            _shut(self._socket)


def watch(connected: Any) -> None:
    """Tell the watchdog of this thread, where there is one, which socket is in use."""
    dog: Watchdog | None = getattr(_LOCAL, "watchdog", None)
    if dog is not None and connected is not None:
        dog.watch(connected)


def _shut(connected: Any) -> None:
    if isinstance(connected, socket.socket):
        with suppress(OSError):
            # Not the method of an SSL socket, which forgets its TLS session and would read what follows as plain text.
            socket.socket.shutdown(connected, socket.SHUT_RDWR)
