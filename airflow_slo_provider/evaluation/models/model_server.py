"""Asks a model server for many rows: in batches, a few at a time, each with bounded retries. All rows, or an error."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.core import strict_json
from airflow_slo_provider.core.redaction import secrets_of, server_text
from airflow_slo_provider.evaluation.models.protocols import Protocol, WrongAnswer
from airflow_slo_provider.evaluation.rows.predictions import Predictions
from airflow_slo_provider.evaluation.rows.sample import array
from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.http import caches as http_caches

if TYPE_CHECKING:
    import pandas as pd
    import requests
    from numpy.typing import NDArray

MAX_BYTES = 1 << 28
#: Answers that may be better next time.
PASSING = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True, kw_only=True)
class Server:
    """Where a model server is.

    :param url: scheme, host, port and prefix, without user info
    :param headers: sent with every request
    :param basic: login and password
    :param verify: whether the certificate is checked, or the file of a CA
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    basic: tuple[str, str] | None = field(default=None, repr=False)
    verify: bool | str = True

    def __post_init__(self) -> None:
        _ = self.secrets  # remembered from now on, whatever is said of this server

    @property
    def secrets(self) -> tuple[str, ...]:
        """Texts that must not appear in a message."""
        return secrets_of(basic=self.basic, named=self.headers)


class _Failure(Exception):
    """One attempt failed.

    :param passing: the next one may succeed
    """

    def __init__(self, message: str, reason: str, passing: bool, status: int | None = None) -> None:
        super().__init__(message)
        self.message, self.reason, self.passing, self.status = message, reason, passing, status


def ask_all(
    server: Server,
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
    """Ask for every row.

    :param rows: features, one row a row
    :param ids: of the rows
    :param timeout: seconds one answer may take, whole
    :raises QueryError: when one batch was not answered well after its retries; ``transient`` when the server may recover
    """
    import numpy as np

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
        except BaseException:  # Airflow's timeout ends the task here: the pool would work off its whole queue first
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
        made = array(values)
    except ValueError:
        made = None
    if made is None or made.ndim > 2:
        raise QueryError("the server's predictions differ in shape from row to row", reason="wrong_answer")
    return made


class _Caller:
    """Sends one request at a time for each thread."""

    def __init__(self, server: Server, path: str, protocol: Protocol, *, retries: int, timeout: float) -> None:
        self._server, self._protocol, self._retries, self._timeout = server, protocol, retries, timeout
        self._url = server.url.rstrip("/") + ("/" + path.lstrip("/") if path else "")
        self._local, self._lock, self._stopped = threading.local(), threading.Lock(), threading.Event()
        self._sessions: list[requests.Session] = []
        self.latencies: list[float] = []
        self.retried = 0

    def stop(self) -> None:
        """Let no request start any more."""
        self._stopped.set()
        self.close()

    def close(self) -> None:
        """Give all connections back."""
        for session in self._sessions:
            session.close()

    def ask(self, batch: pd.DataFrame) -> tuple[list[Any], list[Any] | None]:
        """Ask for one batch, and again when it may help.

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
                    # What failed before is part of it: whoever asks waits for that too.
                    self.latencies.append(time.perf_counter() - started)
                return found
            except _Failure as failure:
                if attempt == self._retries or not failure.passing:
                    times = f" ({attempt + 1} attempts)" if attempt else ""
                    raise QueryError(
                        f"the model server did not answer for a batch of {len(batch)} rows: {failure.message}{times}",
                        reason=failure.reason, transient=failure.passing, http_status=failure.status, source=self._url,
                    ) from None  # fmt: skip
                with self._lock:
                    self.retried += 1
                self._stopped.wait(min(0.1 * 2**attempt, 2.0))
        raise AssertionError("unreachable")

    def _session(self) -> requests.Session:
        import requests

        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.headers.update({"Content-Type": "application/json", **http_caches.NO_CACHE, **self._server.headers})
            session.auth = self._server.basic or (lambda request: request)  # else a .netrc would add a password nobody named
            session.verify = self._server.verify
            with self._lock:
                self._sessions.append(session)
        return session

    def _once(self, body: bytes, n: int) -> tuple[list[Any], list[Any] | None]:
        import requests

        started = time.perf_counter()
        try:
            response = self._session().post(
                self._url, data=body, timeout=(min(self._timeout, 10), self._timeout), stream=True, allow_redirects=False
            )
            with response:
                answer = self._read(response, started + self._timeout)
        except requests.exceptions.Timeout:
            raise _Failure(f"no whole answer within {self._timeout:g} s", "timeout", True) from None
        except requests.exceptions.SSLError:
            raise _Failure("TLS failed; check the CA certificate", "tls", False) from None
        except (requests.exceptions.RequestException, OSError) as error:
            raise _Failure(f"the connection failed ({type(error).__name__})", "connection", True) from None
        if response.status_code != 200:
            text = server_text(answer, limit=200)
            passing = response.status_code in PASSING
            raise _Failure(f"HTTP {response.status_code}: {text}", "http_status", passing, response.status_code)
        if fault := http_caches.age_fault(response.headers):
            # Predictions of the version that served when the cache was filled.
            raise _Failure(fault, http_caches.REASON, True, 200)
        try:
            found = self._protocol.decode(strict_json.loads(answer, constants=True), n)
            _check(found)
        except strict_json.JSONContradiction as error:
            raise _Failure(f"the answer has no single meaning: {error}", error.reason, True, 200) from None
        except ValueError:
            raise _Failure("the answer is not JSON", "wrong_answer", True, 200) from None
        except WrongAnswer as wrong:
            raise _Failure(str(wrong), "wrong_answer", True, 200) from None
        return found

    def _read(self, response: requests.Response, deadline: float) -> bytes:
        from urllib3.exceptions import HTTPError

        parts, size = [], 0
        try:
            # read1 returns what has arrived: a server that drips a byte a second is cut off in time.
            while part := response.raw.read1(1 << 18, decode_content=True):
                parts.append(part)
                size += len(part)
                if time.perf_counter() > deadline:
                    raise _Failure(f"the answer was not complete after {self._timeout:g} s", "timeout", True)
                if size > MAX_BYTES:
                    raise _Failure(f"the answer is larger than {MAX_BYTES} bytes", "too_large", False)
        except (HTTPError, OSError) as error:
            raise _Failure(f"the answer broke off ({type(error).__name__})", "connection", True) from None
        return b"".join(parts)


def _check(found: tuple[list[Any], list[Any] | None]) -> None:
    """Refuse a null, a NaN or an infinity among the predictions: a row without an answer.

    :raises WrongAnswer: with how many
    """
    for values in found:
        bad = sum(any(map(_is_nothing, one if isinstance(one, list) else [one])) for one in values or ())
        if bad:
            raise WrongAnswer(f"{bad} of {len(values or ())} predictions are null or NaN, or infinite")


def _is_nothing(part: Any) -> bool:
    return part is None or (isinstance(part, float) and not math.isfinite(part))
