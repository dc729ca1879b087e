"""Every server's answer is refused if it comes from a cache or its JSON is ambiguous."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pandas as pd
import pytest

from airflow_slo_provider.deployment.kubernetes.api import Cluster, KubernetesRequest, parse
from airflow_slo_provider.deployment.registries.mlflow import MlflowRegistry
from airflow_slo_provider.exceptions import ReasonedError
from airflow_slo_provider.freshness.sources.http_client import ApiClient, ApiSettings, AsyncApiClient
from airflow_slo_provider.freshness.sources.http_steps import Call
from airflow_slo_provider.indicators.alertmanager import AsyncAlertmanagerClient
from airflow_slo_provider.tracing.stores import store_client as traces

TWICE = b'{"items": [], "data": [], "metadata": {"name": "old"}, "metadata": {"name": "new"}}'
NAN = b'{"metadata": {"n": NaN}}'


@contextmanager
def answering(body: bytes, seen: list[str] | None = None, **headers: str) -> Iterator[str]:
    """Run a server that gives the same answer to everything, and writes down what it is told of caches."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if seen is not None:
                seen.append(str(self.headers.get("Cache-Control")))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            for name, text in headers.items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _trace_store(url: str) -> None:
    traces.StoreClient(traces.HttpSettings(url=url, retries=0), kind="Tempo").request("/api/search")


def _api(url: str) -> None:
    with ApiClient(ApiSettings(url=url)) as client:
        client.send(Call("/api/v2/dags/x"))


def _api_in_a_trigger(url: str) -> None:
    async def ask() -> None:
        async with AsyncApiClient(ApiSettings(url=url)) as client:
            await client.send(Call("/api/v2/dags/x"))

    asyncio.run(ask())


def _alertmanager(url: str) -> None:
    async def ask() -> None:
        async with AsyncAlertmanagerClient(url) as client:
            await client.alerts(['a="b"'])

    asyncio.run(ask())


def _registry(url: str) -> None:
    MlflowRegistry(url, retries=0).get("fraud", "1")


def _model_server(url: str) -> None:
    import numpy as np

    from airflow_slo_provider.evaluation.models.model_server import request_predictions
    from airflow_slo_provider.evaluation.models.protocols import make_protocol
    from airflow_slo_provider.http.settings import HttpSettings

    rows = pd.DataFrame({"x": [1.0]})
    request_predictions(
        HttpSettings(url=url), "/predict", make_protocol("oip_v2"), rows,
        ids=np.array([1]), batch_size=1, concurrency=1, retries=0, timeout=5,
    )  # fmt: skip


def _kubernetes(url: str) -> None:
    from kubernetes import client

    configuration = client.Configuration(host=url)
    Cluster(client.AppsV1Api(client.ApiClient(configuration))).deployment("shop", "model")


READERS: dict[str, Callable[[str], None]] = {
    "trace store": _trace_store,
    "HTTP API": _api,
    "HTTP API in a trigger": _api_in_a_trigger,
    "Alertmanager": _alertmanager,
    "model registry": _registry,
    "model server": _model_server,
    "Kubernetes": _kubernetes,
}


@pytest.mark.parametrize("reader", READERS)
def test_repeated_key_in_an_answer_is_refused_by_every_reader(reader: str) -> None:
    with answering(TWICE) as url, pytest.raises(ReasonedError, match="the key 'metadata' occurs twice") as caught:
        READERS[reader](url)
    assert caught.value.reason == "repeated_key"


@pytest.mark.parametrize("reader", [reader for reader in READERS if reader != "model server"])
def test_nan_in_an_answer_is_refused_by_every_reader(reader: str) -> None:
    """A model server may write NaN for a prediction that is none; that prediction is refused, in its own words."""
    with answering(NAN) as url, pytest.raises(ReasonedError, match="NaN is not JSON") as caught:
        READERS[reader](url)
    assert caught.value.reason == "not_a_number"


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("headers", [{"Age": "600"}, {"Warning": '110 - "Response is Stale"'}], ids=["age", "warning"])
def test_cached_answer_is_refused_by_every_reader(reader: str, headers: dict[str, str]) -> None:
    with answering(b"[]" if reader == "Alertmanager" else b"{}", **headers) as url, pytest.raises(ReasonedError) as caught:
        READERS[reader](url)
    assert (caught.value.reason, caught.value.transient) == ("cached_answer", True)


@pytest.mark.parametrize("reader", [reader for reader in READERS if reader != "Kubernetes"])
def test_every_reader_sends_cache_control_no_cache(reader: str) -> None:
    """A cache that heeds it does not get in the way; the API server of Kubernetes forbids caches itself."""
    seen: list[str] = []
    with answering(TWICE, seen) as url, pytest.raises(ReasonedError):
        READERS[reader](url)
    assert set(seen) == {"no-cache"}


def test_kubernetes_answer_in_a_trigger_is_parsed_strictly() -> None:
    with pytest.raises(ReasonedError, match="occurs twice"):
        parse(TWICE, KubernetesRequest("get", "deployments", "shop", "model"))
