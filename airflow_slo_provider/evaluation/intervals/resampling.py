"""Prepare metrics for resampling, and compute their replicates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_slo_provider.evaluation.intervals.bootstrap import draw_weights
from airflow_slo_provider.evaluation.metrics.curves import Curve, make_curve
from airflow_slo_provider.evaluation.metrics.metric_names import Metric
from airflow_slo_provider.evaluation.metrics.row_averages import RowAverages, compute_row_averages
from airflow_slo_provider.evaluation.rows.sample import CHUNK, EvaluationSample, UndefinedMetric


@dataclass(frozen=True, eq=False)
class CustomMetric:
    """A custom metric: any function of truth and prediction. Groups are resampled whole: their rows are not independent."""

    metric: Metric
    sample: EvaluationSample

    @property
    def n(self) -> int:
        """Number of rows, or of groups if there are groups."""
        return self.sample.n if self._units is None else len(self._units)

    @cached_property
    def _units(self) -> list[NDArray[np.intp]] | None:
        """The rows of each group; None if every row is a unit of its own."""
        index = self.sample.units
        if index is None:
            return None
        order = np.argsort(index, kind="stable")
        return np.split(order, np.flatnonzero(np.diff(index[order])) + 1) if len(order) else []

    def value(self) -> float:
        """Return the function's value on the sample itself."""
        if self.sample.n == 0:
            raise UndefinedMetric("there are no rows")
        try:
            # Copies, so that a function that modifies its arguments does not affect the metrics after it.
            returned: Any = self.metric.function(self.sample.truth.copy(), self.sample.prediction.copy())  # type: ignore[misc]
            value = float(returned)
        except Exception as error:
            raise UndefinedMetric(f"{self.metric.name} raised {type(error).__name__}: {error}", "invalid") from error
        if isinstance(returned, str | bytes | bool | np.bool_):
            kind = type(returned).__name__
            raise UndefinedMetric(f"{self.metric.name} returned {returned!r}, a {kind} and not a number", "invalid")
        if not math.isfinite(value):
            raise UndefinedMetric(f"{self.metric.name} returned {value}", "invalid")
        return value

    def values(self, block: NDArray[Any]) -> NDArray[np.float64]:
        """Return the function's value on each resample; NaN if it raised."""
        out = np.full(len(block), np.nan)
        for index, row in enumerate(block):
            drawn = np.repeat(np.arange(self.n), row)
            resample = self.sample.take(drawn if self._units is None else np.concatenate([self._units[unit] for unit in drawn]))
            with suppress(Exception):  # a user's function may raise anything, e.g. for a sample that lacks a class
                out[index] = self.metric.function(resample.truth, resample.prediction)  # type: ignore[misc]
        return out


#: A metric prepared for resampling.
Statistic = RowAverages | Curve | CustomMetric


def prepare_statistic(metric: Metric, sample: EvaluationSample) -> Statistic:
    """Prepare a metric for resampling.

    :raises UndefinedMetric: when it has no value on these rows
    """
    if metric.reads == "latency":
        raise UndefinedMetric(f"{metric.name} is measured by the predictor, not from predictions", "invalid")
    if metric.reads == "custom":
        return CustomMetric(metric, sample)
    if metric.base in ("roc_auc", "average_precision"):
        return make_curve(metric, sample)
    averages = compute_row_averages(metric, sample)
    return averages if metric.reads == "ranking" or sample.units is None else averages.group(sample.units)


def sort_by_score(sample: EvaluationSample) -> EvaluationSample:
    """Sort the rows once by score, so that no replicate has to."""
    values = sample.prediction if sample.score is None else sample.score
    if values.ndim != 1 or values.dtype.kind not in "iuf" or sample.groups is not None:
        return sample
    return sample.take(np.argsort(values, kind="stable"))


def replicate(statistics: Sequence[Statistic], replicates: int, seed: int) -> list[NDArray[np.float64]]:
    """Return the replicates of statistics that have the same units; all of them use the same resamples.

    A curve of ungrouped rows is resampled within its classes, so that no replicate loses a class.
    """
    first, n, strata = statistics[0], statistics[0].n, None
    curves = all(isinstance(item, Curve) and item.base == "roc_auc" and item.units is None for item in statistics)
    if curves and isinstance(first, Curve):
        strata = np.empty(n, dtype=np.uint8)
        strata[slice(None) if first.order is None else first.order] = first.positive
    blocks: list[list[NDArray[np.float64]]] = [[] for _ in statistics]
    # One product serves all metrics that are averages; their last column, the weight, is the same.
    averaged = [item for item in statistics if isinstance(item, RowAverages)]
    joint = None
    if averaged:
        joint = np.asfortranarray(np.hstack([item.columns[:, :-1] for item in averaged] + [averaged[0].columns[:, -1:]]))
    for block in draw_weights(n, replicates, seed, strata):
        sums = None if joint is None else _weighted_sums(block, joint)
        column = 0
        for values, item in zip(blocks, statistics, strict=True):
            if isinstance(item, RowAverages) and sums is not None:
                width = item.columns.shape[1] - 1
                own = np.column_stack([sums[:, column : column + width], sums[:, -1]])
                values.append(np.asarray(item.finish(own)))
                column += width
            elif not isinstance(item, RowAverages):
                values.append(item.values(block))
    return [np.concatenate(values) for values in blocks]


def _weighted_sums(block: NDArray[Any], columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Multiply weights (replicates, units) and columns (units, k) for many units.

    It works in pieces, without the threads of a matrix product: it is bound by memory, and other cores may be busy.
    """
    n = columns.shape[0]
    if n <= CHUNK:
        return np.asarray(block.astype(np.float64) @ columns)
    sums = np.zeros((len(block), columns.shape[1]))
    buffer = np.empty(CHUNK)
    for start in range(0, n, CHUNK):
        piece = columns[start : start + CHUNK]
        row = buffer[: len(piece)]
        for replicate_sums, counts in zip(sums, block[:, start : start + CHUNK], strict=True):
            np.copyto(row, counts)
            for column in range(columns.shape[1]):
                replicate_sums[column] += np.einsum("i,i->", row, piece[:, column])
    return sums
