"""Predictions of a model, and their join with the golden set by id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_slo_provider.evaluation.rows.golden_set import GoldenSet
from airflow_slo_provider.evaluation.rows.sample import EvaluationSample, make_sample, to_array
from airflow_slo_provider.exceptions import InvalidMeasurement


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """Predictions of a model.

    :param ids: ids of the predicted rows, shape (n,)
    :param prediction: labels, numbers or scores, shape (n,), or class probabilities, shape (n, classes)
    :param score: probabilities or scores, if ``prediction`` holds labels
    :param labels: the classes in the order of the columns of probabilities
    :param latencies: seconds of each request, in no particular order
    :param seconds: time from the first request to the last answer
    :param retried: number of requests that had to be repeated
    :param model_version: version that the model reports, None if it reports none
    """

    ids: NDArray[Any]
    prediction: NDArray[Any]
    score: NDArray[Any] | None = None
    labels: tuple[Any, ...] | None = None
    latencies: NDArray[np.float64] | None = None
    seconds: float | None = None
    retried: int = 0
    model_version: str | None = None

    def __post_init__(self) -> None:
        for name in ("prediction", "score"):
            column = getattr(self, name)
            if column is not None and len(column) != len(self.ids):
                raise InvalidMeasurement(f"the model returned {len(column)} values ({name}) for {len(self.ids)} rows")


@dataclass(frozen=True, kw_only=True, eq=False)
class JoinedPredictions:
    """Predictions joined with the labels, in the row order of the golden set.

    :param sample: the rows that have a label and a prediction
    :param ranked: rows for ranking metrics: with groups, all labelled rows, those without a prediction ranked last
    :param covered: mask over the golden set's rows: which have a label and a prediction
    :param expected: number of rows of the golden set
    :param missing: some ids without a prediction
    :param unpredicted: number of ids without a prediction
    :param extra: number of predictions for ids that the golden set does not have
    """

    sample: EvaluationSample
    ranked: EvaluationSample
    covered: NDArray[np.bool_]
    expected: int
    missing: tuple[str, ...] = ()
    unpredicted: int = 0
    extra: int = 0

    @property
    def coverage(self) -> float:
        """Share of the golden set's rows that have a label and a prediction."""
        return float(self.covered.sum()) / self.expected


def join(
    golden: GoldenSet,
    predictions: Predictions,
    *,
    positive: Any = None,
    cut: float = 0.5,
    labels: tuple[Any, ...] | None = None,
    drop: NDArray[np.bool_] | None = None,
    ranking: bool = True,
) -> JoinedPredictions:
    """Join predictions with the golden set by id.

    :param positive: the positive class of two; by default the greater
    :param cut: probability from which a row counts as positive
    :param labels: the classes, for predictions that do not name them
    :param drop: rows to leave out besides those without a prediction (rows that the other model did not answer)
    :param ranking: whether rows of a group are ranked, in which case their scores must be numbers
    :raises InvalidMeasurement: when an id is predicted twice
    """
    import pandas as pd

    schema, frame = golden.schema, golden.frame
    # dtype object: with pandas' own text type, each look-up would convert all ids to Python texts and back.
    ids = pd.Index(_to_text_ids(predictions.ids), dtype=object)
    if ids.has_duplicates:
        repeated = ids[ids.duplicated()].unique()
        raise InvalidMeasurement(f"{len(repeated)} ids have more than one prediction, e.g. {', '.join(map(str, repeated[:5]))}")
    position = ids.get_indexer(pd.Index(_to_text_ids(golden.ids), dtype=object))
    labelled = frame[schema.label].notna().to_numpy()
    prediction = _align(predictions.prediction, position)
    score = None if predictions.score is None else _align(predictions.score, position)
    predicted = (position >= 0) & _has_value(prediction)
    if score is not None:
        predicted &= _has_value(score)
    covered = labelled & predicted

    def select_rows(kept: NDArray[np.bool_], prediction: NDArray[Any], score: NDArray[Any] | None) -> EvaluationSample:
        rows = np.flatnonzero(kept)
        chosen = frame.iloc[rows]
        return make_sample(
            chosen[schema.label], prediction[rows], score=None if score is None else score[rows],
            groups=None if schema.group is None else chosen[schema.group],
            weight=None if schema.weight is None else to_array(chosen[schema.weight]),
            labels=predictions.labels if predictions.labels is not None else labels, positive=positive, cut=cut,
        )  # fmt: skip

    sample = ranked = select_rows(covered if drop is None else covered & ~drop, prediction, score)
    if schema.group and ranking:
        # Only a ranking can include rows without a prediction; any other metric would score values that the model did not give.
        last = _rank_missing_last(frame[schema.group], prediction if score is None else score, covered)
        ranked = select_rows(labelled, last, None)
    missing = golden.ids[~predicted]
    return JoinedPredictions(
        sample=sample, ranked=ranked, covered=covered, expected=len(frame),
        missing=tuple(map(str, missing[:5])), unpredicted=len(missing),
        extra=len(ids) - len(np.unique(position[position >= 0])),
    )  # fmt: skip


def _to_text_ids(ids: NDArray[Any]) -> NDArray[Any]:
    """Return ids as text, because file formats differ in types: 7, 7.0 and "7" identify the same row."""
    if ids.dtype.kind == "f" and np.isfinite(ids).all() and (ids == np.floor(ids)).all() and (np.abs(ids) < 1 << 53).all():
        ids = ids.astype(np.int64)
    return np.asarray(list(map(str, ids.tolist())), dtype=object)


def _align(values: NDArray[Any], position: NDArray[np.intp]) -> NDArray[Any]:
    """Move predictions to their ids' rows in the golden set; NaN or None for rows without a prediction."""
    if not len(values):
        return np.full(len(position), np.nan)
    aligned, absent = values[position], position < 0
    if absent.any():
        aligned = aligned.astype(np.float64 if aligned.dtype.kind in "biuf" else object)
        aligned[absent] = np.nan if aligned.dtype.kind == "f" else None
    return aligned


def _has_value(values: NDArray[Any]) -> NDArray[np.bool_]:
    import pandas as pd

    present: NDArray[np.bool_] = ~np.asarray(pd.isna(values))
    return present if present.ndim == 1 else np.all(present, axis=1)


def _rank_missing_last(groups: Any, scores: NDArray[Any], covered: NDArray[np.bool_]) -> NDArray[Any]:
    """Rank rows without a score last in their group, as not retrieved; a group without any score keeps none."""
    import pandas as pd

    if scores.ndim != 1:
        raise InvalidMeasurement(f"{scores.shape[1]} scores per row; rows of a group are ranked by one number each")
    try:
        known = pd.Series(np.asarray(scores, dtype=np.float64)).where(covered)
    except (TypeError, ValueError) as error:
        raise InvalidMeasurement(f"rows of a group are ranked by numbers, and the model returned none: {error}") from error
    lowest = known.groupby(groups.to_numpy(), dropna=False).transform("min")
    return np.asarray(known.where(covered, lowest - 1))
