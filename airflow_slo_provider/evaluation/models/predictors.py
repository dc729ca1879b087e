"""Predictors for use in DAGs: columns, prediction files, model servers.

Nothing is read, requested or imported before ``predict``. Text fields may hold Jinja: each class lists them in
``template_fields``, and Airflow renders them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from airflow_slo_provider.evaluation.models.worker_models import Function
from airflow_slo_provider.exceptions import InvalidMeasurement, QueryError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from airflow_slo_provider.evaluation.models.context import PredictionContext
    from airflow_slo_provider.evaluation.rows.golden_set import GoldenSet
    from airflow_slo_provider.evaluation.rows.predictions import Predictions


class Predictor(Protocol):
    """Interface of predictors: returns a prediction for every row of a golden set."""

    def predict(self, golden: GoldenSet, context: PredictionContext) -> Predictions:
        """Predict for all rows.

        :param golden: the golden set
        :param context: access to files, connections and progress
        :raises MeasurementError: when the model does not answer for all rows
        """
        ...


@dataclass
class Column:
    """Predictions in a column of the golden set itself.

    :param column: column of labels, probabilities, numbers or scores (templated)
    :param score_column: column of probabilities or scores, if ``column`` holds labels (templated)
    """

    column: str
    score_column: str | None = None
    template_fields: ClassVar[Sequence[str]] = ("column", "score_column")

    def predict(self, golden: GoldenSet, context: PredictionContext) -> Predictions:
        """Read the column; see ``Predictor.predict``."""
        return _read_predictions(
            golden.frame, golden.schema.id, self.column, self.score_column, golden.source or "the golden set"
        )


@dataclass
class PredictionFile:
    """Predictions in a file of their own: Parquet, CSV or JSON lines.

    :param path: any path or URI that Airflow's ObjectStoragePath opens (templated)
    :param column: column of labels, probabilities, numbers or scores (templated)
    :param id_column: column of row ids; by default the golden set's (templated)
    :param score_column: column of probabilities or scores, if ``column`` holds labels (templated)
    """

    path: str
    column: str = "prediction"
    id_column: str | None = None
    score_column: str | None = None
    template_fields: ClassVar[Sequence[str]] = ("path", "column", "id_column", "score_column")

    def predict(self, golden: GoldenSet, context: PredictionContext) -> Predictions:
        """Read the file; see ``Predictor.predict``."""
        from airflow_slo_provider.evaluation.rows.golden_set import read_table

        frame = read_table(context.path(self.path))
        return _read_predictions(frame, self.id_column or golden.schema.id, self.column, self.score_column, self.path)


def _read_predictions(frame: pd.DataFrame, id_column: str, column: str, score_column: str | None, where: str) -> Predictions:
    from airflow_slo_provider.evaluation.rows.golden_set import check_ids, require_column
    from airflow_slo_provider.evaluation.rows.predictions import Predictions

    for name in (id_column, column, *([score_column] if score_column else [])):
        require_column(frame, name, where)
    check_ids(frame, id_column, where)
    score = None if score_column is None else _read_column(frame, score_column, where)
    return Predictions(ids=frame[id_column].to_numpy(), prediction=_read_column(frame, column, where), score=score)


def _read_column(frame: pd.DataFrame, column: str, where: str) -> NDArray[Any]:
    """Return a column as an array; lists in its cells, such as class probabilities, become the columns of a 2-D array.

    :raises InvalidMeasurement: for lists of different lengths, or lists with values that are not numbers
    """
    import numpy as np

    from airflow_slo_provider.evaluation.rows.sample import to_array

    values = to_array(frame[column])
    if values.dtype != object or not len(values) or not all(isinstance(cell, (list, tuple, np.ndarray)) for cell in values):
        return values
    try:
        return np.asarray([np.asarray(cell, dtype=np.float64) for cell in values], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidMeasurement(f"{where}: column {column!r} holds lists that are not rows of numbers: {error}") from error


@dataclass
class HttpModel:
    """Predictions requested from a model server.

    :param http_conn_id: Airflow connection (type ``http``) of the server (templated)
    :param path: path of the endpoint, e.g. ``/v2/models/fraud/infer`` or ``/invocations`` (templated)
    :param protocol: ``oip_v2`` (Open Inference Protocol v2), ``mlflow`` (``/invocations``) or ``json`` with ``request`` and
        ``response``
    :param request: body of a ``json`` request; the texts ``$records`` (list of feature -> value), ``$rows`` (list of lists) and
        ``$record`` (with ``batch_size=1``) are replaced by the features (templated)
    :param response: path of the predictions in a ``json`` answer, e.g. ``$.predictions[*].label`` (templated)
    :param score: path of the scores, e.g. ``$.predictions[*].score``, or for ``oip_v2`` the name of their output (templated)
    :param output: name of the ``oip_v2`` output; by default the first (templated)
    :param features: columns in the order the model was trained with; by default the golden set's features
    :param batch_size: rows per request
    :param concurrency: number of concurrent requests
    :param retries: attempts after the first, for each request
    :param timeout: seconds for a whole answer, from the first byte sent to the last received
    """

    http_conn_id: str
    path: str = ""
    protocol: str = "oip_v2"
    request: Any = None
    response: str | None = None
    score: str | None = None
    output: str | None = None
    features: Sequence[str] | None = None
    batch_size: int = 100
    concurrency: int = 4
    retries: int = 3
    timeout: float = 30.0
    template_fields: ClassVar[Sequence[str]] = ("http_conn_id", "path", "request", "response", "score", "output")

    def __post_init__(self) -> None:
        from airflow_slo_provider.evaluation.models.protocols import PROTOCOLS

        if self.protocol not in PROTOCOLS:
            raise ValueError(f"protocol is {self.protocol!r}; write one of {', '.join(PROTOCOLS)}")
        if self.protocol == "json" and (self.request is None or not self.response):
            raise ValueError("protocol json needs a request (the body) and a response (the path of the predictions)")
        for name in ("batch_size", "concurrency"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 1 or more")

    def predict(self, golden: GoldenSet, context: PredictionContext) -> Predictions:
        """Request predictions for all rows, or raise an error; see ``Predictor.predict``."""
        from airflow_slo_provider.evaluation.models.model_server import request_predictions
        from airflow_slo_provider.evaluation.models.protocols import make_protocol

        if context.server is None:
            raise QueryError("connections cannot be resolved outside of Airflow", reason="bad_connection")
        protocol = make_protocol(
            self.protocol, request=self.request, response=self.response, score=self.score, output=self.output
        )
        return request_predictions(
            context.server(self.http_conn_id), self.path, protocol, golden.features(self.features), ids=golden.ids,
            batch_size=self.batch_size, concurrency=self.concurrency, retries=self.retries, timeout=self.timeout,
            progress=context.progress,
        )  # fmt: skip


def get_location(predictor: Predictor) -> str | None:
    """Return the location of a predictor's predictions or model, as text; None for a function."""
    location = next(
        (getattr(predictor, name) for name in ("http_conn_id", "path", "uri", "column") if hasattr(predictor, name)), None
    )
    return None if location is None else str(location).strip()


