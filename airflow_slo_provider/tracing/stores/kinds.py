"""Names of the kinds of trace store. Airflow imports this at startup, so it must not import a tracer."""

from __future__ import annotations

#: Kinds that a connection may name and :func:`airflow_slo_provider.tracing.stores.open_store` opens.
KINDS = ("tempo", "jaeger", "mlflow", "phoenix", "otlp_json")
