"""Thirty days of request counters of known services, and the truth about every window of them, by plain addition.

Every number is whole and follows from the minute alone: no random numbers, no floats.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import accumulate

#: The instant all windows end at; a whole minute.
END = datetime(2026, 11, 1, tzinfo=UTC)
STEP = timedelta(minutes=1)
MINUTES = 30 * 24 * 60
METRIC = "http_requests_total"
WINDOWS = {
    name: timedelta(minutes=minutes)
    for name, minutes in {"5m": 5, "30m": 30, "1h": 60, "2h": 120, "6h": 360, "1d": 1440, "3d": 4320, "30d": MINUTES}.items()
}
SERVICES = ("steady", "incident", "burning", "quiet", "low_traffic", "outage", "restart", "diurnal", "flawless", "young")
_DAY = 1440


@dataclass(frozen=True)
class History:
    """A service's events, minute by minute; minute m ends at ``END - 30d + m`` minutes, so m runs from 1 to 43,200.

    :param good: good events of each minute; index 0 is not used
    :param bad: bad events of each minute
    :param silent: minutes at whose end nothing was scraped
    :param resets: minutes in which the process restarted; the first half of that minute's events was never scraped
    :param has_errors: whether a series of failures exists at all
    """

    service: str
    good: tuple[int, ...]
    bad: tuple[int, ...]
    silent: frozenset[int] = frozenset()
    resets: frozenset[int] = frozenset()
    has_errors: bool = True
    _sums: dict[str, list[int]] = field(default_factory=dict, compare=False)

    def truth(self, window: timedelta, end: datetime = END) -> tuple[int, int]:
        """Return good and all events of (end - window, end]."""
        last = MINUTES - (END - end) // STEP
        first = last - window // STEP
        if not self._sums:
            self._sums.update(good=list(accumulate(self.good)), bad=list(accumulate(self.bad)))
        good, bad = (self._sums[name][last] - self._sums[name][first] for name in ("good", "bad"))
        return good, good + bad

    def lost(self, window: timedelta) -> int:
        """Return events in the window that no counter can show, because the process restarted before they were scraped."""
        first = MINUTES - window // STEP
        return sum(-(-self.good[m] // 2) + -(-self.bad[m] // 2) for m in self.resets if m > first)


def history(service: str) -> History:
    """Return the history of one of :data:`SERVICES`."""
    minutes = range(MINUTES + 1)
    ago = [MINUTES - m for m in minutes]
    if service == "steady":  # one failure in 1,000
        return History(service, tuple(999 for _ in minutes), tuple(1 for _ in minutes))
    if service == "incident":  # two hours of 20 % failures, ten days ago
        hurt = [10 * _DAY - 120 <= a < 10 * _DAY for a in ago]
        return History(service, tuple(80 if h else 100 for h in hurt), tuple(20 if h else 0 for h in hurt))
    if service == "burning":  # 3 % failures for the last eight hours
        return History(service, tuple(97 if a < 480 else 100 for a in ago), tuple(3 if a < 480 else 0 for a in ago))
    if service == "quiet":  # runs, and nobody calls it
        return History(service, tuple(0 for _ in minutes), tuple(0 for _ in minutes))
    if service == "low_traffic":  # ten requests an hour, one of which failed within the last hour
        return History(
            service,
            tuple(int(m % 6 == 0 and a != 30) for m, a in zip(minutes, ago, strict=True)),
            tuple(int(a == 30) for a in ago),
        )
    if service == "outage":  # gone for four hours yesterday, failing in the minutes before
        gone = [16 * 60 <= a < 20 * 60 for a in ago]
        bad = tuple(0 if g else 50 if 20 * 60 <= a < 20 * 60 + 10 else 0 for g, a in zip(gone, ago, strict=True))
        good = tuple(0 if g else 100 - b for g, b in zip(gone, bad, strict=True))
        return History(service, good, bad, frozenset(m for m in minutes if gone[m]))
    if service == "restart":  # restarts every three days, at minutes that no window starts with
        resets = frozenset(m for m in minutes if m % (3 * _DAY) == 777)
        return History(service, tuple(60 for _ in minutes), tuple(m % 2 for m in minutes), resets=resets)
    if service == "diurnal":  # busy by day; by night few requests, a quarter of which fail
        night = [(m // 60) % 24 < 6 for m in minutes]
        return History(service, tuple(3 if n else 400 for n in night), tuple(1 if n else 0 for n in night))
    if service == "flawless":  # has never had a failure, so it has no series of failures either
        return History(service, tuple(10 for _ in minutes), tuple(0 for _ in minutes), has_errors=False)
    if service == "young":  # was born six days ago
        born = MINUTES - 6 * _DAY
        alive = [m > born for m in minutes]
        return History(
            service, tuple(50 * a for a in alive), tuple(int(a) for a in alive), frozenset(m for m in minutes if m < born)
        )
    raise ValueError(f"no history of {service!r}")


def openmetrics(services: tuple[str, ...] = SERVICES, *, metric: str = METRIC) -> Iterator[str]:
    """Write the counters of the services as OpenMetrics text, as ``promtool tsdb create-blocks-from openmetrics`` reads it."""
    start = int(END.timestamp()) - MINUTES * 60
    yield f"# HELP {metric.removesuffix('_total')} Requests.\n# TYPE {metric.removesuffix('_total')} counter\n"
    for service in services:
        past = history(service)
        for code, events in (("200", past.good), ("500", past.bad)):
            if code == "500" and not past.has_errors:
                continue
            prefix, value = f'{metric}{{service="{service}",code="{code}"}}', 0
            for minute in range(MINUTES + 1):
                if minute in past.resets:
                    value = events[minute] // 2
                elif minute:
                    value += events[minute]
                if minute not in past.silent:
                    yield f"{prefix} {value} {start + minute * 60}\n"
    yield "# EOF\n"
