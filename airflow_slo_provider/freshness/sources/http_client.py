"""Sends the requests of :mod:`~airflow_slo_provider.freshness.sources.http_steps`: blocking on a worker, async in a trigger."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.core import strict_json
from airflow_slo_provider.core.redaction import public_url, remember, secrets_of, server_text, user_info
from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.freshness.sources.http_steps import Call, Reply
from airflow_slo_provider.http import caches as http_caches

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

#: An answer to one of our questions has some thousands of bytes.
MOST_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class ApiSettings:
    """How to reach an HTTP API.

    :param url: base URL, with a path prefix where there is one
    :param timeout: seconds to connect, and seconds of silence
    :param basic: login and password
    :param bearer: token
    :param token_path: where a token is to be had for login and password, as Airflow's API wants it (``/auth/token``); they are
        sent as basic authentication otherwise
    :param verify: False, True, or the path of a CA file
    :param cert: path of a client certificate, or (certificate, key)
    """

    url: str = field(repr=False)
    timeout: tuple[float, float] = (5.0, 30.0)
    headers: Mapping[str, str] | None = field(default=None, repr=False)
    basic: tuple[str, str] | None = field(default=None, repr=False)
    bearer: str | None = field(default=None, repr=False)
    token_path: str | None = None
    verify: bool | str = True
    cert: str | tuple[str, str] | None = None

    @property
    def where(self) -> str:
        """The URL without user info."""
        return public_url(self.url)

    @property
    def login(self) -> tuple[str, str] | None:
        """Login and password: as given, or those written into the URL."""
        return self.basic or user_info(self.url)

    def __post_init__(self) -> None:
        _ = self.secrets  # remembered from now on, whatever is said of this server

    @property
    def secrets(self) -> tuple[str, ...]:
        """Texts that must not appear in a message."""
        return secrets_of(url=self.url, basic=self.basic, bearer=self.bearer, named=self.headers)

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of an httpx client. Reads certificate files.

        :raises QueryError: (reason ``tls``) when those cannot be used
        """
        import httpx

        try:
            verify: bool | ssl.SSLContext = self.verify is not False
            if isinstance(self.verify, str):
                verify = ssl.create_default_context(cafile=self.verify)
            if self.cert is not None:
                verify = verify if isinstance(verify, ssl.SSLContext) else httpx.create_ssl_context(verify=verify)
                verify.load_cert_chain(*((self.cert,) if isinstance(self.cert, str) else self.cert))
        except (ssl.SSLError, OSError) as error:
            raise QueryError(f"TLS cannot be set up: {error}", reason="tls", source=self.where) from None
        connect, read = self.timeout
        return {
            "headers": dict(self.headers or {}),
            "auth": self.login if self.login and not self.bearer and not self.token_path else None,
            "verify": verify,
            "timeout": httpx.Timeout(read, connect=connect),
            "follow_redirects": False,
        }


