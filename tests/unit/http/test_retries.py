"""A request that is sent again is one short warning, however often that is."""

from __future__ import annotations

import logging
import socket

import pytest

from airflow_slo_provider.deployment.registries.history import RegistryError
from airflow_slo_provider.deployment.registries.mlflow import MlflowRegistry
from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.indicators.prometheus.client import PrometheusClient


@pytest.fixture
def nobody() -> str:
    """An address that refuses."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{one.getsockname()[1]}"


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def said(address: str) -> str:
    return f"the request to {address.removeprefix('http://')} failed (connection_refused); trying again, 2 more at most"


def test_prometheus(nobody: str, caplog: pytest.LogCaptureFixture) -> None:
    client = PrometheusClient(nobody, retries=2)
    with pytest.raises(QueryError, match="refused the connection"):
        client.connect.custom_query("up")
    assert warnings(caplog) == [said(nobody)]
    with pytest.raises(QueryError):
        client.connect.custom_query("up")
    assert warnings(caplog) == [said(nobody)] * 2


def test_mlflow(nobody: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(RegistryError, match="refused the connection"):
        MlflowRegistry(nobody, retries=2).alias("fraud", "champion")
    assert warnings(caplog) == [said(nobody)]
