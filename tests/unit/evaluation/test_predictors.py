"""Predictions from everywhere; from a model server under faults: all of them, or an error."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from airflow_slo_provider.evaluation.intervals.latency import estimate_latency
from airflow_slo_provider.evaluation.metrics.metric_names import find_metric
from airflow_slo_provider.evaluation.models.context import PredictionContext
from airflow_slo_provider.evaluation.models.predictors import Column, HttpModel, PredictionFile, make_predictor
from airflow_slo_provider.evaluation.models.protocols import parse_path
from airflow_slo_provider.evaluation.models.worker_models import Function, MlflowModel, ModelFile
from airflow_slo_provider.evaluation.rows.predictions import Predictions, join
from airflow_slo_provider.exceptions import InvalidMeasurement, NoData, QueryError
from airflow_slo_provider.http.settings import HttpSettings
from tests.support import airflow_timeout
from tests.unit.evaluation.builders import frame, golden
from tests.unit.evaluation.faulty_model_server import FAULTS, ModelServer, serving


def score(row: list[float]) -> float:
    return float(1 / (1 + np.exp(-(row[0] - 0.5))))


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with serving(score) as running:
        yield running


def context_of(server: ModelServer, **headers: str) -> PredictionContext:
    return PredictionContext(server=lambda conn_id: HttpSettings(url=server.url, headers=headers))


def expected() -> np.ndarray:
    return np.array([score([amount]) for amount in golden().frame["amount"]])


MODELS = {
    "oip_v2": {"path": "/v2/models/fraud/infer", "score": "predict_proba"},
    "mlflow": {"path": "/invocations"},
    "json": {"request": {"instances": "$records"}, "response": "$.predictions[*].score"},
}


def http_model(protocol: str, **more: Any) -> HttpModel:
    return HttpModel("fraud", **{"protocol": protocol, "batch_size": 7, "timeout": 1.0, **MODELS[protocol], **more})


@pytest.mark.parametrize("protocol", MODELS)
def test_model_server_answers_in_every_protocol(server: ModelServer, protocol: str) -> None:
    told: list[tuple[int, int]] = []
    server.delay = 0.01
    here = PredictionContext(
        server=lambda _: HttpSettings(url=server.url + "/", basic=("u", "p")), progress=lambda *at: told.append(at)
    )
    found = http_model(protocol).predict(golden(), here)
    scores = found.prediction if found.score is None else found.score[:, 1]
    assert scores == pytest.approx(expected())
    assert join(golden(), found).coverage == 1
    assert (server.requests, len(found.latencies), found.retried) == (58, 58, 0)
    assert 1 < server.most_busy <= 4
    assert server.headers[0]["Authorization"].startswith("Basic ")
    assert max(told) == (400, 400)
    assert found.seconds > 0


def test_requests_to_a_model_server_have_the_documented_form(server: ModelServer) -> None:
    rows = frame(3)
    http_model("oip_v2").predict(golden(rows), context_of(server))
    http_model("json").predict(golden(rows), context_of(server))
    path, body = server.seen[0]
    assert (path, body["inputs"][0]["shape"], body["inputs"][0]["datatype"]) == ("/v2/models/fraud/infer", [3, 2], "FP64")
    assert server.seen[1][1]["instances"][2] == {"amount": rows["amount"][2], "age": rows["age"][2]}


@pytest.mark.parametrize("protocol", ["oip_v2", "mlflow"])
def test_model_server_with_every_fault_is_retried(server: ModelServer, protocol: str) -> None:
    server.faults, server.every = FAULTS, 20
    found = http_model(protocol, batch_size=2, concurrency=8).predict(golden(), context_of(server))
    scores = found.prediction if found.score is None else found.score[:, 1]
    assert scores == pytest.approx(expected())
    assert found.retried >= 9
    assert server.requests == 200 + found.retried


def test_latencies_include_failed_attempts(server: ModelServer) -> None:
    """Whoever asks the model waits for them too: the second request gets no answer, the third one answers its batch."""
    server.faults, server.every = ("hang",), 2
    found = http_model("oip_v2", concurrency=1, timeout=0.5).predict(golden(frame(14)), context_of(server))
    assert (found.retried, len(found.latencies)) == (1, 2)
    assert found.latencies[1] >= 0.5


def test_task_timeout_cancels_queued_batches(server: ModelServer) -> None:
    """Requests that are under way end; the 40 that wait for them are never sent."""
    server.delay, rows = 0.2, golden(frame(40))
    with airflow_timeout(0.5):
        http_model("oip_v2", batch_size=1, concurrency=2).predict(rows, context_of(server))
    assert 0 < server.requests < 20


def test_task_timeout_ends_retries(server: ModelServer) -> None:
    """A batch that is to be asked again is not."""
    server.faults, server.every, rows = ("status",), 1, golden(frame(14))
    with airflow_timeout(0.5):
        http_model("oip_v2", concurrency=2, retries=5).predict(rows, context_of(server))
    assert 0 < server.requests < 2 * 6


@pytest.mark.parametrize(
    ("fault", "reason", "text"),
    [
        ("status", "server_error", "HTTP 503"),
        ("hang", "timeout", "within 1 s"),
        ("short", "wrong_answer", "for 7 rows"),
        ("not_json", "not_json", "not JSON"),
        ("no_outputs", "wrong_answer", "no outputs"),
        ("nan", "wrong_answer", "null, NaN"),
        ("drip", "timeout", "1 s"),
        ("reset", "connection_reset", "connection broke"),
        ("cut", "truncated", "broke off"),
    ],
)
def test_model_server_that_never_recovers_raises(server: ModelServer, fault: str, reason: str, text: str) -> None:
    server.faults, server.every = (fault,), 1
    with pytest.raises(QueryError, match=text) as error:
        http_model("oip_v2", retries=1, concurrency=2).predict(golden(frame(14)), context_of(server))
    assert (error.value.reason, error.value.transient) == (reason, True)
    assert "(2 attempts)" in str(error.value)


def test_one_bad_batch_raises(server: ModelServer) -> None:
    poison = golden().frame["amount"].iloc[123]
    server.score = lambda row: float("nan") if row[0] == poison else score(row)
    with pytest.raises(QueryError, match="1 of 7 predictions are null, NaN"):
        http_model("mlflow", retries=1).predict(golden(), context_of(server))


def test_refused_request_is_not_retried(server: ModelServer) -> None:
    with pytest.raises(QueryError, match="HTTP 404: no such model") as error:
        HttpModel("x", "/nowhere", "mlflow", retries=3, concurrency=1).predict(golden(frame(7)), context_of(server))
    assert (error.value.reason, error.value.transient, server.requests) == ("not_found", False, 1)


def test_unreachable_model_server_raises_transient_error() -> None:
    with pytest.raises(QueryError, match="the server refused the connection") as error:
        http_model("mlflow", retries=0).predict(
            golden(), PredictionContext(server=lambda _: HttpSettings(url="http://127.0.0.1:1"))
        )
    assert error.value.transient


def test_predictor_with_invalid_arguments_is_rejected() -> None:
    for arguments, text in (
        ({"protocol": "grpc"}, "oip_v2, mlflow, json"),
        ({"protocol": "json"}, "needs a request"),
        ({"batch_size": 0}, "batch_size"),
        ({"concurrency": 0}, "concurrency"),
    ):
        with pytest.raises(ValueError, match=text):
            HttpModel("x", **arguments)
    for model in (ModelFile, MlflowModel):
        with pytest.raises(ValueError, match="trusted=True"):
            model("model.joblib")
    with pytest.raises(ValueError, match="predictor is 7"):
        make_predictor(7)
    with pytest.raises(ValueError, match=r"write MlflowModel\('models:/fraud@champion', trusted=True\)"):
        make_predictor("models:/fraud@champion")


def test_path_into_an_answer_is_parsed_or_rejected() -> None:
    assert parse_path("$.a['b c'][*][0].d") == ["a", "b c", "*", 0, "d"]
    for invalid in ("a.b", "$..a", "$.a[?(@.b)]"):
        with pytest.raises(ValueError):
            parse_path(invalid)


def test_column_and_file_are_read_as_predictions(tmp_path: Path) -> None:
    rows = frame(50)
    rows["pred"], rows["p"] = rows["label"], 0.5
    whole = golden(rows, ignored=("pred", "p"))
    found = Column("pred", "p").predict(whole, PredictionContext())
    assert join(whole, found).sample.score.tolist() == [0.5] * 50
    path = tmp_path / "predictions.csv"
    rows[["id", "pred"]].rename(columns={"id": "key"}).to_csv(path, index=False)
    found = PredictionFile(str(path), column="pred", id_column="key").predict(whole, PredictionContext())
    assert join(whole, found).coverage == 1
    with pytest.raises(InvalidMeasurement, match="no column 'prediction'"):
        PredictionFile(str(path), id_column="key").predict(whole, PredictionContext())
    with pytest.raises(NoData, match="no such file"):
        PredictionFile(str(tmp_path / "none.csv")).predict(whole, PredictionContext())
    assert isinstance(make_predictor("pred"), Column)
    assert isinstance(make_predictor(str(path)), PredictionFile)


def test_function_is_called_in_batches() -> None:
    found = Function(lambda rows: (rows["amount"] > 0.5).astype(int), batch_size=64).predict(golden(), PredictionContext())
    assert (found.prediction == (golden().frame["amount"] > 0.5)).all()
    assert len(found.latencies) == 7
    assert "0x" not in repr(make_predictor(test_function_is_called_in_batches))
    with pytest.raises(InvalidMeasurement, match="for 400 rows"):
        Function(lambda rows: [1, 2, 3]).predict(golden(), PredictionContext())


def test_model_file_is_loaded_and_called(tmp_path: Path) -> None:
    joblib, linear = pytest.importorskip("joblib"), pytest.importorskip("sklearn.linear_model")
    rows = golden().features()
    model = linear.LogisticRegression().fit(rows, golden().frame["label"])
    path = tmp_path / "model.joblib"
    joblib.dump(model, path)
    found = ModelFile(str(path), trusted=True, batch_size=100).predict(golden(), PredictionContext())
    assert (found.prediction == model.predict(rows)).all()
    assert found.score == pytest.approx(model.predict_proba(rows))
    assert found.labels == (0, 1)
    path.write_bytes(b"no model")
    with pytest.raises(InvalidMeasurement, match="the model cannot be loaded"):
        ModelFile(str(path), trusted=True).predict(golden(), PredictionContext())
    with pytest.raises(QueryError, match="no such model file"):
        ModelFile(str(tmp_path / "none.joblib"), trusted=True).predict(golden(), PredictionContext())


def timed(latencies: Any, seconds: float = 2.0) -> Predictions:
    many = np.asarray(latencies, dtype=float)
    return Predictions(ids=np.arange(len(many)), prediction=many, latencies=many, seconds=seconds)


def test_latency_and_throughput_are_estimated() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        found = estimate_latency(find_metric("latency_p95"), timed(rng.exponential(size=200)))
        held += found.low <= -np.log(0.05) <= found.high
    assert 0.93 <= held / 400 <= 0.99
    assert estimate_latency(find_metric("latency_p50"), timed([1, 2, 3, 4, 5])).value == 3
    few = estimate_latency(find_metric("latency_p99"), timed([1, 2, 3]))
    assert (few.value, few.high) == (3, None)
    assert estimate_latency(find_metric("throughput"), timed(range(10))).value == 5
    assert estimate_latency(find_metric("latency_p99"), Predictions(ids=np.arange(1), prediction=np.ones(1))).value is None
