"""Predictors that run in the worker: a function, a model file, an MLflow model. Nothing is loaded before ``predict``."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_slo_provider.exceptions import InvalidMeasurement, QueryError, to_install

if TYPE_CHECKING:
    from airflow_slo_provider.evaluation.models.context import PredictionContext
    from airflow_slo_provider.evaluation.rows.golden_set import GoldenSet
    from airflow_slo_provider.evaluation.rows.predictions import Predictions


@dataclass
class Function:
    """Predictions of a Python function of the features.

    :param function: takes a DataFrame of features and returns one value per row, or class probabilities (rows, classes)
    :param batch_size: rows per call
    """

    function: Callable[[Any], Any]
    batch_size: int = 10_000
    template_fields: ClassVar[Sequence[str]] = ()

    def __repr__(self) -> str:
        """Return the function's name, without its address, which changes whenever the DAG is parsed."""
        return f"Function({getattr(self.function, '__module__', '?')}.{getattr(self.function, '__qualname__', '?')})"

    def predict(self, golden: GoldenSet, context: PredictionContext) -> Predictions:
        """Call the function batch by batch; see ``Predictor.predict``."""
        return predict_in_batches(golden, context, {"prediction": self.function}, self.batch_size)


@dataclass
class ModelFile:
    """Predictions of a model in a file: joblib or pickle (scikit-learn and similar), or ONNX.

    Opening such a file runs code from it, so the DAG's author must set ``trusted=True``.

    :param path: any path or URI that Airflow's ObjectStoragePath opens (templated)
    :param trusted: confirms that the origin of the file is trusted; must be True
    :param features: columns in the order the model was trained with; by default the golden set's features
    :param as_array: pass an array to the model instead of a DataFrame
    :param batch_size: rows per call
    """

    path: str
    trusted: bool = False
    features: Sequence[str] | None = None
    as_array: bool = False
    batch_size: int = 10_000
    template_fields: ClassVar[Sequence[str]] = ("path",)

    def __post_init__(self) -> None:
        if self.trusted is not True:
            raise ValueError(f"{self.path}: opening a model file runs its code; set trusted=True if you trust its origin")

    def predict(self, golden: GoldenSet, context: PredictionContext) -> Predictions:
        """Load the model and call it batch by batch; see ``Predictor.predict``."""
        if self.path.lower().endswith(".onnx"):
            return predict_in_batches(golden, context, {"prediction": self._onnx(context)}, self.batch_size, self.features)
        from airflow_slo_provider.evaluation.rows.sample import to_array

        model = self._load(context)

        def adapt(method: Callable[[Any], Any]) -> Callable[[Any], Any]:
            return (lambda rows: method(rows.to_numpy())) if self.as_array else method

        methods, labels = {"prediction": adapt(model.predict)}, None
        if getattr(model, "predict_proba", None) is not None:
            methods["score"] = adapt(model.predict_proba)
            classes = getattr(model, "classes_", None)
            labels = None if classes is None else tuple(to_array(classes).tolist())
        return predict_in_batches(golden, context, methods, self.batch_size, self.features, labels)

    def _load(self, context: PredictionContext) -> Any:
        import io

        try:
            import joblib
        except ImportError as error:
            raise InvalidMeasurement(f"a model file needs joblib: {to_install('evaluation')}") from error
        data = self._read(context)
        try:
            return joblib.load(io.BytesIO(data))
        except OSError:
            raise
        except Exception as error:
            raise InvalidMeasurement(f"{self.path}: the model cannot be loaded: {type(error).__name__}: {error}") from error

    def _read(self, context: PredictionContext) -> bytes:
        """Read the file. Storage errors other than a missing file are passed on and retried, because they may be transient."""
        try:
            with context.path(self.path).open("rb") as file:
                data: bytes = file.read()
        except FileNotFoundError:
            raise QueryError(f"{self.path}: there is no such model file", reason="not_found") from None
        return data

    def _onnx(self, context: PredictionContext) -> Callable[[Any], Any]:
        try:
            import onnxruntime
        except ImportError as error:
            raise InvalidMeasurement(f"{self.path}: an ONNX model needs the package onnxruntime") from error
        session = onnxruntime.InferenceSession(self._read(context))
        name = session.get_inputs()[0].name
        return lambda rows: session.run(None, {name: rows.to_numpy(dtype="float32")})[0]


@dataclass
class MlflowModel:
    """Predictions of an MLflow model, loaded into the worker (needs the extra ``mlflow``, and the model's own libraries).

    :param uri: ``models:/name@alias``, ``models:/name/3``, ``runs:/...`` (templated)
    :param trusted: confirms that the origin of the model is trusted, because loading it runs code; must be True
    :param batch_size: rows per call
    """

    uri: str
    trusted: bool = False
    batch_size: int = 10_000
    template_fields: ClassVar[Sequence[str]] = ("uri",)

    def __post_init__(self) -> None:
        if self.trusted is not True:
            raise ValueError(f"{self.uri}: loading a model runs its code; set trusted=True if you trust its origin")

    def predict(self, golden: GoldenSet, context: PredictionContext) -> Predictions:
        """Load the model and call it batch by batch; see ``Predictor.predict``."""
        try:
            import mlflow.pyfunc
        except ImportError as error:
            raise InvalidMeasurement(f"{self.uri}: install airflow-slo-provider[mlflow] to load it into the worker") from error
        model = mlflow.pyfunc.load_model(self.uri)
        return predict_in_batches(golden, context, {"prediction": model.predict}, self.batch_size)


def predict_in_batches(
    golden: GoldenSet,
    context: PredictionContext,
    methods: dict[str, Callable[[Any], Any]],
    batch_size: int,
    features: Sequence[str] | None = None,
    labels: tuple[Any, ...] | None = None,
) -> Predictions:
    """Call functions of the features batch by batch, and time each batch.

    :param methods: functions by field of the result: ``prediction``, and ``score`` if there is one
    :param labels: the classes in the order of the columns of probabilities
    :raises InvalidMeasurement: when a call does not return a value for every row
    """
    import numpy as np

    from airflow_slo_provider.evaluation.rows.predictions import Predictions
    from airflow_slo_provider.evaluation.rows.sample import to_array

    rows = golden.features(features)
    answers: dict[str, list[Any]] = {name: [] for name in methods}
    latencies = []
    started = time.perf_counter()
    for start in range(0, len(rows), batch_size):
        batch = rows.iloc[start : start + batch_size]
        before = time.perf_counter()
        for name, method in methods.items():
            answer = to_array(method(batch))
            if answer.ndim == 2 and answer.shape[1] == 1:
                answer = answer[:, 0]
            if answer.ndim not in (1, 2) or len(answer) != len(batch):
                raise InvalidMeasurement(f"the model returned shape {answer.shape} ({name}) for {len(batch)} rows")
            answers[name].append(answer)
        latencies.append(time.perf_counter() - before)
        context.progress(min(start + batch_size, len(rows)), len(rows))
    columns = {name: np.concatenate(parts) for name, parts in answers.items()}
    return Predictions(
        ids=golden.ids, labels=labels, latencies=np.asarray(latencies), seconds=time.perf_counter() - started,
        prediction=columns["prediction"], score=columns.get("score"),
    )  # fmt: skip