class _Session:
    """What both clients have in common: the token, and the reading of answers."""

    def __init__(self, settings: ApiSettings) -> None:
        self.settings = settings
        self._token = settings.bearer

    @property
    def _logs_in(self) -> bool:
        settings = self.settings
        return settings.token_path is not None and settings.login is not None and settings.bearer is None

    def _login(self) -> tuple[str, dict[str, str]]:
        login, password = self.settings.login or ("", "")
        return f"{self.settings.where}{self.settings.token_path}", {"username": login, "password": password}

    def _take_token(self, response: httpx.Response) -> None:
        try:
            token = strict_json.loads(response.content)["access_token"]
        except (ValueError, KeyError, TypeError):
            raise QueryError(
                f"the server answers {response.status_code} to a login at {self.settings.token_path}; "
                "check the connection's login and password",
                reason="unauthorized" if response.status_code in (400, 401, 403, 422) else "http_status",
                transient=response.status_code >= 500 or response.status_code == 429,
                http_status=response.status_code,
                source=self.settings.where,
            ) from None
        self._token = str(token)
        remember(self._token)

    def _get(self, call: Call) -> dict[str, Any]:
        headers = {"Accept": "application/json", **http_caches.NO_CACHE}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        return {"method": "GET", "url": self.settings.where + call.path, "params": dict(call.params), "headers": headers}

    def _reply(self, response: httpx.Response) -> Reply:
        body = None
        if len(response.content) > MOST_BYTES:
            raise QueryError(f"the answer is larger than {MOST_BYTES} bytes", reason="too_large", source=self.settings.where)
        if response.status_code == 200 and (fault := http_caches.age_fault(response.headers)):
            raise QueryError(fault, reason=http_caches.REASON, transient=True, source=self.settings.where)
        try:
            body = strict_json.loads(response.content)
        except strict_json.JSONContradiction as error:
            raise QueryError(
                f"the answer has no single meaning: {error}",
                reason=error.reason, http_status=response.status_code, source=self.settings.where,
            ) from None  # fmt: skip
        except ValueError:
            body = None
        return Reply(response.status_code, body, server_text(response.content, limit=2000), self.settings.where)

    def _fault(self, error: Exception) -> QueryError:
        import httpx

        text = str(error).lower()
        message, reason, transient = f"the connection broke ({type(error).__name__})", "connection_reset", True
        if isinstance(error, httpx.TimeoutException):
            message, reason = "no answer in time", "timeout"
        elif isinstance(error, httpx.ConnectError):
            message, reason = "the server cannot be reached", "connection_refused"
            if "certificate" in text or "ssl" in text or "tls" in text:
                message, reason, transient = f"TLS failed: {server_text(error)}; check the CA certificate (verify)", "tls", False
        elif isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
            message, reason, transient = "the connection's URL is not usable: write http:// or https://", "bad_url", False
        return QueryError(message, reason=reason, transient=transient, source=self.settings.where)


class ApiClient(_Session):
    """The blocking client; use it as ``with``."""

    def __enter__(self) -> ApiClient:
        import httpx

        self._http = httpx.Client(**self.settings.arguments())
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._http.close()

    def send(self, call: Call) -> Reply:
        """Send one request.

        :raises QueryError: when there is no answer
        """
        import httpx

        try:
            if self._logs_in and self._token is None:
                self._log_in()
            response = self._http.request(**self._get(call))
            if response.status_code == 401 and self._logs_in:  # tokens expire
                self._log_in()
                response = self._http.request(**self._get(call))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._fault(error) from None
        return self._reply(response)

    def _log_in(self) -> None:
        url, body = self._login()
        self._take_token(self._http.post(url, json=body))


class AsyncApiClient(_Session):
    """The client for triggers; use it as ``async with``. Requests of several tasks at once are welcome."""

    def __init__(self, settings: ApiSettings) -> None:
        super().__init__(settings)
        self._logging_in = asyncio.Lock()

    async def __aenter__(self) -> AsyncApiClient:
        import httpx

        # Reading certificate files would block the loop.
        self._http = httpx.AsyncClient(**await asyncio.to_thread(self.settings.arguments))
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._http.aclose()

    async def send(self, call: Call) -> Reply:
        """Send one request.

        :raises QueryError: when there is no answer
        """
        import httpx

        try:
            used = self._token
            if self._logs_in and used is None:
                used = await self._log_in(None)
            response = await self._http.request(**self._get(call))
            if response.status_code == 401 and self._logs_in:
                await self._log_in(used)
                response = await self._http.request(**self._get(call))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._fault(error) from None
        return self._reply(response)

    async def _log_in(self, stale: str | None) -> str | None:
        """Log in, unless another task did so meanwhile."""
        async with self._logging_in:
            if self._token == stale:
                url, body = self._login()
                self._take_token(await self._http.post(url, json=body))
            return self._token
