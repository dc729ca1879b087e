"""Prepare metrics for resampling, and compute their replicates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_slo_provider.evaluation.intervals.bootstrap import weights
from airflow_slo_provider.evaluation.metrics.curves import Curve, curve
from airflow_slo_provider.evaluation.metrics.metric_names import Metric
from airflow_slo_provider.evaluation.metrics.row_averages import Moments, moments
from airflow_slo_provider.evaluation.rows.sample import CHUNK, Sample, Undefined


@dataclass(frozen=True, eq=False)
class Custom:
    """A custom metric: any function of truth and prediction. Groups are resampled whole: their rows are not independent."""

    metric: Metric
    sample: Sample

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
        import math

        if self.metric.function is None:
            raise RuntimeError("a custom metric without a function")
        if self.sample.n == 0:
            raise Undefined("there are no rows")
        try:
            # Copies, so that a function that modifies its arguments does not affect the metrics after it.
            returned: Any = self.metric.function(self.sample.truth.copy(), self.sample.prediction.copy())
            found = float(returned)
        except Exception as error:
            raise Undefined(f"{self.metric.name} raised {type(error).__name__}: {error}", "invalid") from error
        if isinstance(returned, str | bytes | bool | np.bool_):
            raise Undefined(f"{self.metric.name} returned {returned!r}, a {type(returned).__name__} and no number", "invalid")
        if not math.isfinite(found):
            raise Undefined(f"{self.metric.name} returned {found}", "invalid")
        return found

    def values(self, block: NDArray[Any]) -> NDArray[np.float64]:
        """Return the function's value on each resample; NaN if it raised."""
        out = np.empty(len(block))
        for place, row in enumerate(block):
            drawn = np.repeat(np.arange(self.n), row)
            chosen = self.sample.take(drawn if self._units is None else np.concatenate([self._units[unit] for unit in drawn]))
            try:
                out[place] = self.metric.function(chosen.truth, chosen.prediction) if self.metric.function else np.nan
            except Exception:  # a user's function may raise anything, e.g. for a sample that lacks a class
                out[place] = np.nan
        return out


def statistic(metric: Metric, sample: Sample) -> Moments | Curve | Custom:
    """Prepare a metric for resampling.

    :raises Undefined: when it has no value on these rows
    """
    if metric.reads == "latency":
        raise Undefined(f"{metric.name} is measured by the predictor, not from predictions", "invalid")
    if metric.reads == "custom":
        return Custom(metric, sample)
    if metric.base in ("roc_auc", "average_precision"):
        return curve(metric, sample)
    found = moments(metric, sample)
    return found if metric.reads == "ranking" or sample.units is None else found.grouped(sample.units)


def sorted_by_score(sample: Sample) -> Sample:
    """Sort the rows once by score, so that no replicate has to."""
    values = sample.prediction if sample.score is None else sample.score
    if values.ndim != 1 or values.dtype.kind not in "iuf" or sample.groups is not None:
        return sample
    return sample.take(np.argsort(values, kind="stable"))


def replicate(statistics: Sequence[Moments | Curve | Custom], replicates: int, seed: int) -> list[NDArray[np.float64]]:
    """Return the replicates of statistics that have the same units; all of them use the same resamples.

    A curve of ungrouped rows is resampled within its classes, so that no replicate loses a class.
    """
    n = statistics[0].n
    strata = None
    curves = all(isinstance(item, Curve) and item.base == "roc_auc" and item.units is None for item in statistics)
    if curves and isinstance(statistics[0], Curve):
        strata = np.empty(n, dtype=np.uint8)
        strata[slice(None) if statistics[0].order is None else statistics[0].order] = statistics[0].positive
    found: list[list[NDArray[np.float64]]] = [[] for _ in statistics]
    # One product serves all metrics that are averages; their last column, the weight, is the same.
    averaged = [item for item in statistics if isinstance(item, Moments)]
    joint = None
    if averaged:
        joint = np.asfortranarray(np.hstack([item.columns[:, :-1] for item in averaged] + [averaged[0].columns[:, -1:]]))
    for block in weights(n, replicates, seed, strata):
        sums = None if joint is None else _weighted_sums(block, joint)
        column = 0
        for place, item in enumerate(statistics):
            if isinstance(item, Moments) and sums is not None:
                width = item.columns.shape[1] - 1
                own = np.column_stack([sums[:, column : column + width], sums[:, -1]])
                found[place].append(np.asarray(item.finish(own)))
                column += width
            elif not isinstance(item, Moments):
                found[place].append(item.values(block))
    return [np.concatenate(parts) for parts in found]


def _weighted_sums(block: NDArray[Any], columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Multiply weights (replicates, units) and columns (units, k) for many units.

    It works in pieces, without the threads of a matrix product: it is bound by memory, and other cores may be busy.
    """
    n = columns.shape[0]
    if n <= CHUNK:
        return np.asarray(block.astype(np.float64) @ columns)
    sums = np.zeros((len(block), columns.shape[1]))
    plain = np.empty(CHUNK)
    for start in range(0, n, CHUNK):
        piece = columns[start : start + CHUNK]
        row = plain[: len(piece)]
        for place, counts in enumerate(block[:, start : start + CHUNK]):
            np.copyto(row, counts)
            for column in range(columns.shape[1]):
                sums[place, column] += np.einsum("i,i->", row, piece[:, column])
    return sums
