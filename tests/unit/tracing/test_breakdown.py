"""The latency breakdown: exact times, missing data, and a million spans in bounded memory."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from airflow_slo_provider import tracing
from airflow_slo_provider.exceptions import InvalidMeasurement
from airflow_slo_provider.tracing.span_formats import read_spans
from airflow_slo_provider.tracing.span_ids import parse_span_id, parse_trace_id
from airflow_slo_provider.tracing.spans import Span, SpanStream
from airflow_slo_provider.tracing.stores import FileStore, open_store
from tests.support import REPO, acceptance
from tests.unit.tracing.builders import MS, T0, identity, span

PARTS = ("feature_fetch", "cache_lookup", "model_inference", "post_process")


@pytest.fixture(scope="module")
def truth() -> list[dict[str, object]]:
    return json.loads(acceptance("traces", "truth.json").read_text())["requests"]


@pytest.fixture(scope="module")
def document() -> dict[str, object]:
    return json.loads(acceptance("traces", "otlp.json").read_text())


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_breakdown_of_recorded_traces_is_exact(truth, document, version):
    found = tracing.breakdown(document)
    assert (found.traces, found.spans, found.truncated, found.versions) == (240, 1200, False, ("v1", "v2"))
    mine = [one for one in truth if one["model_version"] == version]
    for name in ("ml_prediction_request", *PARTS):
        times = [one["total_ns" if name == "ml_prediction_request" else f"{name}_ns"] for one in mine]
        row = found.row(name, version)
        assert row.count == len(mine)
        assert (row.p50, row.p95, row.p99) == pytest.approx(np.percentile(np.array(times) / 1e9, [50, 95, 99]), abs=1e-10)
        assert row.longest == max(times) / 1e9
        (samples,) = (one for key, one in found.samples.items() if (key.span, key.version) == (name, version))
        assert sorted(samples.durations) == sorted(times)
    failed = sum(bool(one["error"]) for one in mine) / len(mine)
    assert found.row("ml_prediction_request", version).error_rate == failed
    assert found.row("feature_fetch", version).error_rate == 0
    shares = [row.critical_share for row in found.rows if row.model_version == version]
    assert sum(shares) == pytest.approx(1, abs=1e-12)
    total = sum(one["total_ns"] for one in mine)
    assert found.row("model_inference", version).critical_share == pytest.approx(
        sum(one["model_inference_ns"] for one in mine) / total
    )
    assert found.row("ml_prediction_request", version).self_p50 == pytest.approx(0.0016, abs=1e-9)


def test_breakdown_rows_are_ordered_and_frozen(document):
    found = tracing.breakdown(document)
    assert [row.model_version for row in found.rows] == ["v1"] * 5 + ["v2"] * 5
    assert found.rows[0].span == found.rows[5].span == "model_inference"
    with pytest.raises(FrozenInstanceError):
        found.rows[0].count = 1
    assert json.loads(json.dumps(found.to_dict()))["rows"][0]["span"] == "model_inference"


def test_breakdown_is_independent_of_span_order(document):
    spans = list(read_spans(document))
    random.Random(5).shuffle(spans)
    assert tracing.breakdown(spans) == tracing.breakdown(document)


def test_read_spans_of_the_sdk(document):
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("t")
    with tracer.start_as_current_span("request", attributes={"model_version": "v9"}), tracer.start_as_current_span("model"):
        pass
    found = tracing.breakdown(exporter.get_finished_spans())
    assert [(row.span, row.model_version, row.count) for row in found.rows if row.count] and found.versions == ("v9",)
    assert {row.span for row in found.rows} == {"request", "model"}


def test_read_spans_other_types_are_refused():
    for nonsense in ([1], ["span"], {"data": []}, [{"traceId": "x", "spanId": "y"}]):
        with pytest.raises(InvalidMeasurement):
            tracing.breakdown(nonsense)
    assert tracing.breakdown([]).rows == ()
    assert tracing.breakdown({"resourceSpans": []}).traces == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [("5OQXFo3quJq/DPSDm090gg==", "e4e417168deab89abf0cf4839b4f7482"), ("E4E417168DEAB89ABF0CF4839B4F7482",) * 2, ("1", "1")],
)
def test_parse_trace_id_hex_and_base64(text, expected):
    assert parse_trace_id(text) == expected.lower().rjust(32, "0")


def test_parse_ids_invalid_are_refused():
    for text in ("", "zz", "0" * 33, "5OQXFo3quJo="):
        with pytest.raises(InvalidMeasurement):
            parse_trace_id(text)
    assert parse_span_id("U0kH8jg084I=") == "534907f23834f382"


def test_breakdown_kept_traces_are_excluded_from_percentiles():
    spans = [span("request", 0, 10, trace=f"t{n}", version="v1") for n in range(100)]
    spans += [span("request", 0, 900, trace=f"k{n}", version="v1", attributes={"sampling.kept": "slow"}) for n in range(50)]
    found = tracing.breakdown(spans)
    assert (found.row("request").p99, found.row("request").count, found.kept) == (0.01, 100, 50)
    assert found.slowest["v1"].spans[0].span.duration_ns == 900 * MS
    only = tracing.breakdown(spans[100:])
    assert only.row("request").p50 == 0.9
    assert "such requests only" in only.notes[-1]


def test_breakdown_reports_missing_data_of_the_stream():
    def source(stream: SpanStream) -> Iterator[Span]:
        yield span("request", 0, 1)
        stream.lack("the rest")

    found = tracing.breakdown(SpanStream(source))
    assert (found.truncated, found.notes) == (True, ("the rest",))


def test_version_order_by_time_then_by_number():
    def serve(version: str, start: float, count: int = 20) -> list[Span]:
        return [span("r", start + n, start + n + 1, trace=f"{version}{start}{n}", version=version) for n in range(count)]

    assert tracing.breakdown(serve("v10", 0) + serve("v9", 5)).versions == ("v9", "v10")
    assert tracing.breakdown(serve("zulu", 0) + serve("alpha", 30)).versions == ("zulu", "alpha")
    assert tracing.breakdown(serve("c", 0) + serve("b", 30) + serve("a", 60)).versions == ("c", "b", "a")


def test_breakdown_too_many_names_are_combined_and_reported():
    from airflow_slo_provider.tracing.analysis.collector import Collector

    collector = Collector(max_rows=10)
    collector.add_all(span(f"GET /user/{n}", 0, 1, trace=f"t{n}") for n in range(50))
    assert len(collector.rows) == 11
    assert collector.lumped == 40


def test_breakdown_sampled_row_keeps_counts_and_approximate_percentiles():
    chance = random.Random(3)
    times = [chance.lognormvariate(0, 0.5) for _ in range(20_000)]
    found = tracing.breakdown((span("r", 0, one, trace=f"{n}") for n, one in enumerate(times)), max_values=2000)
    row = found.row("r")
    assert row.count == 20_000
    assert row.p50 == pytest.approx(np.percentile(times, 50) / 1e3, rel=0.06)
    assert "sample" in found.notes[-1]


def a_million(traces: int) -> Iterator[Span]:
    for number in range(traces):
        trace, start = f"{number + 1:032x}", T0 + number * MS
        key = number * 8 + 1
        yield Span(trace, f"{key:016x}", None, "request", "server", start, 9 * MS, False, {"model_version": "v1"})
        for place in range(1, 5):
            yield Span(trace, f"{key + place:016x}", f"{key:016x}", f"part{place}", "server", start + place * MS, MS)


def test_breakdown_memory_is_independent_of_span_count():
    def peak(traces: int) -> int:
        tracemalloc.start()
        try:
            found = tracing.breakdown(a_million(traces), max_open_spans=500, max_values=500)
            assert (found.traces, found.spans) == (traces, traces * 5)
            assert found.row("part1").count == traces
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(250)
    assert peak(4000) < 1.5 * peak(1000)


# Twice what each needs. Were spans or traces kept, it would be 65 or 90 MB and more at the smaller number, their ids alone 130 MB
# at the larger one.
@pytest.mark.parametrize(("traces", "megabytes"), [(25_000, 55), pytest.param(200_000, 100, marks=pytest.mark.long)])
def test_breakdown_of_a_million_spans_fits_in_memory(traces, megabytes):
    """In a process of its own: its peak is the operating system's word."""
    code = (
        "import resource\n"
        "from airflow_slo_provider import tracing\n"
        "from tests.unit.tracing.test_breakdown import a_million\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        f"found = tracing.breakdown(a_million({traces}))\n"
        f"assert (found.spans, found.row('part3').p99) == ({5 * traces}, 0.001), found\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    unit = 1024 if sys.platform != "darwin" else 1
    assert int(done.stdout) * unit < megabytes * 1_000_000


def test_breakdown_trace_in_distant_parts_is_reported_as_truncated():
    first = [span("model", 1, 2, "request", trace="far", remote_parent=False)]
    between = [span("r", 0, 1, trace=f"t{n}") for n in range(100)]
    found = tracing.breakdown([*first, *between, span("request", 0, 3, trace="far")], max_open_spans=50)
    assert (found.traces, found.missing_parents, found.partial, found.truncated) == (101, 1, 1, True)
    assert "1 of 101 traces arrived in parts too far apart" in found.notes[0]
    assert found.row("request").self_p50 is None, "its child is not there to be taken off"
    whole = tracing.breakdown([*first, *between, span("request", 0, 3, trace="far")], max_open_spans=102)
    assert (whole.traces, whole.partial, whole.truncated, whole.row("request").self_p50) == (101, 0, False, 0.002)


def test_breakdown_complete_traces_closed_early_are_whole():
    spans = [one for n in range(100) for one in (span("m", 1, 2, "r", trace=f"t{n}"), span("r", 0, 3, trace=f"t{n}"))]
    found = tracing.breakdown(spans, max_open_spans=10)
    assert (found.traces, found.partial, found.truncated, found.notes) == (100, 0, False, ())
    apart = tracing.breakdown(spans[::2] + spans[1::2], max_open_spans=10)
    assert (apart.traces, apart.spans, apart.truncated) == (100, 200, True)
    assert apart.partial >= 90


# --- OTLP-JSON files


def lines(document: dict[str, object], path: object, *, hexadecimal: bool) -> None:
    """Write a document as the collector's file exporter does: a line per export, ids in hex."""
    import base64

    (resource_spans,) = document["resourceSpans"]
    spans = [span for scope in resource_spans["scopeSpans"] for span in scope["spans"]]
    with open(path, "w") as file:
        for place in range(0, len(spans), 7):  # across traces
            batch = [dict(one) for one in spans[place : place + 7]]
            for one in batch if hexadecimal else ():
                for name in ("traceId", "spanId", "parentSpanId"):
                    if name in one:
                        one[name] = base64.b64decode(one[name]).hex()
            file.write(json.dumps({"resourceSpans": [{**resource_spans, "scopeSpans": [{"spans": batch}]}]}) + "\n")


@pytest.mark.parametrize("form", ["one.json", "lines.jsonl", "lines.jsonl.gz"])
def test_file_store_equals_the_document(tmp_path, document, form):
    import gzip

    path = tmp_path / form
    if form == "one.json":
        path.write_text(json.dumps(document, indent=1))
    else:
        lines(document, tmp_path / "lines.jsonl", hexadecimal=True)
        if form.endswith(".gz"):
            path.write_bytes(gzip.compress((tmp_path / "lines.jsonl").read_bytes()))
            (tmp_path / "lines.jsonl").unlink()
    for place in (path, tmp_path, str(tmp_path / "*e*")):
        assert tracing.breakdown(FileStore(place).spans()) == tracing.breakdown(document)
    store = open_store("otlp_json", path=str(path))
    assert len(store.trace("e4e417168deab89abf0cf4839b4f7482")) == 5
    assert "1 files" in store.check()


def test_file_store_filters_by_interval_attributes_and_limit(tmp_path, document, truth):
    path = tmp_path / "lines.jsonl"
    lines(document, path, hexadecimal=False)
    starts = {one.trace_id: one.start_ns for one in read_spans(document) if one.parent_id is None}
    middle = sorted(starts.values())[100]
    store = FileStore(path)
    before = tracing.breakdown(store.spans("model-server", 10**18, middle))
    after = tracing.breakdown(store.spans("model-server", middle, 2 * 10**18))
    assert (before.traces, after.traces) == (100, 140)
    assert tracing.breakdown(store.spans("nobody")).traces == 0
    chosen = tracing.breakdown(store.spans(attributes={"model_version": "v2", "cache.hit": True}))
    assert (chosen.versions, chosen.row("cache_lookup").cache_hit_rate) == (("v2",), 1.0)
    cut = tracing.breakdown(store.spans(limit=20))
    assert (cut.traces, cut.spans, cut.truncated) == (20, 100, True)


def test_read_documents_large_document_is_read_by_span(document):
    import io

    from airflow_slo_provider.tracing.otlp import read_document
    from airflow_slo_provider.tracing.stores.json_stream import read_documents

    whole = list(read_document(document))
    for text in (json.dumps(document), json.dumps(document, indent=2), f"{json.dumps(document)}\n{json.dumps(document)}\n"):
        pieces = list(read_documents(io.StringIO(text), block=3000))
        assert max(len(json.dumps(piece)) for piece in pieces) < 3000
        spans = [one for piece in pieces for one in read_document(piece)]
        assert spans == whole * (len(spans) // len(whole))
        assert spans


@pytest.mark.parametrize("cut", [10, 2000])
def test_file_store_truncated_file_is_reported(tmp_path, document, cut):
    path = tmp_path / "lines.jsonl"
    lines(document, path, hexadecimal=True)
    path.write_text(path.read_text()[:-cut])
    found = tracing.breakdown(FileStore(path).spans())
    assert found.truncated
    assert 0 < found.spans < 1200
    assert "still be being written" in found.notes[0]


def test_file_store_missing_or_invalid_files_are_errors(tmp_path):
    from airflow_slo_provider.exceptions import QueryError

    with pytest.raises(QueryError, match="no OTLP-JSON file"):
        list(FileStore(tmp_path / "none").spans())
    (tmp_path / "other.json").write_text('{"spans": "none"}')
    with pytest.raises(QueryError, match="without resourceSpans"):
        list(FileStore(tmp_path).spans())
    with pytest.raises(ValueError, match="not a kind of trace store"):
        open_store("zipkin")


def test_builder_identity_is_stable():
    assert identity("t", 32) == identity("t", 32)
