"""Read the JSON of an answer: bounded by what it holds, of one meaning, or one error that says what it is instead."""

from __future__ import annotations

from typing import Any

from airflow_slo_provider.core import strict_json
from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.http.settings import MAX_VALUES


class NotJSON(ValueError):
    """The body is not JSON at all: a login page, or an answer that was cut."""


def read_json(
    body: bytes, *, source: str, query: str | None = None, status: int | None = None, constants: bool = False, what: str = ""
) -> Any:
    """Parse the body of an answer.

    :param body: the whole body
    :param source: the server's public address, for the message
    :param query: what was asked, for the message
    :param status: HTTP status of the answer
    :param constants: accept ``NaN`` and infinities: in predictions they are refused later, and counted
    :param what: what is being read, for the message, e.g. ``Tempo``
    :raises QueryError: reason ``repeated_key``, ``not_a_number``, ``too_deep`` or ``too_large``, never transient
    :raises NotJSON: for what is not JSON
    """
    try:
        return strict_json.loads(body, constants=constants, max_values=MAX_VALUES)
    except strict_json.JSONContradiction as error:
        said = "is not read" if error.reason in ("too_deep", "too_large") else "has no single meaning"
        raise QueryError(
            f"{what + ': ' if what else ''}the JSON of the answer {said}: {error}",
            reason=error.reason, query=query, http_status=status, source=source,
        ) from None  # fmt: skip
    except ValueError as error:
        raise NotJSON(str(error)) from None
