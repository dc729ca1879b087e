"""Airflow connections of model servers, Pushgateways and SQL tables."""

from __future__ import annotations

import json
import sqlite3
import threading
import traceback
from contextlib import closing, nullcontext
from datetime import UTC, datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from airflow_slo_provider.drift.engines.sql_dialects import DIALECTS
from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.hooks.pushgateway import PushgatewayHook
from airflow_slo_provider.runtime.connections.http import http_server
from airflow_slo_provider.runtime.connections.sql import read_sql


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"host": "models.example"}, "http://models.example"),
        ({"host": "models.example", "schema": "https", "port": 8443}, "https://models.example:8443"),
        ({"host": "https://models.example/prefix/", "port": 8443}, "https://models.example:8443/prefix"),
        ({"host": "http://models.example:9000", "port": 8443}, "http://models.example:9000"),
    ],
)
def test_http_server_builds_the_url_from_the_connection(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], url: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MODEL", json.dumps({"conn_type": "http", **fields}))
    found = http_server("model")
    assert (found.url, found.basic, found.verify, dict(found.headers)) == (url, None, True, {})


def test_http_server_sends_headers_and_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {"headers": {"X-Team": "a"}, "verify": "/ca.pem"}
    fields = {"conn_type": "http", "host": "m", "login": "u", "password": "hunter2", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_MODEL", json.dumps(fields))
    found = http_server("model")
    assert (found.basic, found.verify, found.headers) == (("u", "hunter2"), "/ca.pem", {"X-Team": "a"})
    assert "hunter2" not in repr(found)
    monkeypatch.setenv("AIRFLOW_CONN_MODEL", json.dumps({**fields, "login": None, "extra": {"X-Team": "b"}}))
    assert http_server("model").headers == {"Authorization": "Bearer hunter2", "X-Team": "b"}


def test_invalid_connections_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MODEL", json.dumps({"conn_type": "http", "password": "hunter2"}))
    with pytest.raises(QueryError, match="there is no host"):
        http_server("model")
    with pytest.raises(QueryError, match="which is not a SQL database"):
        read_sql("SELECT 1", "model")


def test_unreachable_database_is_reported_without_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PG", "postgresql://u:hunter2@127.0.0.1:1/slo")
    with pytest.raises(QueryError, match="connection pg: OperationalError") as error:
        read_sql("SELECT 1", "pg")
    assert error.value.transient
    assert "hunter2" not in "".join(traceback.format_exception(error.value))


@pytest.mark.parametrize(("status", "transient"), [(202, None), (400, False), (429, True), (503, True)])
def test_pushgateway_gets_credentials_and_its_errors_are_classified(monkeypatch, status, transient):
    seen: list[tuple[str, str | None, str | None]] = []

    class Gateway(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((self.path, self.headers["Authorization"], self.headers["X-Team"]))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Gateway) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        connection = {
            "conn_type": "http", "host": "127.0.0.1", "port": server.server_port, "password": "hunter2", "extra": {"X-Team": "b"},
        }  # fmt: skip
        monkeypatch.setenv("AIRFLOW_CONN_GATEWAY", json.dumps(connection))
        with nullcontext() if transient is None else pytest.raises(QueryError) as refused:
            PushgatewayHook("gateway").replace_group("up 1\n", job="golden_set", grouping={"check": ""})
        server.shutdown()
    times = 3 if transient else 1
    assert seen == [("/metrics/job@base64/Z29sZGVuX3NldA==/check@base64/=", "Bearer hunter2", "b")] * times
    if transient is not None:
        assert (refused.value.transient, refused.value.http_status) == (transient, status)


def test_sqlite_table_within_a_day_returns_the_rows_of_that_day():
    """Times are texts there, and an offset behind one would sort after the moment itself."""
    day = datetime(2026, 1, 2, tzinfo=UTC)
    clauses = DIALECTS["sqlite"].between("at", day, day + timedelta(days=1))
    with closing(sqlite3.connect(":memory:")) as database:
        for text in (
            "2026-01-01 23:59:59",
            "2026-01-02",
            "2026-01-02 23:59:59",
            "2026-01-02T12:00:00Z",
            "2026-01-03",
            "2026-01-03 00:00:00",
        ):
            database.execute("CREATE TABLE IF NOT EXISTS rows (at TEXT)")
            database.execute("INSERT INTO rows VALUES (?)", (text,))
        found = [at for (at,) in database.execute(f"SELECT at FROM rows WHERE {clauses}")]
    assert found == ["2026-01-02", "2026-01-02 23:59:59", "2026-01-02T12:00:00Z"]
    between = DIALECTS["duckdb"].between("at", datetime(2026, 1, 2, 1, tzinfo=timezone(timedelta(hours=1))), day)
    assert between.partition(" AND ")[0] == "at >= '2026-01-02 00:00:00+00:00'"
