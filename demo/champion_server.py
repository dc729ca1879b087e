"""A model server that serves the champion of a model registry and loads a new champion without a restart.

It also follows the decision of the error-budget policy (``airflow_slo_provider.incidents.serving``): while degraded, it responds
with the most frequent class without using the model. Metrics have the model version as a label, so versions can be compared.

The registry is a directory (``airflow_slo_provider.deployment.registries.directory``): ``ROOT/MODEL/registry.json`` names the
champion, ``ROOT/MODEL/versions/2`` holds ``model.joblib`` and ``model.json``. ``"zero_is_missing": true`` in ``model.json`` is
the release with the bug.
"""

from __future__ import annotations

import argparse
import json
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow_slo_provider import tracing
from airflow_slo_provider.incidents.serving import read_decision
from airflow_slo_provider.tracing import MLRequestTracer
from demo.model_server import Model, PredictionLog, Server

#: Seconds between two reads of the champion and the decision.
POLL_SECONDS = 0.2


class ChampionServer(Server):
    """The server.

    :param directory: the model's directory in the registry
    :param decision: path of the policy's decision; None without one
    """

    def __init__(self, address: tuple[str, int], directory: Path, log: PredictionLog, decision: Path | None = None) -> None:
        self.directory, self.decision, self.degraded = directory, decision, False
        self._read, self._classes = "", [""]
        self._closed = threading.Event()
        model = self._load_champion()
        assert model is not None
        super().__init__(address, model, log)
        threading.Thread(target=self._poll_forever, daemon=True).start()

    def predict(self, tracer: MLRequestTracer, request: Mapping[str, Any]) -> str:
        """Predict; while degraded, return the most frequent class."""
        return self._classes[-1] if self.degraded else super().predict(tracer, request)

    def poll(self) -> None:
        """Load the champion if it has changed; read the decision."""
        model = self._load_champion()
        if model is not None:
            self.metrics.serve(model.version)
            self.model = model
        if self.decision is not None:
            self.degraded = read_decision(self.decision).degraded

    def _load_champion(self) -> Model | None:
        text = (self.directory / "registry.json").read_text()
        if text == self._read:
            return None
        directory = self.directory / "versions" / json.loads(text)["aliases"]["champion"]
        card = json.loads((directory / "model.json").read_text())
        model = Model(directory, zero_is_missing=bool(card.get("zero_is_missing")))
        self._classes, self._read = card["classes"], text
        return model

    def _poll_forever(self) -> None:
        while not self._closed.wait(POLL_SECONDS):
            try:
                self.poll()
            except (OSError, ValueError, KeyError) as error:  # the champion is being changed
                print(f"the champion cannot be read: {error}", flush=True)

    def server_close(self) -> None:
        """Stop polling and close the server."""
        self._closed.set()
        super().server_close()


def main() -> None:
    parser = argparse.ArgumentParser(description="serve the champion over HTTP")
    parser.add_argument("--registry", type=Path, required=True, help="the model registry, a directory")
    parser.add_argument("--model", required=True, help="the model's name in it")
    parser.add_argument("--decision", type=Path, help="decision of the error-budget policy")
    parser.add_argument("--log", type=Path, required=True, help="the prediction log, a SQLite file")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--traces", help="where spans go: http://collector:4318, or file:///path/traces.jsonl")
    options = parser.parse_args()
    if options.traces:
        tracing.configure("model-server", endpoint=options.traces, keep_slow_ms=250)
    log = PredictionLog(options.log)
    server = ChampionServer((options.host, options.port), options.registry / options.model, log, options.decision)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"serving version {server.model.version} on http://{options.host}:{server.server_address[1]}", flush=True)
    try:
        server.serve_forever(poll_interval=0.1)
    finally:
        server.server_close()
        log.close()
        tracing.shutdown()


if __name__ == "__main__":
    main()
