"""Setting up where a model server's spans go."""

from __future__ import annotations

import atexit
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.tracing.recording.request import TracingUnavailable

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
    """Say where this process's request traces go. Call it once, when the server starts; calling it again replaces the first.

    A request is sampled as its caller says (W3C ``traceparent``), else by ``sample_ratio`` of trace ids. One that was not sampled
    is written down while it runs, and exported all the same when it turns out slow or failed; such traces carry
    ``sampling.kept`` so that a breakdown does not mistake them for the usual.

    :param service_name: ``service.name`` of the spans
    :param endpoint: of the collector or store: for ``http`` its address, ``/v1/traces`` is added to one without a path; for
        ``grpc`` host and port (``https://`` for TLS); ``file:///path/traces.jsonl`` for an OTLP-JSON file. None for
        ``OTEL_EXPORTER_OTLP_ENDPOINT`` or the default of OTLP
    :param protocol: ``http`` (also ``http/protobuf``) or ``grpc``
    :param sample_ratio: share of requests to trace, 0 to 1
    :param keep_slow_ms: milliseconds from which a request that was not sampled is kept; None for never
    :param keep_errors: whether one that failed is
    :param headers: sent along, e.g. ``{"x-mlflow-experiment-id": "3"}``
    :param resource: further attributes of the process, e.g. ``{"service.version": "1.4.2"}``
    :param exporter: instead of OTLP
    :param queue: spans that wait for the collector at most; more are dropped
    :param delay_ms: how long spans wait for others to be sent with
    :param install_globally: also become OpenTelemetry's global provider, for other instrumentation in a server of yours
    :return: the provider, with its ``force_flush`` and ``shutdown``
    :raises TracingUnavailable: when the OpenTelemetry SDK or the exporter is not installed
    :raises ValueError: for arguments that make no sense
    :raises RuntimeError: for ``install_globally`` inside an Airflow task: its provider belongs to Airflow
    """
    _check(service_name, protocol, sample_ratio, keep_slow_ms, queue, delay_ms)
    if install_globally and "airflow.sdk.execution_time.task_runner" in sys.modules:
        raise RuntimeError(
            "this is an Airflow worker: its OpenTelemetry provider is Airflow's; configure without install_globally"
        )
    try:
        from airflow_slo_provider.tracing.recording import pipeline

        built = pipeline.build(
            resource={**(resource or {}), "service.name": service_name},
            exporter=exporter if exporter is not None else _exporter(endpoint, protocol, dict(headers or {})),
            sample_ratio=sample_ratio,
            keep_slow_ms=keep_slow_ms,
            keep_errors=keep_errors,
            queue=queue,
            delay_ms=delay_ms,
        )
    except ImportError as error:
        package = "opentelemetry-exporter-otlp-proto-" + ("grpc" if protocol == "grpc" else "http")
        raise TracingUnavailable(
            f"tracing.configure needs the OpenTelemetry SDK and {package}: pip install 'airflow-slo-provider[tracing]'"
            f"{' ' + package if protocol == 'grpc' else ''} ({error})"
        ) from error
    provider = built.provider
    assert provider is not None
    pipeline.replace(built)
    if install_globally:
        from opentelemetry import trace

        trace.set_tracer_provider(provider)
    global _at_exit
    if not _at_exit:
        _at_exit = True
        atexit.register(shutdown)
    return provider


def flush(timeout: float = 10.0) -> bool:
    """Send what waits.

    :param timeout: seconds
    :return: whether all of it was handed to the collector in time
    """
    pipeline = sys.modules.get("airflow_slo_provider.tracing.recording.pipeline")
    return pipeline is None or bool(pipeline.active().force_flush(round(timeout * 1000)))


def shutdown(timeout: float = 5.0) -> None:
    """Send what waits and end; tracers made afterwards use whatever provider the process has.

    :param timeout: seconds to wait for a collector that may not be there
    """
    pipeline = sys.modules.get("airflow_slo_provider.tracing.recording.pipeline")
    if pipeline is not None:
        pipeline.replace(None, timeout_millis=round(timeout * 1000))


def _check(service_name: str, protocol: str, sample_ratio: float, keep_slow_ms: float | None, queue: int, delay_ms: int) -> None:
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


def _exporter(endpoint: str | None, protocol: str, headers: dict[str, str]) -> SpanExporter:
    if endpoint is not None and endpoint.startswith("file://"):
        from pathlib import Path
        from urllib.parse import unquote

        from airflow_slo_provider.tracing.recording.file_exporter import FileExporter

        return FileExporter(Path(unquote(endpoint.removeprefix("file://"))))
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter

        # Lower case is what gRPC asks of metadata.
        metadata = tuple((name.lower(), value) for name, value in headers.items())
        insecure = None if endpoint is None else not endpoint.startswith("https://")
        return GrpcExporter(endpoint=endpoint, insecure=insecure, headers=metadata or None)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter

    return HttpExporter(endpoint=None if endpoint is None else _traces_url(endpoint), headers=headers or None)


def _traces_url(endpoint: str) -> str:
    from urllib.parse import urlsplit

    url = endpoint if "://" in endpoint else f"http://{endpoint}"
    return url.rstrip("/") + "/v1/traces" if urlsplit(url).path in ("", "/") else url