def list_columns(predictors: Iterable[Predictor | None]) -> tuple[str, ...]:
    """Return the columns of the golden set that hold predictions."""
    stored = [predictor for predictor in predictors if isinstance(predictor, Column)]
    return tuple(name for column in stored for name in (column.column, column.score_column) if name)


def make_predictor(value: Any) -> Predictor:
    """Convert a DAG author's value to a predictor.

    A function is called; text is a file of predictions if it ends like one or contains a slash, else a column of the golden set.

    :raises ValueError: for any other value
    """
    if hasattr(value, "predict") and not isinstance(value, type) and hasattr(value, "template_fields"):
        return value  # type: ignore[no-any-return]
    if isinstance(value, str) and value.startswith(("models:/", "runs:/")):
        raise ValueError(f"predictor is {value!r}; write MlflowModel({value!r}, trusted=True), because loading it runs its code")
    if isinstance(value, str) and value:
        is_file = "/" in value or value.lower().endswith((".parquet", ".pq", ".csv", ".jsonl", ".ndjson", ".json"))
        return PredictionFile(value) if is_file else Column(value)
    if callable(value):
        return Function(value)
    raise ValueError(
        f"predictor is {value!r}; write the name of a column, a file of predictions, a function, or one of "
        "Column, PredictionFile, HttpModel, ModelFile, MlflowModel"
    )
