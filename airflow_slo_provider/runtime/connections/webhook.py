"""Post JSON to the URL of an Airflow connection, with its credentials."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.hooks.connection_forms.http import http_arguments

if TYPE_CHECKING:
    from airflow_slo_provider.hooks.connection_forms.fields import ConnectionFields
    from airflow_slo_provider.http.retries import HttpAnswer
    from airflow_slo_provider.http.settings import HttpSettings

_MAX_ANSWER_LENGTH = 300
_SECONDS = 30.0
#: Minimum length of a URL path segment that is treated as a secret, unless it is a plain word.
_MIN_SECRET_LENGTH = 8


def post(connection: ConnectionFields, path: str, body: Any) -> None:
    """Post JSON and wait for the answer.

    :param connection: host is the URL; login and password, or ``token`` in the extra; the other fields as for Prometheus
    :param path: path to append to the URL
    :param body: a JSON-able value
    :raises QueryError: if the server does not accept it; ``transient`` if a later try may succeed
    """
    from airflow_slo_provider.http.client import HttpClient

    settings = _settings(connection)
    with _named(settings), HttpClient(settings) as client:
        _check(client.request("POST", path, json=body, repeat=False))


async def apost(connection: ConnectionFields, path: str, body: Any) -> None:
    """Post JSON without blocking the event loop; otherwise the same as :func:`post`.

    :param connection: host is the URL; login and password, or ``token`` in the extra; the other fields as for Prometheus
    :param path: path to append to the URL
    :param body: a JSON-able value
    :raises QueryError: if the server does not accept it; ``transient`` if a later try may succeed
    """
    from airflow_slo_provider.http.async_client import AsyncHttpClient

    settings = _settings(connection)
    with _named(settings):
        async with AsyncHttpClient(settings) as client:
            _check(await client.request("POST", path, json=body, repeat=False))


def _settings(connection: ConnectionFields) -> HttpSettings:
    from dataclasses import replace

    from airflow_slo_provider.core.redaction import remember
    from airflow_slo_provider.http.settings import HttpSettings

    settings = HttpSettings(**http_arguments(connection))
    # The path of a webhook is often the secret. A plain word in it (``alerts``) is not one, and would be redacted in other
    # messages.
    parts = urlsplit(settings.address).path.split("/")
    remember(*(part for part in parts if len(part) >= _MIN_SECRET_LENGTH and part != part.lower().strip("0123456789")))
    connect, read = settings.timeout
    return replace(settings, timeout=(connect, min(read, _SECONDS)), max_seconds=None)


@contextmanager
def _named(settings: HttpSettings) -> Iterator[None]:
    """Name the server of a failed request by scheme and host, because the path of a webhook is often the secret."""
    try:
        yield
    except QueryError as error:
        parts = urlsplit(settings.address)
        raise QueryError(
            f"the notification was not accepted: {error.message}",
            reason=error.reason, transient=error.transient, http_status=error.http_status,
            source=f"{parts.scheme}://{parts.netloc}",
        ) from None  # fmt: skip


def _check(answer: HttpAnswer) -> None:
    from airflow_slo_provider.core.redaction import server_text
    from airflow_slo_provider.http.faults import TRANSIENT_STATUSES, status_reason

    if 200 <= answer.status < 300:
        return
    raise QueryError(
        f"HTTP {answer.status}: {server_text(answer.body, limit=_MAX_ANSWER_LENGTH)}",
        reason=status_reason(answer.status),
        transient=answer.status in TRANSIENT_STATUSES,
        http_status=answer.status,
    )
