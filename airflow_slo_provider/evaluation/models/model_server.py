"""Request predictions from a model server in concurrent batches with bounded retries; return all rows or raise an error."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
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


class _Failure(Exception):
    """A failed attempt.

    :param passing: whether the next attempt may succeed
    """

    def __init__(self, message: str, reason: str, passing: bool, status: int | None = None) -> None:
        super().__init__(message)
        self.message, self.reason, self.passing, self.status = message, reason, passing, status


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
    caller = _Caller(server, path, protocol, retries=retries, timeout=timeout)
    starts = range(0, len(rows), batch_size)
    done, lock = 0, threading.Lock()

    def one(start: int) -> tuple[list[Any], list[Any] | None]:
        nonlocal done
        batch = rows.iloc[start : start + batch_size]
        answer = caller.ask(batch)
        with lock:
            done += len(batch)
            progress(done, len(rows))
        return answer

    started = time.perf_counter()
    with ThreadPoolExecutor(max_workers=min(concurrency, max(len(starts), 1))) as pool:
        futures = [pool.submit(one, start) for start in starts]
        try:
            finished, waiting = wait(futures, return_when=FIRST_EXCEPTION)
        except BaseException:  # Airflow's timeout ends the task here: otherwise the pool would finish its whole queue first
            caller.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        failed = next((future.exception() for future in futures if future in finished and future.exception()), None)
        if failed is not None:
            caller.stop()
            for future in waiting:
                future.cancel()
            raise failed
        answers = [future.result() for future in futures]
    caller.close()
    seconds = time.perf_counter() - started
    scores = [one for _, part in answers if part is not None for one in part]
    return Predictions(
        ids=ids, prediction=_column([one for part, _ in answers for one in part]), score=_column(scores) if scores else None,
        latencies=np.asarray(caller.latencies), seconds=seconds, retried=caller.retried,
    )  # fmt: skip


def _column(values: list[Any]) -> NDArray[Any]:
    try:
        made = to_array(values)
    except ValueError:
        made = None
    if made is None or made.ndim > 2:
        raise QueryError("the server's predictions differ in shape from row to row", reason="wrong_answer")
    return made


class _Caller:
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

    def ask(self, batch: pd.DataFrame) -> tuple[list[Any], list[Any] | None]:
        """Request predictions for one batch, with retries of failures that may pass.

        :raises QueryError: after the last attempt
        """
        body = json.dumps(self._protocol.encode(batch), allow_nan=True).encode()
        started = time.perf_counter()
        for attempt in range(self._retries + 1):
            if self._stopped.is_set():
                raise QueryError("given up: another batch failed", reason="given_up", transient=True)
            try:
                found = self._once(body, len(batch))
                with self._lock:
                    # Includes failed attempts, because a caller of the server waits for those too.
                    self.latencies.append(time.perf_counter() - started)
                return found
            except _Failure as failure:
                if attempt == self._retries or not failure.passing:
                    times = f" ({attempt + 1} attempts)" if attempt else ""
                    raise QueryError(
                        f"the model server did not answer for a batch of {len(batch)} rows: {failure.message}{times}",
                        reason=failure.reason, transient=failure.passing, http_status=failure.status,
                        source=self._http.settings.address + self._path,
                    ) from None  # fmt: skip
                with self._lock:
                    self.retried += 1
                self._stopped.wait(min(0.1 * 2**attempt, 2.0))
        raise AssertionError("unreachable")

    def _once(self, body: bytes, n: int) -> tuple[list[Any], list[Any] | None]:
        ends = time.monotonic() + self._timeout
        try:
            with within(lambda: ends - time.monotonic()):
                answer = self._http.request(
                    "POST", self._path, body=body, headers={"Content-Type": "application/json"}, repeat=False
                )  # fmt: skip
        except QueryError as error:
            late = error.reason == "timeout"
            message = f"no whole answer within {self._timeout:g} s" if late else error.message
            raise _Failure(message, error.reason, error.transient, error.http_status) from None
        if answer.status != 200:
            said = server_text(answer.body, limit=200)
            passing = answer.status in TRANSIENT_STATUSES
            raise _Failure(f"HTTP {answer.status}: {said}", status_reason(answer.status), passing, answer.status)
        if fault := age_fault(answer.headers):
            # These may be predictions of an older model version, which served when the cache was filled.
            raise _Failure(fault, CACHED, True, 200)
        try:
            values = read_json(answer.body, source=self._http.settings.address, status=200, constants=True)
            found = self._protocol.decode(values, n)
            _check(found)
        except QueryError as error:
            # An answer that is not JSON may be a gateway's error page while the server behind it starts.
            raise _Failure(error.message, error.reason, error.transient or isinstance(error, NotJSON), 200) from None
        except WrongAnswer as wrong:
            raise _Failure(str(wrong), "wrong_answer", True, 200) from None
        return found


def _check(found: tuple[list[Any], list[Any] | None]) -> None:
    """Reject null, NaN and infinite predictions; such a row has no answer.

    :raises WrongAnswer: with their number
    """
    for values in found:
        bad = sum(any(map(_is_nothing, one if isinstance(one, list) else [one])) for one in values or ())
        if bad:
            raise WrongAnswer(f"{bad} of {len(values or ())} predictions are null or NaN, or infinite")


def _is_nothing(part: Any) -> bool:
    return part is None or (isinstance(part, float) and not math.isfinite(part))
