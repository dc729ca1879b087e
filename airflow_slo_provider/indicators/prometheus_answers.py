"""Reading what a Prometheus server answers, shared by the blocking and the async client.

Every way an answer can be wrong ends in one :class:`~airflow_slo_provider.exceptions.QueryError`. Faults that may pass
(timeouts, 429, 5xx, partial answers) are ``transient``; an answer that would be the same tomorrow is not.

Source: Prometheus HTTP API, https://prometheus.io/docs/prometheus/latest/querying/api/ ("Format overview").
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from fractions import Fraction
from typing import Any

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.redaction import LIMIT, public_url, redact

__all__ = ["Answer", "RangeSeries", "Sample", "public_url", "redact"]

#: Statuses that another attempt may turn into an answer.
TRANSIENT_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
#: errorType values that name a passing condition, whatever status they travel with.
_TRANSIENT_TYPES = frozenset({"timeout", "canceled", "internal", "unavailable"})
_REASONS = {
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
_HINTS = {
    401: "check the connection's login, password or token",
    403: "the credentials were understood but may not query this server",
    404: "check the URL and its path prefix: the query API lives at <url>/api/v1/query",
    405: "the server refuses POST; set the connection's method to GET",
}
# Go writes float64 as 12960, 0.25, 1e+06 or 5e-324. A longer exponent is no float64 and would make a huge integer.
_NUMBER = re.compile(r"-?(?:[0-9]{1,400}(?:\.[0-9]{1,1100})?|\.[0-9]{1,1100})(?:[eE][+-]?[0-9]{1,3})?")
#: No float64 is so large; every whole number of fewer digits is smaller.
_BEYOND, _SURELY_FINITE = 2**1024, 309
_SPECIAL = {"NaN": "NaN", "Inf": "+Inf", "+Inf": "+Inf", "-Inf": "-Inf"}
#: Seconds that our clock and the server's may differ by: half the shortest window a burn rate is measured over.
CLOCK_TOLERANCE = 150


@dataclass(frozen=True)
class Sample:
    """One value of one series.

    :param labels: the series' labels
    :param value: the exact value of ``text``; None for NaN, +Inf and -Inf, which are never compared
    :param text: the value as the server wrote it
    :param at: unix milliseconds
    """

    labels: Mapping[str, str]
    value: Fraction | None
    text: str
    at: int = 0

    @property
    def is_nan(self) -> bool:
        """Whether the server answered NaN."""
        return self.value is None and self.text == "NaN"

    @property
    def is_infinite(self) -> bool:
        """Whether the server answered +Inf or -Inf."""
        return self.value is None and self.text != "NaN"


@dataclass(frozen=True)
class RangeSeries:
    """One series of a range query.

    :param labels: the series' labels
    :param points: ``(unix milliseconds, value as the server wrote it)``, oldest first
    """

    labels: Mapping[str, str]
    points: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class Answer:
    """A verified envelope.

    :param result_type: ``scalar``, ``string``, ``vector`` or ``matrix``; empty for endpoints other than queries
    :param result: its ``data.result``
    :param warnings: what the server warned of: the answer may be incomplete
    :param infos: remarks that do not make the answer incomplete (Prometheus 3)
    """

    result_type: str
    result: Any
    warnings: tuple[str, ...] = ()
    infos: tuple[str, ...] = ()


def check_clock(date: str | None, *, query: str | None, source: str) -> None:
    """Compare the server's clock with ours: whoever asks about "now" with a wrong clock is told of another time.

    :param date: the answer's ``Date`` header, as it has just come in; nothing is known without one
    :raises QueryError: transient, reason ``clock_skew``
    """
    try:
        theirs = parsedate_to_datetime(date or "")
    except (ValueError, OverflowError):  # no date that a clock could show
        return
    if theirs.tzinfo is None:
        return
    ahead = (datetime.now(UTC) - theirs).total_seconds()
    if abs(ahead) > CLOCK_TOLERANCE:
        raise QueryError(
            f"the clock of this machine is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the server's: "
            "what is measured would be of another time; set both by NTP",
            reason="clock_skew", transient=True, query=query, source=source,
        )  # fmt: skip


def parse_value(text: object) -> Fraction | None:
    """Read a sample value exactly from its text.

    :return: None for NaN and the infinities
    :raises ValueError: when it is no number
    """
    if isinstance(text, str):
        if text.isascii() and text.isdigit() and len(text) < _SURELY_FINITE:
            return Fraction(int(text))
        if text in _SPECIAL:
            return None
        if _NUMBER.fullmatch(text) and abs(value := Fraction(text)) < _BEYOND:
            return value
    raise ValueError(f"sample value {text!r:.60} is not a number in a string")


def format_time(at: datetime) -> str:
    """Write an instant as the API takes it: unix seconds, to the millisecond, rounded down.

    :raises ValueError: for a naive datetime
    """
    milliseconds = to_milliseconds(at)
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds}.{rest:03d}" if rest else str(seconds)


def to_milliseconds(at: datetime) -> int:
    """Return unix milliseconds, rounded down.

    :raises ValueError: for a naive datetime
    """
    if at.tzinfo is None:
        raise ValueError(f"{at} has no time zone; a query's time must be one instant")
    # timestamp() of an aware datetime is exact to the microsecond for every year Prometheus can hold.
    return round(at.timestamp() * 1_000_000) // 1000


def read_envelope(
    status: int, body: bytes, *, query: str | None, source: str, secrets: Collection[str] = (), location: str | None = None
) -> Mapping[str, Any]:
    """Verify status, JSON and the envelope's ``status``; return the envelope.

    :param status: HTTP status
    :param body: the whole body
    :param query: what was asked, for the message
    :param source: the server's public URL
    :param secrets: texts that must not appear in a message
    :param location: where a redirect points to
    :raises QueryError: in every case but a documented success
    """

    def wrong(message: str, reason: str, *, transient: bool = False) -> QueryError:
        text = redact(message, secrets)
        return QueryError(text, reason=reason, transient=transient, query=query, http_status=status, source=source)

    if 300 <= status < 400:
        target = f" to {public_url(location)}" if location else ""
        raise wrong(f"the server redirects{target} (HTTP {status}); put the final address into the connection", "redirected")
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        payload = None
    envelope: Mapping[str, Any] = payload if isinstance(payload, dict) else {}
    kind, said = str(envelope.get("errorType") or ""), str(envelope.get("error") or "")
    message = ": ".join(part for part in (kind, said) if part)
    if status != 200:
        if not message:
            # Blanked before it is cut: half a secret would not be found.
            plain = redact(body[:20_000].decode("utf-8", "replace").strip(), secrets, limit=200)
            message = " ".join(plain.split()) if plain and not plain.startswith("<") else "no message"
        hint = f"; {_HINTS[status]}" if status in _HINTS else ""
        reason = _REASONS.get(status, "server_error" if status >= 500 else "http_error")
        transient = status in TRANSIENT_STATUSES
        raise wrong(f"HTTP {status} from Prometheus: {message}{hint}", reason, transient=transient)
    if payload is None and body.lstrip().startswith(b'{"status"'):
        raise wrong(f"the answer broke off after {len(body)} bytes", "truncated", transient=True)
    if payload is None:
        start = redact(body[:20_000].decode("utf-8", "replace").strip(), secrets, limit=60)
        raise wrong(f"HTTP 200 with something that is not JSON ({start!r}...): is this a login page or a wrong path?", "not_json")
    if envelope.get("status") == "error":
        transient = kind in _TRANSIENT_TYPES
        raise wrong(f"HTTP 200, but status is error: {message or 'no message'}", "status_error", transient=transient)
    if envelope.get("status") != "success" or "data" not in envelope:
        raise wrong("HTTP 200 with JSON that is not a Prometheus answer (no status: success with data)", "unexpected_shape")
    return envelope


def read_answer(envelope: Mapping[str, Any], *, query: str, source: str) -> Answer:
    """Verify the ``data`` of a query's envelope.

    :raises QueryError: reason ``unexpected_shape``; reason ``partial_answer`` (transient) where there are warnings
    """
    data = envelope["data"]
    warnings = _texts(envelope.get("warnings"))
    if warnings:
        raise QueryError(
            "the server warns that its answer may be incomplete: " + "; ".join(warnings)[:LIMIT],
            reason="partial_answer", transient=True, query=query, http_status=200, source=source,
        )  # fmt: skip
    verify_data(data, query=query, source=source)
    return Answer(data["resultType"], data["result"], warnings, _texts(envelope.get("infos")))


def verify_data(data: Any, *, query: str | None, source: str) -> None:
    """Verify that a query's ``data`` holds a result.

    :raises QueryError: reason ``unexpected_shape``
    """
    if not isinstance(data, dict) or data.get("resultType") not in ("scalar", "string", "vector", "matrix"):
        raise _shape("data has no resultType scalar, string, vector or matrix", query, source)
    if not isinstance(data.get("result"), list):
        raise _shape("data.result is not a list", query, source)


def samples(answer: Answer, *, query: str, source: str) -> list[Sample]:
    """Read the result of an instant query; a scalar is one sample without labels.

    :raises QueryError: for a matrix or a string, or for anything that is not of the documented shape
    """
    if answer.result_type in ("matrix", "string"):
        raise QueryError(
            f"the query answers a {'range vector' if answer.result_type == 'matrix' else 'string'}, not numbers at one instant",
            reason="wrong_result_type", query=query, http_status=200, source=source,
        )  # fmt: skip
    rows = [{"metric": {}, "value": answer.result}] if answer.result_type == "scalar" else answer.result
    out = []
    try:
        for row in rows:
            moment, text = row["value"]
            out.append(Sample(_labels(row["metric"]), parse_value(text), _SPECIAL.get(text, text), round(moment * 1000)))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise _shape(f"a sample is not of the form metric, [time, text]: {error}", query, source) from None
    return out


def matrix(answer: Answer, *, query: str, source: str) -> list[RangeSeries]:
    """Read the result of a range query.

    :raises QueryError: when it is not a matrix of the documented shape
    """
    if answer.result_type != "matrix":
        raise _shape(f"a range query answered a {answer.result_type}", query, source)
    try:
        return [
            RangeSeries(_labels(row["metric"]), tuple([(round(moment * 1000), str(text)) for moment, text in row["values"]]))
            for row in answer.result
        ]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise _shape(f"a series is not of the form metric, [[time, text], ...]: {error}", query, source) from None


def _labels(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise ValueError("labels are not a mapping of texts")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not value:
        return ()
    return tuple(str(text) for text in value) if isinstance(value, list) else (str(value),)


def _shape(message: str, query: str | None, source: str) -> QueryError:
    return QueryError(
        f"not a documented Prometheus answer: {message}",
        reason="unexpected_shape", query=query, http_status=200, source=source,
    )  # fmt: skip
