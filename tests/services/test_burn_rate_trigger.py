"""The burn-rate trigger against a real Prometheus, in an event loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import aclosing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from airflow_slo_provider.incidents import Incident
from airflow_slo_provider.ledger import RunKey
from airflow_slo_provider.runtime.error_budget import burn_watch
from airflow_slo_provider.runtime.incidents.current_incident import claim, load_watch_states
from airflow_slo_provider.runtime.recording import ledger_connection as ledger_hook
from airflow_slo_provider.runtime.recording.ledger_connection import open_default_ledger
from airflow_slo_provider.triggers import incident_watch
from airflow_slo_provider.triggers.burn_rate import BurnRateTrigger
from tests.services.incident_triggers import collect_incidents
from tests.services.prometheus_server import free_port, running_prometheus

HEAD = """
apiVersion: openslo/v1
kind: Service
metadata: {name: models}
spec: {}
---
apiVersion: openslo/v1
kind: DataSource
metadata: {name: metrics}
spec:
  type: Prometheus
  connectionDetails: {airflowConnId: burn_prometheus}
"""
SLO = """---
apiVersion: openslo/v1
kind: SLO
metadata:
  name: %(name)s
  annotations: {airflow-slo/min-coverage: "0", airflow-slo/min-failures: "1"}
