"""Posts JSON to the address of an Airflow connection, with its credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.hooks.connection_forms.prometheus import client_settings

if TYPE_CHECKING:
    from airflow_slo_provider.hooks.connection_forms.fields import ConnectionFields

_LONGEST = 300
#: Characters from which on a part of an address may be a secret, if it is no plain word.
_SECRET_PART = 8


def post(connection: ConnectionFields, path: str, body: Any) -> None:
    """Post JSON and wait for the answer.

    :param connection: host is the URL; login and password, or ``token`` in the extra; all else as for Prometheus
    :param path: added to the URL
    :raises QueryError: when it was not taken; transient where a later try may help
    """
    import httpx

    address, arguments = _prepared(connection, path)
    try:
        with httpx.Client(**arguments) as client:
            _check(client.post(address, json=body))
    except httpx.HTTPError as error:
        raise _fault(error, address) from None


async def apost(connection: ConnectionFields, path: str, body: Any) -> None:
    """Post JSON without blocking the event loop; otherwise as :func:`post`."""
    import asyncio

    import httpx

    address, arguments = await asyncio.to_thread(_prepared, connection, path)
    try:
        async with httpx.AsyncClient(**arguments) as client:
            _check(await client.post(address, json=body))
    except httpx.HTTPError as error:
        raise _fault(error, address) from None


def _prepared(connection: ConnectionFields, path: str) -> tuple[str, dict[str, Any]]:
    import ssl

    import httpx

    from airflow_slo_provider.core.redaction import remember
    from airflow_slo_provider.indicators.prometheus.client import Settings

    settings = Settings(**client_settings(connection))
    settings.check_files()
    verify: Any = settings.verify is not False
    if isinstance(settings.verify, str):
        verify = ssl.create_default_context(cafile=settings.verify)
    if settings.cert is not None:
        verify = verify if isinstance(verify, ssl.SSLContext) else httpx.create_ssl_context(verify=verify)
        verify.load_cert_chain(*((settings.cert,) if isinstance(settings.cert, str) else settings.cert))
    headers = dict(settings.headers or {})
    if settings.bearer:
        headers["Authorization"] = f"Bearer {settings.bearer}"
    connect, read = settings.timeout
    arguments = {
        "headers": headers,
        "auth": settings.login if not settings.bearer else None,
        "verify": verify,
        "timeout": httpx.Timeout(min(read, 30.0), connect=connect),
        "follow_redirects": False,
    }
    # Of a webhook the path is often the secret. A word in it (``alerts``) is none, and would be blanked out of other messages.
    parts = urlsplit(settings.address).path.split("/")
    remember(*(part for part in parts if len(part) >= _SECRET_PART and part != part.lower().strip("0123456789")))
    return f"{settings.address}{path}", arguments


def _check(response: Any) -> None:
    from airflow_slo_provider.core.redaction import server_text

    if 200 <= response.status_code < 300:
        return
    status = response.status_code
    raise QueryError(
        f"the notification was not taken: HTTP {status}: {server_text(response.content, limit=_LONGEST)}",
        reason="not_taken",
        transient=status >= 500 or status == 429,
        http_status=status,
    )


def _fault(error: Exception, address: str) -> QueryError:
    from airflow_slo_provider.core.redaction import server_text

    said = f"the notification could not be sent ({type(error).__name__}: {server_text(error)})"
    # Of a webhook the path is often the secret.
    parts = urlsplit(address)
    return QueryError(said, reason="connection", transient=True, source=f"{parts.scheme}://{parts.netloc}")
