"""Every client reports a wire fault alike: reason, transience, no secret in the message, within its time limit."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.unit.http.faulty_server import FaultyServer, answer
from tests.unit.http.wire_faults import (
    FAULTS,
    LONG,
    MAX_BYTES,
    PASSWORD,
    SECRET_PATH,
    SHORT,
    Fault,
    expected,
    running,
)  # fmt: skip

NOW = dt.datetime.now(dt.UTC)


def _http(url: str, limits: Any, **more: Any) -> dict[str, Any]:
    return {"url": url, "timeout": limits[0], "max_seconds": limits[1], "max_bytes": MAX_BYTES, "retries": 1, **more}


def _prometheus(url: str, limits: Any) -> None:
    from airflow_slo_provider.indicators.prometheus.client import PrometheusClient

    PrometheusClient(**_http(url, limits)).instant("up", NOW)


def _prometheus_get(url: str, limits: Any) -> None:
    from airflow_slo_provider.indicators.prometheus.client import PrometheusClient

    PrometheusClient(**_http(url, limits, method="GET")).range("up", NOW - dt.timedelta(hours=1), NOW, dt.timedelta(minutes=1))


def _prometheus_async(url: str, limits: Any) -> None:
    from airflow_slo_provider.indicators.prometheus.async_client import AsyncPrometheusClient

    async def ask() -> None:
        async with AsyncPrometheusClient(**_http(url, limits)) as client:
            await client.instant("up", NOW)

    asyncio.run(ask())


def _alertmanager(url: str, limits: Any) -> None:
    from airflow_slo_provider.indicators.alertmanager import AsyncAlertmanagerClient

    async def ask() -> None:
        async with AsyncAlertmanagerClient(**_http(url, limits)) as client:
            await client.alerts(['slo="checkout"'])

    asyncio.run(ask())


def _store(kind: str) -> Any:
    def ask(url: str, limits: Any) -> None:
        from airflow_slo_provider.http.settings import HttpSettings
        from airflow_slo_provider.tracing.stores.jaeger import JaegerStore
        from airflow_slo_provider.tracing.stores.mlflow import MlflowStore
        from airflow_slo_provider.tracing.stores.phoenix import PhoenixStore
        from airflow_slo_provider.tracing.stores.tempo import TempoStore

        made: Any = {"tempo": TempoStore, "jaeger": JaegerStore, "mlflow": MlflowStore, "phoenix": PhoenixStore}[kind]
        list(made(HttpSettings(**_http(url, limits))).spans("checkout", NOW - dt.timedelta(minutes=5), NOW))

    return ask


def _freshness(url: str, limits: Any) -> None:
    from airflow_slo_provider.freshness.sources.http_client import ApiClient, ApiSettings
    from airflow_slo_provider.freshness.sources.http_steps import Call, read_object

    call = Call("/api")
    with ApiClient(ApiSettings(**_http(url, limits))) as client:
        read_object(client.send(call), call)


def _freshness_async(url: str, limits: Any) -> None:
    from airflow_slo_provider.freshness.sources.http_client import ApiSettings, AsyncApiClient
    from airflow_slo_provider.freshness.sources.http_steps import Call, read_object

    async def ask() -> None:
        call = Call("/api")
        async with AsyncApiClient(ApiSettings(**_http(url, limits))) as client:
            read_object(await client.send(call), call)

    asyncio.run(ask())


def _model(url: str, limits: Any) -> None:
    import numpy as np
    import pandas as pd

    from airflow_slo_provider.evaluation.models.model_server import request_predictions
    from airflow_slo_provider.evaluation.models.protocols import make_protocol
    from airflow_slo_provider.http.settings import HttpSettings

    server, rows = HttpSettings(**_http(url, limits)), pd.DataFrame({"amount": [1.0]})
    request_predictions(
        server, "/predict", make_protocol("mlflow"), rows,
        ids=np.array(["a"]), batch_size=1, concurrency=1, retries=0, timeout=limits[0][1],
    )  # fmt: skip


def _registry(url: str, limits: Any) -> None:
    from dataclasses import replace

    from airflow_slo_provider.deployment.registries.mlflow import MlflowRegistry

    registry = MlflowRegistry(url, timeout=limits[0], retries=1)
    registry._http.settings = replace(registry._http.settings, max_bytes=MAX_BYTES)
    registry.get("churn", "3")


#: Every client that needs no Airflow, and the kind that it is.
CLIENTS = {
    "prometheus": (_prometheus, ""),
    "prometheus_get": (_prometheus_get, ""),
    "prometheus_async": (_prometheus_async, ""),
    "alertmanager": (_alertmanager, ""),
    "tempo": (_store("tempo"), "store"),
    "jaeger": (_store("jaeger"), "store"),
    "mlflow_traces": (_store("mlflow"), "store"),
    "phoenix": (_store("phoenix"), "store"),
    "freshness": (_freshness, ""),
    "freshness_async": (_freshness_async, ""),
    "model_server": (_model, "model"),
    "mlflow_registry": (_registry, ""),
}


def outcomes(clients: dict[str, Any], url: str, limits: Any) -> dict[str, tuple[str, bool, str]]:
    """Run all clients at the same time; return reason, transience and text of their errors.

    An error that is not one of ours is named by its class: an expected reason never is.
    """

    def run(name: str) -> tuple[str, bool, str]:
        try:
            clients[name][0](url, limits)
        except Exception as error:
            return getattr(error, "reason", type(error).__name__), getattr(error, "transient", False), str(error)
        return "", False, ""

    with ThreadPoolExecutor(len(clients)) as pool:
        return dict(zip(clients, pool.map(run, clients), strict=True))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_wire_fault_is_reported_alike_by_every_client(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(fault, monkeypatch) as (_, url):
        began = time.monotonic()
        found = outcomes(CLIENTS, url, SHORT if fault.slow else LONG)
        seconds = time.monotonic() - began
    assert {name: one[:2] for name, one in found.items()} == {name: expected(fault, kind) for name, (_, kind) in CLIENTS.items()}
    assert seconds < 15
    for name, (_, _, text) in found.items():
        assert PASSWORD not in text, name


def test_redirect_to_another_host_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultyServer(answer(200, b"{}")) as other:
        target = {"Location": f"http://{other.address}/{SECRET_PATH}?token={PASSWORD}"}
        fault = Fault(name="redirect", reason="redirected", transient=False, serve=answer(301, None, target))
        with running(fault, monkeypatch) as (_, url):
            found = outcomes(CLIENTS, url, LONG)
        assert {name: one[:2] for name, one in found.items()} == dict.fromkeys(CLIENTS, ("redirected", False))
        assert not any(PASSWORD in text for _, _, text in found.values())
        assert other.connections == 0


def test_netrc_credentials_are_sent_by_no_client(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    file = tmp_path / "netrc"
    file.write_text(f"machine 127.0.0.1 login netrc password {PASSWORD}\ndefault login netrc password {PASSWORD}\n")
    file.chmod(0o600)
    monkeypatch.setenv("NETRC", str(file))
    with running(Fault(name="netrc", reason="unauthorized", transient=False, serve=answer(401)), monkeypatch) as (server, url):
        found = outcomes(CLIENTS, url.replace(f"robot:{PASSWORD}@", ""), LONG)
        assert {one[0] for one in found.values()} == {"unauthorized"}
        assert len(server.heads) >= len(CLIENTS)
        assert not any(b"authorization" in head.lower() for head in server.heads)


@pytest.mark.parametrize("name", ["json_5000_deep", "json_never_closed", "html", "status_404"])
def test_permanent_fault_is_requested_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = next(one for one in FAULTS if one.name == name)
    for client in ("prometheus", "prometheus_async", "alertmanager", "tempo", "freshness", "freshness_async", "mlflow_registry"):
        with running(fault, monkeypatch) as (server, url):
            outcomes({client: CLIENTS[client]}, url, LONG)
            assert len(server.heads) == 1, client


@pytest.mark.parametrize("name", ["closed_at_once", "status_503", "status_429_for_an_hour"])
def test_transient_fault_is_retried(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = next(one for one in FAULTS if one.name == name)
    for client in ("prometheus", "prometheus_async", "alertmanager", "tempo", "freshness", "freshness_async", "mlflow_registry"):
        with running(fault, monkeypatch) as (server, url):
            outcomes({client: CLIENTS[client]}, url, LONG)
            assert len(server.heads) == 2, client
