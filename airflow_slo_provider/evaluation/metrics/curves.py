"""Compute ROC AUC and average precision, also for many weightings of the rows at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_slo_provider.evaluation.metrics.metric_names import Metric
from airflow_slo_provider.evaluation.rows.labels import binary_scores
from airflow_slo_provider.evaluation.rows.sample import CHUNK, EvaluationSample, UndefinedMetric


@dataclass(frozen=True, eq=False)
class Curve:
    """Rows sorted by ascending score.

    :param base: ``roc_auc`` or ``average_precision``
    :param order: the order of the rows by score; None if they are already sorted
    :param positive: labels of the sorted rows as 0 and 1
    :param ends: last index of each distinct score; None if all scores differ
    :param weight: weights of the sorted rows
    :param units: the group of each row, in the original order; None if every row is a unit of its own
    """

    base: str
    order: NDArray[np.intp] | None
    positive: NDArray[np.uint8]
    ends: NDArray[np.intp] | None
    weight: NDArray[np.float64] | None
    units: NDArray[np.intp] | None = None

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.positive)

    @property
    def n(self) -> int:
        """Number of rows, or of groups if there are groups."""
        return self.rows if self.units is None else int(self.units.max()) + 1

    @property
    def rarer(self) -> int | None:
        """Number of rows, or groups, of the rarer class, for metrics computed from pairs of a positive and a negative."""
        if self.base != "roc_auc":
            return None
        marks = self.positive.astype(bool)
        if self.units is None:
            return min(int(marks.sum()), int((~marks).sum()))
        units = self._sorted(self.units)
        return min(len(np.unique(units[marks])), len(np.unique(units[~marks])))

    def _sorted(self, values: NDArray[Any]) -> NDArray[Any]:
        return values if self.order is None else values[self.order]

    def value(self) -> float:
        """Return the metric on the sample itself."""
        return float(self.values(np.ones((1, self.n), dtype=np.uint8))[0])

    def values(self, weights: NDArray[Any]) -> NDArray[np.float64]:
        """Return the metric under each weighting of the rows; NaN if a class has no weight.

        :param weights: shape (replicates, rows or groups), in the original order
        """
        out = np.empty(len(weights))
        buffers = _AreaBuffers(self.rows)
        for index, row in enumerate(weights):  # one replicate at a time stays in the processor's cache
            ordered = self._sorted(row if self.units is None else row[self.units])
            if self.weight is not None:
                ordered = ordered * self.weight
            if self.base == "average_precision":
                out[index] = _average_precision(ordered, self.positive, self.ends)
            elif self.ends is None and ordered.dtype == np.uint8:
                out[index] = buffers.area(ordered, self.positive)
            else:
                out[index] = _area(ordered, self.positive, self.ends)
        return out

    def influence(self) -> NDArray[np.float64]:
        """Return the influence of each sorted row, or each group, on the metric, up to a factor: its derivative by the weight."""
        rows = self._influence_of_rows()
        return rows if self.units is None else np.asarray(np.bincount(self._sorted(self.units), weights=rows), dtype=np.float64)

    def _influence_of_rows(self) -> NDArray[np.float64]:
        weight = np.ones(self.rows) if self.weight is None else self.weight
        ends = np.arange(self.rows) if self.ends is None else self.ends
        group = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=-1))
        above, below = _cumulate(weight, self.positive, self.ends)
        gained, missed = np.diff(above, prepend=0.0), np.diff(below, prepend=0.0)
        total, others = above[-1], below[-1]
        if self.base == "roc_auc":
            # A positive counts the negatives below it, a negative the positives above it; ties count half.
            of_positive = (below - missed / 2) / others
            of_negative = 1 - (above - gained / 2) / total
            area = float((gained * of_positive).sum() / total)
            return np.asarray(
                weight * np.where(self.positive, (of_positive[group] - area) / total, (of_negative[group] - area) / others)
            )
        hits = total - above + gained
        predicted = hits + others - below + missed
        precision = hits / predicted
        value = float((gained * precision).sum() / total)
        reached, lost = np.cumsum(gained / predicted), np.cumsum(gained * hits / predicted**2)
        return np.asarray(weight * (self.positive * (precision[group] + reached[group] - value) - lost[group]))


class _AreaBuffers:
    """Buffers for the area under integer weights without ties, in pieces that fit the processor's cache."""

    def __init__(self, n: int) -> None:
        size = min(n, CHUNK)
        self._hits = np.empty(size, dtype=np.uint8)
        self._below = np.empty(size, dtype=np.int32)
        self._left, self._right = np.empty(size), np.empty(size)

    def area(self, weights: NDArray[np.uint8], positive: NDArray[np.uint8]) -> float:
        """Return the area: each negative is weighted by the positives below it."""
        total = others = wrong = 0.0
        for start in range(0, len(weights), CHUNK):
            row, mark = weights[start : start + CHUNK], positive[start : start + CHUNK]
            size = len(row)
            hits, below, left, right = (part[:size] for part in (self._hits, self._below, self._left, self._right))
            np.multiply(row, mark, out=hits)
            np.cumsum(hits, out=below, dtype=np.int32)
            np.copyto(left, below)
            np.subtract(row, hits, out=hits)
            np.copyto(right, hits)
            missed = float(right.sum())
            # einsum, not dot: a threaded dot product of two vectors spends more time on synchronisation than on work.
            wrong += float(np.einsum("i,i->", left, right)) + total * missed
            total += float(left[-1])
            others += missed
        return 1 - wrong / (total * others) if total > 0 and others > 0 else float("nan")


