"""Measured times of one kind of span: exact up to a bound, then a uniform sample of it, always with the true counts."""

from __future__ import annotations

import random
from array import array
from collections.abc import Sequence
from typing import Any

from airflow_slo_provider.tracing.analysis.trace_tree import Part
from airflow_slo_provider.tracing.spans import LATEST_NS

#: Nanoseconds in a second.
SECOND = 1_000_000_000


class Samples:
    """Times of the spans of one name, service and model version.

    :param bound: how many spans are kept; beyond it each span of all that came is kept with the same probability
        (Vitter's algorithm R, with a fixed seed: the same spans give the same numbers)
    """

    __slots__ = ("_bound", "_random", "count", "critical_ns", "durations", "errors", "hits", "misses", "selves", "starts", "tops")

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._random = random.Random(0)  # noqa: S311 - a sample, not a secret
        self.durations, self.starts, self.selves = array("q"), array("q"), array("q")
        self.count = self.errors = self.tops = self.critical_ns = self.hits = self.misses = 0

    def add(self, part: Part) -> None:
        """Take one span in."""
        span = part.span
        self.count += 1
        self.errors += span.error
        self.tops += part.top
        self.critical_ns += part.critical_ns or 0
        hit = span.attributes.get("cache.hit")
        if hit is not None:
            # Stores that know only text answer "true".
            found = str(hit).lower() in ("true", "1")
            self.hits += found
            self.misses += not found
        # Corrections for clocks that disagree add up; what they add up to must still fit.
        start_ns = max(-LATEST_NS, min(LATEST_NS, part.start_ns))
        slot = self.count - 1 if self.count <= self._bound else self._random.randrange(self.count)
        if slot == len(self.durations):
            self.durations.append(span.duration_ns)
            self.starts.append(start_ns)
        elif slot < self._bound:
            self.durations[slot], self.starts[slot] = span.duration_ns, start_ns
        if part.self_ns is not None:
            if len(self.selves) < self._bound:
                self.selves.append(part.self_ns)
            elif slot < self._bound:
                self.selves[slot] = part.self_ns

    @property
    def sampled(self) -> bool:
        """Whether more spans came than are kept."""
        return self.count > self._bound


def quantile(ordered: Sequence[Any], share: float) -> float:
    """Return a quantile of sorted numbers, between the two nearest by linear interpolation (type 7 of Hyndman and Fan 1996).

    It is what numpy, pandas and R answer without being told otherwise.

    :param ordered: at least one number, ascending
    :param share: 0 to 1
    """
    place = (len(ordered) - 1) * share
    low = int(place)
    first = ordered[low]
    if low + 1 >= len(ordered):
        return float(first)
    following = ordered[low + 1]
    # Rounded, it must not come to lie beyond the value it lies before.
    return min(float(first + (following - first) * (place - low)), float(following))


def seconds(nanoseconds: float) -> float:
    """Convert."""
    return nanoseconds / SECOND
