"""What each accepted form measures over the last hour of traffic of ``promql_world``: the share that its query is about."""

from __future__ import annotations

from tests.services.promql_world import (
    START,
    growth,
    healthy,
    increase,
    last_success,
    mean,
    p99,
    probe,
    rate5,
    values,
)

E, R, OK = increase("errors"), increase("requests"), increase("ok")
SLOW, TIMEOUTS = increase("slow"), increase("timeouts")
ABC_E, ABC_R = increase("errors", "abc"), increase("requests", "abc")
FAST = increase("fast") / OK
NATIVE = (90 + 5) / (100 + 50)


def _down(minute: int) -> float:
    return 1 - probe("2", minute)


def _slow_share(minute: int) -> float:
    """Return the share of the last five minutes' requests that were slow, half of which took more than half a second."""
    return sum(item >= 101 for item in range(minute - 4, minute + 1)) / 5


def _seconds(minute: int) -> float:
    return growth("seconds", minute) / 60


def _fresh(minute: int) -> bool:
    return START.timestamp() + 60 * minute - last_success(minute) < 3600


TRUTHS: dict[str, float] = {
    **dict.fromkeys(
        [
            "counters, increase", "counters, rate", "rate beside increase", "sum by nothing", "aggregation label list after",
            "without", "sum of sums", "same factor on both sides", "same divisor on both sides", "empty bad", "empty bad, on()",
            "empty bad, zero of the total", "zero of the total, factor behind", "empty total is no events", "renamed counter",
            "traffic filter", "traffic filter, != 0", "traffic filter, number first", "least traffic", "filter on each series",
            "maintenance left out", "condition", "label_replace", "name as a matcher", "capitals of a keyword", "comment",
            "raw string", "selectors with counter: true", "difference", "failure condition", "zero added",
            "highest of two collectors",
        ],
        E / R,
    ),
    "single series without sum": ABC_E / ABC_R,
    **dict.fromkeys(["join with group_left", "join with group_right", "join with the last sample"], ABC_E / ABC_R),
    **dict.fromkeys(
        [
            "good events", "raw, good by total", "raw, one minus", "raw, difference", "raw, one minus with empty errors",
            "raw, numerator may be empty", "good is what is not bad, failures may be missing", "raw, traffic filter",
            "raw, errors over a subset", "renamed counter of good events",
        ],
        OK / R,
    ),
    **dict.fromkeys(["bucket and count", "bucket and +Inf", "two spellings of a bucket", "total of the last bucket"], FAST),
    **dict.fromkeys(["native, fraction inside sum", "native, fraction outside", "native, raw fraction"], NATIVE),
    "native, count": E / (150 * 60),
    "delta of a gauge": increase("errors", "ab") / increase("requests", "ab"),
    **dict.fromkeys(["total of good and bad", "total of good and missing bad"], OK / (OK + E)),
    "changes": 6 / R,
    **dict.fromkeys(["sum of two counts", "two names added"], (E + TIMEOUTS) / R),
    "bad above a bound": 1 - FAST,
    "raw, most failing gauge": 1 - mean(_down),
    **dict.fromkeys(["half weight", "half weight, divided"], (E + SLOW / 2) / R),
    "Apdex": (increase("fast") + increase("tolerable")) / 2 / OK,
    "Apdex by subtraction": (R - E - SLOW / 2) / R,
    "same offset": increase("errors", ago=5) / increase("requests", ago=5),
    "slow events by difference": 1 - FAST,
    "samples of 0 and 1": (mean(lambda m: probe("1", m)) + mean(lambda m: probe("2", m))) / 2,
    "counts per sample": sum(values(lambda m: m % 7)) / sum(values(lambda m: 100 + m % 13)),
    **dict.fromkeys(["slow points", "slow points, bool", "slow points, may be none"], mean(lambda m: p99(m) > 0.5)),
    "points of a rate": mean(lambda m: rate5("errors", m) > 0.5),
    "points of a ratio": mean(lambda m: rate5("errors", m) / rate5("requests", m) > 0.01, 5),
    "healthy pods": 1 - mean(_down) / 2,
    "sampled rates": mean(lambda m: rate5("errors", m), 5) / mean(lambda m: rate5("requests", m), 5),
    **dict.fromkeys(
        ["recorded rates", "recorded rates, averaged"], mean(lambda m: rate5("errors", m)) / mean(lambda m: rate5("requests", m))
    ),
    "recorded per window": rate5("errors", 120) / rate5("requests", 120),
    **dict.fromkeys(["share of series", "share of series, bool"], 2 / 3),
    "mean of series": 1 - mean(_down) / 2,
    **dict.fromkeys(["raw, average of a probe", "raw, worst instance"], mean(lambda m: probe("2", m))),
    **dict.fromkeys(["raw, average over instances", "raw, samples"], 1 - mean(_down) / 2),
    **dict.fromkeys(["raw, uptime", "raw, uptime without a zero", "raw, presence with a zero"], 1.0),
    "raw, flag by subquery": mean(lambda m: _slow_share(m) * 0.5 < 0.01, 5),
    "raw, mean of ratios": mean(lambda m: rate5("ok", m) / rate5("requests", m), 5),
    "raw, gauges named total": mean(lambda m: 30 + m) / 400,
    "raw, recorded per window": 0.02,
    "raw, recorded by label": 0.03,
    "raw, product of shares": (OK / R) ** 2,
    "raw, freshness at points": mean(_fresh),
    "raw, irate at points, compared": mean(lambda m: _seconds(m) > 0.5),
    **dict.fromkeys(["raw, mean of a gauge at points", "raw, mean of recorded ratios"], mean(healthy)),
    "failed probes by difference": mean(_down) / 2,
    "raw, replicas": mean(lambda m: 0.75 if m > 110 else 1),
    "raw, lag at points": 1 - mean(lambda m: 10 * (m % 20) > 100),
    "raw, mean of a quotient of latency, compared": mean(lambda m: sum(_seconds(i) for i in range(m - 4, m + 1)) / 5 < 0.5),
}  # fmt: skip
