"""Tempo and Jaeger from recorded answers: exact times, and missing data is reported."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from airflow_slo_provider import tracing
from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.tracing.spans import Span
from airflow_slo_provider.tracing.stores import HttpSettings, JaegerStore, TempoStore
from tests.services.trace_replay import JaegerReplay, TempoReplay, recorded, serving, truth, truth_by_trace

SERVICE = "model-server"


def span_times(spans: Iterable[Span]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for span in spans:
        assert span.name not in found.setdefault(span.trace_id, {}), "twice"
        found[span.trace_id][span.name] = span.duration_ns
    return found


@pytest.fixture(scope="module")
def interval() -> tuple[int, int]:
    told = truth()
    return told["start_ns"], told["end_ns"]


@pytest.fixture(scope="module")
def expected() -> tracing.LatencyBreakdown:
    return tracing.breakdown(recorded("otlp"))


def assert_equal_breakdowns(found: tracing.LatencyBreakdown, expected: tracing.LatencyBreakdown) -> None:
    def rows(one: tracing.LatencyBreakdown) -> list[object]:
        names = ("span", "model_version", "count", "p50", "p95", "p99", "self_p50", "critical_share", "error_rate")
        return [tuple(getattr(row, name) for name in names) for row in one.rows]

    assert rows(found) == rows(expected)


# --- Tempo


@pytest.mark.parametrize("parents", [True, False])
def test_tempo_spans_with_and_without_parents_in_a_search_are_exact(interval, expected, parents):
    with serving(TempoReplay(parents=parents)) as tempo:
        stream = TempoStore(tempo.url).spans(SERVICE, *interval)
        spans = list(stream)
        assert (stream.truncated, stream.notes) == (False, [])
        assert span_times(spans) == truth_by_trace()
        assert_equal_breakdowns(tracing.breakdown(spans), expected)
        searches = [params for path, params in tempo.requests if path == "/api/search"]
        by_id = [path for path, _ in tempo.requests if path != "/api/search"]
    assert len(by_id) == (0 if parents else 240)
    assert all(int(params["limit"]) > 20 and int(params["spss"]) > 3 for params in searches)


def test_tempo_without_any_parents_is_read_flat_and_reported(interval, expected):
    with serving(TempoReplay(parents=False, by_id=False)) as tempo:
        found = tracing.breakdown(TempoStore(tempo.url).spans(SERVICE, *interval))
        assert len(tempo.requests) < 10
    # In these traces every span is a child of the request, so that even the flat reading is right.
    assert_equal_breakdowns(found, expected)
    assert any("no parent ids" in note for note in found.notes)


def test_tempo_whole_traces_option_fetches_each_trace(interval, expected):
    with serving(TempoReplay()) as tempo:
        found = tracing.breakdown(TempoStore(tempo.url, whole_traces=True).spans(SERVICE, *interval))
        assert sum(path.startswith("/api/v2/traces/") for path, _ in tempo.requests) == 240
    assert_equal_breakdowns(found, expected)


def test_tempo_limit_is_reported(interval):
    with serving(TempoReplay()) as tempo:
        found = tracing.breakdown(TempoStore(tempo.url).spans(SERVICE, *interval, limit=20))
    assert (found.traces, found.truncated) == (20, True)
    assert "limit of 20" in found.notes[0]


def test_tempo_truncated_traces_are_fetched_or_reported(interval, expected):
    with serving(TempoReplay(most_spans=3)) as tempo:
        found = tracing.breakdown(TempoStore(tempo.url, spans_per_trace=3).spans(SERVICE, *interval))
    assert_equal_breakdowns(found, expected)
    assert not found.truncated
    with serving(TempoReplay(most_spans=3, by_id=False)) as tempo:
        found = tracing.breakdown(TempoStore(tempo.url, spans_per_trace=3).spans(SERVICE, *interval))
    assert (found.truncated, found.partial) == (True, 240)
    assert found.row("feature_fetch", "v1").self_p50 is None
    assert found.row("feature_fetch", "v1").p50 == expected.row("feature_fetch", "v1").p50
    assert "are incomplete" in found.notes[0]


def test_tempo_more_traces_than_a_page_halve_the_interval(interval, expected):
    with serving(TempoReplay()) as tempo:
        found = tracing.breakdown(TempoStore(tempo.url, page=50).spans(SERVICE, *interval))
        assert len(tempo.requests) > 5
    assert_equal_breakdowns(found, expected)
    assert not found.truncated


def test_tempo_more_traces_in_a_second_than_a_page_are_reported(interval):
    with serving(TempoReplay()) as tempo:
        found = tracing.breakdown(TempoStore(tempo.url, page=3).spans(SERVICE, *interval))
    assert found.truncated
    assert 0 < found.traces < 240


def test_tempo_query_end_cutoff_is_reported_for_recent_intervals(interval):
    now = datetime.now(UTC)
    with serving(TempoReplay(source="tempo-search-too-early")) as tempo:
        store = TempoStore(tempo.url)
        late = tracing.breakdown(store.spans(SERVICE, interval[0], now))
        assert (late.traces, late.truncated) == (80, True)
        assert any("30 s" in note for note in late.notes)
        settled = tracing.breakdown(store.spans(SERVICE, interval[0], now - timedelta(seconds=40)))
        assert not settled.truncated


def test_tempo_unfinished_search_is_reported(interval):
    with serving(TempoReplay()) as tempo:
        tempo.jobs = (3, 7)
        found = tracing.breakdown(TempoStore(tempo.url).spans(SERVICE, *interval))
    assert found.truncated
    assert "3 of 7" in found.notes[0]


def test_tempo_attributes_select_whole_traces(interval):
    with serving(TempoReplay()) as tempo:
        found = tracing.breakdown(TempoStore(tempo.url).spans(SERVICE, *interval, {"model_version": "v2"}))
        (query,) = {params["q"] for _, params in tempo.requests}
    assert (found.traces, found.versions) == (80, ("v2",))
    assert '&& span.model_version = "v2"' in query
    assert {row.count for row in found.rows} == {80}


def test_tempo_without_traces_is_empty_and_refusals_are_errors(interval):
    with serving(TempoReplay()) as tempo:
        store = TempoStore(tempo.url)
        nothing = tracing.breakdown(store.spans("nobody", *interval))
        assert (nothing.rows, nothing.traces, nothing.truncated) == ((), 0, False)
        with pytest.raises(QueryError, match="max spans per span set is 100") as caught:
            list(TempoStore(tempo.url, spans_per_trace=500).spans(SERVICE, *interval))
        assert (caught.value.reason, caught.value.transient) == ("bad_query", False)
        assert store.trace("00000000000000000000000000000001") == []
        (known,) = {span.trace_id for span in store.trace("e4e417168deab89abf0cf4839b4f7482")}
        assert known == "e4e417168deab89abf0cf4839b4f7482"
        assert store.check()


# --- Jaeger


def test_classic_jaeger_is_exact_to_the_microsecond(interval):
    with serving(JaegerReplay(), prefix="/select/jaeger") as jaeger:
        stream = JaegerStore(jaeger.url).spans(SERVICE, *interval)
        spans = list(stream)
        assert not stream.truncated
        found = tracing.breakdown(spans)
    wanted = {trace: {name: ns // 1000 * 1000 for name, ns in spans.items()} for trace, spans in truth_by_trace().items()}
    assert span_times(spans) == wanted
    assert found.resolution == 1e-6
    failed = {one["trace_id"] for one in truth()["requests"] if one["error"]}
    assert {span.trace_id for span in spans if span.error} == failed


def test_classic_jaeger_limit_and_attributes(interval):
    with serving(JaegerReplay(), prefix="/select/jaeger") as jaeger:
        store = JaegerStore(jaeger.url)
        cut = tracing.breakdown(store.spans(SERVICE, *interval, limit=20))
        assert (cut.traces, cut.truncated) == (20, True)
        chosen = tracing.breakdown(store.spans(SERVICE, *interval, {"model_version": "v2"}))
        assert (chosen.traces, chosen.versions, chosen.truncated) == (80, ("v2",), False)
        assert tracing.breakdown(store.spans("nobody", *interval)).rows == ()
        paged = tracing.breakdown(JaegerStore(jaeger.url, page=30).spans(SERVICE, *interval))
        assert (paged.traces, paged.truncated) == (240, False)
        with pytest.raises(QueryError, match="service name is required"):
            list(store.spans("", *interval))
        assert "1 services" in store.check()
    with serving(JaegerReplay()) as jaeger:
        bare = JaegerStore(jaeger.url)
        assert tracing.breakdown(bare.spans(SERVICE, *interval)).traces == 240, "found below /select/jaeger by itself"
        assert "1 services" in JaegerStore(jaeger.url).check()


@pytest.mark.parametrize("chunks", [False, True])
def test_jaeger_version_3_is_queried_first_and_exact(interval, expected, chunks):
    with serving(JaegerReplay(classic=False, v3=True, chunks=chunks)) as jaeger:
        store = JaegerStore(jaeger.url)
        spans = list(store.spans(SERVICE, *interval))
        assert span_times(spans) == truth_by_trace()
        assert_equal_breakdowns(tracing.breakdown(spans), expected)
        assert {path for path, _ in jaeger.requests} == {"/api/v3/traces"}
        assert list(store.spans("nobody", *interval)) == []
        assert store.trace("1") == []
        assert len(store.trace("e4e417168deab89abf0cf4839b4f7482")) == 5
        chosen = tracing.breakdown(store.spans(SERVICE, *interval, {"model_version": "v2"}))
        assert chosen.traces == 80, "an attribute the server does not filter by"


# --- faults


@pytest.fixture(params=["tempo", "jaeger"])
def replay_and_store(request) -> Iterator[tuple[object, object]]:
    if request.param == "tempo":
        with serving(TempoReplay()) as replay:
            yield replay, TempoStore(replay.url)
    else:
        with serving(JaegerReplay(), prefix="/select/jaeger") as replay:
            yield replay, JaegerStore(replay.url, api="classic")


def test_stores_retry_transient_faults(replay_and_store, interval):
    replay, store = replay_and_store
    replay.fail = [(503, "busy"), (429, "slow down")]
    assert len(list(store.spans(SERVICE, *interval))) == 1200


@pytest.mark.parametrize(
    ("status", "body", "reason", "transient"),
    [
        (500, "out of order", "server_error", True),
        (401, "who?", "unauthorized", False),
        (302, "", "redirected", False),
        (404, "not here", "not_found", False),
        (200, "<html>a login page</html>", "bad_answer", False),
        (200, '{"data": [{"spans": [{"spanID": "1"}]}], "traces": [{"traceID": 5}]}', "bad_answer", False),
    ],
)
def test_stores_bad_answer_is_an_error_and_not_an_empty_result(replay_and_store, interval, status, body, reason, transient):
    replay, store = replay_and_store
    replay.fail = [(status, body)] * 5
    with pytest.raises(QueryError) as caught:
        list(store.spans(SERVICE, *interval))
    assert (caught.value.reason, caught.value.transient) == (reason, transient)


@pytest.mark.parametrize("api", ["auto", "v3", "classic"])
@pytest.mark.parametrize(
    ("status", "body"), [(404, ""), (404, "404 page not found"), (200, ""), (200, "[]"), (200, "{}"), (404, "{}")]
)
def test_jaeger_other_web_server_is_an_error(interval, api, status, body):
    with serving(JaegerReplay(classic=False)) as other:
        other.fail = [(status, body)] * 9
        with pytest.raises(QueryError):
            list(JaegerStore(other.url, api=api).spans(SERVICE, *interval))
        other.fail = [(status, body)] * 9
        with pytest.raises(QueryError):
            list(TempoStore(other.url).spans(SERVICE, *interval))


def test_stores_unreachable_server_is_an_error(interval):
    for store in (TempoStore("http://127.0.0.1:1"), JaegerStore("http://127.0.0.1:1")):
        with pytest.raises(QueryError, match="refused the connection") as caught:
            list(store.spans(SERVICE, *interval))
        assert caught.value.transient


def test_stores_messages_contain_no_secret(interval):
    with serving(TempoReplay()) as tempo:
        tempo.fail = [(403, "token hunter2 is not known")]
        store = TempoStore(HttpSettings(url=tempo.url.replace("://", "://me:hunter3@"), bearer="hunter2"))
        with pytest.raises(QueryError) as caught:
            list(store.spans(SERVICE, *interval))
    assert "hunter" not in str(caught.value) + repr(store._http._http.settings)


@pytest.mark.parametrize(("start", "end", "limit"), [(2, 1, 5), (datetime(2026, 1, 1), datetime(2026, 1, 2), 5), (1, 2, 0)])
def test_stores_invalid_interval_or_limit_is_refused(start, end, limit):
    for store in (TempoStore("http://127.0.0.1:1"), JaegerStore("http://127.0.0.1:1")):
        with pytest.raises(QueryError):
            store.spans(SERVICE, start, end, limit=limit)


# --- real servers, where their address is given


def _real(variable: str) -> str:
    url = os.environ.get(variable)
    if not url:
        pytest.skip(f"{variable} is not set: no package of this server is to be had")
    return url


def _send(url: str, run: str) -> dict[str, dict[str, int]]:
    """Send fresh spans over OTLP to ``url``; return their durations."""
    from tests.services.otlp_sender import send_requests

    return send_requests(url, service=f"slo-test-{run}")


@pytest.mark.parametrize(("variable", "kind"), [("SLO_TEST_TEMPO_URL", TempoStore), ("SLO_TEST_JAEGER_URL", JaegerStore)])
def test_stores_round_trip_through_a_real_server(variable, kind):
    import time
    import uuid

    url = _real(variable)
    run = uuid.uuid4().hex[:8]
    otlp = os.environ.get(f"{variable.removesuffix('_URL')}_OTLP_URL") or url.rsplit(":", 1)[0] + ":4318/v1/traces"
    begun = datetime.now(UTC) - timedelta(seconds=30)
    sent = _send(otlp, run)
    deadline = time.monotonic() + 120
    found: dict[str, dict[str, int]] = {}
    while len(found) < len(sent) and time.monotonic() < deadline:
        time.sleep(3)
        found = span_times(kind(url).spans(f"slo-test-{run}", begun, datetime.now(UTC)))
    if kind is JaegerStore and found != sent:
        sent = {trace: {name: ns // 1000 * 1000 for name, ns in spans.items()} for trace, spans in sent.items()}
    assert found == sent
