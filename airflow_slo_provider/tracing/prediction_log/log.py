"""Log each prediction with its request id, model version and trace id; read the log back.

::

    log = PredictionLog("sqlite:////var/lib/model/predictions.db")
    log.write(request_id="r1", trace_id=tracer.trace_id, model_version="v42", prediction="malignant", latency=0.045)

:meth:`PredictionLog.write` only puts a row into a queue; a thread writes batches. When the queue is full, rows are dropped and
counted (:attr:`PredictionLog.dropped`).
"""

from __future__ import annotations

import atexit
import math
import queue
import threading
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from airflow_slo_provider.core.database_faults import classify
from airflow_slo_provider.exceptions import writable
from airflow_slo_provider.tracing.prediction_log.predictions import Prediction, hex_trace_id, prediction_text
from airflow_slo_provider.tracing.recording.failure_log import log_failure


class Sink(Protocol):
    """A target that batches of predictions are written to."""

    def write(self, rows: Sequence[Prediction]) -> None:
        """Write a batch, all rows or none; writing the same batch again must change nothing."""
        ...

    def close(self) -> None:
        """Release connections and files."""
        ...


class PredictionLog:
    """Write predictions to a database or to Parquet files without blocking the request.

    :param target: a SQLAlchemy URL (SQLite, PostgreSQL), the path of a SQLite file (``.db``, ``.sqlite``), a directory for
        Parquet files (``file:///...`` or a path), or a sink
    :param table: name of the table
    :param batch: maximum number of rows per batch
    :param every: seconds after which a smaller batch is written
    :param capacity: maximum number of rows in the queue
    :param attempts: how often a batch is tried. If the cause may be a single row, the rows are then written one by one; rows that
        the target rejects are dropped and counted
    :raises ValueError: when ``target`` is none of these
    """

    def __init__(
        self,
        target: str | Path | Sink,
        *,
        table: str = "predictions",
        batch: int = 500,
        every: float = 1.0,
        capacity: int = 10_000,
        attempts: int = 3,
    ) -> None:
        from airflow_slo_provider.tracing.prediction_log.sinks import open_sink

        self._sink = open_sink(str(target), table=table) if isinstance(target, (str, Path)) else target
        self._batch, self._every, self._attempts = batch, every, attempts
        self._queue: queue.Queue[Prediction] = queue.Queue(maxsize=capacity)
        self._lock = threading.Lock()
        self._dropped = 0
        self._written = 0
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        atexit.register(self.close)

    @property
    def dropped(self) -> int:
        """Number of rows lost because the queue was full or the target rejected them."""
        return self._dropped

    @property
    def written(self) -> int:
        """Number of rows written to the target."""
        return self._written

    def write(
        self,
        *,
        request_id: str,
        trace_id: str,
        model_version: str,
        prediction: Any,
        latency: float,
        status: str | int = "ok",
        timestamp: datetime | None = None,
    ) -> bool:
        """Add a row to the queue; never blocks, never raises.

        :param request_id: id of the request
        :param trace_id: ``tracer.trace_id``, or the trace id as OpenTelemetry's integer
        :param model_version: version of the model that answered
        :param prediction: text, or any value that can be written as JSON
        :param latency: seconds; a row whose latency is not a finite number is rejected
        :param status: ``ok``, ``error``, or the server's own status
        :param timestamp: when the request was answered; by default now
        :return: whether the row was added
        """
        try:
            duration = float(latency)
            if not math.isfinite(duration):
                raise ValueError(f"latency is {duration}; write seconds")
            row = Prediction(
                request_id=writable(str(request_id)),
                trace_id=hex_trace_id(trace_id),
                model_version=writable(str(model_version)),
                prediction=prediction_text(prediction),
                latency=duration,
                status=writable(str(status)),
                timestamp=timestamp or datetime.now(UTC),
            )
            if self._closing.is_set():
                raise queue.Full
            self._queue.put_nowait(row)
            if self._thread is None or not self._thread.is_alive():
                self._start()
        except Exception as error:
            if not isinstance(error, queue.Full):
                log_failure("prediction log", error)
            with self._lock:
                self._dropped += 1
            return False
        return True

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until all rows in the queue are written or dropped.

        :param timeout: maximum number of seconds to wait
        :return: whether it finished in time
        """
        deadline = time.monotonic() + timeout
        while self._queue.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(0.01)
        return not self._queue.unfinished_tasks

    def close(self, timeout: float = 10.0) -> None:
        """Write the rows in the queue and stop.

        :param timeout: maximum number of seconds to wait
        """
        if self._closing.is_set():
            return
        self._closing.set()
        thread = self._thread
        if thread is not None:
            thread.join(timeout)
        self._sink.close()
        atexit.unregister(self.close)

    def __enter__(self) -> PredictionLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> None:
        # Also needed in a forked process, which does not inherit the thread.
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            rows = self._next_batch()
            if rows:
                self._write_batch(rows)
                for _ in rows:
                    self._queue.task_done()
            elif self._closing.is_set():
                return

    def _next_batch(self) -> list[Prediction]:
        """Return a batch: full, or the rows that arrived within ``every`` seconds."""
        rows: list[Prediction] = []
        deadline = time.monotonic() + self._every
        while len(rows) < self._batch:
            wait = 0.0 if self._closing.is_set() else min(deadline - time.monotonic(), 0.1)
            try:
                rows.append(self._queue.get(timeout=wait) if wait > 0 else self._queue.get_nowait())
            except queue.Empty:
                if self._closing.is_set() or time.monotonic() >= deadline:
                    break
        return rows

    def _write_batch(self, rows: list[Prediction]) -> None:
        error: Exception | None = None
        for attempt in range(self._attempts):
            if attempt:
                self._closing.wait(0.2 * 2**attempt)
            error = self._try_write(rows)
            if error is None:
                return
        # If the cause is neither the connection nor the disk, it may be a single row: the others are still written.
        if error and len(rows) > 1 and classify(getattr(error, "orig", None) or error).reason == "bad_query":
            rows = [row for row in rows if self._try_write([row]) is not None]
        with self._lock:
            self._dropped += len(rows)

    def _try_write(self, rows: list[Prediction]) -> Exception | None:
        """Write rows and count them; return the last error, or None."""
        try:
            self._sink.write(rows)
        except Exception as error:
            log_failure("prediction log", error)
            return error
        with self._lock:
            self._written += len(rows)
        return None


def read(target: str | Path, *, table: str = "predictions", request_ids: Iterable[str] | None = None) -> list[Prediction]:
    """Read a prediction log, in order of time.

    :param target: as for :class:`PredictionLog`
    :param table: name of the table
    :param request_ids: ids of the requests to read; by default all
    """
    from airflow_slo_provider.tracing.prediction_log.sinks import open_sink

    sink = open_sink(str(target), table=table)
    try:
        return sink.read(None if request_ids is None else list(request_ids))
    finally:
        sink.close()
