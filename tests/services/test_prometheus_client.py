"""The clients against servers that answer wrongly, and against a real one."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from airflow_slo_provider.exceptions import InvalidMeasurement, NoData, QueryError
from airflow_slo_provider.indicators.prometheus.answers import Sample
from airflow_slo_provider.indicators.prometheus.async_client import AsyncPrometheusClient
from airflow_slo_provider.indicators.prometheus.client import PrometheusClient
from airflow_slo_provider.indicators.prometheus.source import PrometheusSource
from tests.services.faulty_prometheus import MODES, FaultyPrometheus
from tests.services.histories import END, MINUTES
from tests.unit.indicators.prometheus_requests import availability, ratio, request_over, threshold

AT = datetime(2026, 11, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
#: Only the two faults that are about time are given little of it: on a busy machine another fault may not become a timeout.
PATIENT: dict[str, Any] = {"timeout": (20.0, 20.0), "max_seconds": 60, "retries": 1}
SHORT: dict[str, dict[str, Any]] = {"hang": {"timeout": (20.0, 0.7)}, "drip": {"max_seconds": 0.7}}

#: mode: reason, transient, HTTP status, what the message says
FAULTS = {
    "refuse": ("connection_refused", True, None, "refused the connection"),
    "hang": ("timeout", True, None, "read timeout"),
    "reset": ("connection_reset", True, None, "connection broke"),
    "redirect": ("redirected", False, 302, "https://login.example/sign-in"),
    "400": ("bad_query", False, 400, "bad_data: invalid parameter"),
    "401": ("unauthorized", False, 401, "login, password or token"),
    "403": ("forbidden", False, 403, "may not query"),
    "404": ("not_found", False, 404, "path prefix"),
    "422": ("query_failed", False, 422, "execution: found duplicate series"),
    "429": ("too_many_requests", True, 429, "status 429 from a proxy"),
    "500": ("server_error", True, 500, "HTTP 500"),
    "502": ("server_error", True, 502, "HTTP 502"),
    "503": ("server_error", True, 503, "timeout: query timed out"),
    "504": ("server_error", True, 504, "HTTP 504"),
    "html": ("not_json", False, 200, "is this a login page or a wrong path?"),
    "warnings": ("partial_answer", True, 200, "store gateway 10.0.0.7:10901 did not answer"),
    "not_a_number": ("unexpected_shape", False, 200, "twelve"),
    "truncated": ("truncated", True, None, "broke off"),
    "truncated_chunks": ("truncated", True, None, "broke off"),
    "drip": ("timeout", True, 200, "not complete"),
    "wrong_json": ("unexpected_shape", False, 200, "not a documented"),
    "not_an_object": ("unexpected_shape", False, 200, "not a Prometheus answer"),
    "no_result": ("unexpected_shape", False, 200, "resultType"),
    "status_error": ("status_error", False, 200, "bad_data: proxied error"),
    "is_partial": ("partial_answer", True, 200, "may be incomplete: isPartial is True"),
    "error_type": ("contradictory_answer", False, 200, "reports success and names an error: execution: vmstorage-2 is gone"),
    "repeated_key": ("repeated_key", False, 200, "the key 'status' occurs twice"),
    "nan_literal": ("not_a_number", False, 200, "NaN is not JSON"),
    "another_time": ("stale_answer", True, 200, "received a sample of 1793490600.000"),
    "aged": ("cached_answer", True, None, "3600 s old"),
    "stale_warning": ("cached_answer", True, None, "a cache reports that its answer is stale"),
    "twice": ("contradictory_answer", False, 200, "it holds the same series twice"),
}
#: Answers that are well-formed; what is wrong with them shows when they are used.
WELL_FORMED = {"empty", "two_series", "nan", "inf"}


def blocking(url: str, **settings: Any) -> list[Sample]:
    client = PrometheusClient(url, **(PATIENT | settings))
    try:
        return client.instant("up", AT)
    finally:
        client.close()


def concurrent(url: str, **settings: Any) -> list[Sample]:
    async def ask() -> list[Sample]:
        async with AsyncPrometheusClient(url, **(PATIENT | settings)) as client:
            return await client.instant("up", AT)

    return asyncio.run(ask())


BOTH = pytest.mark.parametrize("ask", [blocking, concurrent])


def test_every_fault_mode_has_an_expectation() -> None:
    assert set(MODES) == FAULTS.keys() | WELL_FORMED


@BOTH
@pytest.mark.parametrize("mode", sorted(FAULTS))
def test_invalid_answer_is_one_typed_error(mode: str, ask: Any) -> None:
    reason, transient, status, says = FAULTS[mode]
    with FaultyPrometheus(mode, retry_after=None) as server:
        started = time.perf_counter()
        with pytest.raises(QueryError, match=says.replace("?", "[?]")) as caught:
            ask(server.url, **SHORT.get(mode, {}))
        error = caught.value
        assert (error.reason, error.transient, error.http_status) == (reason, transient, status)
        assert (error.query, error.source) == ("up", server.url)
        assert "hunter2" not in str(error)
        assert time.perf_counter() - started < 30, "it hangs"
        retried = mode in ("reset", "429", "502", "503", "504")
        assert len(server.requests) == (0 if mode == "refuse" else 2 if retried else 1)


@BOTH
def test_valid_answers_are_returned(ask: Any) -> None:
    for mode, texts in {"ok": ["1000"], "empty": [], "two_series": ["1000", "1000"], "nan": ["NaN"], "inf": ["+Inf"]}.items():
        with FaultyPrometheus(mode) as server:
            assert [sample.text for sample in ask(server.url)] == texts


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that the clients would have paused: they go on at once."""
    told: list[float] = []
    go_on = asyncio.sleep

    async def sleep(seconds: float) -> None:
        told.append(seconds)
        await go_on(0)

    monkeypatch.setattr(time, "sleep", told.append)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    return told


