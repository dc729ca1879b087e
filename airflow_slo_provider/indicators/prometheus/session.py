"""Provide prometheus-api-client with a session that sends requests through our client and verifies the answers.

prometheus-api-client keeps only ``data.result`` of an answer and drops ``warnings``; this session checks the envelope first. It
subclasses :class:`requests.Session` and is therefore imported only when a connection is opened.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import requests
from requests.structures import CaseInsensitiveDict

from airflow_slo_provider.http.client import HttpClient
from airflow_slo_provider.indicators.prometheus.answer_checks import check_headers, read_envelope, verify_data

_API = "/api/v1/"


class PrometheusSession(requests.Session):
    """A session that returns a verified response or raises :class:`~airflow_slo_provider.exceptions.QueryError`.

    :param http: the client that sends the requests
    :param form: parameters of every API request, sent in the body if there is one, e.g. a tenant
    """

    def __init__(self, http: HttpClient, *, form: Mapping[str, str]) -> None:
        super().__init__()
        self._http = http
        self._form = dict(form)
        self._local = threading.local()

    @property
    def envelope(self) -> Mapping[str, Any]:
        """The envelope of this thread's last API answer."""
        envelope: Mapping[str, Any] = self._local.envelope
        return envelope

    def request(self, method, url, params=None, **kwargs):  # type: ignore[no-untyped-def,override]
        """Send a request. Answers of the API (``/api/v1/``) are verified; other pages are only limited in size and time.

        Headers, credentials, certificates and time limits are those of the settings, regardless of the arguments.

        :raises QueryError: for everything that is not a complete, successful answer
        """
        settings = self._http.settings
        source, is_api = settings.address, _API in url
        sent = {**(self._form if is_api else {}), **(params or {})}
        query = sent.get("query")
        # prometheus-api-client would put the query into the URL, where long ones are refused and proxies log them.
        where: dict[str, Any] = {"form": sent} if str(method).upper() == "POST" else {"params": sent}
        answer = self._http.request(method, url.removeprefix(source), query=query, **where)
        response = requests.Response()
        response.status_code, response.url, response._content = answer.status, url, answer.body
        response.headers = CaseInsensitiveDict(answer.headers)
        if is_api:
            check_headers(answer.headers, now=answer.began, query=query, source=source)
            envelope = read_envelope(
            answer.status, answer.body, query=query, source=source, secrets=settings.secrets,
            location=answer.headers.get("Location"),
        )  # fmt: skip
            # prometheus-api-client parses the JSON again, which is slow for a month of slices.
            response.json = lambda **_: envelope  # type: ignore[method-assign]
            self._local.envelope = envelope
            if url.endswith(("/query", "/query_range")):
                verify_data(envelope["data"], query=query, source=source)
        return response

    def close(self) -> None:
        """Close the open connections."""
        super().close()
        self._http.close()
