"""Convert predictions to the classes and probabilities that the metrics of a classifier read."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_slo_provider.evaluation.rows.sample import (
    EvaluationSample,
    UndefinedMetric,
    require_finite,
    require_present,
    to_array,
)  # fmt: skip


def to_native(values: NDArray[Any]) -> NDArray[Any]:
    """Convert labels to a native numpy type if all are of one kind."""
    if values.dtype.kind != "O":
        return values
    kinds = {type(value) for value in values}
    if kinds == {str} or kinds <= {int, bool, float, np.bool_, np.int64, np.float64}:
        return np.asarray(values.tolist())
    return np.asarray(list(map(str, values)))


def true_classes(sample: EvaluationSample) -> NDArray[Any]:
    """Return the classes: those given, else the sorted classes of the truth (0 and 1 if only one of them occurs).

    :raises UndefinedMetric: when a label is missing or there are no rows
    """
    if sample.n == 0:
        raise UndefinedMetric("there are no rows")
    truth = to_native(require_present(sample.truth, "labels"))
    if sample.labels is not None:
        return to_array(sample.labels)
    classes = np.unique(truth)
    if classes.dtype.kind in "biuf" and len(classes) < 2 and np.isin(classes, (0, 1)).all():
        return np.asarray([0, 1], dtype=classes.dtype)
    return classes


def predicted_labels(sample: EvaluationSample) -> NDArray[Any]:
    """Return the predicted label of each row: by the threshold for two classes, else the most probable class.

    :raises UndefinedMetric: status ``invalid``, for NaN or for numbers that are neither labels nor probabilities
    """
    classes = true_classes(sample)
    if sample.prediction.ndim == 2:
        shares = _read_shares(sample.prediction, classes, "predictions")
        if len(classes) == 2:
            negative, positive = order_classes(classes, sample.positive)
            return np.asarray(np.where(shares[:, 1 if classes[1] == positive else 0] >= sample.cut, positive, negative))
        return np.asarray(classes[shares.argmax(axis=1)])
    predicted = to_native(require_present(sample.prediction, "predictions"))
    if predicted.dtype.kind != "f" or np.isin(predicted, classes).all():
        return predicted
    values = require_finite(predicted, "predictions")
    if len(classes) == 2 and values.min() >= 0 and values.max() <= 1:
        negative, positive = order_classes(classes, sample.positive)
        return np.asarray(np.where(values >= sample.cut, positive, negative))
    raise UndefinedMetric("the predictions are neither labels that occur nor probabilities of one of two classes", "invalid")


def _read_shares(values: NDArray[Any], classes: NDArray[Any], what: str) -> NDArray[np.float64]:
    shares = require_finite(values, what)
    if shares.shape[1] != len(classes):
        raise UndefinedMetric(f"{shares.shape[1]} columns of probabilities for {len(classes)} classes; name `labels`", "invalid")
    return shares


def order_classes(classes: NDArray[Any], positive: Any) -> tuple[Any, Any]:
    """Return the negative and the positive class of two; by default the greater is positive.

    :raises UndefinedMetric: when there are not two classes, or the positive class is not one of them
    """
    if len(classes) != 2:
        raise UndefinedMetric(f"there are {len(classes)} classes, {', '.join(map(str, classes[:5]))}; this metric needs two")
    try:
        lesser, greater = sorted(classes)  # the order of the given labels does not define which is positive
    except TypeError:
        raise UndefinedMetric(f"the classes {classes[0]!r} and {classes[1]!r} are of different kinds", "invalid") from None
    if positive is None or positive == greater:
        return lesser, greater
    if positive == lesser:
        return greater, lesser
    raise UndefinedMetric(f"the positive class {positive!r} is neither {lesser!r} nor {greater!r}", "invalid")


def encode_labels(sample: EvaluationSample) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[Any]]:
    """Return truth and prediction as indices into the classes that occur in either, and those classes."""
    truth, predicted = to_native(require_present(sample.truth, "labels")), predicted_labels(sample)
    if (truth.dtype.kind in "US") != (predicted.dtype.kind in "US"):
        raise UndefinedMetric("labels are text on one side and numbers on the other", "invalid")
    classes = np.unique(np.concatenate([truth, predicted] + ([true_classes(sample)] if sample.labels else [])))
    return np.searchsorted(classes, truth), np.searchsorted(classes, predicted), classes


def binary_scores(sample: EvaluationSample, *, probabilities: bool) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return which rows are positive, and the score of the positive class.

    :param probabilities: whether the scores must lie in [0, 1]
    :raises UndefinedMetric: when there are more than two classes, or scores are missing
    """
    classes = true_classes(sample)
    negative, positive = order_classes(classes, sample.positive)
    values = sample.prediction if sample.score is None else sample.score
    if values.ndim == 2:
        if values.shape[1] != 2:
            raise UndefinedMetric(f"{values.shape[1]} columns of scores for two classes", "invalid")
        values = values[:, 1 if classes[1] == positive else 0]
    scores = require_finite(values, "scores")
    if probabilities and sample.n and (scores.min() < 0 or scores.max() > 1):
        raise UndefinedMetric("scores lie outside [0, 1]; this metric needs probabilities", "invalid")
    truth = to_native(sample.truth)
    is_positive = truth == positive
    if not (is_positive | (truth == negative)).all():
        raise UndefinedMetric("a label occurs that is not among `labels`", "invalid")
    return is_positive, scores


def class_probabilities(sample: EvaluationSample) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return the index of each row's true class, and the probabilities, shape (n, classes); two columns for two classes.

    :raises UndefinedMetric: when a label has no column, or the numbers are not probabilities
    """
    values = sample.prediction if sample.score is None else sample.score
    if values.ndim == 1 or values.shape[1] == 2:
        positive, scores = binary_scores(sample, probabilities=True)
        return positive.astype(np.intp), np.column_stack([1 - scores, scores])
    classes = true_classes(sample)
    shares = _read_shares(values, classes, "probabilities")
    if shares.min() < 0 or shares.max() > 1 or np.abs(shares.sum(axis=1) - 1).max() > 1e-6:
        raise UndefinedMetric("the rows of probabilities must lie in [0, 1] and add up to 1", "invalid")
    order = np.argsort(classes)
    truth = to_native(sample.truth)
    index = order[np.searchsorted(classes[order], truth).clip(max=len(classes) - 1)]
    if not (classes[index] == truth).all():
        unseen = np.unique(truth[classes[index] != truth])
        raise UndefinedMetric(f"labels without a column of probabilities: {', '.join(map(str, unseen[:5]))}", "invalid")
    return index, shares
