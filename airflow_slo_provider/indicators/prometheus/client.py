"""A Prometheus client that answers exact numbers or one typed error. Needs no Airflow."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.core.redaction import secrets_of, user_info
from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.indicators.prometheus import answers
from airflow_slo_provider.indicators.prometheus.answers import RangeSeries, Sample
from airflow_slo_provider.indicators.prometheus.request_limits import current_deadline

if TYPE_CHECKING:
    import requests
    from prometheus_api_client import PrometheusConnect

#: Prometheus refuses a range query of more points per series [web/api/v1: "exceeded maximum resolution of 11,000 points"].
MAX_POINTS = 11_000


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to reach a server; shared by the blocking and the async client.

    :param url: base URL, with a path prefix where there is one
    :param timeout: seconds to connect, and seconds of silence before giving up
    :param retries: attempts after the first, for faults that may pass
    :param headers: sent with every request
    :param params: sent with every API request, e.g. a tenant or ``dedup``
    :param basic: login and password
    :param bearer: token
    :param verify: False, True, or the path of a CA file
    :param cert: path of a client certificate, or (certificate, key)
    :param method: ``POST``, or ``GET`` for servers and proxies that know nothing else
    :param max_bytes: the largest answer that is read
    :param max_seconds: the longest an answer may take from its first byte to its last
    """

    url: str = field(repr=False)
    timeout: tuple[float, float] = (5.0, 60.0)
    retries: int = 2
    headers: Mapping[str, str] | None = field(default=None, repr=False)
    params: Mapping[str, str] | None = field(default=None, repr=False)
    basic: tuple[str, str] | None = field(default=None, repr=False)
    bearer: str | None = field(default=None, repr=False)
    verify: bool | str = True
    cert: str | tuple[str, str] | None = None
    method: str = "POST"
    max_bytes: int = 256 * 1024 * 1024
    max_seconds: float = 120.0

    def __post_init__(self) -> None:
        if not self.url.lower().startswith(("http://", "https://")):
            raise ValueError(f"{answers.public_url(self.url)!r} is not a Prometheus URL: write http:// or https:// and a host")
        if self.method not in ("POST", "GET"):
            raise ValueError(f"method {self.method!r} is neither POST nor GET")
        if any(not math.isfinite(seconds) or seconds <= 0 for seconds in (*self.timeout, self.max_seconds)):
            raise ValueError("every timeout must be a positive number of seconds")
        _ = self.secrets  # remembered from now on, whatever is said of this server

    @property
    def address(self) -> str:
        """The URL to send to, without user info."""
        return answers.public_url(self.url)

    @property
    def login(self) -> tuple[str, str] | None:
        """Login and password: as given, or those written into the URL."""
        return self.basic or user_info(self.url)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Texts that must not appear in a message."""
        named = {**(self.headers or {}), **(self.params or {})}
        return secrets_of(url=self.url, basic=self.basic, bearer=self.bearer, named=named)

    def check_files(self) -> None:
        """Look whether the certificate files are there.

        :raises QueryError: reason ``tls``
        """
        files = {"CA (verify)": self.verify if isinstance(self.verify, str) else None}
        files["client certificate"], files["client key"] = self.cert if isinstance(self.cert, tuple) else (self.cert, None)
        for what, path in files.items():
            if path and not os.path.exists(path):
                raise QueryError(f"the {what} file {path} does not exist on this machine", reason="tls", source=self.address)

    @property
    def server_params(self) -> dict[str, str]:
        """Parameters of every API request: the given ones, and the time after which the server may stop computing."""
        return {"timeout": f"{math.ceil(self.timeout[1])}s", **(self.params or {})}


class PrometheusClient:
    """Asks a Prometheus server; safe to use from several threads.

    :param url: base URL
    :param session: takes over auth, headers, verify, cert and proxies of a session that is set up already
    :param settings: everything else, see :class:`Settings`
    """

    def __init__(self, url: str, *, session: requests.Session | None = None, **settings: Any) -> None:
        self.settings = Settings(url=url, **settings)
        self.url = self.settings.address
        self._given = session
        self._connect: PrometheusConnect | None = None

    @property
    def connect(self) -> PrometheusConnect:
        """prometheus-api-client's connection, over our session. Its other calls are bounded and verified as well."""
        if self._connect is None:
            from prometheus_api_client import PrometheusConnect

            from airflow_slo_provider.indicators.prometheus.session import BoundedRetry

            self._connect = PrometheusConnect(
                self.url,
                session=self._session(),
                retry=BoundedRetry.of(self.settings.retries),
                timeout=self.settings.timeout,  # requests takes (connect, read) as well
                method=self.settings.method,
            )
        return self._connect

    def _session(self) -> requests.Session:
        from requests.auth import AuthBase

        from airflow_slo_provider.indicators.prometheus.session import PrometheusSession

        class Bearer(AuthBase):
            # As auth and not as a header: a header would lose against an entry in ~/.netrc.
            def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
                request.headers["Authorization"] = f"Bearer {settings.bearer}"
                return request

        settings, given = self.settings, self._given
        settings.check_files()
        session = PrometheusSession(
            form=settings.server_params,
            max_bytes=settings.max_bytes,
            max_seconds=settings.max_seconds,
            secrets=settings.secrets,
        )
        session.verify, session.cert = settings.verify, settings.cert
        session.auth = Bearer() if settings.bearer else settings.login
        if given is not None:
            session.headers.update(given.headers)
            session.auth = session.auth or given.auth
            session.cert = session.cert or given.cert
            session.verify = given.verify if settings.verify is True else settings.verify
            session.proxies, session.trust_env = given.proxies, given.trust_env
        session.headers.update(settings.headers or {})
        return session

    def instant(self, query: str, at: datetime) -> list[Sample]:
        """Ask at one instant.

        :param query: PromQL
        :param at: the instant (aware)
        :raises QueryError: when the server did not answer the question, whole and well
        """
        self.connect.custom_query(query, params={"time": answers.format_time(at), **self._server_limit()})
        return answers.samples(self._answer(query), query=query, source=self.url, at=answers.to_milliseconds(at))

    def range(self, query: str, start: datetime, end: datetime, step: timedelta) -> list[RangeSeries]:
        """Ask at ``start``, ``start + step``, ... up to ``end``, both included, in requests of at most 11,000 points.

        :raises QueryError: when any of the requests was not answered, whole and well
        """
        joined: dict[tuple[tuple[str, str], ...], list[tuple[int, str]]] = {}
        for first, last in chunks(start, end, step):
            params = {"start": answers.format_time(first), "end": answers.format_time(last), **self._server_limit()}
            self.connect.custom_query_range(query, first, last, f"{step.total_seconds():.3f}", params=params)
            grid = range(answers.to_milliseconds(first), answers.to_milliseconds(last) + 1, step // timedelta(milliseconds=1))
            for series in answers.matrix(self._answer(query), query=query, source=self.url, grid=grid):
                joined.setdefault(tuple(sorted(series.labels.items())), []).extend(series.points)
        return [RangeSeries(dict(labels), tuple(points)) for labels, points in joined.items()]

    def _server_limit(self) -> dict[str, str]:
        """Tell the server to stop computing when nobody will wait for it any more."""
        deadline = current_deadline()
        if deadline is None or deadline.left() >= self.settings.timeout[1] or "timeout" in (self.settings.params or {}):
            return {}
        return {"timeout": f"{max(1, math.ceil(deadline.left()))}s"}

    def _answer(self, query: str) -> answers.Answer:
        session: Any = self.connect._session
        return answers.read_answer(session.envelope, query=query, source=self.url)

    def close(self) -> None:
        """Close the connections that are open."""
        if self._connect is not None:
            self._connect.close()
            self._connect = None


def chunks(start: datetime, end: datetime, step: timedelta) -> list[tuple[datetime, datetime]]:
    """Cut a range into pieces of at most :data:`MAX_POINTS` points that share no point.

    :raises QueryError: for a step below a millisecond, or an end before the start
    """
    if step < timedelta(milliseconds=1) or end < start:
        raise QueryError(f"no range: from {start} to {end} in steps of {step}", reason="bad_range")
    points = (end - start) // step + 1
    return [
        (start + step * first, start + step * (min(first + MAX_POINTS, points) - 1)) for first in range(0, points, MAX_POINTS)
    ]
