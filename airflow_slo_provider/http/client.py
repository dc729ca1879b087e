"""Send HTTP requests to one server: limited in time and size, without redirects, thread-safe.

``requests`` is imported when the first request is sent.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.http.bodies import Body
from airflow_slo_provider.http.faults import UNANSWERED, TimeLimitExceeded, TruncatedAnswer, is_redirect, request_error
from airflow_slo_provider.http.libraries import import_libraries
from airflow_slo_provider.http.retries import HttpAnswer, retry_arguments
from airflow_slo_provider.http.settings import HttpSettings
from airflow_slo_provider.http.time_limits import Watchdog, at_most

if TYPE_CHECKING:
    import requests

_CHUNK = 1 << 16


class HttpClient:
    """Send requests to one server. Safe to use from several threads.

    :param settings: address, credentials and limits of the server
    :param session: an existing session: its headers, auth, certificates and proxies are used where the settings have none
    """

    def __init__(self, settings: HttpSettings, *, session: requests.Session | None = None) -> None:
        self.settings = settings
        self._existing = session
        self._local, self._lock = threading.local(), threading.Lock()
        self._sessions: list[requests.Session] = []
        self._prepared = False

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Any = None,
        form: Mapping[str, Any] | None = None,
        json: Any = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        repeat: bool = True,
        query: str | None = None,
    ) -> HttpAnswer:
        """Send a request, with a few quick retries after transient faults.

        :param method: HTTP method
        :param path: path below the server's address, with a leading slash
        :param params: parameters of the query string
        :param form: form fields in the body
        :param json: a value that is sent as JSON
        :param body: bytes that are sent unchanged
        :param headers: further headers
        :param repeat: False for a request that must not be sent twice
        :param query: text of the query, for the message
        :return: the answer, whatever its status
        :raises QueryError: when no complete answer arrived
        """
        import_libraries()
        from tenacity import Retrying

        content = {"params": params, "data": form if form is not None else body, "json": json, "headers": headers}
        retrying = Retrying(**retry_arguments(self.settings, repeat=repeat))
        answer: HttpAnswer = retrying(self._send_once, method, self.settings.address + path, content, query)
        return answer

    def prepare(self) -> None:
        """Import what requests need and check the certificate files, so that the first request measures the server alone.

        :raises QueryError: reason ``tls``, for a certificate file that is missing or cannot be used
        """
        import_libraries()
        if not self._prepared:
            self._prepared = bool(self.settings.tls_context())

    def close(self) -> None:
        """Close the open connections."""
        with self._lock:
            sessions, self._sessions, self._local = self._sessions, [], threading.local()
        for session in sessions:
            session.close()

    def __enter__(self) -> HttpClient:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _send_once(self, method: str, url: str, content: Mapping[str, Any], query: str | None) -> HttpAnswer:
        from requests.exceptions import RequestException
        from urllib3.exceptions import HTTPError

        settings, status = self.settings, None
        session = self._session()
        connect, silence = (at_most(seconds) for seconds in settings.timeout)
        with Watchdog(at_most(connect + silence)) as watchdog:
            try:
                response = session.request(
                    method, url, timeout=(connect, silence), allow_redirects=False, stream=True,
                    verify=session.verify,  # otherwise REQUESTS_CA_BUNDLE would override the settings
                    **content,
                )  # fmt: skip
                with response:
                    status, began = response.status_code, datetime.now(UTC)
                    if is_redirect(status):
                        return HttpAnswer(status, response.headers, b"", began)
                    if settings.max_seconds is not None:
                        watchdog.extend(at_most(settings.max_seconds))
                    return HttpAnswer(status, response.headers, self._read(response, watchdog), began)
            except (RequestException, HTTPError, OSError, ValueError, *UNANSWERED) as error:
                late = TimeLimitExceeded(watchdog.elapsed) if watchdog.check() else None
                # `from None`: the library's own text holds the requested URL with its user info.
                raise request_error(late or error, query=query, status=status, source=settings.address) from None

    def _read(self, response: requests.Response, watchdog: Watchdog) -> bytes:
        from urllib3.exceptions import HTTPError, ReadTimeoutError

        body = Body(response.headers, self.settings.max_bytes)
        try:
            # read1 returns the bytes that have arrived; read would wait for a full chunk.
            while part := response.raw.read1(_CHUNK, decode_content=False):
                body.feed(part)
                if watchdog.check():
                    raise TimeLimitExceeded(watchdog.elapsed)
        except ReadTimeoutError:
            raise
        except (HTTPError, OSError) as error:
            raise TruncatedAnswer(f"the answer broke off after {body.size} bytes") from error
        if response.raw.length_remaining:
            raise TruncatedAnswer(f"the answer broke off after {body.size} bytes")
        if watchdog.check():
            raise TimeLimitExceeded(watchdog.elapsed)
        return body.content()

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            from airflow_slo_provider.http.sessions import open_session

            self.prepare()
            session = self._local.session = open_session(self.settings, self._existing)
            with self._lock:
                self._sessions.append(session)
        return session
