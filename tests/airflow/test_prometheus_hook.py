"""The hook: what an Airflow connection means on the wire."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.hooks.connection_forms.prometheus import client_settings
from airflow_slo_provider.hooks.prometheus import PrometheusHook, connection_type
from airflow_slo_provider.slo.budget.indicator_source import Measurement
from tests.services.faulty_prometheus import FaultyPrometheus
from tests.services.histories import END, history
from tests.unit.indicators.prometheus_requests import availability, request_over

AT = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)


def test_hook_queries_a_real_server(prometheus_connection: Any, prometheus_history: str) -> None:
    hook = prometheus_connection(prometheus_history)
    assert hook.test_connection() == (True, "The server answers queries")
    (sample,) = hook.query('sum(increase(http_requests_total{service="steady"}[1h]))', at=END)
    assert sample.value == 60_000
    (series,) = hook.query_range(
        'http_requests_total{service="steady",code="500"}', END - dt.timedelta(hours=1), END, dt.timedelta(minutes=1)
    )
    assert len(series.points) == 61
    (found,) = hook.source().measure([request_over(availability("steady"), END, dt.timedelta(days=1))])
    assert isinstance(found, Measurement)
    assert (found.good, found.total) == history("steady").truth(dt.timedelta(days=1))
    assert "http_requests_total" in hook.get_conn().all_metrics()

    async def ask() -> Any:
        async with await hook.aclient() as client:
            return await client.instant("vector(1)", END)

    assert asyncio.run(ask())[0].value == 1
    assert hook.query("time()")[0].value > 1_700_000_000, "now by default"


@pytest.mark.parametrize(
    ("fields", "extra", "sent"),
    [
        ({}, None, None),
        ({"login": "me", "password": "hunter2"}, None, "Basic bWU6aHVudGVyMg=="),
        ({"login": "me", "password": "hunter2"}, {"auth": "none"}, None),
        ({}, {"token": "hunter2"}, "Bearer hunter2"),
        ({"login": "me"}, {"auth": "bearer", "token": "hunter2"}, "Bearer hunter2"),
    ],
)
def test_hook_sends_the_credentials_of_the_connection(
    prometheus_connection: Any, fields: Any, extra: Any, sent: str | None
) -> None:
    with FaultyPrometheus("ok") as server:
        hook = prometheus_connection(server.url, extra=extra, **fields)
        hook.query("up", AT)

        async def ask() -> Any:
            async with await hook.aclient() as client:
                return await client.instant("up", AT)

        asyncio.run(ask())
        assert [request.headers.get("Authorization") for request in server.requests] == [sent, sent]


def test_hook_uses_headers_parameters_and_method_of_the_extra(prometheus_connection: Any) -> None:
    extra = {
        "headers": {"X-Scope-OrgID": "team"},
        "params": '{"dedup": "true"}',
        "method": "get",
        "read_timeout": "7",
        "retries": "",
    }
    with FaultyPrometheus("ok") as server:
        hook = prometheus_connection(server.url, extra=extra)
        hook.query("up", AT)
        (received,) = server.requests
    assert received.method == "GET"
    assert received.headers["X-Scope-OrgID"] == "team"
    assert received.form == {"query": "up", "time": "1793491200", "timeout": "7s", "dedup": "true"}


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"host": "prom.example"}, "http://prom.example"),
        ({"host": "prom.example", "port": 9090}, "http://prom.example:9090"),
        ({"host": "prom.example", "port": 9090, "schema": "https"}, "https://prom.example:9090"),
        ({"host": "https://prom.example/prefix/"}, "https://prom.example/prefix"),
        ({"host": "https://prom.example/prefix", "port": 9090}, "https://prom.example:9090/prefix"),
        ({"host": "https://prom.example:1/x", "port": 9090}, "https://prom.example:1/x"),
    ],
)
def test_hook_builds_the_url_of_the_connection(prometheus_connection: Any, fields: dict[str, Any], url: str) -> None:
    host = fields.pop("host")
    assert prometheus_connection(host, **fields).client().url == url


@pytest.mark.parametrize(
    ("host", "fields", "says"),
    [
        (None, {}, "no host"),
        ("ftp://x", {}, "http://name:port"),
        ("http://x:notaport", {}, "not a URL"),
        ("x", {"schema": "grpc"}, "http://name:port"),
        ("x", {"extra": {"auth": "kerberos"}}, "one of none, basic, bearer, mtls"),
        ("x", {"extra": {"auth": "a token that was put into the wrong field"}}, "auth has an unknown value"),
        ("x", {"extra": {"auth": "basic"}}, "no login"),
        ("x", {"extra": {"auth": "bearer"}}, "no token"),
        ("x", {"extra": {"auth": "mtls"}}, "no client_cert"),
        ("x", {"extra": {"client_key": "k.pem"}}, "without a client_cert"),
        ("x", {"extra": {"verify": False, "ca_file": "ca.pem"}}, "would not be checked"),
        ("x", {"extra": {"verify": "maybe"}}, "neither true nor false"),
        ("x", {"extra": {"read_timeout": "soon"}}, "read_timeout"),
        ("x", {"extra": {"connect_timeout": 0}}, "connect_timeout"),
        ("x", {"extra": {"connect_timeout": float("nan")}}, "connect_timeout is nan, not a number"),
        ("x", {"extra": {"retries": True}}, "retries"),
        ("x", {"extra": {"headers": "not json"}}, "headers is not a JSON object"),
        ("x", {"extra": {"params": ["a"]}}, "params is not a JSON object"),
        ("x", {"extra": {"method": "PUT"}}, "POST or GET"),
    ],
)
def test_invalid_connection_is_refused_with_its_id(prometheus_connection: Any, host: str | None, fields: Any, says: str) -> None:
    hook = prometheus_connection(host, **fields)
    with pytest.raises(QueryError, match=says) as caught:
        hook.client()
    assert "connection prom_test" in str(caught.value)
    assert (caught.value.reason, caught.value.transient) == ("bad_connection", False)
    assert hook.test_connection() == (False, str(caught.value))


def test_connection_test_fails_without_promql(prometheus_connection: Any) -> None:
    for mode, says in {
        "refuse": "refused",
        "401": "login, password",
        "html": "login page",
        "ok": "does not evaluate PromQL",
    }.items():
        with FaultyPrometheus(mode) as server:
            works, message = prometheus_connection(server.url).test_connection()
            assert not works
            assert says in message


def test_hook_masks_secrets(prometheus_connection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk import log

    masked: list[str] = []
    monkeypatch.setattr(log, "mask_secret", lambda secret, name=None: masked.append(str(secret)))

    async def amask(secret: Any, name: str | None = None) -> None:
        masked.append(str(secret))

    monkeypatch.setattr(log, "amask_secret", amask, raising=False)
    extra = {"token": "token-hunter2", "headers": {"X-Api-Key": "key-hunter2", "X-Team": "team"}}
    hook = prometheus_connection("http://x", login="me", password="unused", extra=extra)
    hook.client()
    assert {"token-hunter2", "key-hunter2"} <= set(masked)
    assert "team" not in masked
    masked.clear()
    asyncio.run(hook.aclient())
    assert {"token-hunter2", "key-hunter2"} <= set(masked)
    assert "hunter2" not in repr(hook.client().settings)


def test_connection_form_matches_airflow() -> None:
    import airflow
    import jsonschema

    schema = json.loads((Path(airflow.__file__).parent / "provider.yaml.schema.json").read_text())
    form = connection_type()
    jsonschema.validate([form], schema["properties"]["connection-types"])
    assert form["connection-type"] == PrometheusHook.conn_type
    assert form["hook-name"] == PrometheusHook.hook_name
    assert form["hook-class-name"] == f"{PrometheusHook.__module__}.{PrometheusHook.__qualname__}"
    assert PrometheusHook.conn_name_attr == "prometheus_conn_id"
    assert form["conn-fields"]["token"]["schema"]["format"] == "password"
    for name, field in form["conn-fields"].items():
        default = field["schema"].get("default")
        jsonschema.validate(default, field["schema"])
        assert set(field) <= {"label", "description", "schema"}, name


def test_connection_form_defaults_equal_the_clients() -> None:
    class Fields:
        conn_id, host, port, schema, login, password = "c", "http://x", None, None, None, None
        extra = json.dumps({name: field["schema"].get("default") for name, field in connection_type()["conn-fields"].items()})

    class Bare(Fields):
        extra = None

    assert client_settings(Fields()) == client_settings(Bare())  # type: ignore[arg-type]


def test_import_of_the_hook_loads_no_http_library() -> None:
    code = (
        "import sys, airflow.sdk; before = set(sys.modules); import airflow_slo_provider.hooks.prometheus; "
        "new = {name.split('.')[0] for name in set(sys.modules) - before}; "
        "bad = new & {'requests', 'urllib3', 'httpx', 'pandas', 'numpy', 'prometheus_api_client'}; "
        "assert not bad, bad"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, done.stderr


def test_connection_form_needs_no_airflow() -> None:
    code = (
        "import sys, airflow_slo_provider.hooks.connection_forms.prometheus as form; form.connection_type(); "
        "assert 'airflow' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, done.stderr
