"""Freshness by PromQL on a real server; and the trigger, whose looks the server itself counts."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import pytest

from airflow_slo_provider.exceptions import MeasurementError, QueryError
from airflow_slo_provider.freshness import Limits
from airflow_slo_provider.runtime.freshness.checks import observe
from airflow_slo_provider.runtime.freshness.source_parameters import read_source
from airflow_slo_provider.sensors.freshness import FeatureFreshnessSensor, PipelineFreshnessSensor
from airflow_slo_provider.triggers import shared_polls
from airflow_slo_provider.triggers.freshness import MAX_ERRORS, FreshnessTrigger, trigger_for
from airflow_slo_provider.triggers.shared_polls import polls
from tests.airflow.task_runs import resume, run_task
from tests.services.prometheus_server import free_port, running_prometheus
from tests.services.remote_write import send

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triggers fire as soon as they have something to say: no scheduler has to see a worker leave before."""
    monkeypatch.setattr("airflow_slo_provider.runtime.deferral.MIN_DEFERRAL", timedelta(0))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with a series that is always 1, and one of ages by group; both last for ten minutes."""
    flags = ["--web.enable-remote-write-receiver"]
    with running_prometheus(tmp_path_factory.mktemp("prometheus"), flags=flags) as url:
        times = range(int(time.time()), int(time.time()) + 600, 60)
        ages = {"a": 60, "b": 7200}
        series = [({"__name__": "age", "g": name}, dict.fromkeys(times, value)) for name, value in ages.items()]
        send(url, [({"__name__": "one"}, dict.fromkeys(times, 1)), *series])
        yield url


@pytest.fixture
def prometheus(server, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_PROM", json.dumps({"conn_type": "prometheus", "host": server}))
    return server


def ask(query, **arguments):
    return read_source({"query": query, "conn_id": "prom", **arguments})


def queries_so_far(url: str) -> int:
    text = urllib.request.urlopen(f"{url}/metrics").read().decode()
    lines = [line for line in text.splitlines() if line.startswith("prometheus_http_requests_total") and '/api/v1/query"' in line]
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in lines)


def test_timestamp_or_age_is_observed(prometheus):
    for query, gives in (("time() - 600 * one", "timestamp"), ("time() - (time() - 600 * one)", "age")):
        found = observe(ask(query, query_gives=gives))
        assert abs(datetime.now(UTC) - found.observed_at - timedelta(minutes=10)) < timedelta(seconds=5)
        assert found.source == f"query {query}, connection prom"


@pytest.mark.parametrize("query", ["no_such_metric", "time() - no_such_metric", "0 * one / 0", "one / 0"])
def test_sample_without_number_is_unknown(prometheus, query):
    for gives in ("timestamp", "age"):
        assert observe(ask(query, query_gives=gives)).observed_at is None


TWO_TIMES = "time() - age"


@pytest.mark.parametrize(
    ("query", "arguments", "message"),
    [
        (TWO_TIMES, {"query_gives": "timestamp"}, "2 series where one is expected"),
        ("sum(", {"query_gives": "timestamp"}, "the query cannot be read"),
        ("one", {}, "set query_gives= to what the query returns, a timestamp or an age"),
        ("one", {"query_gives": "age", "timezone": "UTC"}, "timezone= is not valid"),
    ],
)
def test_invalid_query_raises(prometheus, query, arguments, message):
    with pytest.raises(QueryError, match=message) as caught:
        observe(ask(query, **arguments))
    assert not caught.value.transient


@pytest.mark.parametrize(
    "query",
    [
        "vector(0)",
        "time() - vector(time())",
        "min(gone) or vector(0)",
        "min(gone) or vector(time())",
        "time() - (max(gone) or vector(time()))",
        "(time() - max(gone)) or absent(gone)",
        "min(gone) or min(one) * 0",
        "min(gone) or sum(up)",
        "absent(gone) - 1",
        "scalar(gone)",
        "minute()",
    ],
)
@pytest.mark.parametrize("gives", ["timestamp", "age"])
def test_number_without_a_series_is_refused(prometheus, query, gives):
    with pytest.raises(QueryError) as caught:
        observe(ask(query, query_gives=gives))
    assert (caught.value.reason, caught.value.transient) == ("hidden_absence", False)


def test_series_are_grouped_by_label(prometheus):
    before = datetime.now(UTC)
    found = observe(ask(TWO_TIMES, query_gives="timestamp", group_by="g"))
    late = timedelta(seconds=1)  # a server may answer with whole milliseconds
    for name, age in (("a", 60), ("b", 7200)):
        assert before - late <= found.groups[name] + timedelta(seconds=age) <= datetime.now(UTC) + late


class TestSensor:
    def sensor(self, query, **arguments):
        given = {"task_id": "t", "query": query, "conn_id": "prom", "max_age": HOUR, "deferrable": True, "poke_interval": 0.3}
        return PipelineFreshnessSensor(**{**given, "query_gives": "age", **arguments})

    def connections(self, url):
        return {"prom": {"conn_type": "prometheus", "host": url}}

    @pytest.fixture(autouse=True)
    def ledgered(self, ledger):
        self.ledger = ledger

    def test_stale_sensor_waits_in_the_triggerer(self, prometheus):
        ran = run_task(self.sensor("7200 * one", timeout=60), connections=self.connections(prometheus))
        assert ran.state == "deferred"
        assert ran.deferral.classpath == "airflow_slo_provider.triggers.freshness.FreshnessTrigger"
        # Stale for another second, then fresh.
        fresh_at = time.time() + 1
        event = fire(ran.deferral, query=f"7200 * (time() < bool {fresh_at}) * one")
        assert event == {"status": "fresh"}
        assert time.time() >= fresh_at, "the server answers by the same clock"
        fresh = self.sensor("0 * one", timeout=60)
        assert resume(fresh, ran.deferral, event, connections=self.connections(prometheus)).state == "success"

    def test_sensor_checks_again_after_the_event(self, prometheus):
        sensor = self.sensor("7200 * one")
        ran = run_task(sensor, connections=self.connections(prometheus))
        again = resume(sensor, ran.deferral, {"status": "fresh"}, connections=self.connections(prometheus))
        assert again.state == "deferred"

    def test_groups_and_quantile_are_passed_to_the_trigger(self, prometheus):
        sensor = FeatureFreshnessSensor(
            task_id="t",
            query=TWO_TIMES,
            query_gives="timestamp",
            group_by=["g"],
            quantile=0.6,
            conn_id="prom",
            max_age=HOUR,
            deferrable=True,
        )
        ran = run_task(sensor, connections=self.connections(prometheus))
        assert "b (2 h old)" in ran.log
        kwargs = trigger_kwargs(ran.deferral)
        assert (kwargs["quantile"], kwargs["max_age"], list(kwargs["arguments"]["group_by"])) == ("0.6", 3600.0, ["g"])
        half = FeatureFreshnessSensor(
            task_id="t", query=TWO_TIMES, query_gives="timestamp", group_by="g", quantile=0.5, conn_id="prom", max_age=HOUR
        )
        assert run_task(half, connections=self.connections(prometheus)).state == "success"

    @pytest.mark.parametrize(("query", "state"), [("sum(", "failed"), ("-7200 * one", "failed")])
    def test_permanent_error_fails_the_sensor(self, prometheus, query, state):
        assert run_task(self.sensor(query, retries=2), connections=self.connections(prometheus)).state == state


def trigger_kwargs(deferral):
    from airflow.sdk.serde import deserialize

    return deserialize(deferral.trigger_kwargs)


def fire(deferral, timeout=30, **asked):
    kwargs = trigger_kwargs(deferral)
    trigger = FreshnessTrigger(**kwargs | {"arguments": kwargs["arguments"] | asked})
    assert trigger.serialize()[0] == deferral.classpath
    return asyncio.run(asyncio.wait_for(first_event(trigger), timeout))


async def first_event(trigger):
    async with aclosing(trigger.run()) as events:
        async for event in events:
            return event.payload
    raise AssertionError("the trigger ended without an event")


def make(query, gives="age", interval=0.4, max_age=HOUR):
    trigger = trigger_for(ask(query, query_gives=gives), Limits(max_age), timedelta(seconds=interval), HOUR)
    return FreshnessTrigger(**trigger.serialize()[1])


class TestTrigger:
    def test_permanent_error_ends_the_trigger(self, prometheus):
        for query, event in (
            ("sum(", {"status": "error", "reason": "not_understood"}),
            ("min(age) or vector(0)", {"status": "error", "reason": "hidden_absence"}),
            ("-7200 * one", {"status": "clock_skew"}),
            (TWO_TIMES, {"status": "error", "reason": "wrong_shape"}),
        ):
            assert asyncio.run(asyncio.wait_for(first_event(make(query)), 10)) == event

    def test_transient_error_is_retried_by_the_trigger(self, tmp_path, monkeypatch):
        port = free_port()
        extra = json.dumps({"retries": 0})
        monkeypatch.setenv(
            "AIRFLOW_CONN_PROM", json.dumps({"conn_type": "prometheus", "host": f"http://127.0.0.1:{port}", "extra": extra})
        )
        # Nobody is there: it looks three times before it says so.
        looks, ask_once = [], shared_polls._query

        async def counted(client, asked):
            looks.append(asked)
            return await ask_once(client, asked)

        monkeypatch.setattr(shared_polls, "_query", counted)
        assert asyncio.run(first_event(make("one", interval=0.1))) == {"status": "error", "reason": "connection_refused"}
        assert len(looks) == MAX_ERRORS == 3

    def test_trigger_fires_at_the_sensor_timeout(self, prometheus):
        trigger = trigger_for(ask("7200 * one", query_gives="age"), Limits(HOUR), timedelta(seconds=0.2), timedelta(seconds=1.5))
        again = FreshnessTrigger(**trigger.serialize()[1])  # as after a restart of the triggerer
        assert again.until == trigger.until
        assert asyncio.run(asyncio.wait_for(first_event(again), 30)) == {"status": "timeout"}

    def test_missing_connection_ends_the_trigger(self, monkeypatch):
        monkeypatch.setenv("AIRFLOW_CONN_PROM", json.dumps({"conn_type": "prometheus", "host": "http://127.0.0.1:1"}))
        trigger = make("one", interval=0.2)
        trigger.conn_id = "gone"
        assert asyncio.run(asyncio.wait_for(first_event(trigger), 20))["status"] == "error"

    def test_triggers_with_same_query_share_each_poll(self, prometheus):
        interval, seconds = 0.5, 3.0

        async def wait() -> tuple[int, int]:
            tasks = [asyncio.create_task(first_event(make("7200 * one", interval=interval))) for _ in range(500)]
            before = queries_so_far(prometheus)
            await asyncio.sleep(seconds)
            asked, shared = queries_so_far(prometheus) - before, len(polls())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0.1)
            assert len(polls()) == 0, "polls outlive their triggers"
            return asked, shared

        asked, shared = asyncio.run(wait())
        assert shared == 1
        assert 3 <= asked <= seconds / interval + 1

    def test_triggers_that_share_a_poll_judge_it_separately(self, prometheus):
        async def wait():
            easy = [asyncio.create_task(first_event(make("7200 * one", max_age=3 * HOUR))) for _ in range(20)]
            hard = [asyncio.create_task(first_event(make("7200 * one", max_age=HOUR))) for _ in range(20)]
            done, pending = await asyncio.wait([*easy, *hard], timeout=3)
            assert done == set(easy)
            assert {task.result()["status"] for task in done} == {"fresh"}
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

        asyncio.run(wait())

    def test_different_queries_share_one_client(self, prometheus):
        async def wait():
            listening = [collect(ask(f"{3600 * n} * one", query_gives="age"), 0.5) for n in range(100)]
            return await asyncio.wait_for(asyncio.gather(*listening), 120)

        async def collect(asked, interval):
            async with aclosing(polls().observations(asked, interval)) as answers:
                answer = await anext(answers)
            assert not isinstance(answer, MeasurementError), answer
            return datetime.now(UTC) - answer.observed_at

        ages = asyncio.run(wait())
        assert [age // timedelta(hours=1) for age in ages] == list(range(100))
