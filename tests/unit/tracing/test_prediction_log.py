"""The prediction log: its rows, no blocking, and counted losses."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from airflow_slo_provider import tracing
from airflow_slo_provider.tracing.prediction_log import Prediction, PredictionLog, failed, hex_trace_id, read, sample

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
NOW = datetime(2026, 11, 24, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "parquet"])
def target(request, tmp_path) -> str:
    return f"sqlite:///{tmp_path}/a log.db" if request.param == "sqlite" else f"{tmp_path}/a log"


def test_prediction_log_rows_are_read_back(target):
    with PredictionLog(target) as log:
        assert log.write(request_id="r1", trace_id=TRACE, model_version="v42", prediction="benign", latency=0.045, timestamp=NOW)
        assert log.write(request_id="r2", trace_id=int(TRACE, 16), model_version="v42", prediction=None, latency=1, status=500)
        assert log.write(request_id="r3", trace_id="", model_version="v42", prediction={"p": 0.85}, latency=0.01)
        assert log.write(request_id="r4", trace_id=None, model_version="v42", prediction=np.float32(0.5), latency=0.01)
    assert (log.written, log.dropped) == (4, 0)
    first, *others = read(target)
    assert first == Prediction("r1", TRACE, "v42", "benign", 0.045, "ok", NOW)
    assert [(row.request_id, row.trace_id, row.prediction, row.status) for row in others] == [
        ("r2", TRACE, None, "500"),
        ("r3", "", '{"p": 0.85}', "ok"),
        ("r4", "", "0.5", "ok"),
    ]
    assert all(row.timestamp.tzinfo is not None for row in others)
    assert [row.request_id for row in read(target, request_ids=["r3", "nobody"])] == ["r3"]


def test_prediction_log_with_a_tracer_has_its_trace_id(target):
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    tracing.configure("s", exporter=InMemorySpanExporter())
    tracer = tracing.MLRequestTracer("r1", "v1")
    with tracer.trace_request():
        pass
    tracing.shutdown()
    with PredictionLog(target) as log:
        log.write(request_id=tracer.request_id, trace_id=tracer.trace_id, model_version="v1", prediction=1, latency=0.1)
    (row,) = read(target)
    assert row.trace_id == tracer.trace_id


@pytest.mark.parametrize(
    ("given", "expected"),
    [(TRACE, TRACE), (TRACE.upper(), TRACE), (1, "0" * 31 + "1"), ("0x1f", "0" * 30 + "1f"), ("", ""), (None, ""), (0, "")],
)
def test_hex_trace_id_has_32_digits(given, expected):
    assert hex_trace_id(given) == expected
    for nonsense in ("0" * 32, "zz", "1" * 33):
        assert hex_trace_id(nonsense) == ""


def test_prediction_log_batch_written_twice_is_stored_once(target):
    from airflow_slo_provider.tracing.prediction_log.sinks import open_sink

    rows = [Prediction(f"r{n}", TRACE, "v1", "a", 0.1, "ok", NOW + timedelta(seconds=n)) for n in range(10)]
    sink = open_sink(target, table="predictions")
    for _ in range(2):
        sink.write(rows)
    sink.close()
    assert read(target) == rows


class Slow:
    """A target that takes rows when it is told to."""

    def __init__(self) -> None:
        self.rows: list[Prediction] = []
        self.go = threading.Event()
        self.faults = 0

    def write(self, rows: Sequence[Prediction]) -> None:
        self.go.wait(60)
        if self.faults:
            self.faults -= 1
            raise OSError("the disk is full")
        self.rows += rows

    def close(self) -> None:
        pass


def put(log: PredictionLog, count: int) -> int:
    return sum(
        log.write(request_id=f"r{n}", trace_id=TRACE, model_version="v", prediction="a", latency=0.1) for n in range(count)
    )


def test_prediction_log_full_queue_drops_and_counts_rows():
    slow = Slow()
    log = PredictionLog(slow, capacity=100, batch=10, every=0.01)
    taken = put(log, 1000)
    assert slow.rows == [], "the target has taken nothing yet: whoever waited for it would not be here"
    assert 100 <= taken <= 120
    assert log.dropped == 1000 - taken
    slow.go.set()
    assert log.flush()
    log.close()
    assert (len(slow.rows), log.written) == (taken, taken)
    assert not log.write(request_id="late", trace_id=TRACE, model_version="v", prediction="a", latency=0.1)
    assert log.dropped == 1000 - taken + 1


@pytest.mark.parametrize(("faults", "written"), [(2, 5), (3, 0)])
def test_prediction_log_failing_target_is_retried_then_counted(faults, written):
    slow = Slow()
    slow.go.set()
    slow.faults = faults
    log = PredictionLog(slow, batch=5, every=60)
    put(log, 5)
    assert log.flush()
    log.close()
    assert (log.written, log.dropped, len(slow.rows)) == (written, 5 - written, written)


def test_prediction_log_invalid_row_is_dropped_and_counted():
    slow = Slow()
    log = PredictionLog(slow)
    assert not log.write(request_id="r", trace_id=TRACE, model_version="v", prediction="a", latency="fast")
    assert log.dropped == 1
    log.close()


@pytest.mark.parametrize("latency", [float("nan"), float("inf")])
def test_prediction_log_invalid_latency_drops_one_row(target, latency):
    with PredictionLog(target) as log:
        put(log, 9)
        assert not log.write(request_id="bad", trace_id=TRACE, model_version="v", prediction="a", latency=latency)
    assert (log.written, log.dropped, len(read(target))) == (9, 1, 9)


def test_prediction_log_unwritable_characters_are_replaced(target):
    bad = "half \ud800, nul \x00"
    with PredictionLog(target) as log:
        put(log, 2)
        log.write(request_id=bad, trace_id=TRACE, model_version=bad, prediction=bad, latency=0.1, status=bad)
    assert (log.written, log.dropped) == (3, 0)
    row = read(target)[-1]
    assert {row.request_id, row.model_version, row.prediction, row.status} == {"half \\ud800, nul \ufffd"}
    assert failed([row], {row.request_id: bad}) == [], "a label is written the same way"


class Picky(Slow):
    """A target that takes no long id, as PostgreSQL; or is not there at all."""

    def __init__(self, fault: Exception) -> None:
        super().__init__()
        self.go.set()
        self.fault, self.tries = fault, 0

    def write(self, rows: Sequence[Prediction]) -> None:
        self.tries += 1
        if any(len(row.request_id) > 200 for row in rows):
            raise self.fault
        super().write(rows)


@pytest.mark.parametrize(("fault", "written", "tries"), [(ValueError("too long"), 9, 1 + 10), (ConnectionError("gone"), 0, 1)])
def test_prediction_log_rejected_row_is_dropped_alone(fault, written, tries):
    picky = Picky(fault)
    log = PredictionLog(picky, batch=10, every=60, attempts=1)
    put(log, 9)
    log.write(request_id="r" * 201, trace_id=TRACE, model_version="v", prediction="a", latency=0.1)
    assert log.flush()
    log.close()
    assert (log.written, log.dropped, picky.tries) == (written, 10 - written, tries)


def test_prediction_log_partial_batch_is_written_in_time(target):
    with PredictionLog(target, batch=1000, every=0.05) as log:
        put(log, 3)
        assert log.flush(5)
        assert len(read(target)) == 3


def test_prediction_log_many_threads_lose_no_row(target):
    with PredictionLog(target, capacity=100_000) as log:

        def work(name: int) -> None:
            for number in range(200):
                log.write(request_id=f"{name}-{number}", trace_id=TRACE, model_version="v", prediction="a", latency=0.1)

        threads = [threading.Thread(target=work, args=(name,)) for name in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (log.written, log.dropped) == (1000, 0)
    assert len({row.request_id for row in read(target)}) == 1000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_prediction_log_forked_worker_writes(target):
    log = PredictionLog(target, every=0.02)
    put(log, 1)
    log.flush()
    child = os.fork()
    if not child:
        log.write(request_id="child", trace_id=TRACE, model_version="v", prediction="a", latency=0.1)
        os._exit(0 if log.flush(10) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    log.close()
    assert [row.request_id for row in read(target)] == ["r0", "child"]


def test_sample_of_failed_predictions_is_even_by_version():
    rows = [Prediction(f"a{n}", f"{n + 1:032x}", "v1", "benign", 0.1, "ok", NOW) for n in range(50)]
    rows += [Prediction(f"b{n}", f"{n + 99:032x}", "v2", "benign", 0.1, "ok", NOW) for n in range(5)]
    rows += [Prediction("untraced", "", "v2", "benign", 0.1, "ok", NOW), Prediction("none", TRACE, "v2", None, 0.1, "500", NOW)]
    labels = {row.request_id: "malignant" if row.request_id != "a7" else "benign" for row in rows}
    wrong = failed([*rows, Prediction("unlabelled", TRACE, "v1", "x", 0.1, "ok", NOW)], labels)
    assert len(wrong) == 56
    assert not {"a7", "unlabelled"} & {row.request_id for row in wrong}
    chosen = sample(wrong, 8)
    assert sorted(row.model_version for row in chosen) == ["v1"] * 4 + ["v2"] * 4
    assert chosen == sample(reversed(wrong), 8)
    assert chosen != sample(wrong, 8, seed=1)
    assert all(row.trace_id for row in sample(wrong, 1000))
    assert len(sample(wrong, 1000)) == 55
    assert len(sample(wrong, 10, per_version=False)) == 10


def test_prediction_log_target_path_of_a_sqlite_file(tmp_path):
    with PredictionLog(tmp_path / "log.db") as log:
        put(log, 2)
    assert len(read(tmp_path / "log.db")) == len(read(f"sqlite:///{tmp_path}/log.db")) == 2


def test_prediction_log_unknown_target_is_refused():
    with pytest.raises(ValueError, match="mysql cannot hold"):
        PredictionLog("mysql://x/y")


def test_exemplars_only_name_exported_traces():
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    class Histogram:
        def __init__(self, takes: bool = True) -> None:
            self.seen: list[tuple[float, object]] = []
            self.takes = takes

        def observe(self, amount: float, exemplar: object = None) -> None:
            if exemplar and not self.takes:
                raise ValueError("no exemplars here")
            self.seen.append((amount, exemplar))

    def serve(ratio: float, request_id: str = "r1") -> tracing.MLRequestTracer:
        tracing.configure("s", exporter=InMemorySpanExporter(), sample_ratio=ratio, keep_errors=False)
        tracer = tracing.MLRequestTracer(request_id, "v1")
        with tracer.trace_request():
            pass
        tracing.shutdown()
        return tracer

    histogram, plain = Histogram(), Histogram(takes=False)
    traced, long, untraced = serve(1.0), serve(1.0, "x" * 100), serve(0.0)
    for tracer in (traced, long, untraced, None):
        tracing.exemplars.observe(histogram, 0.25, tracer)
        tracing.exemplars.observe(plain, 0.25, tracer)
    assert histogram.seen == [
        (0.25, {"trace_id": traced.trace_id, "request_id": "r1"}),
        (0.25, {"trace_id": long.trace_id}),
        (0.25, None),
        (0.25, None),
    ]
    assert plain.seen == [(0.25, None)] * 4
