"""Check that a Prometheus answer is complete, current and unambiguous.

Every problem is reported as one :class:`~airflow_slo_provider.exceptions.QueryError`. Faults that a retry may fix (timeouts,
429, 5xx, partial and cached answers) are ``transient``; an answer that would not change is not.

Source: Prometheus HTTP API, https://prometheus.io/docs/prometheus/latest/querying/api/ ("Format overview").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from airflow_slo_provider.core.redaction import public_url, redact, server_text
from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.http import caches as http_caches
from airflow_slo_provider.http.faults import TRANSIENT_STATUSES, status_reason
from airflow_slo_provider.http.json_answers import read_json

#: errorType values of a transient condition, whatever the HTTP status.
_TRANSIENT_TYPES = frozenset({"timeout", "canceled", "internal", "unavailable"})
_HINTS = {
    401: "check the connection's login, password or token",
    403: "the credentials were understood but may not query this server",
    404: "check the URL and its path prefix: the query API lives at <url>/api/v1/query",
    405: "the server refuses POST; set the connection's method to GET",
}
#: Maximum difference in seconds between our clock and the server's: half the shortest window of a burn rate.
CLOCK_TOLERANCE = 150
#: The header in which M3 reports that a limit truncated the answer.
_LIMITED = "M3-Results-Limited"
#: Keys of an incomplete answer: ``isPartial`` (VictoriaMetrics), ``resultsLimited`` (M3), ``truncated``, ... Only false and an
#: empty list or object mean that the answer is complete.
_LACKS = re.compile(r"partial|(?:in|non|not|un)[_-]?complete|non[_-]?exhaustive|truncated|(?<!un)limited", re.IGNORECASE)
#: Keys of a complete answer: ``exhaustive``, ``isComplete``, ... Only true means that it is complete.
_WHOLE = re.compile(r"(?:complete|exhaustive)$", re.IGNORECASE)
#: Keys of a problem: ``warnings``, ``errorType``, ``lastError``, ...
_WRONG = re.compile(r"(?:error|warning)s?(?:[_-]?(?:type|message|code))?$", re.IGNORECASE)
#: Keys of a series: labels, which may have any name, and numbers.
_SERIES = frozenset({"metric", "value", "values", "histogram", "histograms"})


@dataclass(frozen=True)
class VerifiedAnswer:
    """A verified envelope.

    :param result_type: ``scalar``, ``string``, ``vector`` or ``matrix``; empty for endpoints other than queries
    :param result: its ``data.result``
    :param infos: remarks that do not make the answer incomplete (Prometheus 3)
    """

    result_type: str
    result: Any
    infos: tuple[str, ...] = ()


def check_clock(date: str | None, *, query: str | None, source: str, now: datetime | None = None) -> None:
    """Compare the server's clock with ours: with a wrong clock a query about "now" reads another time.

    :param date: the answer's ``Date`` header; without one the clock is not checked
    :param now: time when the answer arrived; now by default
    :param query: text of the query, for the message
    :param source: public URL of the server, for the message
    :raises QueryError: transient, reason ``clock_skew``
    """
    try:
        theirs = parsedate_to_datetime(date or "")
    except (ValueError, OverflowError):  # not a valid date
        return
    if theirs.tzinfo is None:
        return
    ahead = ((now or datetime.now(UTC)) - theirs).total_seconds()
    if abs(ahead) > CLOCK_TOLERANCE:
        raise QueryError(
            f"the clock of this machine is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the server's: "
            "what is measured would be of another time; set both by NTP",
            reason="clock_skew", transient=True, query=query, source=source,
        )  # fmt: skip


def check_headers(headers: Mapping[str, str], *, query: str | None, source: str, now: datetime | None = None) -> None:
    """Refuse an answer whose headers show that it is cached, truncated, or made by a server with a wrong clock.

    :param headers: headers of the answer
    :param query: text of the query, for the message
    :param source: public URL of the server, for the message
    :param now: time when the headers arrived; now by default
    :raises QueryError: transient; reason ``cached_answer``, ``partial_answer`` or ``clock_skew``
    """
    # Checked first: a cache repeats an old Date header, which does not mean that a clock is wrong.
    stale = http_caches.age_fault(headers)
    if stale:
        raise QueryError(stale, reason=http_caches.REASON, transient=True, query=query, source=source)
    if headers.get(_LIMITED):
        raise _partial_error(f"{_LIMITED}: {server_text(headers[_LIMITED])}", query, source)
    check_clock(headers.get("Date"), query=query, source=source, now=now)


def read_envelope(
    status: int, body: bytes, *, query: str | None, source: str, secrets: tuple[str, ...] = (), location: str | None = None
) -> Mapping[str, Any]:
    """Verify the HTTP status, the JSON and the envelope's ``status``; return the envelope.

    :param status: HTTP status
    :param body: the complete body
    :param query: text of the query, for the message
    :param source: public URL of the server, for the message
    :param secrets: secrets that must not appear in a message, in addition to the remembered ones
    :param location: target of a redirect
    :raises QueryError: for everything except a documented success
    """

    def error(message: str, reason: str, *, transient: bool = False) -> QueryError:
        text = redact(message, secrets)
        return QueryError(text, reason=reason, transient=transient, query=query, http_status=status, source=source)

    if 300 <= status < 400:
        target = f" to {public_url(location)}" if location else ""
        raise error(
            f"the server redirects{target} (HTTP {status}); put the final address into the connection", status_reason(status)
        )
    payload = read_json(body, source=source, query=query, status=status)
    envelope: Mapping[str, Any] = payload if isinstance(payload, dict) else {}
    kind = str(envelope.get("errorType") or "")
    message = ": ".join(filter(None, (kind, str(envelope.get("error") or ""))))
    if status != 200:
        if not message:
            # Redacted before it is shortened, because half a secret would not be found.
            plain = server_text(redact(body[:20_000].decode("utf-8", "replace").strip(), secrets, limit=None), limit=200)
            message = plain if plain and not plain.startswith("<") else "no message"
        hint = f"; {_HINTS[status]}" if status in _HINTS else ""
        transient = status in TRANSIENT_STATUSES
        raise error(f"HTTP {status} from Prometheus: {message}{hint}", status_reason(status), transient=transient)
    if envelope.get("status") == "error":
        transient = kind in _TRANSIENT_TYPES
        raise error(f"HTTP 200, but status is error: {message or 'no message'}", "status_error", transient=transient)
    if envelope.get("status") != "success" or "data" not in envelope:
        raise error("HTTP 200 with JSON that is not a Prometheus answer (no status: success with data)", "unexpected_shape")
    if message:
        transient = kind in _TRANSIENT_TYPES
        raise error(f"the server reports success and names an error: {message}", "contradictory_answer", transient=transient)
    refuse_partial(envelope, query=query, source=source)
    return envelope


def read_answer(envelope: Mapping[str, Any], *, query: str, source: str) -> VerifiedAnswer:
    """Verify the ``data`` of a query's envelope and return the answer.

    :param envelope: the envelope, as :func:`read_envelope` returned it
    :param query: text of the query, for the message
    :param source: public URL of the server, for the message
    :raises QueryError: reason ``unexpected_shape``; reason ``partial_answer`` (transient) if there are warnings
    """
    data = envelope["data"]
    warnings = _texts(envelope.get("warnings"))
    if warnings:
        raise _partial_error("; ".join(server_text(text) for text in warnings), query, source)
    verify_data(data, query=query, source=source)
    return VerifiedAnswer(data["resultType"], data["result"], _texts(envelope.get("infos")))


def verify_data(data: Any, *, query: str | None, source: str) -> None:
    """Verify that a query's ``data`` holds a result.

    :raises QueryError: reason ``unexpected_shape``
    """
    if not isinstance(data, dict) or data.get("resultType") not in ("scalar", "string", "vector", "matrix"):
        raise shape_error("data has no resultType scalar, string, vector or matrix", query, source)
    if not isinstance(data.get("result"), list):
        raise shape_error("data.result is not a list", query, source)


def refuse_partial(envelope: Mapping[str, Any], *, query: str | None, source: str) -> None:
    """Refuse an answer that is marked as partial or faulty by any of its keys, at any depth.

    The list of warnings beside ``data`` is left out: the caller of the query handles it.

    :raises QueryError: transient, reason ``partial_answer``
    """
    found = next(((key, value) for part in _objects(envelope) for key, value in part.items() if _is_mark(key, value)), None)
    if found is not None:
        raise _partial_error(f"{found[0][:60]} is {server_text(found[1], limit=200)}", query, source)


def answer_error(message: str, reason: str, query: str | None, source: str, *, transient: bool = False) -> QueryError:
    """Create the error for an answer with HTTP status 200 that cannot be used."""
    return QueryError(message, reason=reason, transient=transient, query=query, http_status=200, source=source)


def contradiction_error(message: str, query: str | None, source: str) -> QueryError:
    """Create the error for an answer that contradicts itself."""
    return answer_error(f"the answer contradicts itself: {message}", "contradictory_answer", query, source)


def shape_error(message: str, query: str | None, source: str) -> QueryError:
    """Create the error for an answer that does not have the documented shape."""
    return answer_error(f"not a documented Prometheus answer: {message}", "unexpected_shape", query, source)


def _partial_error(message: str, query: str | None, source: str) -> QueryError:
    text = f"the server warns that its answer may be incomplete: {redact(message)}"
    return answer_error(text, "partial_answer", query, source, transient=True)


def _texts(value: Any) -> tuple[str, ...]:
    if not value:
        return ()
    return tuple(str(text) for text in value) if isinstance(value, list) else (str(value),)


def _is_mark(key: str, value: Any) -> bool:
    empty = value is False or value in ([], {})
    if _LACKS.search(key):
        return not empty
    if _WHOLE.search(key):
        return value is not True
    return not empty and value not in (None, "", 0) and _WRONG.search(key) is not None


def _objects(envelope: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Iterate over all objects of an answer except labels and numbers, which are most of it."""
    stack: list[Any] = [{key: value for key, value in envelope.items() if key not in ("data", "warnings")}]
    data = envelope.get("data")
    if isinstance(data, Mapping):  # elsewhere it is a list of names or of labels
        result = data.get("result")
        series = result if isinstance(result, list) else []
        stack.append({key: value for key, value in data.items() if key != "result" or value is not series})
        odd = (item for item in series if isinstance(item, dict) and not item.keys() <= _SERIES)
        stack += [{key: value for key, value in item.items() if key not in _SERIES} for item in odd]
    while stack:
        part = stack.pop()
        if isinstance(part, Mapping):
            yield part
            part = part.values()
        stack += [item for item in part if isinstance(item, dict | list)]
