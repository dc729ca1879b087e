"""Tracing without configuration, without OpenTelemetry and without Airflow; the arguments of ``configure``."""

from __future__ import annotations

import sys

import pytest

from airflow_slo_provider import tracing
from tests.unit.tracing.traced_predictions import CapturedSpans, run


def test_tracer_without_configuration_has_real_ids():
    code = """
from airflow_slo_provider import tracing
tracer = tracing.MLRequestTracer("r1", "v1")
with tracer.trace_request():
    inside = tracer.headers()
    with tracer.span_model_inference(1): pass
assert len(tracer.trace_id) == 32 and int(tracer.trace_id, 16), tracer.trace_id
assert inside["traceparent"].split("-")[1] == tracer.trace_id
assert not tracer.exported and tracing.flush()
"""
    run(code)


def test_tracer_uses_the_global_provider_and_installs_none():
    code = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from airflow_slo_provider import tracing
before = trace.get_tracer_provider()
exporter = InMemorySpanExporter()
tracing.configure("s", exporter=InMemorySpanExporter())
assert trace.get_tracer_provider() is before
tracing.shutdown()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
tracer = tracing.MLRequestTracer("r1", "v1")
with tracer.trace_request():
    pass
(span,) = exporter.get_finished_spans()
assert f"{span.context.trace_id:032x}" == tracer.trace_id
"""
    run(code)


def test_configure_install_globally_is_refused_in_an_airflow_worker(monkeypatch):
    code = """
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from airflow_slo_provider import tracing
tracing.configure("s", exporter=InMemorySpanExporter(), install_globally=True)
assert trace.get_tracer_provider().resource.attributes["service.name"] == "s"
"""
    run(code)
    monkeypatch.setitem(sys.modules, "airflow.sdk.execution_time.task_runner", object())
    with pytest.raises(RuntimeError, match="Airflow worker"):
        tracing.configure("s", exporter=CapturedSpans(), install_globally=True)


BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Block())
"""


def test_tracer_without_opentelemetry_names_the_package():
    code = (
        BLOCK.replace("BLOCKED", "('opentelemetry', 'airflow')")
        + """
from airflow_slo_provider import tracing
from airflow_slo_provider.tracing import stores
assert tracing.breakdown([]).rows == ()
for make in (lambda: tracing.MLRequestTracer("r", "v"), lambda: tracing.configure("s")):
    try:
        make()
    except tracing.TracingUnavailable as error:
        assert isinstance(error, ImportError)
        print(error)
    else:
        raise SystemExit("no error")
"""
    )
    said = run(code)
    assert "airflow-slo-provider[tracing]" in said.splitlines()[0]
    assert "opentelemetry-exporter-otlp-proto-http" in said.splitlines()[1]


def test_tracing_works_without_airflow(tmp_path):
    code = (
        BLOCK.replace("BLOCKED", "('airflow', 'pandas', 'scipy', 'numpy')")
        + f"""
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from airflow_slo_provider import tracing
tracing.configure("s", exporter=InMemorySpanExporter())
tracer = tracing.MLRequestTracer("r1", "v1")
with tracer.trace_request(): pass
with tracing.prediction_log.PredictionLog("sqlite:///{tmp_path}/log.db") as log:
    log.write(request_id="r1", trace_id=tracer.trace_id, model_version="v1", prediction=1, latency=0.1)
(row,) = tracing.prediction_log.read("sqlite:///{tmp_path}/log.db")
assert row.trace_id == tracer.trace_id
"""
    )
    run(code)


def test_tracing_import_loads_nothing_heavy():
    heavy = "{'airflow', 'opentelemetry', 'requests', 'httpx', 'numpy', 'scipy', 'pandas', 'sqlalchemy', 'pyarrow'}"
    ours = "from airflow_slo_provider.tracing import MLRequestTracer, breakdown, compare, exemplars, stores"
    rooms = "import airflow_slo_provider.tracing.analysis.assessment, airflow_slo_provider.tracing.report.html"
    code = f"import sys; {ours}; {rooms}; print({heavy} & set(sys.modules))"
    assert run(code) == "set()"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"service_name": ""}, "service_name"),
        ({"protocol": "udp"}, "http or grpc"),
        ({"sample_ratio": 1.5}, "from 0 to 1"),
        ({"keep_slow_ms": -1}, "keep_slow_ms"),
        ({"queue": 0}, "queue"),
    ],
)
def test_configure_invalid_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        tracing.configure(**{"service_name": "s", **arguments})


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://collector:4318", "http://collector:4318/v1/traces"),
        ("http://collector:4318/", "http://collector:4318/v1/traces"),
        ("collector:4318", "http://collector:4318/v1/traces"),
        ("https://tempo.example/otlp/v1/traces", "https://tempo.example/otlp/v1/traces"),
    ],
)
def test_configure_http_endpoint_gets_the_traces_path(endpoint, url):
    from airflow_slo_provider.tracing.recording.configuration import _create_exporter

    exporter = _create_exporter(endpoint, "http", {"x-scope": "a"})
    assert exporter._endpoint == url
    exporter.shutdown()


def test_configure_grpc_exporter_is_created():
    tracing.configure("s", endpoint="127.0.0.1:1", protocol="grpc", headers={"X-Scope": "a"})
    tracing.shutdown(timeout=0.5)