@BOTH
def test_transient_fault_is_retried_after_retry_after(ask: Any, pauses: list[float]) -> None:
    with FaultyPrometheus("429", failures=1, retry_after="1") as server:
        assert ask(server.url)[0].value == 1000
        assert len(server.requests) == 2
    assert pauses == [1]


@BOTH
@pytest.mark.parametrize(
    ("retry_after", "most"), [("3600", 10), ("Wed, 21 Oct 2037 07:28:00 GMT", 10), ("soon", 0.2)], ids=["3600", "date", "soon"]
)
def test_long_or_invalid_retry_after_is_limited(ask: Any, retry_after: str, most: float, pauses: list[float]) -> None:
    with FaultyPrometheus("503", failures=1, retry_after=retry_after) as server:
        assert ask(server.url)[0].value == 1000
        assert len(server.requests) == 2
    assert sum(pauses) <= most


@BOTH
def test_query_is_one_post_body_with_one_time(ask: Any) -> None:
    with FaultyPrometheus("ok") as server:
        ask(server.url + "/", params={"tenant": "a"}, headers={"X-Scope-OrgID": "team"}, timeout=(20.0, 6.5))
        (received,) = server.requests
    assert (received.method, received.path) == ("POST", "/api/v1/query")
    assert received.form == {"query": "up", "time": "1793491200", "timeout": "7s", "tenant": "a"}
    assert received.headers["X-Scope-OrgID"] == "team"


@BOTH
def test_method_get_sends_get_requests(ask: Any) -> None:
    with FaultyPrometheus("ok") as server:
        ask(server.url, method="GET")
        assert server.requests[0].method == "GET"
        assert server.requests[0].form["query"] == "up"


