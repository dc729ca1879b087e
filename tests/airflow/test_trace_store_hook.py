"""Trace-store connections: fields, contradictory settings, and the connection test."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from datetime import timedelta
from types import SimpleNamespace

import pytest

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.hooks.connection_forms.trace_store import store_settings, trace_store_connection_type
from airflow_slo_provider.hooks.trace_store import TraceStoreHook
from airflow_slo_provider.tracing import stores
from airflow_slo_provider.tracing.stores.kinds import KINDS
from tests.services.trace_replay import JaegerReplay, TempoReplay, serving
from tests.support import REPO, acceptance


def connection(host: str | None = "http://tempo:3200", *, extra: dict | str | None = None, **fields: object) -> SimpleNamespace:
    values = dict.fromkeys(("port", "schema", "login", "password"))
    text = extra if isinstance(extra, str) else json.dumps(extra or {})
    return SimpleNamespace(conn_id="traces", host=host, **{**values, **fields}, extra=text)


def test_trace_store_form_names_every_field_and_kind():
    form = trace_store_connection_type()
    assert form["conn-fields"]["kind"]["schema"]["enum"] == [*KINDS, None]
    assert form["conn-fields"]["token"]["schema"]["format"] == "password"
    assert form["hook-class-name"] == f"{TraceStoreHook.__module__}.{TraceStoreHook.__qualname__}"
    assert TraceStoreHook.conn_type == form["connection-type"]
    documented = TraceStoreHook.__doc__ or ""
    assert all(f"``{name}``" in documented for name in form["conn-fields"])


def test_trace_store_each_kind_opens_its_store():
    opened = {kind: stores.open_store(**store_settings(connection(extra={"kind": kind, "path": "/a"}))) for kind in KINDS}
    assert len({type(store) for store in opened.values()}) == len(KINDS) == len(stores.KINDS)


def test_trace_store_form_imports_no_tracer():
    """Airflow reads it whenever it starts."""
    code = (
        "import sys; from airflow_slo_provider.get_provider_info import get_provider_info; get_provider_info(); "
        "print([name for name in sys.modules if name.startswith('airflow_slo_provider.tracing')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120, cwd=REPO)
    light = ("tracing", "tracing.stores", "tracing.stores.kinds")
    assert sorted(ast.literal_eval(done.stdout)) == [f"airflow_slo_provider.{name}" for name in light]


def test_trace_store_fields_become_settings():
    extra = {
        "kind": "tempo", "token": "t", "headers": '{"X-Scope-OrgID": "a"}', "read_timeout": 7, "retries": 0, "page": 50,
        "spans_per_trace": 20, "whole_traces": "true", "blind_seconds": 0, "verify": False,
    }  # fmt: skip
    found = store_settings(connection("tempo/prefix", port=3200, schema="https", extra=extra))
    http = found["http"]
    assert (http.url, http.bearer, http.headers, http.timeout, http.retries) == (
        "https://tempo:3200/prefix",
        "t",
        {"X-Scope-OrgID": "a"},
        (5.0, 7.0),
        0,
    )
    assert http.verify is False
    assert (found["page"], found["spans_per_trace"], found["whole_traces"], found["blind"]) == (50, 20, True, timedelta(0))
    assert store_settings(connection(extra={"kind": "mlflow", "experiments": "3, 4"}))["experiments"] == ("3", "4")
    assert store_settings(connection(extra={"kind": "phoenix"}))["project"] == "default"
    assert store_settings(connection(extra={"kind": "jaeger", "api": "v3"}))["api"] == "v3"
    basic = store_settings(connection(extra={"kind": "jaeger"}, login="me", password="secret"))["http"]
    assert basic.basic == ("me", "secret")
    assert "secret" in basic.secrets
    assert store_settings(connection(None, extra={"kind": "otlp_json", "path": "/a/*.jsonl"})) == {
        "kind": "otlp_json",
        "path": "/a/*.jsonl",
    }


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({}, "kind is None"),
        ({"kind": "zipkin"}, "kind is 'zipkin'"),
        ({"kind": "jaeger", "api": "v9"}, "api is 'v9'"),
        ({"kind": "tempo", "page": 0}, "page is 0"),
        ({"kind": "tempo", "auth": "bearer"}, "there is no token"),
        ({"kind": "tempo", "blind_seconds": -1}, "blind_seconds"),
        ("not json", "extra is not a JSON object"),
    ],
)
def test_trace_store_contradictory_fields_are_refused(extra, message):
    with pytest.raises(QueryError, match=message) as caught:
        store_settings(connection(extra=extra))
    assert (caught.value.reason, caught.value.transient) == ("bad_connection", False)


def test_trace_store_without_address_is_refused():
    with pytest.raises(QueryError, match="needs a path"):
        store_settings(connection(None, extra={"kind": "otlp_json"}))
    with pytest.raises(QueryError, match="there is no host"):
        store_settings(connection(None, extra={"kind": "tempo"}))


def test_trace_store_hook_reads_and_tests_a_connection(monkeypatch):
    with serving(TempoReplay()) as tempo:
        monkeypatch.setenv(
            "AIRFLOW_CONN_TEMPO", json.dumps({"conn_type": "trace_store", "host": tempo.url, "extra": {"kind": "tempo"}})
        )
        hook = TraceStoreHook("tempo")
        assert hook.test_connection() == (True, "Tempo answers searches")
        assert len(hook.trace("e4e417168deab89abf0cf4839b4f7482")) == 5
        tempo.fail = [(401, "who?")]
        assert hook.test_connection() == (False, f"Tempo: the credentials were refused (HTTP 401: who?); asked: {tempo.url}")
    with serving(JaegerReplay(), prefix="/select/jaeger") as jaeger:
        fields = {"conn_type": "trace_store", "host": jaeger.url, "extra": {"kind": "jaeger"}}
        monkeypatch.setenv("AIRFLOW_CONN_JAEGER", json.dumps(fields))
        assert TraceStoreHook("jaeger").test_connection()[0] is True
    monkeypatch.setenv("AIRFLOW_CONN_BAD", json.dumps({"conn_type": "trace_store", "extra": {"kind": "no"}}))
    ok, message = TraceStoreHook("bad").test_connection()
    assert (ok, "kind is 'no'" in message) == (False, True)


def test_trace_store_hook_reads_files(monkeypatch):
    path = str(acceptance("traces", "otlp.json"))
    monkeypatch.setenv(
        "AIRFLOW_CONN_FILES", json.dumps({"conn_type": "trace_store", "extra": {"kind": "otlp_json", "path": path}})
    )
    hook = TraceStoreHook("files")
    assert hook.test_connection() == (True, "1 files")
    assert len(list(hook.spans("model-server", 0, 2**62))) == 1200
