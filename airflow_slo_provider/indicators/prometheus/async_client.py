"""The async twin of the Prometheus client, for triggers: the same settings, the same reading of answers, the same errors."""

from __future__ import annotations

import asyncio
import ssl
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.core.redaction import server_text
from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.http.caches import NO_CACHE
from airflow_slo_provider.indicators.prometheus import answers
from airflow_slo_provider.indicators.prometheus.answers import Sample
from airflow_slo_provider.indicators.prometheus.client import Settings

if TYPE_CHECKING:
    import httpx

_RETRY_STATUSES = frozenset({429, 502, 503, 504})
_RETRY_REASONS = frozenset({"connection_refused", "connection_reset", "dns"})
_RETRY_AFTER_CAP = 10.0


class AsyncPrometheusClient:
    """Asks a Prometheus server without blocking the event loop. Use it as ``async with``.

    :param url: base URL
    :param settings: see :class:`~airflow_slo_provider.indicators.prometheus.client.Settings`
    """

    def __init__(self, url: str, **settings: Any) -> None:
        self.settings = Settings(url=url, **settings)
        self.url = self.settings.address
        self._http: httpx.AsyncClient | None = None

    async def __aenter__(self) -> AsyncPrometheusClient:
        try:
            self._http = await asyncio.to_thread(self._open)  # reading CA and key files would block the loop
        except (ssl.SSLError, OSError) as error:
            raise QueryError(f"TLS cannot be set up: {error}", reason="tls", source=self.url) from None
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    def _open(self) -> httpx.AsyncClient:
        import httpx

        settings = self.settings
        settings.check_files()
        verify: bool | ssl.SSLContext = settings.verify is not False
        if isinstance(settings.verify, str):
            verify = ssl.create_default_context(cafile=settings.verify)
        if settings.cert is not None:
            if not isinstance(verify, ssl.SSLContext):
                verify = httpx.create_ssl_context(verify=verify)
            verify.load_cert_chain(*((settings.cert,) if isinstance(settings.cert, str) else settings.cert))
        headers = {**NO_CACHE, **(settings.headers or {})}
        if settings.bearer:
            headers["Authorization"] = f"Bearer {settings.bearer}"
        connect, read = settings.timeout
        return httpx.AsyncClient(
            headers=headers,
            auth=settings.login if not settings.bearer else None,
            verify=verify,
            timeout=httpx.Timeout(read, connect=connect),
            follow_redirects=False,
        )

    async def instant(self, query: str, at: datetime) -> list[Sample]:
        """Ask at one instant.

        :param query: PromQL
        :param at: the instant (aware)
        :raises QueryError: when the server did not answer the question, whole and well
        """
        form = {**self.settings.server_params, "query": query, "time": answers.format_time(at)}
        for attempt in range(self.settings.retries + 1):
            try:
                envelope = await self._ask(form, query)
            except _Again as again:
                if attempt == self.settings.retries:
                    raise again.error from None
                await asyncio.sleep(min(again.wait or 0.2 * 2**attempt, _RETRY_AFTER_CAP))
            else:
                answer = answers.read_answer(envelope, query=query, source=self.url)
                return answers.samples(answer, query=query, source=self.url, at=answers.to_milliseconds(at))
        raise AssertionError("unreachable: the loop returns or raises")

    async def _ask(self, form: dict[str, str], query: str) -> Any:
        import httpx

        if self._http is None:
            raise RuntimeError("use AsyncPrometheusClient as `async with`")
        url, settings = f"{self.url}/api/v1/query", self.settings
        where: dict[str, Any] = {"data": form} if settings.method == "POST" else {"params": form}
        try:
            async with asyncio.timeout(settings.timeout[0] + settings.timeout[1] + settings.max_seconds):
                async with self._http.stream(settings.method, url, **where) as response:
                    answers.check_headers(response.headers, query=query, source=self.url)
                    body = await self._read(response, query)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            message, reason, transient = _explain(error)
            fault = QueryError(message, reason=reason, transient=transient, query=query, source=self.url)
            raise (_Again(fault) if reason in _RETRY_REASONS else fault) from None
        try:
            return answers.read_envelope(
                response.status_code, body, query=query, source=self.url, secrets=settings.secrets,
                location=response.headers.get("Location"),
            )  # fmt: skip
        except QueryError as fault:
            if response.status_code not in _RETRY_STATUSES:
                raise
            raise _Again(fault, wait=_seconds(response.headers.get("Retry-After"))) from None

    async def _read(self, response: httpx.Response, query: str) -> bytes:
        body = bytearray()
        deadline = asyncio.get_running_loop().time() + self.settings.max_seconds
        async for part in response.aiter_bytes():
            body += part
            if len(body) > self.settings.max_bytes:
                raise QueryError(
                    f"the answer is larger than {self.settings.max_bytes} bytes; ask for fewer series",
                    reason="too_large", query=query, http_status=response.status_code, source=self.url,
                )  # fmt: skip
            if asyncio.get_running_loop().time() > deadline:
                raise QueryError(
                    f"the answer was not complete after {self.settings.max_seconds:g} s",
                    reason="timeout", transient=True, query=query, http_status=response.status_code, source=self.url,
                )  # fmt: skip
        return bytes(body)


class _Again(Exception):
    """A fault that a quick second attempt may cure."""

    def __init__(self, error: QueryError, *, wait: float = 0.0) -> None:
        super().__init__()
        self.error = error
        self.wait = wait


def _seconds(retry_after: str | None) -> float:
    """Read Retry-After in seconds; a date is left to Airflow's own retries."""
    return float(retry_after) if retry_after and retry_after.strip().isdecimal() else 0.0


def _explain(error: Exception) -> tuple[str, str, bool]:
    import httpx

    text = str(error).lower()
    if isinstance(error, httpx.ConnectTimeout):
        return "no connection within the connect timeout", "timeout", True
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return "no answer within the read timeout", "timeout", True
    if isinstance(error, httpx.ConnectError):
        if "certificate" in text or "ssl" in text or "tls" in text:
            return f"TLS failed: {server_text(error)}; check the CA certificate (verify) and the client certificate", "tls", False
        if "name" in text or "nodename" in text or "getaddrinfo" in text:
            return "the server's name could not be resolved", "dns", True
        return "the server refused the connection", "connection_refused", True
    if isinstance(error, httpx.RemoteProtocolError) and "without sending complete message body" in text:
        return "the answer broke off", "truncated", True
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
        return "the connection's URL is not usable: write http:// or https://, a host and optionally a port", "bad_url", False
    return f"the connection broke ({type(error).__name__})", "connection_reset", True
