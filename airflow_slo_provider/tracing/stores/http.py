"""Asking a trace store over HTTP: bounded in time and size, and never an answer that is not whole."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.core import strict_json
from airflow_slo_provider.core.redaction import public_url, secrets_of, server_text
from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.http import caches as http_caches

if TYPE_CHECKING:
    import requests

_CHUNK = 1 << 18
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, kw_only=True)
class HttpSettings:
    """How a store is reached.

    :param url: the server's address, with a path prefix where there is one
    :param headers: sent with every request, e.g. a tenant
    :param basic: login and password
    :param bearer: token
    :param verify: False, or the path of a CA file
    :param cert: path of a client certificate, or of it and its key
    :param timeout: seconds for the connection and for each silence
    :param max_seconds: an answer must be read to its end within this time
    :param max_bytes: a larger answer is refused
    :param retries: quick attempts after the first, for faults that may pass
    """

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    basic: tuple[str, str] | None = field(default=None, repr=False)
    bearer: str | None = field(default=None, repr=False)
    verify: bool | str = True
    cert: str | tuple[str, str] | None = None
    timeout: tuple[float, float] = (5.0, 60.0)
    max_seconds: float = 120.0
    max_bytes: int = 1 << 28
    retries: int = 2

    def __post_init__(self) -> None:
        _ = self.secrets  # remembered from now on, whatever is said of this store

    @property
    def secrets(self) -> tuple[str, ...]:
        """Texts that belong into no message and no log."""
        return secrets_of(url=self.url, basic=self.basic, bearer=self.bearer, named=self.headers)


@dataclass(frozen=True)
class Answer:
    """What came back.

    :param status: HTTP status
    :param body: parsed JSON (a list, where there is one document a line); the text where it is none
    :param sent_at: the server's own clock, where it tells it
    """

    status: int
    body: Any
    sent_at: datetime | None


class HttpClient:
    """One session with one store.

    :param settings: how it is reached
    :param kind: what to call it in messages, e.g. ``Tempo``
    """

    def __init__(self, settings: HttpSettings, *, kind: str) -> None:
        self._settings = settings
        self._kind = kind
        self._session: requests.Session | None = None
        self.source = public_url(settings.url)

    def get(
        self, path: str, params: Mapping[str, Any] | None = None, *, expect: tuple[int, ...] = (200,), query: str | None = None
    ) -> Answer:
        """Ask with GET. See :meth:`ask`."""
        return self.ask("GET", path, params=params, expect=expect, query=query)

    def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        expect: tuple[int, ...] = (200,),
        query: str | None = None,
    ) -> Answer:
        """Ask, with a few quick attempts where the fault may pass.

        :param path: below the server's address, with a leading slash
        :param expect: statuses that are answers; any other is an error
        :param query: what was asked, for the message
        :raises QueryError: when there is no whole answer with such a status
        """
        error: QueryError | None = None
        for attempt in range(self._settings.retries + 1):
            if attempt:
                time.sleep(min(2.0, 0.2 * 2**attempt))
            try:
                answer = self._once(method, path, params, body, query)
            except QueryError as caught:
                # A server that is still computing is not asked the same again.
                if not caught.transient or caught.reason == "timeout":
                    raise
                error = caught
                continue
            if answer.status in expect:
                return answer
            error = self._refusal(answer, path, query)
            if answer.status not in _PASSING:
                raise error
        assert error is not None
        raise error

    def _once(self, method: str, path: str, params: Mapping[str, Any] | None, body: Any, query: str | None) -> Answer:
        import requests

        session = self._open()
        try:
            response = session.request(
                method,
                self._settings.url.rstrip("/") + path,
                params=dict(params or {}),
                json=body,
                timeout=self._settings.timeout,
                allow_redirects=False,
                stream=True,
            )
            with response:
                raw = self._read(response, query)
        except requests.RequestException as error:
            message, reason, transient = _explain(error)
            # `from None`: the library's own text holds the URL, user info and all.
            raise QueryError(
                f"{self._kind}: {message}", reason=reason, transient=transient, query=query, source=self.source
            ) from None
        if response.status_code == 200 and (fault := http_caches.age_fault(response.headers)):
            raise QueryError(f"{self._kind}: {fault}", reason=http_caches.REASON, transient=True, query=query, source=self.source)
        try:
            parsed = _parse(raw)
        except QueryError as error:
            raise QueryError(
                f"{self._kind}: {error.message}", reason=error.reason, query=query, http_status=200, source=self.source
            ) from None
        return Answer(response.status_code, parsed, _clock(response.headers.get("Date")))

    def _read(self, response: requests.Response, query: str | None) -> bytes:
        deadline = time.monotonic() + self._settings.max_seconds
        parts: list[bytes] = []
        size = 0
        for part in response.iter_content(_CHUNK):
            parts.append(part)
            size += len(part)
            if size > self._settings.max_bytes:
                raise QueryError(
                    f"{self._kind}: the answer is larger than {self._settings.max_bytes} bytes; ask for fewer traces at once",
                    reason="too_large", query=query, source=self.source,
                )  # fmt: skip
            if time.monotonic() > deadline:
                raise QueryError(
                    f"{self._kind}: the answer was not complete after {self._settings.max_seconds:g} s",
                    reason="timeout", transient=True, query=query, source=self.source,
                )  # fmt: skip
        return b"".join(parts)

    def _refusal(self, answer: Answer, path: str, query: str | None) -> QueryError:
        told = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
        told = server_text(told)
        status = answer.status
        if status in (401, 403):
            message, reason = "the credentials were refused", "unauthorized"
        elif 300 <= status < 400:
            message, reason = "the server redirects; write the address it redirects to into the connection", "redirect"
        elif status == 404:
            message, reason = (
                f"there is no {path}; is this the address of a {self._kind} server, with its path prefix?",
                "not_found",
            )
        elif status == 400:
            message, reason = "the query was refused", "bad_query"
        else:
            message, reason = "the server could not answer", "server_error"
        return QueryError(
            f"{self._kind}: {message} (HTTP {status}: {told})" if told else f"{self._kind}: {message} (HTTP {status})",
            reason=reason,
            transient=status in _PASSING,
            query=query,
            http_status=status,
            source=self.source,
        )

    def _open(self) -> requests.Session:
        if self._session is None:
            import requests

            settings, session = self._settings, requests.Session()
            session.headers.update({"Accept": "application/json", **http_caches.NO_CACHE, **settings.headers})
            session.verify, session.cert = settings.verify, settings.cert
            if settings.bearer:
                session.headers["Authorization"] = f"Bearer {settings.bearer}"
                # A .netrc entry must not take the token's place.
                session.trust_env = False
            elif settings.basic:
                session.auth = settings.basic
            self._session = session
        return self._session


def _parse(raw: bytes) -> Any:
    """Return JSON; a list where there is one document a line (a streamed answer); the text where it is neither.

    :raises QueryError: for JSON that can be read in more than one way
    """
    try:
        return strict_json.loads(raw)
    except strict_json.JSONContradiction as error:
        raise _without_meaning(error) from None
    except ValueError:
        pass
    try:
        lines = [strict_json.loads(line) for line in raw.splitlines() if line.strip()]
    except strict_json.JSONContradiction as error:
        raise _without_meaning(error) from None
    except ValueError:
        lines = []
    return lines or raw.decode("utf-8", "replace")


def _without_meaning(error: strict_json.JSONContradiction) -> QueryError:
    return QueryError(f"the answer has no single meaning: {error}", reason=error.reason)


def _clock(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _explain(error: Exception) -> tuple[str, str, bool]:
    """Say what went wrong on the wire: message, reason, and whether it may pass."""
    from requests import exceptions as faults

    if isinstance(error, faults.SSLError):
        return "TLS failed; check the CA file and the client certificate of the connection", "tls", False
    if isinstance(error, faults.ConnectTimeout):
        return "no connection within the connect timeout", "timeout", True
    if isinstance(error, faults.ReadTimeout):
        return "no answer within the read timeout", "timeout", True
    if isinstance(error, (faults.InvalidURL, faults.MissingSchema, faults.InvalidSchema)):
        return "the address is not usable: write http:// or https://, a host and optionally a port", "bad_url", False
    if isinstance(error, (faults.ChunkedEncodingError, faults.ContentDecodingError)):
        return "the answer broke off", "truncated", True
    if isinstance(error, faults.ConnectionError):
        text = str(error)
        if "Name or service" in text or "resolve" in text or "getaddrinfo" in text:
            return "the server's name could not be resolved", "dns", True
        return "the server could not be reached", "connection", True
    return f"the request failed ({type(error).__name__})", "request_failed", False
