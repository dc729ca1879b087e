"""Histograms for the report, computed from profiles without reading the data again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from airflow_slo_provider.drift.profiles.columns import ColumnProfile
from airflow_slo_provider.drift.statistics.cells import JointCells, middles

BARS = 24
NAMES = 11


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Shares of both sides for a drawing, per category or range of values."""

    labels: tuple[str, ...]
    reference: tuple[float, ...]
    current: tuple[float, ...]


def draw_cells(cells: JointCells, column: ColumnProfile) -> Histogram:
    """Return a histogram with bars of equal width over the middle 99 % of both sides; the outer bars include the tails."""
    n, m = cells.sizes
    places = middles(cells)
    reference, current = cells.sums()
    pooled = reference[1:] / n + current[1:] / m
    low, high = (float(places[min(int(np.searchsorted(pooled, 2 * share)), len(places) - 1)]) for share in (0.005, 0.995))
    whole = cells.kind == "int"
    if not low < high:
        return _pairs([column.say(_number(low, whole))], [1.0], [1.0])
    edges = np.linspace(low, high, BARS + 1)
    which = np.clip(np.searchsorted(edges, places, side="right") - 1, 0, BARS - 1)
    first = np.bincount(which, weights=cells.reference, minlength=BARS) / n
    second = np.bincount(which, weights=cells.current, minlength=BARS) / m
    labels = [f"{column.say(_number(edges[i], whole))} to {column.say(_number(edges[i + 1], whole))}" for i in range(BARS)]
    return _pairs(labels, first.tolist(), second.tolist())


def draw_categories(
    table: Mapping[str, tuple[int, int]], rest: tuple[int, int], new: tuple[int, int], n: int, m: int
) -> Histogram:
    """Return a histogram of the most frequent texts, then the other texts and the new ones."""
    shown = dict(list(table.items())[:NAMES])
    beyond = list(table.items())[NAMES:]
    rest = (rest[0] + sum(pair[0] for _, pair in beyond), rest[1] + sum(pair[1] for _, pair in beyond))
    bars = {**shown, **({"(other)": rest} if any(rest) else {}), **({"(new)": new} if any(new) else {})}
    return _pairs(list(bars), [pair[0] / n for pair in bars.values()], [pair[1] / m for pair in bars.values()])


def _number(value: float, whole: bool) -> float | int:
    return round(value) if whole else float(value)


def _pairs(labels: list[str], reference: list[float], current: list[float]) -> Histogram:
    return Histogram(labels=tuple(labels), reference=tuple(reference), current=tuple(current))
