"""Evaluate SLOs on one Prometheus server."""

from __future__ import annotations

from typing import Any

from airflow_slo_provider.indicators.prometheus.client_adapters import make_source
from airflow_slo_provider.slo.budget.monitor import SLOMonitor
from airflow_slo_provider.slo.catalog import SLOCatalog


class PrometheusEvaluator(SLOMonitor):
    """Evaluate a catalog whose indicators are all on one Prometheus server. SLOs with other sources get the status QUERY_ERROR.

    :param catalog: the SLOs
    :param client: the server's URL, a ``PrometheusHook`` or a client, see :func:`.client_adapters.make_source`
    """

    def __init__(self, catalog: SLOCatalog, client: Any) -> None:
        source = make_source(client)
        super().__init__(catalog, source if isinstance(source, dict) else {"Prometheus": source})
