"""Store the times of one kind of span: all of them up to a bound, then a uniform sample; counts are always exact."""

from __future__ import annotations

import random
from array import array
from collections.abc import Sequence
from typing import Any

from airflow_slo_provider.tracing.analysis.trace_tree import PlacedSpan
from airflow_slo_provider.tracing.spans import LATEST_NS

#: Nanoseconds in a second.
SECOND = 1_000_000_000


class Samples:
    """The times of the spans of one name, service and model version.

    :param bound: maximum number of spans kept; beyond it each span added so far is kept with the same probability
        (Vitter's algorithm R, with a fixed seed: the same spans give the same numbers)
    """

    __slots__ = ("_bound", "_random", "count", "critical_ns", "durations", "errors", "hits", "misses", "selves", "starts", "tops")

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._random = random.Random(0)  # noqa: S311 - a sample, not a secret
        self.durations, self.starts, self.selves = array("q"), array("q"), array("q")
        self.count = self.errors = self.tops = self.critical_ns = self.hits = self.misses = 0

    def add(self, placed: PlacedSpan) -> None:
        """Add one span."""
        span = placed.span
        self.count += 1
        self.errors += span.error
        self.tops += placed.top
        self.critical_ns += placed.critical_ns or 0
        hit = span.attributes.get("cache.hit")
        if hit is not None:
            # Some stores return every attribute as text.
            found = str(hit).lower() in ("true", "1")
            self.hits += found
            self.misses += not found
        # Corrections for clock skew add up along a trace; the sum must still fit into 64 bits.
        start_ns = max(-LATEST_NS, min(LATEST_NS, placed.start_ns))
        slot = self.count - 1 if self.count <= self._bound else self._random.randrange(self.count)
        if slot == len(self.durations):
            self.durations.append(span.duration_ns)
            self.starts.append(start_ns)
        elif slot < self._bound:
            self.durations[slot], self.starts[slot] = span.duration_ns, start_ns
        if placed.self_ns is not None:
            if len(self.selves) < self._bound:
                self.selves.append(placed.self_ns)
            elif slot < self._bound:
                self.selves[slot] = placed.self_ns

    @property
    def sampled(self) -> bool:
        """Whether more spans were added than are kept."""
        return self.count > self._bound


def quantile(ordered: Sequence[Any], share: float) -> float:
    """Return a quantile of sorted numbers by linear interpolation (type 7 of Hyndman and Fan 1996).

    This is the default method of numpy, pandas and R.

    :param ordered: at least one number, ascending
    :param share: 0 to 1
    """
    position = (len(ordered) - 1) * share
    low = int(position)
    first = ordered[low]
    if low + 1 >= len(ordered):
        return float(first)
    following = ordered[low + 1]
    # Rounding must not move the result above the upper neighbour.
    return min(float(first + (following - first) * (position - low)), float(following))


def seconds(nanoseconds: float) -> float:
    """Convert nanoseconds to seconds."""
    return nanoseconds / SECOND
