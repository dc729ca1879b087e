"""Request predictions from a model server in concurrent batches with bounded retries; return all rows or raise an error."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from airflow_slo_provider.core.redaction import server_text
from airflow_slo_provider.evaluation.models.protocols import Protocol, WrongAnswer
from airflow_slo_provider.evaluation.rows.predictions import Predictions
from airflow_slo_provider.evaluation.rows.sample import to_array
from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.http.caches import REASON as CACHED
from airflow_slo_provider.http.caches import age_fault
from airflow_slo_provider.http.client import HttpClient
from airflow_slo_provider.http.faults import TRANSIENT_STATUSES, status_reason
from airflow_slo_provider.http.json_answers import NotJSON, read_json
from airflow_slo_provider.http.settings import HttpSettings
from airflow_slo_provider.http.time_limits import within

if TYPE_CHECKING:
    import pandas as pd


def request_predictions(
    server: HttpSettings,
    path: str,
    protocol: Protocol,
    rows: pd.DataFrame,
    *,
    ids: NDArray[Any],
    batch_size: int,
    concurrency: int,
    retries: int,
    timeout: float,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Predictions:
    """Request predictions for every row.

    :param server: address and credentials of the server
    :param path: path of the endpoint
    :param protocol: encodes requests and decodes answers
    :param rows: features, one row per golden-set row
    :param ids: ids of the rows
    :param batch_size: rows per request
    :param concurrency: number of concurrent requests
    :param retries: attempts after the first, for each batch
    :param timeout: seconds for one whole answer
    :param progress: called with (rows done, rows in total)
    :raises QueryError: when a batch fails after its retries; ``transient`` when the server may recover
    """
    client = _BatchClient(server, path, protocol, retries=retries, timeout=timeout)
    starts = range(0, len(rows), batch_size)
    done, lock = 0, threading.Lock()

    def predict_batch(start: int) -> tuple[list[Any], list[Any] | None]:
        nonlocal done
        batch = rows.iloc[start : start + batch_size]
        answer = client.predict(batch)
        with lock:
            done += len(batch)
            progress(done, len(rows))
        return answer

    started = time.perf_counter()
    with ThreadPoolExecutor(max_workers=min(concurrency, max(len(starts), 1))) as pool:
        futures = [pool.submit(predict_batch, start) for start in starts]
        try:
            finished, waiting = wait(futures, return_when=FIRST_EXCEPTION)
        except BaseException:  # Airflow's timeout ends the task here: otherwise the pool would finish its whole queue first
            client.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        failed = next((future.exception() for future in futures if future in finished and future.exception()), None)
        if failed is not None:
            client.stop()
            for future in waiting:
                future.cancel()
            raise failed
        answers = [future.result() for future in futures]
    client.close()
    seconds = time.perf_counter() - started
    predictions = [value for values, _ in answers for value in values]
    scores = [value for _, values in answers for value in values or ()]
    return Predictions(
        ids=ids, prediction=_to_column(predictions), score=_to_column(scores) if scores else None,
        latencies=np.asarray(client.latencies), seconds=seconds, retried=client.retried,
    )  # fmt: skip


def _to_column(values: list[Any]) -> NDArray[Any]:
    with suppress(ValueError):
        column = to_array(values)
        if column.ndim <= 2:
            return column
    raise QueryError("the server's predictions differ in shape from row to row", reason="wrong_answer")


class _BatchClient:
    """Send requests from several threads, one at a time per thread."""

    def __init__(self, server: HttpSettings, path: str, protocol: Protocol, *, retries: int, timeout: float) -> None:
        self._http = HttpClient(replace(server, timeout=(min(timeout, 10), timeout)))
        self._http.prepare()
        self._path = "/" + path.lstrip("/") if path else ""
        self._protocol, self._retries, self._timeout = protocol, retries, timeout
        self._lock, self._stopped = threading.Lock(), threading.Event()
        self.latencies: list[float] = []
        self.retried = 0

    def stop(self) -> None:
        """Prevent further requests from starting."""
        self._stopped.set()
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def predict(self, batch: pd.DataFrame) -> tuple[list[Any], list[Any] | None]:
        """Request predictions for one batch, with retries of failures that may pass.

        :raises QueryError: after the last attempt
        """
        body = json.dumps(self._protocol.encode(batch), allow_nan=True).encode()
        started = time.perf_counter()
        for attempt in range(self._retries + 1):
            if self._stopped.is_set():
                raise QueryError("cancelled because another batch failed", reason="given_up", transient=True)
            try:
                answer = self._send(body, len(batch))
                with self._lock:
                    # Includes failed attempts, because a caller of the server waits for those too.
                    self.latencies.append(time.perf_counter() - started)
                return answer
            except QueryError as error:
                if attempt == self._retries or not error.transient:
                    attempts = f" ({attempt + 1} attempts)" if attempt else ""
                    raise QueryError(
                        f"the model server did not answer for a batch of {len(batch)} rows: {error.message}{attempts}",
                        reason=error.reason, transient=error.transient, http_status=error.http_status,
                        source=self._http.settings.address + self._path,
                    ) from None  # fmt: skip
                with self._lock:
                    self.retried += 1
                self._stopped.wait(min(0.1 * 2**attempt, 2.0))
        raise AssertionError("unreachable")

    def _send(self, body: bytes, n: int) -> tuple[list[Any], list[Any] | None]:
        headers, end = {"Content-Type": "application/json"}, time.monotonic() + self._timeout
        try:
            with within(lambda: end - time.monotonic()):
                answer = self._http.request("POST", self._path, body=body, headers=headers, repeat=False)
        except QueryError as error:
            if error.reason == "timeout":
                error.message = f"no complete answer within {self._timeout:g} s"
            raise
        status = answer.status
        if status != 200:
            message, transient = f"HTTP {status}: {server_text(answer.body, limit=200)}", status in TRANSIENT_STATUSES
            raise QueryError(message, reason=status_reason(status), transient=transient, http_status=status)
        if fault := age_fault(answer.headers):
            # These may be predictions of an older model version, which served when the cache was filled.
            raise QueryError(fault, reason=CACHED, transient=True, http_status=200)
        try:
            values = read_json(answer.body, source=self._http.settings.address, status=200, constants=True)
            decoded = self._protocol.decode(values, n)
            _check_finite(decoded)
        except NotJSON as error:
            error.transient = True  # it may be a gateway's error page while the server behind it starts
            raise
        except WrongAnswer as error:
            raise QueryError(str(error), reason="wrong_answer", transient=True, http_status=200) from None
        return decoded


def _check_finite(decoded: tuple[list[Any], list[Any] | None]) -> None:
    """Reject null, NaN and infinite predictions; such a row has no answer.

    :raises WrongAnswer: with their number
    """
    for values in decoded:
        bad = sum(any(map(_is_missing, row if isinstance(row, list) else [row])) for row in values or ())
        if bad:
            raise WrongAnswer(f"{bad} of {len(values or ())} predictions are null, NaN or infinite")


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))
