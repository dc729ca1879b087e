"""Send HTTP requests without blocking the event loop, for triggers.

The settings, limits, faults and retries are those of the blocking client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.http.bodies import Body
from airflow_slo_provider.http.faults import UNANSWERED, TimeLimitExceeded, TruncatedAnswer, is_redirect, request_error
from airflow_slo_provider.http.libraries import IMPORT_LOCK, import_libraries
from airflow_slo_provider.http.retries import HttpAnswer, retry_arguments
from airflow_slo_provider.http.settings import HttpSettings

if TYPE_CHECKING:
    import httpx


class AsyncHttpClient:
    """Send requests to one server without blocking the event loop. Use it as ``async with``.

    Several tasks may send requests at once.

    :param settings: address, credentials and limits of the server
    """

    def __init__(self, settings: HttpSettings) -> None:
        self.settings = settings
        self._http: httpx.AsyncClient | None = None

    async def __aenter__(self) -> AsyncHttpClient:
        self._http = await asyncio.to_thread(self._open)  # reading certificate files would block the loop
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Any = None,
        form: Mapping[str, Any] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        repeat: bool = True,
        query: str | None = None,
    ) -> HttpAnswer:
        """Send a request; parameters, return value and errors are those of :meth:`.client.HttpClient.request`."""
        import_libraries()
        from tenacity import AsyncRetrying

        content = {"params": params, "data": form, "json": json, "headers": headers}
        retrying = AsyncRetrying(**retry_arguments(self.settings, repeat=repeat))
        answer: HttpAnswer = await retrying(self._send_once, method, self.settings.address + path, content, query)
        return answer

    def _open(self) -> httpx.AsyncClient:
        import_libraries()
        with IMPORT_LOCK:
            import httpx
        from requests.utils import get_environ_proxies, select_proxy

        settings = self.settings
        # Read NO_PROXY as requests does: httpx does not support networks in it.
        proxy = select_proxy(settings.address, get_environ_proxies(settings.address))
        return httpx.AsyncClient(
            headers=settings.all_headers(),
            auth=settings.login,
            verify=settings.tls_context(),
            timeout=httpx.Timeout(settings.timeout[1], connect=settings.timeout[0]),
            follow_redirects=False,
            proxy=proxy if not proxy or "://" in proxy else f"http://{proxy}",
            trust_env=False,
        )

    async def _send_once(self, method: str, url: str, content: Mapping[str, Any], query: str | None) -> HttpAnswer:
        import httpx

        if self._http is None:
            raise RuntimeError(f"use {type(self).__name__} as `async with`")
        settings, status, loop = self.settings, None, asyncio.get_running_loop()
        start = loop.time()
        try:
            async with asyncio.timeout(sum(settings.timeout)) as limit, self._http.stream(method, url, **content) as response:
                status, began = response.status_code, datetime.now(UTC)
                if is_redirect(status):
                    return HttpAnswer(status, response.headers, b"", began)
                if settings.max_seconds is not None:
                    limit.reschedule(loop.time() + settings.max_seconds)
                return HttpAnswer(status, response.headers, await self._read(response), began)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError, ExceptionGroup, *UNANSWERED) as error:
            late = TimeLimitExceeded(loop.time() - start) if type(error) is TimeoutError else None
            raise request_error(late or error, query=query, status=status, source=settings.address) from None

    async def _read(self, response: httpx.Response) -> bytes:
        import httpx

        body = Body(response.headers, self.settings.max_bytes)
        try:
            async for part in response.aiter_raw():
                body.feed(part)
        except httpx.TimeoutException:
            raise
        except (httpx.HTTPError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise
            raise TruncatedAnswer(f"the answer broke off after {body.size} bytes") from error
        return body.content()
