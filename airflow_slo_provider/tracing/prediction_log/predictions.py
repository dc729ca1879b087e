"""Rows of the prediction log; select failed predictions and sample those whose traces to inspect."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow_slo_provider.exceptions import writable


@dataclass(frozen=True)
class Prediction:
    """A row of the prediction log.

    :param request_id: id of the request
    :param trace_id: 32 hex digits; empty if the request was not traced
    :param model_version: version of the model that answered
    :param prediction: the prediction as text (JSON for anything other than text); None if there was none
    :param latency: seconds
    :param status: ``ok``, ``error``, or the server's own status
    :param timestamp: when the request was answered
    """

    request_id: str
    trace_id: str
    model_version: str
    prediction: str | None
    latency: float
    status: str
    timestamp: datetime


def hex_trace_id(trace_id: str | int | None) -> str:
    """Return a trace id as 32 hex digits; empty for None, for zero, and for an invalid trace id."""
    if not trace_id:
        return ""
    text = f"{trace_id:032x}" if isinstance(trace_id, int) else str(trace_id).strip().lower().removeprefix("0x").rjust(32, "0")
    valid = len(text) == 32 and set(text) <= set("0123456789abcdef") and set(text) != {"0"}
    return text if valid else ""


def sample(predictions: Iterable[Prediction], count: int, *, per_version: bool = True, seed: int = 0) -> list[Prediction]:
    """Choose predictions whose traces to inspect: a random sample of those with a trace, the same for the same seed.

    :param predictions: e.g. the result of :func:`failed`
    :param count: sample size
    :param per_version: whether each model version gets an equal share, however many of its predictions failed
    :param seed: seed of the random generator
    """
    traced = sorted((row for row in predictions if row.trace_id), key=lambda row: (row.request_id, row.trace_id))
    generator = random.Random(seed)  # noqa: S311 - a sample, not a secret
    generator.shuffle(traced)
    if not per_version:
        return traced[:count]
    groups: dict[str, list[Prediction]] = {}
    for row in traced:
        groups.setdefault(row.model_version, []).append(row)
    chosen: list[Prediction] = []
    while len(chosen) < count and any(groups.values()):
        for version in sorted(groups):
            if groups[version] and len(chosen) < count:
                chosen.append(groups[version].pop())
    return chosen


def failed(predictions: Iterable[Prediction], labels: Mapping[str, Any]) -> list[Prediction]:
    """Return the predictions that were wrong or missing.

    :param predictions: rows of the log, see :func:`~airflow_slo_provider.tracing.prediction_log.log.read`
    :param labels: true labels by request id, from a golden set or from feedback
    """
    return [row for row in predictions if row.request_id in labels and row.prediction != prediction_text(labels[row.request_id])]


def prediction_text(prediction: Any) -> str | None:
    """Return a model's answer as text; None if it gave none."""
    if prediction is None:
        return None
    if isinstance(prediction, str):
        return writable(prediction)
    # Convert numpy scalars and arrays to Python values.
    plain = prediction.tolist() if hasattr(prediction, "tolist") else prediction
    return json.dumps(plain, default=str)
