"""In-memory cache with a time to live of seconds, shared by the threads of the API server."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class _Entry:
    value: Any = None
    made: float | None = None
    making: threading.Lock = field(default_factory=threading.Lock)


class Cache:
    """Cache values by key. While one thread renews a value, the others get the previous one.

    :param size: maximum number of keys; the least recently used is removed first
    :param clock: returns seconds, monotonic
    """

    def __init__(self, size: int = 64, clock: Callable[[], float] = time.monotonic) -> None:
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._lock = threading.Lock()
        self._size = size
        self._clock = clock

    def get(self, key: Hashable, make: Callable[[], Any], *, seconds: float) -> Any:
        """Return the value of a key; call ``make`` if it is older than ``seconds``.

        A value is never more than twice as old as ``seconds``. An exception of ``make`` is raised to the caller.

        :param key: the key
        :param make: creates the value
        :param seconds: maximum age, in seconds, of a value that is returned without renewing it
        """
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)
        age = self._age(entry)
        if age < seconds:
            return entry.value
        if not entry.making.acquire(blocking=age >= 2 * seconds):
            return entry.value
        try:
            if self._age(entry) >= seconds:
                value = make()
                entry.value, entry.made = value, self._clock()
            return entry.value
        finally:
            entry.making.release()

    def clear(self) -> None:
        """Remove all values."""
        with self._lock:
            self._entries.clear()

    def _age(self, entry: _Entry) -> float:
        return float("inf") if entry.made is None else self._clock() - entry.made
