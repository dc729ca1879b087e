"""Check the rows of an evaluation before any metric is computed from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_slo_provider.exceptions import InvalidMeasurement

#: Array elements processed together: enough to amortise a call, few enough to stay in the processor's cache.
CHUNK = 1 << 15


class UndefinedMetric(Exception):
    """A metric has no value on these rows.

    :param status: ``insufficient_data`` or ``invalid``
    """

    def __init__(self, reason: str, status: str = "insufficient_data") -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluationSample:
    """Labels and predictions, row by row.

    :param truth: labels, numbers or relevances, shape (n,)
    :param prediction: predicted labels, probabilities, numbers or scores, shape (n,), or class probabilities, shape (n, classes)
    :param score: probabilities or scores, if ``prediction`` holds labels
    :param groups: group of each row, shape (n,): rows of a group are ranked together, and are not independent
    :param weight: weight of each row, shape (n,)
    :param labels: the classes in the order of a two-dimensional ``prediction``; by default the sorted classes of ``truth``
    :param positive: the positive class; by default the greater of two
    :param cut: probability from which a row counts as positive
    """

    truth: NDArray[Any]
    prediction: NDArray[Any]
    score: NDArray[Any] | None = None
    groups: NDArray[Any] | None = None
    weight: NDArray[np.float64] | None = None
    labels: tuple[Any, ...] | None = None
    positive: Any = None
    cut: float = 0.5

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.truth)

    @cached_property
    def units(self) -> NDArray[np.intp] | None:
        """The number of each row's group; None if every row is a unit of its own."""
        if self.groups is None:
            return None
        groups = np.asarray(list(map(str, self.groups))) if self.groups.dtype.kind == "O" else self.groups
        return np.asarray(np.unique(groups, return_inverse=True)[1], dtype=np.intp)

    def take(self, rows: NDArray[Any]) -> EvaluationSample:
        """Return the sample of some rows, given an index or a mask."""
        columns = {name: getattr(self, name) for name in ("truth", "prediction", "score", "groups", "weight")}
        return replace(self, **{name: values[rows] for name, values in columns.items() if values is not None})


def make_sample(
    truth: Any,
    prediction: Any,
    *,
    score: Any = None,
    groups: Any = None,
    weight: Any = None,
    labels: Any = None,
    positive: Any = None,
    cut: float = 0.5,
) -> EvaluationSample:
    """Make a sample from array-like values.

    :raises InvalidMeasurement: when the columns differ in length or have the wrong shape, or a weight is negative or not finite
    """
    try:
        weight = None if weight is None else to_numbers(weight, "weights")
    except UndefinedMetric as error:
        raise InvalidMeasurement(error.reason) from None
    sample = EvaluationSample(
        truth=to_array(truth), prediction=to_array(prediction), score=None if score is None else to_array(score),
        groups=None if groups is None else to_array(groups), weight=weight,
        labels=None if labels is None else tuple(labels), positive=positive, cut=cut,
    )  # fmt: skip
    if sample.truth.ndim != 1:
        raise InvalidMeasurement(f"y_true has shape {sample.truth.shape}; one value per row is needed")
    for name in ("prediction", "score", "groups", "weight"):
        column = getattr(sample, name)
        if column is not None and len(column) != sample.n:
            raise InvalidMeasurement(f"y_true has {sample.n} rows, {name} has {len(column)}; they must be the same rows")
        if column is not None and column.ndim not in ((1, 2) if name in ("prediction", "score") else (1,)):
            raise InvalidMeasurement(f"{name} has shape {column.shape}")
    usable = weight is None or (np.isfinite(weight).all() and (weight >= 0).all() and weight.sum() > 0)
    if sample.n and not usable:
        raise InvalidMeasurement("weights must be finite, not negative, and not all zero")
    return sample


def same_predictions(first: EvaluationSample, second: EvaluationSample) -> bool:
    """Return whether two models predicted the same for every row."""
    if first.score is None or second.score is None:
        return first.score is second.score and np.array_equal(first.prediction, second.prediction)
    return np.array_equal(first.score, second.score) and np.array_equal(first.prediction, second.prediction)


def to_array(values: Any) -> NDArray[Any]:
    """Convert array-like values to a numpy array; missing values of pandas' own types become NaN or None."""
    kind = getattr(getattr(values, "dtype", None), "kind", "")
    if hasattr(values, "to_numpy") and kind in "biuf":
        missing = bool(values.isna().any()) if hasattr(values, "isna") else False
        return np.asarray(values.to_numpy(dtype=float, na_value=float("nan")) if missing else values.to_numpy())
    if hasattr(values, "to_numpy"):
        return np.asarray(values.to_numpy(dtype=object) if getattr(values, "ndim", 1) == 1 else values.to_numpy())
    converted = np.asarray(values)
    if converted.dtype.kind in "US" and any(not isinstance(value, (str, bytes)) for value in values):
        return np.asarray(values, dtype=object)  # numpy would convert None and 1 to the texts "None" and "1"
    return converted


def to_numbers(values: Any, what: str) -> NDArray[np.float64]:
    """Return values as float64.

    :raises UndefinedMetric: status ``invalid``, when they are not numbers
    """
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise UndefinedMetric(f"{what} are not numbers", "invalid") from None


def require_finite(values: Any, what: str) -> NDArray[np.float64]:
    """Return values as float64, all finite.

    :raises UndefinedMetric: status ``invalid``: a NaN is a missing prediction, and an average over the others would hide it
    """
    numbers = to_numbers(values, what)
    bad = int(np.count_nonzero(~np.isfinite(numbers)))
    if bad:
        raise UndefinedMetric(f"{bad} of {numbers.size} {what} are NaN or infinite", "invalid")
    return numbers


def require_present(values: NDArray[Any], what: str) -> NDArray[Any]:
    """Return labels, none of them missing.

    :raises UndefinedMetric: status ``invalid``, when one is missing
    """
    bad = 0
    if values.dtype.kind == "f":
        bad = int(np.count_nonzero(np.isnan(values)))
    elif values.dtype.kind == "O":
        bad = sum(value is None or value != value or str(value) in ("<NA>", "NaT") for value in values)
    if bad:
        raise UndefinedMetric(f"{bad} of {len(values)} {what} are missing", "invalid")
    return values
