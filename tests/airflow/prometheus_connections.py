"""Airflow connections for tests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from airflow_slo_provider.hooks.prometheus import PrometheusHook


@pytest.fixture
def prometheus_connection(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Store a connection in the environment, as a deployment may, and return a hook for it."""
    # Imported here, because domain tests need no Airflow and its import takes longer than most of them.
    from airflow_slo_provider.hooks.prometheus import PrometheusHook

    def store(url: str | None, *, extra: Any = None, **fields: Any) -> PrometheusHook:
        connection = {"conn_type": "prometheus", "host": url, **fields}
        if extra is not None:
            connection["extra"] = extra if isinstance(extra, str) else json.dumps(extra)
        monkeypatch.setenv("AIRFLOW_CONN_PROM_TEST", json.dumps(connection))
        return PrometheusHook("prom_test")

    return store
