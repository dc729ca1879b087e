"""The parts of the pages that need no server: kept answers, words, evidence that may hold anything."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_slo_provider.plugins.slo_page import formatting as words
from airflow_slo_provider.plugins.slo_page import safe_evidence as evidence
from airflow_slo_provider.plugins.slo_page.cache import Cache
from airflow_slo_provider.plugins.slo_page.objectives import window_length

T0 = datetime(2026, 11, 1, tzinfo=UTC)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_cached_answer_expires() -> None:
    clock, made = Clock(), iter(range(10))
    cache = Cache(clock=clock)

    def ask() -> int:
        return cache.get("k", lambda: next(made), seconds=5)

    assert (ask(), ask()) == (0, 0)
    clock.now += 4.9
    assert ask() == 0
    clock.now += 0.2
    assert (ask(), ask()) == (1, 1)
    cache.clear()
    assert ask() == 2


def test_concurrent_requests_compute_once() -> None:
    cache, started, go, calls = Cache(), threading.Event(), threading.Event(), []

    def slow() -> str:
        calls.append(1)
        started.set()
        go.wait(10)
        return "done"

    answers: list[str] = []
    threads = [threading.Thread(target=lambda: answers.append(cache.get("k", slow, seconds=60))) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert started.wait(10)
    go.set()
    for thread in threads:
        thread.join(10)
    assert answers == ["done"] * 8
    assert len(calls) == 1


def test_stale_answer_is_served_during_refresh_for_limited_time() -> None:
    clock = Clock()
    cache, started, go = Cache(clock=clock), threading.Event(), threading.Event()
    cache.get("k", lambda: "old", seconds=5)
    clock.now += 6

    def slow() -> str:
        started.set()
        go.wait(10)
        return "new"

    maker = threading.Thread(target=lambda: cache.get("k", slow, seconds=5))
    maker.start()
    assert started.wait(10)
    assert cache.get("k", lambda: "other", seconds=5) == "old"
    clock.now += 5  # now it is more than twice as old as it may be: whoever asks waits
    late: list[str] = []
    waiter = threading.Thread(target=lambda: late.append(cache.get("k", lambda: "other", seconds=5)))
    waiter.start()
    waiter.join(0.2)
    assert late == []
    go.set()
    maker.join(10)
    waiter.join(10)
    assert late == ["new"]


def test_error_is_not_cached() -> None:
    cache = Cache()

    def broken() -> None:
        raise OSError("down")

    for _ in range(2):
        with pytest.raises(OSError, match="down"):
            cache.get("k", broken, seconds=60)
    assert cache.get("k", lambda: "up", seconds=60) == "up"


def test_oldest_keys_are_evicted() -> None:
    cache, made = Cache(size=2), []
    for key in ("a", "b", "a", "c", "a", "b"):
        cache.get(key, lambda key=key: made.append(key), seconds=60)
    assert made == ["a", "b", "c", "b"]


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (0.999, "99.9 %"),
        (0.9999996, "99.999 %"),
        (1.0, "100 %"),
        (-0.1234567, "-12.346 %"),
        (0.0, "0 %"),
        (0.5, "50 %"),
        (None, "–"),
    ],
)
def test_shares_are_never_rounded_up(share: float | None, shown: str) -> None:
    assert words.percent(share).replace(words.NARROW, " ") == shown


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.0431, "seconds", "43.1 ms"),
        (90061.0, "seconds", "1d 1h"),
        (-60.0, "seconds", "-1m"),
        (0.99951, "ratio", "99.951 %"),
        (1234567.0, "events", "1,234,567 events"),
        (0.123456, None, "0.1235"),
        (1e300, "seconds", "for ever"),
        (None, "ratio", "–"),
    ],
)
def test_values_have_units(value: float | None, unit: str | None, shown: str) -> None:
    assert words.measured(value, unit).replace(words.NARROW, " ") == shown


@pytest.mark.parametrize(
    ("gone", "said"), [(10, "just now"), (90, "1 min ago"), (7200, "2 h ago"), (200000, "2 d ago"), (-7200, "in 2 h")]
)
def test_age_text(gone: int, said: str) -> None:
    assert f">{said}<" in words.ago(T0, T0 + timedelta(seconds=gone)).replace(words.NARROW, " ")


@pytest.mark.parametrize("value", ["..", ".", "...", "a/../b", "a?b#c&d", "ü %"])
def test_name_is_quoted_in_url(value: str) -> None:
    from urllib.parse import unquote

    made = words.part(value)
    assert unquote(made) == value
    assert not set("/?#& ") & set(made)
    assert set(made) != {"."}


@pytest.mark.parametrize("odd", [None, 7, "x", [1], {"k": None}, {"k": float("nan")}, {"k": True}, {"k": {"k": 1}}, {"k": ["a"]}])
def test_invalid_evidence_is_ignored(odd: Any) -> None:
    assert evidence.number(odd, "k") is None
    assert evidence.text(odd, "k") in ("", "nan")
    assert isinstance(evidence.pretty(odd), str)
    assert list(evidence.trace_ids(odd)) == []
    assert list(evidence.reports(odd)) == []
    assert dict(evidence.scalars(odd)) is not None


@pytest.mark.parametrize(
    ("window", "days"), [("30d", 30), ("1M", 30.4375), ("4w", 28), ("", 30), ("forever", 30), ("999999999w", 30), ("9Y", 400)]
)
def test_window_length_text(window: str, days: float) -> None:
    assert window_length(window) == timedelta(days=days)
