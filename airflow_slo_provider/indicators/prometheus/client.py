"""A Prometheus client that answers exact numbers or one typed error. Needs no Airflow."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.http.time_limits import at_most
from airflow_slo_provider.indicators.prometheus import answers
from airflow_slo_provider.indicators.prometheus.answers import RangeSeries, Sample
from airflow_slo_provider.indicators.prometheus.settings import Settings

if TYPE_CHECKING:
    import requests
    from prometheus_api_client import PrometheusConnect

#: Prometheus refuses a range query of more points per series [web/api/v1: "exceeded maximum resolution of 11,000 points"].
MAX_POINTS = 11_000


class PrometheusClient:
    """Asks a Prometheus server; safe to use from several threads.

    :param url: base URL
    :param session: takes over auth, headers, verify, cert and proxies of a session that is set up already
    :param settings: everything else, see :class:`~airflow_slo_provider.indicators.prometheus.settings.Settings`
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

            from airflow_slo_provider.http.client import HttpClient
            from airflow_slo_provider.indicators.prometheus.session import PrometheusSession

            http = HttpClient(self.settings, session=self._given)
            http.prepare()
            session = PrometheusSession(http, form=self.settings.server_params)
            self._connect = PrometheusConnect(self.url, session=session, method=self.settings.method)
        return self._connect

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
        longest = self.settings.timeout[1]
        left = at_most(longest)
        if left >= longest or "timeout" in (self.settings.params or {}):
            return {}
        return {"timeout": f"{max(1, math.ceil(left))}s"}

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