def make_curve(metric: Metric, sample: EvaluationSample) -> Curve:
    """Sort a sample by score.

    :raises UndefinedMetric: when only one class occurs: the area is undefined, neither 0 nor 1
    """
    if sample.n == 0:
        raise UndefinedMetric("there are no rows")
    positive, scores = binary_scores(sample, probabilities=False)
    if positive.all() or not positive.any():
        raise UndefinedMetric(f"all {sample.n} rows are of one class: {metric.name} is undefined")
    order, weight = None, sample.weight
    if not (scores[1:] >= scores[:-1]).all():
        order = np.argsort(scores, kind="stable")
        positive, scores, weight = positive[order], scores[order], None if weight is None else weight[order]
    last = np.append(scores[1:] != scores[:-1], True)
    ends = None if last.all() else np.flatnonzero(last)
    return Curve(metric.base, order, positive.astype(np.uint8), ends, weight, sample.units)


def _cumulate(weights: Any, positive: Any, ends: Any) -> tuple[Any, Any]:
    """Return the cumulative weight of positives and of negatives at each distinct score."""
    kind: type[np.generic] = np.int64 if weights.dtype.kind in "iu" else np.float64
    if weights.dtype.kind in "iu" and len(weights) < 1 << 23:
        kind = np.int32  # counts of at most 255 per row fit, and it halves the memory traffic
    above, whole = np.cumsum(weights * positive, dtype=kind), np.cumsum(weights, dtype=kind)
    if ends is not None:
        above, whole = above[ends], whole[ends]
    return above, whole - above


def _area(weights: Any, positive: Any, ends: Any) -> float:
    """Return the probability that a positive outranks a negative, ties counting half [Mann and Whitney 1947; Bamber 1975]."""
    above, below = _cumulate(weights, positive, ends)
    total, others = float(above[-1]), float(below[-1])
    if not (total > 0 and others > 0):
        return float("nan")
    steps = np.diff(below, prepend=0).astype(np.float64)
    middle = above.astype(np.float64)
    middle[1:] += above[:-1]
    wrong = 0.5 * float(np.dot(middle, steps))
    return 1 - wrong / (total * others)


def _average_precision(weights: Any, positive: Any, ends: Any) -> float:
    """Return the sum over falling thresholds of (recall gained) x (precision), as scikit-learn's ``average_precision_score``."""
    above, below = _cumulate(weights, positive, ends)
    total, everything = float(above[-1]), float(above[-1]) + float(below[-1])
    if not (total > 0 and everything > total):
        return float("nan")
    # Counted from the greatest score: the weight at or above each threshold.
    before, others_before = np.append(0, above[:-1]), np.append(0, below[:-1])
    hits, predicted = total - before, everything - before - others_before
    precision = np.divide(hits, predicted, out=np.zeros(len(hits)), where=predicted > 0)
    return float(np.dot(above - before, precision)) / total
