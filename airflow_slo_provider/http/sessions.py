"""Sessions of requests whose connections a watchdog can shut. Imports requests: only for where a request is sent."""

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
    """Keeps requests from looking into ``.netrc``: what is sent is what the settings name."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class _Watched:
    """Tells the watchdog which socket is in use: a new one, or one that is kept open."""

    sock: Any

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        watch(self.sock)

    def _new_conn(self) -> Any:
        made = super()._new_conn()  # type: ignore[misc]
        watch(made)  # a proxy's answer to CONNECT comes before `connect` is through
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
    """An adapter over watched connections. Repetitions are counted elsewhere: it makes none."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}

    def proxy_manager_for(self, proxy: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}
        return manager


def open_session(settings: HttpSettings, given: requests.Session | None = None) -> requests.Session:
    """Make a session.

    :param given: a session that is set up already; see :class:`~airflow_slo_provider.http.client.HttpClient`
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
