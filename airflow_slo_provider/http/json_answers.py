"""Parse the JSON of an HTTP answer, and report what the body is if it is not valid JSON."""

from __future__ import annotations

from typing import Any

from airflow_slo_provider.core import strict_json
from airflow_slo_provider.core.redaction import server_text
from airflow_slo_provider.exceptions import QueryError

_CLOSING = {b"{": b"}", b"[": b"]"}


class NotJSON(QueryError):
    """The body is not JSON, e.g. a login page."""

    default_reason = "not_json"


def read_json(
    body: bytes, *, source: str, query: str | None = None, status: int | None = None, constants: bool = False, what: str = ""
) -> Any:
    """Parse the body of an answer.

    If the status is an error, the status decides: the result is None when the body cannot be parsed.

    :param body: the complete body
    :param source: public address of the server, for the message
    :param query: text of the query, for the message
    :param status: HTTP status of the answer
    :param constants: accept ``NaN`` and infinities: in predictions they are refused later, and counted
    :param what: name of the source, for the message, e.g. ``Tempo``
    :raises QueryError: reason ``repeated_key``, ``not_a_number``, ``too_deep`` or ``too_large``, never transient;
        ``truncated``, transient, for JSON that breaks off
    :raises NotJSON: for a body that is not JSON
    """
    fields: dict[str, Any] = {"query": query, "http_status": status, "source": source}
    prefix = f"{what}: " if what else ""
    try:
        return strict_json.loads(body, constants=constants)
    except ValueError as error:
        if status not in (None, 200):
            return None
        if isinstance(error, strict_json.JSONContradiction):
            problem = "is refused" if error.reason in ("too_deep", "too_large") else "is ambiguous"
            raise QueryError(f"{prefix}the JSON of the answer {problem}: {error}", reason=error.reason, **fields) from None
    text = body.strip()
    if text[:1] in _CLOSING and text[-1:] != _CLOSING[text[:1]]:
        raise QueryError(f"{prefix}the answer broke off after {len(body)} bytes", reason="truncated", transient=True, **fields)
    start = server_text(text, limit=60)
    raise NotJSON(f"{prefix}HTTP 200 with a body that is not JSON ({start!r}): is this a login page or a wrong path?", **fields)
