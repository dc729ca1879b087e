"""In-memory cache with a time to live of seconds, shared by the threads of the API server."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class _CachedValue:
    value: Any = None
    created_at: float = -math.inf
    creation: threading.Lock = field(default_factory=threading.Lock)


class Cache:
    """Cache values by key. While one thread renews a value, the others get the previous one.

    :param size: maximum number of keys; the least recently used is removed first
    :param clock: returns seconds, monotonic
    """

    def __init__(self, size: int = 64, clock: Callable[[], float] = time.monotonic) -> None:
        self._values: OrderedDict[Hashable, _CachedValue] = OrderedDict()
        self._lock = threading.Lock()
        self._size = size
        self._clock = clock

    def get(self, key: Hashable, create: Callable[[], Any], *, seconds: float) -> Any:
        """Return the value of a key; call ``create`` if it is older than ``seconds``.

        A value is never more than twice as old as ``seconds``. An exception of ``create`` is raised to the caller.

        :param key: the key
        :param create: creates the value
        :param seconds: maximum age, in seconds, of a value that is returned without renewing it
        """
        with self._lock:
            cached = self._values.setdefault(key, _CachedValue())
            self._values.move_to_end(key)
            while len(self._values) > self._size:
                self._values.popitem(last=False)
        age = self._clock() - cached.created_at
        if age < seconds or not cached.creation.acquire(blocking=age >= 2 * seconds):
            return cached.value
        try:
            if self._clock() - cached.created_at >= seconds:
                cached.value = create()
                cached.created_at = self._clock()
            return cached.value
        finally:
            cached.creation.release()

    def clear(self) -> None:
        """Remove all values."""
        with self._lock:
            self._values.clear()