@BOTH
def test_credentials_are_sent_and_not_in_errors(ask: Any) -> None:
    with FaultyPrometheus("401") as server:
        for settings in ({"basic": ("me", "hunter2")}, {"bearer": "hunter2"}):
            with pytest.raises(QueryError) as caught:
                ask(server.url, **settings)
            assert "hunter2" not in f"{caught.value!s}{caught.value!r}"
        with pytest.raises(QueryError) as caught:
            ask(server.url.replace("http://", "http://me:hunter2@"))
        assert "hunter2" not in f"{caught.value!s}{caught.value!r}"
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
        assert [r.headers["Authorization"] for r in server.requests] == [
            "Basic bWU6aHVudGVyMg==",
            "Bearer hunter2",
            "Basic bWU6aHVudGVyMg==",
        ]


@BOTH
def test_too_large_answer_is_refused_before_its_end(ask: Any) -> None:
    with FaultyPrometheus("ok") as server, pytest.raises(QueryError) as caught:
        ask(server.url, max_bytes=20)
    assert (caught.value.reason, caught.value.transient) == ("too_large", False)


@BOTH
@pytest.mark.parametrize(("minutes", "said"), [(3, "behind"), (-3, "ahead of")])
def test_server_with_a_wrong_clock_is_refused(ask: Any, minutes: int, said: str) -> None:
    with (
        FaultyPrometheus("ok", clock_ahead=timedelta(minutes=minutes)) as server,
        pytest.raises(QueryError, match=said) as caught,
    ):
        ask(server.url)
    assert (caught.value.reason, caught.value.transient) == ("clock_skew", True)


@BOTH
def test_unresolvable_host_is_an_error(ask: Any) -> None:
    with pytest.raises(QueryError) as caught:
        ask("http://no-such-host.invalid:9090", retries=0)
    assert (caught.value.reason, caught.value.transient) == ("dns", True)


@BOTH
def test_plain_http_server_with_https_url_is_an_error(ask: Any) -> None:
    with FaultyPrometheus("ok") as server, pytest.raises(QueryError) as caught:
        ask(server.url.replace("http://", "https://"))
    assert (caught.value.reason, caught.value.transient) == ("tls", False)


def test_settings_of_an_existing_session_are_used() -> None:
    session = requests.Session()
    session.auth, session.headers["X-Team"] = ("me", "pw"), "a"
    with FaultyPrometheus("ok") as server:
        PrometheusClient(server.url, session=session).instant("up", AT)
        assert server.requests[0].headers["X-Team"] == "a"
        assert server.requests[0].headers["Authorization"].startswith("Basic ")


def test_calls_of_the_library_are_limited_and_verified() -> None:
    with FaultyPrometheus("html") as server, pytest.raises(QueryError, match="login page"):
        PrometheusClient(server.url, **PATIENT).connect.all_metrics()
    with FaultyPrometheus("ok") as server:
        assert PrometheusClient(server.url, **PATIENT).connect.all_metrics() == []
        assert PrometheusClient(server.url, **PATIENT).connect.custom_query("up")[0]["value"][1] == "1000"


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode not in ("hang", "drip")])
def test_invalid_answer_is_not_measured(mode: str) -> None:
    expected = {
        "empty": (NoData, "empty"),
        "nan": (InvalidMeasurement, "not_a_number"),
        "inf": (InvalidMeasurement, "not_a_number"),
    }
    kind, reason = expected.get(mode, (QueryError, "several_series" if mode == "two_series" else FAULTS.get(mode, ("",))[0]))
    counted, generic = (
        availability("a"),
        ratio(good="sum(increase(x[{{.window}}])) + 0", total="sum(increase(x[{{.window}}])) - 0"),
    )
    with FaultyPrometheus(mode, retry_after=None) as server:
        client = PrometheusClient(server.url, **(PATIENT | {"retries": 0}))
        source = PrometheusSource(client)
        for indicator in (counted, availability("a", bad=True), generic):
            (found,) = source.measure([request_over(indicator, AT, HOUR)])
            assert isinstance(found, kind), (mode, found)
            assert found.reason == reason
            (sliced,) = source.slices([request_over(indicator, AT, HOUR)], timedelta(minutes=5))
            assert isinstance(sliced, kind), (mode, sliced)
        (found,) = source.measure([request_over(threshold("x"), AT, HOUR, "lt", 1)])  # type: ignore[arg-type]
        assert isinstance(found, kind), (mode, found)


