"""Configure sampling and export of a model server's spans."""

from __future__ import annotations

import atexit
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.tracing.recording.request_tracer import TracingUnavailable

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

_at_exit = False


def configure(
    service_name: str,
    endpoint: str | None = None,
    protocol: str = "http",
    sample_ratio: float = 1.0,
    keep_slow_ms: float | None = None,
    keep_errors: bool = True,
    *,
    headers: Mapping[str, str] | None = None,
    resource: Mapping[str, Any] | None = None,
    exporter: SpanExporter | None = None,
    queue: int = 4096,
    delay_ms: int = 2000,
    install_globally: bool = False,
) -> TracerProvider:
    """Configure how this process samples and exports request traces.

    Call it once, when the server starts; a second call replaces the first configuration.

    The caller's sampling decision (W3C ``traceparent``) is followed, else ``sample_ratio`` of trace ids are sampled. A request
    that was not sampled is held in memory while it runs, and exported if it turns out slow or failed; such traces carry
    ``sampling.kept``, so that a breakdown can tell them from a representative sample.

    :param service_name: ``service.name`` of the spans
    :param endpoint: collector or trace store: for ``http`` a URL, to which ``/v1/traces`` is added if it has no path; for
        ``grpc`` host and port (``https://`` for TLS); ``file:///path/traces.jsonl`` for an OTLP-JSON file. None for
        ``OTEL_EXPORTER_OTLP_ENDPOINT`` or the default of OTLP
    :param protocol: ``http`` (also ``http/protobuf``) or ``grpc``
    :param sample_ratio: share of requests to trace, 0 to 1
    :param keep_slow_ms: milliseconds from which a request that was not sampled is exported; None for never
    :param keep_errors: whether a failed request that was not sampled is exported
    :param headers: headers of export requests, e.g. ``{"x-mlflow-experiment-id": "3"}``
    :param resource: further resource attributes, e.g. ``{"service.version": "1.4.2"}``
    :param exporter: a span exporter to use instead of OTLP
    :param queue: maximum number of spans waiting for export; more are dropped
    :param delay_ms: milliseconds after which waiting spans are exported as a batch
    :param install_globally: also set it as OpenTelemetry's global provider, for other instrumentation of the server
    :return: the tracer provider, with its ``force_flush`` and ``shutdown``
    :raises TracingUnavailable: when the OpenTelemetry SDK or the exporter is not installed
    :raises ValueError: for invalid arguments
    :raises RuntimeError: for ``install_globally`` inside an Airflow task, where Airflow owns the global provider
    """
    _check_arguments(service_name, protocol, sample_ratio, keep_slow_ms, queue, delay_ms)
    if install_globally and "airflow.sdk.execution_time.task_runner" in sys.modules:
        raise RuntimeError("an Airflow worker has Airflow's OpenTelemetry provider; configure without install_globally")
    try:
        from airflow_slo_provider.tracing.recording import pipeline

        configured = pipeline.build_pipeline(
            resource={**(resource or {}), "service.name": service_name},
            exporter=exporter if exporter is not None else _create_exporter(endpoint, protocol, dict(headers or {})),
            sample_ratio=sample_ratio, keep_slow_ms=keep_slow_ms, keep_errors=keep_errors, queue=queue, delay_ms=delay_ms,
        )  # fmt: skip
    except ImportError as error:
        package = "opentelemetry-exporter-otlp-proto-" + ("grpc" if protocol == "grpc" else "http")
        raise TracingUnavailable(
            f"tracing.configure needs the OpenTelemetry SDK and {package}: pip install 'airflow-slo-provider[tracing]'"
            f"{' ' + package if protocol == 'grpc' else ''} ({error})"
        ) from error
    provider = configured.provider
    assert provider is not None
    pipeline.activate(configured)
    if install_globally:
        from opentelemetry import trace

        trace.set_tracer_provider(provider)
    global _at_exit
    if not _at_exit:
        _at_exit = True
        atexit.register(shutdown)
    return provider


def flush(timeout: float = 10.0) -> bool:
    """Export the waiting spans.

    :param timeout: maximum number of seconds to wait
    :return: whether all spans were exported in time
    """
    pipeline = sys.modules.get("airflow_slo_provider.tracing.recording.pipeline")
    return pipeline is None or bool(pipeline.active().force_flush(round(timeout * 1000)))


def shutdown(timeout: float = 5.0) -> None:
    """Export the waiting spans and shut the provider down; later tracers use the process's global provider.

    :param timeout: maximum number of seconds to wait for the collector
    """
    pipeline = sys.modules.get("airflow_slo_provider.tracing.recording.pipeline")
    if pipeline is not None:
        pipeline.activate(None, timeout_millis=round(timeout * 1000))


def _check_arguments(
    service_name: str, protocol: str, sample_ratio: float, keep_slow_ms: float | None, queue: int, delay_ms: int
) -> None:
    if not service_name:
        raise ValueError("service_name is empty: the trace store finds spans by it")
    if protocol not in ("http", "http/protobuf", "grpc"):
        raise ValueError(f"protocol is {protocol!r}; write http or grpc")
    if not 0 <= sample_ratio <= 1:
        raise ValueError(f"sample_ratio is {sample_ratio}; write a share from 0 to 1")
    if keep_slow_ms is not None and not keep_slow_ms >= 0:
        raise ValueError(f"keep_slow_ms is {keep_slow_ms}; write milliseconds, or None")
    if queue < 1 or delay_ms < 1:
        raise ValueError(f"queue is {queue} and delay_ms {delay_ms}; both start at 1")


def _create_exporter(endpoint: str | None, protocol: str, headers: dict[str, str]) -> SpanExporter:
    if endpoint is not None and endpoint.startswith("file://"):
        from pathlib import Path
        from urllib.parse import unquote

        from airflow_slo_provider.tracing.recording.file_exporter import FileExporter

        return FileExporter(Path(unquote(endpoint.removeprefix("file://"))))
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter

        # gRPC requires metadata keys in lower case.
        metadata = tuple((name.lower(), value) for name, value in headers.items())
        insecure = None if endpoint is None else not endpoint.startswith("https://")
        return GrpcExporter(endpoint=endpoint, insecure=insecure, headers=metadata or None)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter

    return HttpExporter(endpoint=None if endpoint is None else _traces_url(endpoint), headers=headers or None)


def _traces_url(endpoint: str) -> str:
    from urllib.parse import urlsplit

    url = endpoint if "://" in endpoint else f"http://{endpoint}"
    return url.rstrip("/") + "/v1/traces" if urlsplit(url).path in ("", "/") else url
