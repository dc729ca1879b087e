"""Send the requests of :mod:`~airflow_slo_provider.freshness.sources.http_steps`: blocking on a worker, async in a trigger."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from airflow_slo_provider.core.redaction import remember, server_text, user_info
from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.freshness.sources.http_steps import Call, Reply
from airflow_slo_provider.http.async_client import AsyncHttpClient
from airflow_slo_provider.http.caches import REASON as CACHED
from airflow_slo_provider.http.caches import age_fault
from airflow_slo_provider.http.client import HttpClient
from airflow_slo_provider.http.faults import TRANSIENT_STATUSES, status_reason
from airflow_slo_provider.http.json_answers import read_json
from airflow_slo_provider.http.retries import HttpAnswer
from airflow_slo_provider.http.settings import HttpSettings

#: Maximum size of an answer in bytes; real answers have a few thousand bytes.
MOST_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class ApiSettings(HttpSettings):
    """HTTP settings of an API; see :class:`~airflow_slo_provider.http.settings.HttpSettings` for the other fields.

    :param token_path: path of the endpoint that returns a token for login and password, e.g. ``/auth/token`` of Airflow's API;
        if not set, login and password are sent by basic authentication
    """

    token_path: str | None = None
    timeout: tuple[float, float] = (5.0, 30.0)
    max_seconds: float | None = None
    max_bytes: int = MOST_BYTES

    @property
    def login(self) -> tuple[str, str] | None:
        """Login and password for basic authentication; None if unused."""
        return None if self.token_path else super().login

    @property
    def token_login(self) -> tuple[str, str] | None:
        """Login and password for requesting a token; None if unused."""
        return (self.basic or user_info(self.url)) if self.token_path and not self.bearer else None


class _Session:
    """Base class of both clients: token handling, and reading of answers."""

    def __init__(self, settings: ApiSettings) -> None:
        self.settings = settings
        self._token: str | None = None

    def _needs_login(self) -> bool:
        return self._token is None and self.settings.token_login is not None

    def _token_expired(self, answer: HttpAnswer) -> bool:
        """Whether the answer shows that the token has expired."""
        return answer.status == 401 and self.settings.token_login is not None

    def _login_request(self) -> dict[str, Any]:
        body = dict(zip(("username", "password"), self.settings.token_login or ("", ""), strict=True))
        return {"method": "POST", "path": self.settings.token_path or "", "json": body}

    def _read_token(self, answer: HttpAnswer) -> None:
        try:
            token = read_json(answer.body, source=self.settings.address, status=answer.status)["access_token"]
        except (KeyError, TypeError, QueryError):
            status, advice = answer.status, "check the connection's login and password"
            raise QueryError(
                f"the server answers {status} to a login at {self.settings.token_path}; {advice}",
                reason="unauthorized" if status in (400, 401, 403, 422) else status_reason(status),
                transient=status in TRANSIENT_STATUSES, http_status=status, source=self.settings.address,
            ) from None  # fmt: skip
        self._token = str(token)
        remember(self._token)

    def _get_request(self, call: Call) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else None
        return {"method": "GET", "path": call.path, "params": dict(call.params), "headers": headers}

    def _read_reply(self, answer: HttpAnswer) -> Reply:
        where = self.settings.address
        if answer.status == 200 and (fault := age_fault(answer.headers)):
            raise QueryError(fault, reason=CACHED, transient=True, source=where)
        body = read_json(answer.body, source=where, status=answer.status)
        return Reply(answer.status, body, server_text(answer.body, limit=2000), where)


class ApiClient(_Session):
    """The blocking client, a context manager (``with``)."""

    def __enter__(self) -> ApiClient:
        self._http = HttpClient(self.settings)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._http.close()

    def send(self, call: Call) -> Reply:
        """Send one request.

        :raises QueryError: when there is no answer
        """
        if self._needs_login():
            self._read_token(self._http.request(**self._login_request()))
        answer = self._http.request(**self._get_request(call))
        if self._token_expired(answer):
            self._read_token(self._http.request(**self._login_request()))
            answer = self._http.request(**self._get_request(call))
        return self._read_reply(answer)


class AsyncApiClient(_Session):
    """The client for triggers, a context manager (``async with``). Several tasks may send requests at once."""

    def __init__(self, settings: ApiSettings) -> None:
        super().__init__(settings)
        self._logging_in = asyncio.Lock()
        self._http = AsyncHttpClient(settings)

    async def __aenter__(self) -> AsyncApiClient:
        await self._http.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def send(self, call: Call) -> Reply:
        """Send one request.

        :raises QueryError: when there is no answer
        """
        if self._needs_login():
            await self._log_in(None)
        used = self._token
        answer = await self._http.request(**self._get_request(call))
        if self._token_expired(answer):
            await self._log_in(used)
            answer = await self._http.request(**self._get_request(call))
        return self._read_reply(answer)

    async def _log_in(self, stale: str | None) -> None:
        """Log in, unless another task has already done so."""
        async with self._logging_in:
            if self._token == stale:
                self._read_token(await self._http.request(**self._login_request()))
