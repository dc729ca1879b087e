"""The call tree of a trace: own times, critical path, clock skew, missing parents."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from airflow_slo_provider.tracing.analysis.trace_tree import Trace, analyse
from airflow_slo_provider.tracing.spans import Span
from tests.unit.tracing.builders import MS, span


def own(trace: Trace) -> dict[str, float]:
    return {placed.span.name: placed.self_ns / MS for placed in trace.spans}


def path(trace: Trace) -> dict[str, float]:
    return {placed.span.name: placed.critical_ns / MS for placed in trace.spans if placed.critical_ns}


def test_critical_path_parallel_spans_are_not_added_up():
    trace = analyse(
        [
            span("request", 0, 100),
            span("features", 10, 60, "request"),
            span("cache", 10, 30, "request"),
            span("model", 60, 95, "request"),
        ]
    )
    assert own(trace) == {"request": 15, "features": 50, "cache": 20, "model": 35}
    assert path(trace) == {"request": 15, "features": 50, "model": 35}


def test_critical_path_includes_spans_before_the_last_child():
    # b began while a ran: the request itself started it, so a was not waited for.
    trace = analyse([span("request", 0, 20), span("a", 0, 10, "request"), span("b", 5, 20, "request")])
    assert own(trace) == {"request": 0, "a": 10, "b": 15}
    assert path(trace) == {"request": 5, "b": 15}


def test_trace_tree_nested_spans_and_one_that_outlives_its_caller():
    trace = analyse(
        [
            span("request", 0, 50),
            span("features", 5, 30, "request"),
            span("redis", 10, 25, "features"),
            span("log", 40, 90, "request"),
            span("flush", 60, 80, "log"),
        ]
    )
    assert own(trace) == {"request": 15, "features": 10, "redis": 15, "log": 30, "flush": 20}
    assert path(trace) == {"request": 15, "features": 10, "redis": 15, "log": 10}
    assert trace.missing_parents == trace.skewed == 0


def test_trace_tree_skewed_service_is_centred_in_its_caller():
    trace = analyse(
        [
            span("request", 0, 100),
            span("call", 10, 50, "request"),
            span("lookup", 1010, 1040, "call", service="store"),
            span("disk", 1015, 1035, "lookup", service="store"),
        ]
    )
    assert trace.skewed == 1
    assert own(trace) == {"request": 60, "call": 10, "lookup": 10, "disk": 20}
    assert sum(path(trace).values()) == 100
    (lookup,) = (placed for placed in trace.spans if placed.span.name == "lookup")
    assert lookup.span.duration_ns == 30 * MS
    # The same clock means what it says.
    late = analyse([span("request", 0, 100), span("late", 120, 130, "request")])
    assert (late.skewed, path(late)) == (0, {"request": 100})


def test_trace_tree_orphans_are_attached_to_the_root_and_counted():
    trace = analyse([span("request", 0, 100), span("model", 20, 80, "gone"), span("gpu", 30, 70, "model")])
    assert trace.missing_parents == 1
    assert own(trace) == {"request": 40, "model": 20, "gpu": 40}
    assert sum(path(trace).values()) == 100


def test_trace_tree_without_root_has_several_tops():
    trace = analyse([span("features", 0, 10, "gone"), span("model", 10, 40, "gone")])
    assert (trace.missing_parents, path(trace)) == (2, {"features": 10, "model": 30})
    assert [placed.top for placed in trace.spans] == [True, True]


def test_trace_tree_remote_parent_is_not_missing():
    for remote in (True, None):
        trace = analyse([span("request", 0, 10, "gateway", remote_parent=remote), span("model", 2, 9, "request")])
        assert (trace.missing_parents, path(trace)) == (0, {"request": 3, "model": 7})
    assert analyse([span("model", 2, 9, "request", remote_parent=False)]).missing_parents == 1


def test_trace_tree_cycles_are_broken():
    trace = analyse([span("a", 0, 10, "b"), span("b", 1, 9, "a"), span("self", 2, 3, "self")])
    assert len(trace.spans) == 3
    assert trace.missing_parents >= 1


def test_trace_tree_duplicate_span_counts_once():
    trace = analyse(
        [span("request", 0, 10), span("request", 0, 10), span("model", 2, 8, "request"), span("model", 2, 8, "request")]
    )
    assert (len(trace.spans), trace.duplicates, own(trace)) == (2, 2, {"request": 4, "model": 6})


def test_trace_tree_incomplete_trace_has_durations_only():
    trace = analyse([span("request", 0, 10, whole=False), span("model", 2, 8, "request", whole=False)])
    assert not trace.whole
    assert [(placed.self_ns, placed.critical_ns) for placed in trace.spans] == [(None, None)] * 2


def test_trace_tree_version_is_inherited_or_the_only_one():
    trace = analyse(
        [
            span("http", 0, 100),
            span("request", 1, 99, "http", version="v2"),
            span("redis", 2, 9, "request", service="store"),
            span("shadow", 10, 50, "request", version="v3"),
        ]
    )
    assert {placed.span.name: placed.version for placed in trace.spans} == {
        "http": None,
        "request": "v2",
        "redis": "v2",
        "shadow": "v3",
    }
    single = analyse([span("http", 0, 100), span("request", 1, 99, "http", version="v2")])
    assert {placed.version for placed in single.spans} == {"v2"}
    other = analyse([span("request", 0, 1, attributes={"ml.version": 7})], version_keys=("model_version", "ml.version"))
    assert other.spans[0].version == "7"


def test_trace_tree_deep_trace_needs_no_recursion():
    deep = 20_000
    spans = [span("s0", 0, deep)] + [span(f"s{n}", n / 10, deep - n / 10, f"s{n - 1}") for n in range(1, deep)]
    trace = analyse(spans)
    assert len(trace.spans) == deep
    assert sum(placed.critical_ns for placed in trace.spans) == deep * MS


@st.composite
def traces(draw: Any) -> list[Span]:
    spans = [span("s0", 0, 2 * draw(st.integers(0, 50)))]
    for number in range(1, draw(st.integers(1, 12))):
        start = draw(st.integers(-10, 60))
        end = start + draw(st.integers(0, 40))
        parent = draw(st.sampled_from([f"s{other}" for other in range(number)] + ["gone"]))
        service = draw(st.sampled_from(["server", "store"]))
        # Even: the middle of a caller is a whole millisecond.
        spans.append(span(f"s{number}", 2 * start, 2 * end, parent, service=service))
    return draw(st.permutations(spans))


@given(traces())
def test_critical_path_sums_to_the_request_and_own_time_is_within_the_span(spans: list[Span]) -> None:
    trace = analyse(spans)
    assert len(trace.spans) == len(spans)
    (root,) = (placed for placed in trace.spans if placed.top)
    assert sum(placed.critical_ns for placed in trace.spans) == root.span.duration_ns
    for placed in trace.spans:
        assert 0 <= placed.self_ns <= placed.span.duration_ns
        assert 0 <= placed.critical_ns <= root.span.duration_ns


@given(traces())
def test_own_time_is_the_time_that_no_child_covers(spans: list[Span]) -> None:
    trace = analyse(spans)
    places = {
        placed.span.span_id: (placed.start_ns // MS, (placed.start_ns + placed.span.duration_ns) // MS) for placed in trace.spans
    }
    root = next(placed.span.span_id for placed in trace.spans if placed.top)
    for placed in trace.spans:
        start, end = places[placed.span.span_id]
        covered: set[int] = set()
        for other in trace.spans:
            parent = other.span.parent_id
            if parent is not None and parent not in places:
                parent = root
            if parent == placed.span.span_id and other.span.span_id != root:
                covered |= set(range(*places[other.span.span_id]))
        assert placed.self_ns == sum(MS for moment in range(start, end) if moment not in covered)
