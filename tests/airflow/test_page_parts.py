"""The parts of the pages that need no server: kept answers, charts, words, evidence that may hold anything."""

from __future__ import annotations

import re
import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from markupsafe import Markup

from airflow_slo_provider.plugins.slo_page import charts
from airflow_slo_provider.plugins.slo_page import formatting as words
from airflow_slo_provider.plugins.slo_page import safe_evidence as evidence
from airflow_slo_provider.plugins.slo_page.cache import Cache
from airflow_slo_provider.plugins.slo_page.charts import Interval, Level, Line, Mark
from airflow_slo_provider.plugins.slo_page.objectives import window_length

T0 = datetime(2026, 11, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
HOSTILE = '"/><script>alert(1)</script>'


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_an_answer_is_kept_for_its_time_and_made_anew_after() -> None:
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


def test_many_who_ask_at_once_let_one_do_the_work() -> None:
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


def test_while_one_makes_it_anew_the_others_get_the_one_before_but_not_for_ever() -> None:
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


def test_an_error_is_not_kept_and_keeps_nobody_out() -> None:
    cache = Cache()

    def broken() -> None:
        raise OSError("down")

    for _ in range(2):
        with pytest.raises(OSError, match="down"):
            cache.get("k", broken, seconds=60)
    assert cache.get("k", lambda: "up", seconds=60) == "up"


def test_old_keys_go_when_there_are_too_many() -> None:
    cache, made = Cache(size=2), []
    for key in ("a", "b", "a", "c", "a", "b"):
        cache.get(key, lambda key=key: made.append(key), seconds=60)
    assert made == ["a", "b", "c", "b"]


def _svg(drawn: Markup) -> ET.Element:
    return ET.fromstring(str(drawn))


def test_a_line_is_where_its_values_are() -> None:
    drawn = charts.chart("x", [Line("l", [(T0, 0.0), (T0 + HOUR, 0.5), (T0 + 2 * HOUR, 1.0)])], start=T0, end=T0 + 2 * HOUR)
    (line,) = _svg(drawn).findall("polyline")
    points = [tuple(map(float, pair.split(","))) for pair in line.get("points", "").split()]
    assert [x for x, _ in points] == pytest.approx([52, 380, 708], abs=0.1)
    assert points[0][1] > points[1][1] > points[2][1]
    assert points[1][1] == pytest.approx((points[0][1] + points[2][1]) / 2, abs=0.11)


def test_a_gap_interrupts_the_line_and_a_lonely_point_is_a_dot() -> None:
    points = [(T0, 1.0), (T0 + HOUR, 1.0), (T0 + 2 * HOUR, None), (T0 + 3 * HOUR, 2.0)]
    svg = _svg(charts.chart("x", [Line("l", points)], start=T0, end=T0 + 4 * HOUR))
    assert len(svg.findall("polyline")) == 1
    assert len(svg.findall("circle")) == 1


@pytest.mark.parametrize("values", [[], [None], [0.0], [5.0, 5.0], [1e-300, 1e300], [-1e9, 1e9], [1e15 + 0.1]])
def test_any_values_make_a_chart(values: list[float | None]) -> None:
    points = [(T0 + n * HOUR, value) for n, value in enumerate(values)]
    drawn = charts.chart(
        "x", [Line("l", points)], start=T0, end=T0 + 5 * HOUR, levels=[Level("t", 1.0)] if len(values) < 3 else []
    )
    assert not re.search(r"nan|inf", str(drawn))
    assert len(str(drawn)) < 30_000


def test_levels_and_marks_outside_of_the_time_are_left_out() -> None:
    marks = [Mark(T0 - HOUR, 1), Mark(T0 + HOUR, 2), Mark(T0 + 9 * HOUR, 3)]
    svg = _svg(
        charts.chart("x", [Line("l", [(T0, 1.0)])], start=T0, end=T0 + 5 * HOUR, levels=[Level("target", 7.0)], marks=marks)
    )
    assert [line.get("class") for line in svg.findall("line") if "event" in line.get("class", "")] == ["event mark"]
    assert {"target", "2"} <= {text.text for text in svg.findall("text")}


@pytest.mark.parametrize(
    "draw",
    [
        lambda: charts.chart(
            HOSTILE, [Line(HOSTILE, [(T0, 1.0)])], start=T0, end=T0 + HOUR, levels=[Level(HOSTILE, 1.0, HOSTILE)]
        ),
        lambda: charts.intervals(HOSTILE, [Interval(HOSTILE, 1.0, 0.5, 2.0, HOSTILE)], target=1.0),
        lambda: charts.sparkline([(0.0, 1.0), (1.0, 0.5)], HOSTILE),
        lambda: charts.legend([Line(HOSTILE, [])]),
        lambda: charts.bar(0.5, HOSTILE),
        lambda: words.badge(HOSTILE),
    ],
)
def test_whatever_a_chart_says_stays_text(draw: Any) -> None:
    drawn = draw()
    root = _svg(drawn)
    assert "script" not in {element.tag for element in root.iter()}
    assert not [key for element in root.iter() for key in element.attrib if key.startswith("on") or key == "style"]


def test_a_bar_never_leaves_its_rail() -> None:
    for share in (-3.0, 0.0, 0.4, 1.0, 7.0):
        width = float(_svg(charts.bar(share, "good")).findall("rect")[1].get("width", ""))
        assert width == pytest.approx(100 * min(max(share, 0), 1))
    assert charts.bar(None, "good") == ""


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-0.12, 1), (0.9989, 1.0), (0, 14.4), (3, 1234567)])
def test_the_axis_covers_its_values_in_round_steps(low: float, high: float) -> None:
    ticks = charts.nice_ticks(low, high)
    assert ticks[0] <= low + 1e-9
    assert ticks[-1] >= high - 1e-9
    assert 3 <= len(ticks) <= 9
    step = ticks[1] - ticks[0]
    assert f"{step:e}"[0] in "125" or f"{step:.1e}"[0] in "125"