def test_valid_answer_of_the_same_server_is_measured() -> None:
    with FaultyPrometheus("ok") as server:
        source = PrometheusSource(PrometheusClient(server.url))
        generic = ratio(good="sum(increase(x[{{.window}}])) + 0", total="sum(increase(x[{{.window}}])) - 0")
        together = [request_over(indicator, AT, HOUR) for indicator in (availability("a"), availability("b"), generic)]
        for asked in (together, together[:1], together[2:]):
            for found in source.measure(asked):
                assert getattr(found, "ratio", None) == 1, found
            for sliced in source.slices(asked, timedelta(minutes=5)):
                assert {value.ratio for value in sliced.values if value} == {1}  # type: ignore[union-attr]


def test_batch_with_unassigned_rows_is_sent_one_by_one() -> None:
    """A server that does not know label_replace: its rows carry no number of ours."""
    queries = [
        ratio(good=f"sum(increase(x{n}[{{{{.window}}}}])) + 0", total=f"sum(increase(x{n}[{{{{.window}}}}])) - 0")
        for n in range(2)
    ]
    with FaultyPrometheus("ok") as server:
        rows = server._envelope
        server._envelope = lambda mode, path, form: rows(mode, path, form | {"query": ""})  # type: ignore[method-assign]
        found = PrometheusSource(PrometheusClient(server.url)).measure([request_over(query, AT, HOUR) for query in queries])
        assert [getattr(item, "ratio", item) for item in found] == [1, 1]
        assert len(server.requests) == 1 + 4


# -- a real server -------------------------------------------------------------------------------------------------------


def test_errors_of_a_real_server_keep_its_message(prometheus_history: str) -> None:
    client = PrometheusClient(prometheus_history)
    for query, status, says in [
        ("sum(", 400, "parse error"),
        ("http_requests_total + on () http_requests_total", 422, "many-to-many|duplicate series"),
    ]:
        with pytest.raises(QueryError, match=says) as caught:
            client.instant(query, END)
        assert (caught.value.http_status, caught.value.transient, caught.value.query) == (status, False, query)


def test_result_types_of_a_real_server_are_checked(prometheus_history: str) -> None:
    client = PrometheusClient(prometheus_history)
    assert client.instant("1.5e6", END)[0].value == 1_500_000
    assert client.instant("vector(0.1) * 3", END)[0].text == "0.30000000000000004"
    assert client.instant("vector(0/0)", END)[0].is_nan
    assert client.instant("vector(-1/0)", END)[0].is_infinite
    for query in ("http_requests_total[5m]", '"text"'):
        with pytest.raises(QueryError) as caught:
            client.instant(query, END)
        assert caught.value.reason == "wrong_result_type"


def test_ranges_of_a_real_server_are_joined(prometheus_history: str) -> None:
    start = END - timedelta(minutes=MINUTES)
    (series,) = PrometheusClient(prometheus_history).range(
        'http_requests_total{service="steady",code="500"}', start, END, timedelta(minutes=1)
    )
    assert [text for _, text in series.points] == [str(n) for n in range(MINUTES + 1)]
    moments = [moment for moment, _ in series.points]
    assert moments == list(range(int(start.timestamp()) * 1000, int(END.timestamp()) * 1000 + 1, 60_000))


def test_async_and_blocking_clients_return_the_same(prometheus_history: str) -> None:
    query = "sum by (service, code) (increase(http_requests_total[1h]))"

    async def ask() -> list[Sample]:
        async with AsyncPrometheusClient(prometheus_history) as client:
            return await client.instant(query, END)

    found = asyncio.run(ask())
    assert len(found) == 19
    assert found == PrometheusClient(prometheus_history).instant(query, END)
