"""Real model servers under load: MLflow's scoring server, and MLServer with the Open Inference Protocol.

A proxy before each breaks one request in twenty: what comes out is every row's prediction, as the model itself makes them.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from airflow_slo_provider.evaluation.intervals.latency import estimate_latency
from airflow_slo_provider.evaluation.metrics.metric_names import find_metric
from airflow_slo_provider.evaluation.models.context import PredictionContext
from airflow_slo_provider.evaluation.models.predictors import HttpModel
from airflow_slo_provider.evaluation.rows.golden_set import Schema, make_golden_set, read_table
from airflow_slo_provider.evaluation.rows.predictions import join
from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.http.settings import HttpSettings
from tests.peers import peer
from tests.services.mlflow_server import free_port, proxy

FEATURES = ["radius", "texture", "area"]
ROWS = 3000

#: Trains where the server's own libraries are, and writes what the model itself says of each row.
TRAIN = """
import sys
import joblib, numpy as np, pandas as pd
from sklearn.linear_model import LogisticRegression
home, features = sys.argv[1], sys.argv[2].split(",")
rows = pd.read_csv(home + "/golden.csv")
model = LogisticRegression().fit(rows[features].to_numpy(), rows["label"])
rows.assign(said=model.predict(rows[features].to_numpy()))[["id", "said"]].to_csv(home + "/said.csv", index=False)
joblib.dump(model, home + "/model.joblib")
if len(sys.argv) > 3:
    import mlflow.sklearn
    mlflow.sklearn.save_model(model, home + "/model", pip_requirements=[], serialization_format="pickle")
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("models")
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, ROWS)
    columns = {name: rng.normal(label) for name in FEATURES}
    pd.DataFrame({"id": [f"r{one}" for one in range(ROWS)], "label": label, **columns}).to_csv(made / "golden.csv", index=False)
    return made


@contextmanager
def running(command: list[str], ready: str, home: Path, **env: str) -> Iterator[None]:
    """Run a server until the block ends; it counts as started when ``ready`` answers 200."""
    environment = {**os.environ, **env, "PATH": f"{Path(command[0]).parent}:{os.environ['PATH']}"}
    with (home / "server.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=home, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            deadline = time.monotonic() + 180
            while True:
                with contextlib.suppress(OSError), urllib.request.urlopen(ready, timeout=2) as answer:
                    if answer.status == 200:
                        break
                assert process.poll() is None and time.monotonic() < deadline, (home / "server.log").read_text()[-3000:]
                time.sleep(0.2)
            yield
        finally:
            for stop in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, stop)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(10)


def train(program: Path, home: Path, *more: str) -> None:
    done = subprocess.run(
        [str(program.parent / "python"), "-c", TRAIN, str(home), ",".join(FEATURES), *more],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def ask_under_load(url: str, home: Path, model: HttpModel) -> Any:
    """Ask for every row, eight requests at a time, one in twenty of which gets no answer."""
    golden = make_golden_set(read_table(home / "golden.csv"), Schema(), "golden.csv")
    said = pd.read_csv(home / "said.csv").set_index("id")["said"]
    count = itertools.count(1)
    with proxy(url, lambda method, path, body: next(count) % 20 == 0) as between:
        between.release.set()
        found = model.predict(golden, PredictionContext(server=lambda _: HttpSettings(url=between.url)))
    joined = join(golden, found)
    assert joined.coverage == 1
    assert (joined.sample.prediction == said[golden.frame["id"]].to_numpy()).all()
    assert found.retried >= ROWS / model.batch_size / 20 - 1
    assert 0 < (estimate_latency(find_metric("latency_p50"), found).value or 0) < 30
    return found


def test_mlflow_scoring_server_answers_all_rows(home: Path) -> None:
    program, port = peer("mlflow") / "mlflow", free_port()
    train(program, home, "mlflow")
    url = f"http://127.0.0.1:{port}"
    command = [str(program), "models", "serve", "-m", str(home / "model"), "-h", "127.0.0.1", "-p", str(port)]
    with running([*command, "--env-manager", "local", "--workers", "1"], f"{url}/ping", home):
        model = HttpModel("model", "/invocations", "mlflow", batch_size=25, concurrency=8)
        ask_under_load(url, home, model)
        golden = make_golden_set(read_table(home / "golden.csv"), Schema(features=("radius",)), "golden.csv")
        with pytest.raises(QueryError, match="HTTP 4") as error:  # the model was trained on three features
            model.predict(golden, PredictionContext(server=lambda _: HttpSettings(url=url)))
        assert not error.value.transient


def test_mlserver_answers_all_rows(home: Path) -> None:
    program, port = peer("mlserver") / "mlserver", free_port()
    train(program, home)
    url = f"http://127.0.0.1:{port}"
    settings = {
        "http_port": port,
        "grpc_port": free_port(),
        "metrics_port": free_port(),
        "host": "127.0.0.1",
        "parallel_workers": 0,
    }
    (home / "settings.json").write_text(json.dumps(settings))
    parameters = {"uri": "./model.joblib", "version": "v7"}
    described = {"name": "tumours", "implementation": "mlserver_sklearn.SKLearnModel", "parameters": parameters}
    (home / "model-settings.json").write_text(json.dumps(described))
    with running([str(program), "start", str(home)], f"{url}/v2/health/ready", home):
        ask_under_load(url, home, HttpModel("model", "/v2/models/tumours/infer", "oip_v2", batch_size=25, concurrency=8))
        with pytest.raises(QueryError, match="HTTP 404"):
            HttpModel("model", "/v2/models/none/infer").predict(
                make_golden_set(read_table(home / "golden.csv"), Schema(), ""),
                PredictionContext(server=lambda _: HttpSettings(url=url)),
            )