def test_slices_cover_a_time_without_a_gap() -> None:
    cut = charts.slices(T0, T0 + 7 * HOUR, 3)
    assert cut[0][0] == T0
    assert cut[-1][1] > T0 + 7 * HOUR
    assert [end for _, end in cut[:-1]] == [start for start, _ in cut[1:]]


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
def test_values_are_shown_with_their_unit(value: float | None, unit: str | None, shown: str) -> None:
    assert words.measured(value, unit).replace(words.NARROW, " ") == shown


@pytest.mark.parametrize(
    ("gone", "said"), [(10, "just now"), (90, "1 min ago"), (7200, "2 h ago"), (200000, "2 d ago"), (-7200, "in 2 h")]
)
def test_how_long_ago(gone: int, said: str) -> None:
    assert f">{said}<" in words.ago(T0, T0 + timedelta(seconds=gone)).replace(words.NARROW, " ")


@pytest.mark.parametrize("value", ["..", ".", "...", "a/../b", "a?b#c&d", "ü %"])
def test_a_name_is_one_part_of_a_url(value: str) -> None:
    from urllib.parse import unquote

    made = words.part(value)
    assert unquote(made) == value
    assert not set("/?#& ") & set(made)
    assert set(made) != {"."}


@pytest.mark.parametrize("odd", [None, 7, "x", [1], {"k": None}, {"k": float("nan")}, {"k": True}, {"k": {"k": 1}}, {"k": ["a"]}])
def test_odd_evidence_is_absent_evidence(odd: Any) -> None:
    assert evidence.number(odd, "k") is None
    assert evidence.text(odd, "k") in ("", "nan")
    assert isinstance(evidence.pretty(odd), str)
    assert list(evidence.trace_ids(odd)) == []
    assert list(evidence.reports(odd)) == []
    assert dict(evidence.scalars(odd)) is not None


@pytest.mark.parametrize(
    ("window", "days"), [("30d", 30), ("1M", 30.4375), ("4w", 28), ("", 30), ("forever", 30), ("999999999w", 30), ("9Y", 400)]
)
def test_the_length_of_a_window(window: str, days: float) -> None:
    assert window_length(window) == timedelta(days=days)
