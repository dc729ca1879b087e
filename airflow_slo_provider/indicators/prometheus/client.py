"""Query Prometheus: exact numbers, or one typed error. Needs no Airflow."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.http.libraries import IMPORT_LOCK
from airflow_slo_provider.http.time_limits import at_most
from airflow_slo_provider.indicators.prometheus import answers
from airflow_slo_provider.indicators.prometheus.answer_checks import VerifiedAnswer, read_answer
from airflow_slo_provider.indicators.prometheus.answers import RangeSeries, Sample
from airflow_slo_provider.indicators.prometheus.settings import Settings

if TYPE_CHECKING:
    import requests
    from prometheus_api_client import PrometheusConnect

#: Prometheus refuses a range query with more points per series [web/api/v1: "exceeded maximum resolution of 11,000 points"].
MAX_POINTS = 11_000


class PrometheusClient:
    """Query a Prometheus server. Safe to use from several threads.

    :param url: base URL
    :param session: an existing session whose auth, headers, verify, cert and proxies are used
    :param settings: further settings, see :class:`~airflow_slo_provider.indicators.prometheus.settings.Settings`
    """

    def __init__(self, url: str, *, session: requests.Session | None = None, **settings: Any) -> None:
        self.settings = Settings(url=url, **settings)
        self.url = self.settings.address
        self._existing = session
        self._connect: PrometheusConnect | None = None

    @property
    def connect(self) -> PrometheusConnect:
        """The connection of prometheus-api-client over our session. Its other calls are limited and verified as well."""
        if self._connect is None:
            with IMPORT_LOCK:
                from prometheus_api_client import PrometheusConnect

            from airflow_slo_provider.http.client import HttpClient
            from airflow_slo_provider.indicators.prometheus.session import PrometheusSession

            http = HttpClient(self.settings, session=self._existing)
            http.prepare()
            session = PrometheusSession(http, form=self.settings.server_params)
            self._connect = PrometheusConnect(self.url, session=session, method=self.settings.method)
        return self._connect

    def instant(self, query: str, at: datetime) -> list[Sample]:
        """Run an instant query.

        :param query: PromQL
        :param at: evaluation time (aware)
        :raises QueryError: when the server returned no complete, valid answer
        """
        self.connect.custom_query(query, params={"time": answers.format_time(at), **self._server_limit()})
        return answers.samples(self._verified_answer(query), query=query, source=self.url, at=answers.to_milliseconds(at))

    def range(self, query: str, start: datetime, end: datetime, step: timedelta) -> list[RangeSeries]:
        """Run a range query at ``start``, ``start + step``, ... up to ``end``, both included.

        It is split into requests of at most 11,000 points.

        :param query: PromQL
        :param start: first evaluation time (aware)
        :param end: last evaluation time (aware)
        :param step: distance of the evaluation times
        :raises QueryError: when one of the requests returned no complete, valid answer
        """
        joined: dict[tuple[tuple[str, str], ...], list[tuple[int, str]]] = {}
        for first, last in chunks(start, end, step):
            params = {"start": answers.format_time(first), "end": answers.format_time(last), **self._server_limit()}
            self.connect.custom_query_range(query, first, last, f"{step.total_seconds():.3f}", params=params)
            grid = range(answers.to_milliseconds(first), answers.to_milliseconds(last) + 1, step // timedelta(milliseconds=1))
            for series in answers.matrix(self._verified_answer(query), query=query, source=self.url, grid=grid):
                joined.setdefault(tuple(sorted(series.labels.items())), []).extend(series.points)
        return [RangeSeries(dict(labels), tuple(points)) for labels, points in joined.items()]

    def _server_limit(self) -> dict[str, str]:
        """Return the timeout parameter that stops the server's computation when the deadline is over."""
        longest = self.settings.timeout[1]
        left = at_most(longest)
        if left >= longest or "timeout" in (self.settings.params or {}):
            return {}
        return {"timeout": f"{max(1, math.ceil(left))}s"}

    def _verified_answer(self, query: str) -> VerifiedAnswer:
        session: Any = self.connect._session
        return read_answer(session.envelope, query=query, source=self.url)

    def close(self) -> None:
        """Close the open connections."""
        if self._connect is not None:
            self._connect.close()
            self._connect = None


def chunks(start: datetime, end: datetime, step: timedelta) -> list[tuple[datetime, datetime]]:
    """Split a range into parts of at most :data:`MAX_POINTS` points that share no point.

    :raises QueryError: for a step below a millisecond, or an end before the start; reason ``bad_range``
    """
    if step < timedelta(milliseconds=1) or end < start:
        raise QueryError(f"no range: from {start} to {end} in steps of {step}", reason="bad_range")
    points = (end - start) // step + 1
    return [
        (start + step * first, start + step * (min(first + MAX_POINTS, points) - 1)) for first in range(0, points, MAX_POINTS)
    ]
