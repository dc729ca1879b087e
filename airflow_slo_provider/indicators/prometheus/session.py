"""The HTTP session under prometheus-api-client: bounded, redirect-free, and strict about what an answer is.

prometheus-api-client keeps only ``data.result`` of an answer and drops ``warnings``; this session sees the envelope first. It
subclasses :class:`requests.Session` and is therefore only imported when a connection is opened.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any, Never

import requests
from requests import exceptions as faults
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)

from airflow_slo_provider.core.redaction import public_url, server_text
from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.http.caches import NO_CACHE
from airflow_slo_provider.http.retries import QuietRetry
from airflow_slo_provider.indicators.prometheus.answer_checks import check_headers, read_envelope, verify_data
from airflow_slo_provider.indicators.prometheus.request_limits import at_most, current_deadline

#: A Retry-After longer than this is left to Airflow's own retries.
RETRY_AFTER_CAP = 10
_CHUNK = 1 << 18


class BoundedRetry(QuietRetry):
    """A few quick attempts at a read. A timed-out read is not repeated: the server may still be computing the first one."""

    @classmethod
    def of(cls, total: int) -> BoundedRetry:
        """Make a policy.

        :param total: attempts after the first
        """
        return cls(
            total=total,
            backoff_factor=0.2,
            backoff_max=2,
            status_forcelist=(429, 502, 503, 504),
            # Only queries go through this session, and a POSTed query changes nothing.
            allowed_methods=frozenset({"GET", "POST"}),
            # The last answer is returned, not raised: it holds the server's own message.
            raise_on_status=False,
            redirect=0,
            raise_on_redirect=False,
        )

    def parse_retry_after(self, retry_after: str) -> float:
        """Honour Retry-After (seconds or a date), up to the cap; text that is neither is ignored."""
        try:
            return min(super().parse_retry_after(retry_after), at_most(RETRY_AFTER_CAP))
        except HTTPError:
            return 0

    def increment(self, method=None, url=None, response=None, error=None, _pool=None, _stacktrace=None):  # type: ignore[no-untyped-def]
        """Count one attempt.

        :raises urllib3.exceptions.ReadTimeoutError: at once, when that was the error
        :raises urllib3.exceptions.MaxRetryError: when the evaluation's deadline has passed
        """
        if isinstance(error, ReadTimeoutError):
            raise error
        deadline = current_deadline()
        if deadline is not None and deadline.left() <= 0:
            raise MaxRetryError(_pool, url, error)  # the answer, or the error, that there is now is the last one
        return super().increment(method, url, response, error, _pool, _stacktrace)


class _Cut(HTTPError):
    """The status line and headers arrived, the body did not, or not whole."""


class PrometheusSession(requests.Session):
    """A session that answers a verified response or raises :class:`QueryError`.

    :param form: parameters sent with every API request, in the body where there is one, e.g. a tenant
    :param max_bytes: an answer above this size (decoded) is refused
    :param max_seconds: an answer must be read to its end within this time
    :param secrets: texts that must not appear in a message
    """

    def __init__(self, *, form: Mapping[str, str], max_bytes: int, max_seconds: float, secrets: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.headers.update(NO_CACHE)
        self._form = dict(form)
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        self._secrets = secrets
        self._local = threading.local()

    @property
    def envelope(self) -> Mapping[str, Any]:
        """The envelope of this thread's last API answer."""
        envelope: Mapping[str, Any] = self._local.envelope
        return envelope

    def request(self, method, url, params=None, **kwargs):  # type: ignore[no-untyped-def,override]
        """Send a request. Answers of the API (``/api/v1/``) are verified; other pages are only bounded in size and time.

        :raises QueryError: for everything that is not a whole, successful answer
        """
        is_api = "/api/v1/" in url
        params = dict(params or {})
        query = params.get("query")
        source = public_url(url.partition("/api/v1/")[0])
        if is_api:
            params = {**self._form, **params}
        if str(method).upper() == "POST":
            # prometheus-api-client would put the query into the URL, where long ones are refused and proxies log them.
            kwargs["data"], params = params, {}
        kwargs.update(allow_redirects=False, stream=True)
        if current_deadline() is not None and isinstance(kwargs.get("timeout"), tuple):
            kwargs["timeout"] = tuple(at_most(seconds) for seconds in kwargs["timeout"])
        try:
            response = super().request(method, url, params=params, **kwargs)
            with response:
                if is_api:
                    check_headers(response.headers, query=query, source=source)
                body = self._read(response, query, source)
        except (faults.RequestException, HTTPError, OSError) as error:
            self._refuse(error, query, source)
        response._content = body
        if is_api:
            envelope = read_envelope(
                response.status_code, body, query=query, source=source, secrets=self._secrets,
                location=response.headers.get("Location"),
            )  # fmt: skip
            # prometheus-api-client asks for JSON again; a month of slices need not be parsed twice.
            response.json = lambda **_: envelope  # type: ignore[method-assign]
            self._local.envelope = envelope
            if url.endswith(("/query", "/query_range")):
                verify_data(envelope["data"], query=query, source=source)
        return response

    def _read(self, response: requests.Response, query: str | None, source: str) -> bytes:
        seconds = at_most(self._max_seconds)
        deadline = time.monotonic() + seconds
        parts, size = [], 0
        # read1 returns what has arrived; read would sit out a slow drip, however long it takes.
        while part := self._part(response, size):
            parts.append(part)
            size += len(part)
            if size > self._max_bytes:
                raise QueryError(
                    f"the answer is larger than {self._max_bytes} bytes; ask for fewer series or fewer points",
                    reason="too_large", query=query, http_status=response.status_code, source=source,
                )  # fmt: skip
            if time.monotonic() > deadline:
                raise QueryError(
                    f"the answer was not complete after {seconds:.3g} s ({size} bytes so far)",
                    reason="timeout", transient=True, query=query, http_status=response.status_code, source=source,
                )  # fmt: skip
        return b"".join(parts)

    def _part(self, response: requests.Response, size: int) -> bytes:
        try:
            part: bytes = response.raw.read1(_CHUNK, decode_content=True)
        except ReadTimeoutError:
            raise
        except (HTTPError, OSError) as error:
            raise _Cut(f"the answer broke off after {size} bytes") from error
        return part

    def _refuse(self, error: Exception, query: str | None, source: str) -> Never:
        message, reason, transient = explain(error)
        # `from None`: the library's own text holds the URL it asked, user info and all.
        raise QueryError(message, reason=reason, transient=transient, query=query, source=source) from None


