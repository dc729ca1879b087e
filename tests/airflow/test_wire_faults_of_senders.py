"""Webhook and Pushgateway clients report wire faults as the reading clients do."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_slo_provider.http.settings import HttpSettings
from airflow_slo_provider.indicators.prometheus.settings import Settings
from tests.unit.http.faulty_server import FaultyServer, answer
from tests.unit.http.test_wire_faults import outcomes
from tests.unit.http.wire_faults import (
    FAULTS,
    LONG,
    MAX_BYTES,
    PASSWORD,
    SECRET_PATH,
    SHORT,
    Fault,
    expected,
    running,
)  # fmt: skip


def _connection(url: str, limits: Any) -> Any:
    extra = {"connect_timeout": limits[0][0], "read_timeout": limits[0][1]}
    fields = dict.fromkeys(("port", "schema", "login", "password"))
    return SimpleNamespace(conn_id="hook", host=url, extra=json.dumps(extra), **fields)


def _post(url: str, limits: Any) -> None:
    from airflow_slo_provider.runtime.connections.webhook import post

    post(_connection(url, limits), "", {"text": "the budget burns"})


def _apost(url: str, limits: Any) -> None:
    from airflow_slo_provider.runtime.connections.webhook import apost

    asyncio.run(apost(_connection(url, limits), "", {"text": "the budget burns"}))


def _push(url: str, limits: Any) -> None:
    from airflow_slo_provider.hooks.pushgateway import PushgatewayHook

    PushgatewayHook("gateway").replace_group("up 1\n", job="slo")


CLIENTS = {"post": (_post, "writer"), "apost": (_apost, "writer"), "push": (_push, "writer")}


@pytest.fixture
def limits_for(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give the clients that have no parameters for it the limits of a fault."""

    def set_limits(fault: Fault, url: str) -> Any:
        limits = SHORT if fault.slow else LONG
        for settings in (HttpSettings, Settings):
            monkeypatch.setitem(settings.__init__.__kwdefaults__, "max_bytes", MAX_BYTES)
        monkeypatch.setattr("airflow_slo_provider.hooks.pushgateway._SECONDS", limits[0][0])
        monkeypatch.setenv("AIRFLOW_CONN_GATEWAY", json.dumps({"conn_type": "http", "host": url}))
        return limits

    return set_limits


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_wire_fault_is_reported_alike_by_every_sender(fault: Fault, monkeypatch: pytest.MonkeyPatch, limits_for: Any) -> None:
    with running(fault, monkeypatch) as (_, url):
        found = outcomes(CLIENTS, url, limits_for(fault, url))
    assert {name: one[:2] for name, one in found.items()} == {name: expected(fault, kind) for name, (_, kind) in CLIENTS.items()}
    for name, (_, _, text) in found.items():
        assert PASSWORD not in text, name
        assert SECRET_PATH not in text or name == "push", name


def test_redirect_of_a_sent_document_is_not_followed(monkeypatch: pytest.MonkeyPatch, limits_for: Any) -> None:
    with FaultyServer(answer(200, b"{}")) as other:
        location = {"Location": f"http://{other.address}/"}
        fault = Fault(name="redirect", reason="redirected", transient=False, serve=answer(301, None, location))
        with running(fault, monkeypatch) as (_, url):
            found = outcomes(CLIENTS, url, limits_for(fault, url))
        assert {name: one[:2] for name, one in found.items()} == dict.fromkeys(CLIENTS, ("redirected", False))
        assert other.connections == 0


def test_netrc_credentials_are_sent_by_no_sender(monkeypatch: pytest.MonkeyPatch, tmp_path: Any, limits_for: Any) -> None:
    file = tmp_path / "netrc"
    file.write_text(f"default login netrc password {PASSWORD}\n")
    file.chmod(0o600)
    monkeypatch.setenv("NETRC", str(file))
    fault = Fault(name="netrc", reason="unauthorized", transient=False, serve=answer(401))
    with running(fault, monkeypatch) as (server, url):
        url = url.replace(f"robot:{PASSWORD}@", "")
        assert {one[0] for one in outcomes(CLIENTS, url, limits_for(fault, url)).values()} == {"unauthorized"}
        assert not any(b"authorization" in head.lower() for head in server.heads)
