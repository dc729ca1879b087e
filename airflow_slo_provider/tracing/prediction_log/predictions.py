"""What the prediction log holds of a prediction, and which predictions are worth a look."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from airflow_slo_provider.exceptions import writable


@dataclass(frozen=True)
class Prediction:
    """One row.

    :param request_id: the request
    :param trace_id: 32 hex digits; empty where it was not traced
    :param model_version: version of the model that answered
    :param prediction: what it answered, as text (JSON for anything that is no text); None where there was none
    :param latency: seconds
    :param status: ``ok``, ``error``, or what the server calls it
    :param timestamp: when it was answered
    """

    request_id: str
    trace_id: str
    model_version: str
    prediction: str | None
    latency: float
    status: str
    timestamp: datetime


def hex_trace_id(trace_id: str | int | None) -> str:
    """Return a trace id as 32 hex digits; empty for none, for zero, and for what is no trace id."""
    if not trace_id:
        return ""
    text = f"{trace_id:032x}" if isinstance(trace_id, int) else str(trace_id).strip().lower().removeprefix("0x").rjust(32, "0")
    valid = len(text) == 32 and set(text) <= set("0123456789abcdef") and set(text) != {"0"}
    return text if valid else ""


def sample(predictions: Iterable[Prediction], count: int, *, per_version: bool = True, seed: int = 0) -> list[Prediction]:
    """Choose predictions whose traces are to be looked at: those with a trace, at random, the same ones for the same seed.

    :param predictions: e.g. what :func:`failed` returns
    :param count: how many
    :param per_version: whether each model version gets its equal part, however many it failed
    """
    traced = sorted((one for one in predictions if one.trace_id), key=lambda one: (one.request_id, one.trace_id))
    chance = random.Random(seed)  # noqa: S311 - a sample, not a secret
    chance.shuffle(traced)
    if not per_version:
        return traced[:count]
    groups: dict[str, list[Prediction]] = {}
    for one in traced:
        groups.setdefault(one.model_version, []).append(one)
    chosen: list[Prediction] = []
    while len(chosen) < count and any(groups.values()):
        for version in sorted(groups):
            if groups[version] and len(chosen) < count:
                chosen.append(groups[version].pop())
    return chosen


def failed(predictions: Iterable[Prediction], labels: Mapping[str, Any]) -> list[Prediction]:
    """Return the predictions that were wrong, or that were none.

    :param predictions: rows of the log, see :func:`~airflow_slo_provider.tracing.prediction_log.log.read`
    :param labels: the truth by request id: golden-set labels, or feedback
    """
    return [one for one in predictions if one.request_id in labels and one.prediction != answer_text(labels[one.request_id])]


def to_row(prediction: Prediction) -> dict[str, Any]:
    """Return the columns of a row."""
    return asdict(prediction)


def answer_text(prediction: Any) -> str | None:
    """Write what a model answered as text; None where it gave none."""
    if prediction is None:
        return None
    if isinstance(prediction, str):
        return writable(prediction)
    # numpy scalars and arrays know how to become Python's own.
    plain = prediction.tolist() if hasattr(prediction, "tolist") else prediction
    return json.dumps(plain, default=str)