def explain(error: BaseException) -> tuple[str, str, bool]:
    """Say what went wrong on the wire.

    :param error: an exception of requests or urllib3
    :return: message, reason, and whether it may pass
    """
    chain = _causes(error)

    def has(*kinds: type[BaseException]) -> BaseException | None:
        return next((item for item in chain if isinstance(item, kinds)), None)

    if has(SSLError, faults.SSLError):
        return f"TLS failed: {server_text(chain[-1])}; check the CA certificate (verify) and the client certificate", "tls", False
    if cut := has(_Cut):
        return str(cut), "truncated", True
    if has(NameResolutionError):
        return "the server's name could not be resolved", "dns", True
    if has(ConnectionRefusedError):
        return "the server refused the connection", "connection_refused", True
    if has(NewConnectionError):  # by inheritance a ConnectTimeoutError, and none
        return f"no connection to the server ({server_text(chain[-1])})", "connection_refused", True
    if has(ConnectTimeoutError, faults.ConnectTimeout):
        return "no connection within the connect timeout", "timeout", True
    if has(ReadTimeoutError, faults.ReadTimeout, TimeoutError):
        return "no answer within the read timeout", "timeout", True
    if has(faults.InvalidURL, faults.MissingSchema, faults.InvalidSchema):
        return "the connection's URL is not usable: write http:// or https://, a host and optionally a port", "bad_url", False
    if has(faults.ConnectionError, faults.ChunkedEncodingError, HTTPError, OSError):
        return f"the connection broke ({type(chain[-1]).__name__})", "connection_reset", True
    return f"the request failed ({type(error).__name__})", "request_failed", False


def _causes(error: BaseException) -> list[BaseException]:
    """List an exception and everything it wraps: ``reason``, exception arguments, causes and contexts."""
    seen: list[BaseException] = []
    queue: list[object] = [error]
    while queue:
        item = queue.pop(0)
        if not isinstance(item, BaseException) or any(item is other for other in seen):
            continue
        seen.append(item)
        queue += [getattr(item, "reason", None), *item.args, item.__cause__, item.__context__]
    return seen
