"""Retried requests: one short warning per request, and no attempt beyond a deadline."""

from __future__ import annotations

import logging
import socket

import pytest

from airflow_slo_provider.deployment.registries.history import RegistryError
from airflow_slo_provider.deployment.registries.mlflow import MlflowRegistry
from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.http.client import HttpClient
from airflow_slo_provider.http.settings import HttpSettings
from airflow_slo_provider.http.time_limits import within
from airflow_slo_provider.indicators.prometheus.client import PrometheusClient
from tests.unit.http.faulty_server import FaultyServer, answer


@pytest.fixture
def refusing_address() -> str:
    """An address that refuses."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{one.getsockname()[1]}"


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def expected_warning(address: str) -> str:
    return f"the request to {address.removeprefix('http://')} failed (connection_refused); retrying, at most 2 times"


def test_retry_log_of_prometheus_client(refusing_address: str, caplog: pytest.LogCaptureFixture) -> None:
    client = PrometheusClient(refusing_address, retries=2)
    with pytest.raises(QueryError, match="refused the connection"):
        client.connect.custom_query("up")
    assert warnings(caplog) == [expected_warning(refusing_address)]
    with pytest.raises(QueryError):
        client.connect.custom_query("up")
    assert warnings(caplog) == [expected_warning(refusing_address)] * 2


def test_retry_log_of_mlflow_registry(refusing_address: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(RegistryError, match="refused the connection"):
        MlflowRegistry(refusing_address, retries=2).alias("fraud", "champion")
    assert warnings(caplog) == [expected_warning(refusing_address)]


def test_retry_whose_pause_exceeds_the_deadline_is_not_made() -> None:
    with FaultyServer(answer(503, b"busy", {"Retry-After": "100"})) as server, within(lambda: 3.0):
        client = HttpClient(HttpSettings(url=f"http://{server.address}", retries=2))
        found = client.request("GET", "/")
        assert (found.status, server.connections) == (503, 1)
