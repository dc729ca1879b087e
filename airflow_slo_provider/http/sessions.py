"""Create requests sessions whose connections a watchdog can close.

This module imports requests, so import it only where a request is sent.
"""

from __future__ import annotations

from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from airflow_slo_provider.http.settings import HttpSettings
from airflow_slo_provider.http.time_limits import watch


class _NoAuth(AuthBase):
    """Keep requests from reading ``.netrc``: only the credentials of the settings are sent."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class _WatchedConnection:
    """Report the socket in use to the watchdog: a new one, or one that is kept open."""

    sock: Any

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        watch(self.sock)

    def _new_conn(self) -> Any:
        made = super()._new_conn()  # type: ignore[misc]
        watch(made)  # a proxy answers CONNECT before `connect` returns
        return made

    def putrequest(self, *args: Any, **kwargs: Any) -> None:
        watch(self.sock)
        super().putrequest(*args, **kwargs)  # type: ignore[misc]


class _HTTPConnection(_WatchedConnection, HTTPConnection):
    pass


class _HTTPSConnection(_WatchedConnection, HTTPSConnection):
    pass


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


class _Adapter(HTTPAdapter):
    """An adapter over watched connections. It does not retry: the client counts the retries."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}

    def proxy_manager_for(self, proxy: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}
        return manager


class _SessionWithoutRedirects(requests.Session):
    """A session that follows no redirect. Without this, requests reads the whole body of a redirect to find the next request."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        return None


def open_session(settings: HttpSettings, existing: requests.Session | None = None) -> requests.Session:
    """Create a session.

    :param settings: address, credentials and limits of the server
    :param existing: an existing session; see :class:`~airflow_slo_provider.http.client.HttpClient`
    """
    session = _SessionWithoutRedirects()
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter())
    session.verify, session.cert, session.auth = settings.authorities, settings.cert, settings.login or _NoAuth()
    if existing is not None:
        session.headers.update({name: value for name, value in existing.headers.items() if value is not None})
        session.proxies, session.trust_env = existing.proxies, existing.trust_env
        session.cert = session.cert or existing.cert
        if settings.verify is True and existing.verify is not True:
            session.verify = existing.verify
        if existing.auth and not settings.login and not settings.bearer:
            session.auth = existing.auth
    session.headers.update(settings.all_headers())
    return session
