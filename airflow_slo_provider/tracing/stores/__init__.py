"""Read traces from Tempo, Jaeger, MLflow, Phoenix or OTLP-JSON files, behind one protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_slo_provider.core.lazy_names import offer
from airflow_slo_provider.tracing.stores.kinds import KINDS

if TYPE_CHECKING:
    from airflow_slo_provider.http.settings import HttpSettings
    from airflow_slo_provider.tracing.stores.jaeger import JaegerStore
    from airflow_slo_provider.tracing.stores.mlflow import MlflowStore
    from airflow_slo_provider.tracing.stores.otlp_files import FileStore
    from airflow_slo_provider.tracing.stores.phoenix import PhoenixStore
    from airflow_slo_provider.tracing.stores.protocol import LIMIT, TraceStore
    from airflow_slo_provider.tracing.stores.tempo import TempoStore

__all__ = [
    "KINDS", "LIMIT", "FileStore", "HttpSettings", "JaegerStore", "MlflowStore", "PhoenixStore", "TempoStore", "TraceStore",
    "open_store",
]  # fmt: skip

#: Imported on first use: an Airflow connection form needs only the kinds.
__getattr__ = offer(
    __name__,
    {
        "tracing.stores.otlp_files": "FileStore",
        "http.settings": "HttpSettings",
        "tracing.stores.jaeger": "JaegerStore",
        "tracing.stores.mlflow": "MlflowStore",
        "tracing.stores.phoenix": "PhoenixStore",
        "tracing.stores.protocol": "LIMIT TraceStore",
        "tracing.stores.tempo": "TempoStore",
    },
)


def open_store(kind: str, *, path: str | None = None, http: HttpSettings | None = None, **options: Any) -> TraceStore:
    """Open a trace store of a kind.

    :param kind: one of ``KINDS``
    :param path: for ``otlp_json``: file, directory or glob
    :param http: for all others: address, credentials and timeouts of the server
    :param options: further arguments of the store's class
    :raises ValueError: for an unknown kind, or a missing ``path`` or ``http``
    """
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is not a kind of trace store; write one of {', '.join(KINDS)}")
    from airflow_slo_provider.tracing.stores.jaeger import JaegerStore
    from airflow_slo_provider.tracing.stores.mlflow import MlflowStore
    from airflow_slo_provider.tracing.stores.otlp_files import FileStore
    from airflow_slo_provider.tracing.stores.phoenix import PhoenixStore
    from airflow_slo_provider.tracing.stores.tempo import TempoStore

    if kind == "otlp_json":
        if not path:
            raise ValueError("an otlp_json store needs a path")
        return FileStore(path, **options)
    if http is None:
        raise ValueError(f"a {kind} store needs an address")
    stores = {"tempo": TempoStore, "jaeger": JaegerStore, "mlflow": MlflowStore, "phoenix": PhoenixStore}
    store: TraceStore = stores[kind](http, **options)
    return store
