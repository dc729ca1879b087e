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


class _Watched:
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


class _HTTPConnection(_Watched, HTTPConnection):
    pass


class _HTTPSConnection(_Watched, HTTPSConnection):
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


def open_session(settings: HttpSettings, given: requests.Session | None = None) -> requests.Session:
    """Create a session.

    :param settings: address, credentials and limits of the server
    :param given: an existing session; see :class:`~airflow_slo_provider.http.client.HttpClient`
    """
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter())
    session.verify, session.cert, session.auth = settings.authorities, settings.cert, settings.login or _NoAuth()
    if given is not None:
        session.headers.update({name: value for name, value in given.headers.items() if value is not None})
        session.proxies, session.trust_env = given.proxies, given.trust_env
        session.cert = session.cert or given.cert
        if settings.verify is True and given.verify is not True:
            session.verify = given.verify
        if given.auth and not settings.login and not settings.bearer:
            session.auth = given.auth
    session.headers.update(settings.all_headers())
    return session