spec:
  service: models
  indicator:
    metadata: {name: %(name)s-answers}
    spec:
      ratioMetric:
        counter: true
        bad:
          metricSource:
            metricSourceRef: metrics
            spec: {query: 'requests_total{service="%(name)s",code="500"}'}
        total:
          metricSource:
            metricSourceRef: metrics
            spec: {query: 'requests_total{service="%(name)s"}'}
  timeWindow: [{duration: 1d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{displayName: most, target: 0.99}]
"""
DOCUMENTS = HEAD + "".join(SLO % {"name": name} for name in ("one", "two"))


class Counters(ThreadingHTTPServer):
    """Something for Prometheus to scrape, whose counters a test moves."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Page)
        self.counts = {(service, code): 0 for service in ("one", "two") for code in ("200", "500")}
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.over = threading.Event()
        threading.Thread(target=self._tick, daemon=True).start()

    def _tick(self) -> None:
        """Send requests during the test."""
        while not self.over.wait(0.2):
            for service in ("one", "two"):
                self.add(service, 5, 0)

    def add(self, service: str, good: int, bad: int) -> None:
        self.counts[service, "200"] += good
        self.counts[service, "500"] += bad


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        text = "".join(f'requests_total{{service="{s}",code="{c}"}} {n}\n' for (s, c), n in self.server.counts.items())
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def counters() -> Iterator[Counters]:
    server = Counters()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()


@contextlib.contextmanager
def scraping(directory: Path, counters: Counters, port: int) -> Iterator[str]:
    config = (
        "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n- job_name: counters\n  static_configs:\n"
        f"  - targets: ['127.0.0.1:{counters.server_address[1]}']\n"
    )
    with running_prometheus(directory, config=config, port=port) as url:
        until_counted(url)
        yield url


def until_counted(url: str) -> None:
    """Wait until Prometheus has seen both services answer."""
    query = urllib.parse.urlencode({"query": 'sum by (service) (increase(requests_total{code="200"}[1m])) > 0'})
    deadline = time.monotonic() + 30
    while True:
        with urllib.request.urlopen(f"{url}/api/v1/query?{query}", timeout=10) as answer:
            if len(json.load(answer)["data"]["result"]) == 2:
                return
        assert time.monotonic() < deadline, "Prometheus counts nothing"
        time.sleep(0.3)


@pytest.fixture
def prometheus(tmp_path: Path, counters: Counters, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    port = free_port()
    connection = {"conn_type": "prometheus", "host": f"http://127.0.0.1:{port}", "extra": json.dumps({"retries": 0})}
    monkeypatch.setenv("AIRFLOW_CONN_BURN_PROMETHEUS", json.dumps(connection))
    with scraping(tmp_path / "prometheus", counters, port):
        yield port


def burning(**arguments: Any) -> BurnRateTrigger:
    return BurnRateTrigger(
        **{"slos": DOCUMENTS, "poll_interval": 1, "cool_down": 600, "blind_after": 600, "name": "test", **arguments}
    )


def test_two_slos_start_two_incidents_and_restart_starts_none(own_ledger: Path, prometheus: int, counters: Counters):
    async def play() -> None:
        assert await collect_incidents(burning(), 3) == []
        counters.add("one", 50, 50)
        counters.add("two", 50, 50)
        found = await collect_incidents(burning(), 15, until=2)
        assert sorted(one["subject"] for one in found) == ["one", "two"]
        for one in found:
            assert (one["kind"], one["severity"]) == ("burning", "page")
            assert one["evidence"]["burn_rates"]["1h"] > 1 and one["evidence"]["rules"][0]["factor"] == 1
            assert one["evidence"]["slo"] == one["subject"] and one["message"]
        # Killed right after it told: perhaps the event was lost, so it is told again - as the same incident.
        again = await collect_incidents(burning(), 10)
        assert {one["id"] for one in again} == {one["id"] for one in found}
        # A run has opened one of them: it has arrived, however soon the triggerer died.
        with open_default_ledger() as ledger:
            opened = Incident.from_dict(found[0])
            assert claim(ledger, opened, RunKey("a dag", "a run", "open"), {}) is None
            assert {subject: one.sent for subject, one in load_watch_states(ledger, "test").items() if one.incident}[
                opened.subject
            ] is True
        # By now it is certain that both have.
        assert await collect_incidents(burning(), 4) == []

    asyncio.run(play())


def test_two_events_are_sent_apart(own_ledger: Path, prometheus: int, counters: Counters, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(incident_watch, "EVENT_INTERVAL", 4.0)
    counters.add("one", 50, 50)
    counters.add("two", 50, 50)

    trigger = burning()

    async def play() -> None:
        seen = 0
        async with aclosing(trigger.run()) as events, asyncio.timeout(20):
            async for _ in events:
                seen += 1
                if seen == 2:
                    return

    asyncio.run(play())
    # By the trigger's own clock: when an event arrives here is another matter.
    first, second = trigger._sent_at.values()
    assert second - first >= incident_watch.EVENT_INTERVAL


def test_flapping_slo_is_one_incident(own_ledger: Path, prometheus: int, counters: Counters):
    async def flap() -> None:
        for _ in range(6):
            counters.add("one", 40, 60)  # above the factor
            await asyncio.sleep(1.5)
            counters.add("one", 20_000, 0)  # far below
            await asyncio.sleep(1.5)

    async def play() -> list[dict[str, Any]]:
        flapping = asyncio.create_task(flap())
        found = await collect_incidents(burning(cool_down=5), 20)
        await flapping
        return found

    assert [one["subject"] for one in asyncio.run(play())] == ["one"]


def test_incident_after_cool_down_is_new(own_ledger: Path, prometheus: int, counters: Counters):
    async def play() -> list[dict[str, Any]]:
        running = asyncio.create_task(collect_incidents(burning(cool_down=2, select=["one"]), 25, until=2))
        await asyncio.sleep(1)
        counters.add("one", 40, 60)
        await asyncio.sleep(4)
        counters.add("one", 100_000, 0)
        await asyncio.sleep(7)
        counters.add("one", 0, 40_000)
        return await running

    first, second = asyncio.run(play())
    assert first["id"] != second["id"] and first["subject"] == second["subject"] == "one"


def test_unavailable_prometheus_is_reported_once_and_ends_no_incident(
    own_ledger: Path, tmp_path: Path, counters: Counters, monkeypatch: pytest.MonkeyPatch
):
    port = free_port()
    connection = {"conn_type": "prometheus", "host": f"http://127.0.0.1:{port}", "extra": json.dumps({"retries": 0})}
    monkeypatch.setenv("AIRFLOW_CONN_BURN_PROMETHEUS", json.dumps(connection))
    settings = {"cool_down": 2, "blind_after": 3}

    async def play() -> None:
        with scraping(tmp_path / "prometheus", counters, port):
            counters.add("one", 50, 50)
            (begun,) = await collect_incidents(burning(**settings), 15, until=1)
            assert await collect_incidents(burning(**settings), 8) == [begun]
        blind = await collect_incidents(burning(**settings), 9)
        assert [(one["kind"], one["severity"]) for one in blind] == [("blind", "page")]
        assert "refused the connection" in blind[0]["message"]
        assert set(blind[0]["evidence"]["subjects"]) >= {"one", "two"}
        assert await collect_incidents(burning(**settings), 6) == [], "told once, also across a restart"
        with scraping(tmp_path / "prometheus", counters, port):
            # Longer down than its cool-down: all the same it is the incident of before.
            assert await collect_incidents(burning(**settings), 3) == []

    asyncio.run(play())


def test_hanging_prometheus_ends_no_incident(own_ledger: Path, monkeypatch: pytest.MonkeyPatch):
    import socket

    import airflow_slo_provider.triggers.burn_rate as module

    monkeypatch.setattr(module, "POLL_TIMEOUT", 1.0)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        extra = json.dumps({"retries": 0, "read_timeout": 6})
        connection = {"conn_type": "prometheus", "host": f"http://127.0.0.1:{silent.getsockname()[1]}", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_BURN_PROMETHEUS", json.dumps(connection))
        (told,) = asyncio.run(collect_incidents(burning(blind_after=2), 5.5, until=1))  # before the server's own time is up
    assert told["kind"] == "blind" and "no answer after" in told["message"]


def test_slo_without_data_is_reported(own_ledger: Path, prometheus: int, counters: Counters):
    documents = DOCUMENTS + SLO % {"name": "three"}
    (told,) = asyncio.run(collect_incidents(burning(slos=documents, blind_after=2), 10, until=1))
    assert (told["kind"], told["evidence"]["subjects"]) == ("blind", ["three"])


def test_invalid_documents_and_unknown_slos_are_reported(own_ledger: Path, prometheus: int):
    for arguments, said in (({"slos": "kind: SLO\n"}, "DocumentError"), ({"select": ["nobody"]}, "there is no SLO 'nobody'")):
        (told,) = asyncio.run(collect_incidents(burning(blind_after=1, **arguments, name=said), 10, until=1))
        assert told["kind"] == "blind" and said in told["message"]


def test_unreadable_ledger_is_reported_and_unwritable_ledger_sends_events(
    tmp_path: Path, prometheus: int, counters: Counters, monkeypatch: pytest.MonkeyPatch
):
    broken = tmp_path / "broken.db"
    broken.write_text("this is no database, and never was one" * 100)
    monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", f"sqlite:///{broken}")
    counters.add("one", 50, 50)
    (told,) = asyncio.run(collect_incidents(burning(blind_after=2), 10, until=1))
    assert told["kind"] == "blind" and "cannot be read" in told["message"]

    async def play() -> list[dict[str, Any]]:
        path = tmp_path / "ledger.db"
        monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", f"sqlite:///{path}")
        trigger = burning()
        with open_default_ledger():
            pass
        await trigger._load_states()
        monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", f"sqlite:///{broken}")
        return await collect_incidents(trigger, 10, until=1)

    assert [one["subject"] for one in asyncio.run(play())] == ["one"]


def test_triggers_with_same_documents_share_polls(own_ledger: Path, prometheus: int, counters: Counters):
    one, two = burning(select="one", name="a"), burning(select="two", name="b")
    assert one.shared_stream_key() == two.shared_stream_key() != burning(poll_interval=2).shared_stream_key()
    counters.add("one", 50, 50)

    async def play() -> list[str]:
        found = []
        async with aclosing(BurnRateTrigger.open_shared_stream(one.serialize()[1])) as stream:
            looks = [await anext(stream) for _ in range(5)]
            for trigger in (one, two):

                async def again(looks: Any = looks):
                    for look in looks:
                        yield look

                found += [event.payload["subject"] async for event in trigger.filter_shared_stream(again())]
        return found

    assert asyncio.run(play()) == ["one"]


def test_poll_does_not_block_event_loop(own_ledger: Path, prometheus: int, monkeypatch: pytest.MonkeyPatch):
    """What blocks runs in other threads: looking at the server, and reading and writing the ledger."""
    threads: set[tuple[str, int]] = set()

    def noted(owner: Any, name: str) -> None:
        before = getattr(owner, name)

        def call(*arguments: Any) -> Any:
            threads.add((name, threading.get_ident()))
            return before(*arguments)

        monkeypatch.setattr(owner, name, call)

    noted(burn_watch.BurnWatch, "poll")
    noted(ledger_hook, "open_default_ledger")
    asyncio.run(collect_incidents(burning(), 5))
    assert {name for name, _ in threads} == {"poll", "open_default_ledger"}
    assert threading.get_ident() not in {thread for _, thread in threads}
