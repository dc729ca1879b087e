"""Histograms for the report, computed from profiles without reading the data again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice, pairwise

import numpy as np

from airflow_slo_provider.drift.profiles.columns import ColumnProfile
from airflow_slo_provider.drift.statistics.cells import JointCells, middles

BARS = 24
NAMES = 11


@dataclass(frozen=True, kw_only=True)
class SharesHistogram:
    """Shares of both sides for a drawing, per category or range of values."""

    labels: tuple[str, ...]
    reference: tuple[float, ...]
    current: tuple[float, ...]


def draw_cells(cells: JointCells, column: ColumnProfile) -> SharesHistogram:
    """Return a histogram with bars of equal width over the middle 99 % of both sides; the outer bars include the tails."""
    n, m = cells.sizes
    values = middles(cells)
    reference, current = cells.sums()
    pooled = reference[1:] / n + current[1:] / m
    low, high = (float(values[min(int(np.searchsorted(pooled, 2 * share)), len(values) - 1)]) for share in (0.005, 0.995))
    if not low < high:
        return _histogram([_format_edge(low, cells, column)], [1.0], [1.0])
    edges = np.linspace(low, high, BARS + 1)
    which = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, BARS - 1)
    first = np.bincount(which, weights=cells.reference, minlength=BARS) / n
    second = np.bincount(which, weights=cells.current, minlength=BARS) / m
    labels = [" to ".join(_format_edge(edge, cells, column) for edge in bar) for bar in pairwise(edges)]
    return _histogram(labels, first.tolist(), second.tolist())


def draw_categories(
    table: Mapping[str, tuple[int, int]], rest: tuple[int, int], new: tuple[int, int], n: int, m: int
) -> SharesHistogram:
    """Return a histogram of the most frequent texts, then the other texts and the new ones."""
    rare = list(table.values())[NAMES:]
    rest = (rest[0] + sum(pair[0] for pair in rare), rest[1] + sum(pair[1] for pair in rare))
    bars = dict(islice(table.items(), NAMES)) | {name: pair for name, pair in (("(other)", rest), ("(new)", new)) if any(pair)}
    return _histogram(list(bars), [pair[0] / n for pair in bars.values()], [pair[1] / m for pair in bars.values()])


def _format_edge(value: float, cells: JointCells, column: ColumnProfile) -> str:
    return column.format_value(round(value) if cells.kind == "int" else float(value))


def _histogram(labels: list[str], reference: list[float], current: list[float]) -> SharesHistogram:
    return SharesHistogram(labels=tuple(labels), reference=tuple(reference), current=tuple(current))
