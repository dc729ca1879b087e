"""Classify failed HTTP requests: the reason of an exception or a status, and whether a retry may succeed.

The exceptions of requests, urllib3, httpx and anyio are recognised by their class names, so that none of these libraries is
imported here.
"""

from __future__ import annotations

import socket
import ssl
from typing import NamedTuple

from airflow_slo_provider.core.redaction import server_text
from airflow_slo_provider.exceptions import QueryError

#: Statuses after which another attempt may succeed.
TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
#: Faults after which the same request is sent again at once. A timeout is not among them, because the server may still be
#: computing, nor is a truncated answer, because it has cost the server work.
REPEATED = frozenset({"connection_refused", "connection_reset", "dns"})
#: Statuses after which the request is sent again. Not 500: it is an error of the server itself, and mostly recurs.
REPEATED_STATUSES = TRANSIENT_STATUSES - {500}
_STATUS_REASONS = {
    400: "bad_query",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "timeout",
    413: "request_too_large",
    422: "query_failed",
    429: "too_many_requests",
}
#: The message about an answer with too many or too long headers.
HEADERS_TOO_LARGE = "the headers of the answer are too large"


class WireFault(NamedTuple):
    """The reason why a request has no answer.

    :param message: what happened
    :param reason: a stable slug: ``timeout``, ``dns``, ``connection_refused``, ``connection_reset``, ``truncated``, ``tls``,
        ``bad_url``, ``proxy``, ``too_large`` (headers) or ``request_failed``
    :param transient: whether the same request may succeed later
    """

    message: str
    reason: str
    transient: bool


class TruncatedAnswer(Exception):
    """The status line and the headers arrived, but the body did not, or is incomplete."""


class TimeLimitExceeded(Exception):
    """The exchange took longer than its limit.

    :param seconds: seconds since the exchange began
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the answer was not complete after {seconds:.1f} s")


class AnswerTooLarge(Exception):
    """The body is larger than the limit."""


class UnknownEncoding(Exception):
    """The body has a Content-Encoding that was not requested."""


#: What an exchange without a whole answer raises beside the errors of its library.
UNANSWERED = (TruncatedAnswer, TimeLimitExceeded, AnswerTooLarge, UnknownEncoding)


def wire_fault(error: BaseException) -> WireFault:
    """Classify an exception that was raised while a request was sent or its answer read.

    :param error: an exception of requests, urllib3, httpx, ssl or a socket
    """
    chain = _all_causes(error)
    names = {cls.__name__ for item in chain for cls in type(item).__mro__}
    own = {type(item).__name__ for item in chain}
    last = server_text(chain[-1])
    for item in chain:
        if isinstance(item, TruncatedAnswer | TimeLimitExceeded):
            return WireFault(str(item), "truncated" if isinstance(item, TruncatedAnswer) else "timeout", True)
    if names & {"InvalidURL", "MissingSchema", "InvalidSchema", "UnsupportedProtocol", "LocationParseError"}:
        message = "the connection's URL is not usable: write http:// or https://, a host and optionally a port"
        return WireFault(message, "bad_url", False)
    if "SSLError" in names and not names & {"SSLEOFError", "SSLZeroReturnError"} and not _timed_out(names):
        what = next((server_text(item) for item in chain if isinstance(item, ssl.SSLError)), last)
        return WireFault(f"TLS failed: {what}; check the CA certificate (verify) and the client certificate", "tls", False)
    through = "the proxy: " if "ProxyError" in names else ""
    if "NameResolutionError" in names or any(isinstance(item, socket.gaierror) for item in chain):
        return WireFault(f"{through}the server's name could not be resolved", "dns", True)
    if "ConnectionRefusedError" in names:
        return WireFault(f"{through}the server refused the connection", "connection_refused", True)
    if own & {"NewConnectionError", "ConnectError"}:  # NewConnectionError inherits from a timeout, but is none
        return WireFault(f"{through}no connection to the server ({last})", "connection_refused", True)
    if names & {"ConnectTimeoutError", "ConnectTimeout", "PoolTimeout"}:
        return WireFault(f"{through}no connection within the connect timeout", "timeout", True)
    if _timed_out(names):
        return WireFault(f"{through}no answer within the read timeout", "timeout", True)
    if through:
        return WireFault(f"the proxy did not let the request through ({last})", "proxy", True)
    if names & {"LocalProtocolError", "InvalidHeader", "TooManyRedirects"}:
        return WireFault(f"the request could not be sent ({type(error).__name__}: {last})", "request_failed", False)
    if own & {"LineTooLong", "HTTPException"} or any(getattr(item, "error_status_hint", 0) == 431 for item in chain):
        return WireFault(HEADERS_TOO_LARGE, "too_large", False)
    if names & {"HTTPError", "ConnectionError", "RequestException", "OSError", "TransportError"}:
        return WireFault("the connection broke before there was a whole answer", "connection_reset", True)
    return WireFault(f"the request failed ({type(error).__name__})", "request_failed", False)


def request_error(error: BaseException, *, query: str | None, status: int | None, source: str) -> QueryError:
    """Return the error of an exchange that ended without a whole answer.

    :param error: as of :func:`wire_fault`, or what :class:`~airflow_slo_provider.http.bodies.Body` raises
    :param query: the query, for the message
    :param status: HTTP status, where there was one
    :param source: the server's public address
    """
    if isinstance(error, AnswerTooLarge | UnknownEncoding):
        reason = "too_large" if isinstance(error, AnswerTooLarge) else "unknown_encoding"
        return QueryError(str(error), reason=reason, query=query, http_status=status, source=source)
    message, reason, transient = wire_fault(error)
    shown = status if reason == "timeout" else None
    return QueryError(message, reason=reason, transient=transient, query=query, http_status=shown, source=source)


def is_redirect(status: int) -> bool:
    """Return whether an HTTP status redirects. The clients do not follow, and do not read the body of such an answer."""
    return 300 <= status < 400


def status_reason(status: int) -> str:
    """Return the reason of an HTTP status that is not a success."""
    if is_redirect(status):
        return "redirected"
    return _STATUS_REASONS.get(status, "server_error" if status >= 500 else "http_error")


def _timed_out(names: set[str]) -> bool:
    return bool(names & {"TimeoutError", "ReadTimeoutError", "Timeout", "TimeoutException"})


def _all_causes(error: BaseException) -> list[BaseException]:
    """List an exception and all exceptions it wraps: ``reason``, arguments, members of a group, causes and contexts."""
    seen: list[BaseException] = []
    queue: list[object] = [error]
    while queue:
        item = queue.pop(0)
        if not isinstance(item, BaseException) or any(item is other for other in seen):
            continue
        seen.append(item)
        members = item.exceptions if isinstance(item, BaseExceptionGroup) else ()
        queue += [getattr(item, "reason", None), *item.args, *members, item.__cause__, item.__context__]
    return seen
