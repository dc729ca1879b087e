"""The series that the forms of PromQL read, minute by minute: two hours of uneven traffic, then more than an hour without any.

Every number follows from the minute alone, so that the truth of a window is a plain sum. Pod ``b`` restarts and its counters
begin again; pod ``e`` appears late; pod ``c`` fails half of its requests, and pod ``d`` has no series of failures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from tests.services.remote_write import NativeHistogram, Series

START = datetime(2026, 11, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
BUSY_MINUTES, MINUTES = 120, 190
#: The end of a window with traffic, of one without, and of one before anything existed.
BUSY, QUIET, NEVER = START + BUSY_MINUTES * MINUTE, START + 185 * MINUTE, START - timedelta(days=1)
RESTART, LATE, SLOW = 90, 95, 101

Growth = Callable[[int], float]
PODS = "abcde"
REQUESTS = {"a": 600, "b": 60, "c": 12, "d": 300, "e": 50}


def errors(pod: str, minute: int) -> int:
    """Return the failures of a minute: pod a fails more often in the last ten minutes of traffic."""
    return {"a": 60 if minute > 110 else 6, "b": 6, "c": 6}.get(pod, 0)


def growth(metric: str, minute: int, pods: str = PODS) -> float:
    """Return by how much the counters of a metric grow in a minute."""
    if not 0 < minute <= BUSY_MINUTES:
        return 0
    alive = [pod for pod in pods if pod != "e" or minute > LATE]
    requests, failed = sum(REQUESTS[pod] for pod in alive), sum(errors(pod, minute) for pod in alive)
    slow = minute >= SLOW
    return {
        "requests": requests,
        "errors": failed,
        "ok": requests - failed,
        "timeouts": 3,
        "slow": 10,
        "fast": 80,
        "tolerable": 90,
        "seconds": 60 if slow else 6,
    }[metric]


def rate5(metric: str, minute: int) -> float:
    """Return ``sum(rate(metric[5m]))`` at the end of a minute."""
    return sum(growth(metric, item) for item in range(minute - 4, minute + 1)) / 300


def increase(metric: str, pods: str = PODS, ago: int = 0) -> float:
    """Return the growth in the last hour of traffic, or in an hour that ended minutes ago."""
    end = BUSY_MINUTES - ago
    return sum(growth(metric, minute, pods) for minute in range(end - 59, end + 1))


def values(value: Growth, step: int = 1) -> list[float]:
    """Return the values at the points of the last hour of traffic, without its start."""
    return [value(minute) for minute in range(BUSY_MINUTES - 60 + step, BUSY_MINUTES + 1, step)]


def mean(value: Growth, step: int = 1) -> float:
    """Return the mean over the points of the last hour of traffic."""
    found = values(value, step)
    return sum(found) / len(found)


def probe(instance: str, minute: int) -> int:
    """Return whether an instance answers: the second one is down for twelve minutes."""
    return int(instance == "1" or not 100 < minute <= 112)


def p99(minute: int) -> float:
    """Return a latency that is above half a second in one minute of ten."""
    return 0.9 if minute % 10 == 0 else 0.1


def healthy(minute: int) -> float:
    """Return a gauge that is a share."""
    return 0.5 if minute > 105 else 1.0


def last_success(minute: int) -> float:
    """Return the time of the last success of a job that then fails until traffic ends."""
    return START.timestamp() + 60 * min(minute, 55)


def _counter(name: str, each: Growth, first: int = 0, restart: int | None = None, **labels: str) -> Series:
    found, value = {}, 0.0
    for minute in range(first, MINUTES + 1):
        value = (0 if minute == restart else value) + (each(minute) if minute > first else 0)
        found[int(START.timestamp()) + 60 * minute] = value
    return {"__name__": name, **labels}, found


def _gauge(name: str, value: Growth, **labels: str) -> Series:
    at = int(START.timestamp())
    return {"__name__": name, **labels}, {at + 60 * minute: value(minute) for minute in range(MINUTES + 1)}


def _native(name: str, fast: int, slow: int, pod: str) -> Series:
    """Return a native histogram whose fast observations are at most 0.25, and whose slow ones are above 0.5."""
    at, found = int(START.timestamp()), dict[int, float | NativeHistogram]()
    for minute in range(MINUTES + 1):
        busy = min(minute, BUSY_MINUTES)
        found[at + 60 * minute] = NativeHistogram((fast * busy, 0, slow * busy), -2)
    return {"__name__": name, "pod": pod}, found


def world() -> Iterator[Series]:
    """Yield all series; the first sample is the oldest."""
    for pod in PODS:
        more = {"first": LATE if pod == "e" else 0, "restart": RESTART if pod == "b" else None}
        for name in ("requests", "errors", "ok"):
            if name != "errors" or pod in "abc":
                code = {"requests": "0", "errors": "500", "ok": "200"}[name]
                labels = {"pod": pod, "job": "api", "code": code, "b": "x"}
                yield _counter(f"{name}_total", lambda m, n=name, p=pod: growth(n, m, p), **more, **labels)  # type: ignore[misc, arg-type]
        yield _gauge("pod_owner", lambda _: 1, pod=pod, team="ml" if pod in "abc" else "web")
        yield _gauge("weight", lambda _: 2, pod=pod)
    for name in ("requests", "errors"):
        yield _counter(f"single_{name}_total", lambda m, n=name: growth(n, m, "abc"), pod="x", replica="1")  # type: ignore[misc]
        yield _counter(name, lambda m, n=name: growth(n, m, "ab"), pod="x")  # type: ignore[misc]
        yield _gauge(f"job:{name}:rate5m", lambda m, n=name: rate5(n, m))  # type: ignore[misc]
        yield _gauge(f"job:{name}:rate1h", lambda m, n=name: rate5(n, m))  # type: ignore[misc]
    for name in ("timeouts", "slow"):
        yield _counter(f"{name}_total", lambda m, n=name: growth(n, m), pod="a")  # type: ignore[misc]
    for code, name in (("200", "ok"), ("500", "errors")):
        yield _counter("v2_total", lambda m, n=name: growth(n, m), code=code)  # type: ignore[misc]
    for pod, per_minute in (("a", 12_000), ("b", 3_000), ("c", 9_000)):
        yield _counter("x_total", lambda m, n=per_minute: n if m <= BUSY_MINUTES else 0, pod=pod)  # type: ignore[misc]
    for le, name in (("0.3", "fast"), ("1.2", "tolerable"), ("+Inf", "ok")):
        yield _counter("x_bucket", lambda m, n=name: growth(n, m), le=le)  # type: ignore[misc]
    yield _counter("x_count", lambda m: growth("ok", m))
    for le, name in (("0.25", "fast"), ("+Inf", "ok")):
        yield _counter("latency_bucket", lambda m, n=name: growth(n, m), le=le)  # type: ignore[misc]
    yield _counter("latency_count", lambda m: growth("ok", m))
    yield _native("latency", 90, 10, "a")
    yield _native("latency", 5, 45, "b")
    for le in ("0.25", "0.5", "1", "+Inf"):
        yield _counter(
            "l_bucket", lambda m, e=le: 0 if m > BUSY_MINUTES else 30 if e in ("0.25", "0.5") and m >= SLOW else 60, le=le
        )  # type: ignore[misc]
    yield _counter("l_sum", lambda m: growth("seconds", m))
    yield _counter("l_count", lambda m: 60 if m <= BUSY_MINUTES else 0)
    for instance in "12":
        for name in ("up", "probe_success"):
            yield _gauge(name, lambda m, i=instance: probe(i, m), instance=instance)  # type: ignore[misc]
        yield _gauge("failing", lambda m, i=instance: 1 - probe(i, m), instance=instance)  # type: ignore[misc]
    yield _gauge("batch_errors", lambda m: m % 7)
    yield _gauge("batch_rows", lambda m: 100 + m % 13)
    yield _gauge("restarts", lambda m: min(m, BUSY_MINUTES) // 10)
    yield _gauge("latency_p99", p99)
    yield _gauge("maintenance", lambda m: int(m < 100))
    yield _gauge("healthy_ratio", healthy)
    yield _gauge("last_success_timestamp", last_success)
    yield _gauge("cluster:used_total", lambda m: 30 + m)
    yield _gauge("cluster:cores_total", lambda _: 400)
    yield _gauge("slo:sli_error:ratio_rate1h", lambda _: 0.02, sloth_id="a")
    yield _gauge("slo:sli_error:ratio_rate5m", healthy)
    yield _gauge("replicas_available", lambda m: 3 if m > 110 else 4)
    yield _gauge("replicas_wanted", lambda _: 4)
    yield _gauge("lag", lambda m: 10 * (m % 20))
    yield _gauge("errors:ratio", lambda _: 0.03, window="1h")
