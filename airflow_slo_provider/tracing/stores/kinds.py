"""Kinds of trace store. A module of its own: Airflow reads it when it starts, and must not load a tracer."""

from __future__ import annotations

#: What a connection may name, and :func:`airflow_slo_provider.tracing.stores.open_store` opens.
KINDS = ("tempo", "jaeger", "mlflow", "phoenix", "otlp_json")
