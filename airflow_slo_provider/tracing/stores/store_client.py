"""Send HTTP requests to a trace store with bounds on time and size; reject incomplete answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar

from airflow_slo_provider.core.redaction import server_text
from airflow_slo_provider.exceptions import InvalidMeasurement, QueryError
from airflow_slo_provider.http.caches import REASON as CACHED
from airflow_slo_provider.http.caches import age_fault
from airflow_slo_provider.http.client import HttpClient
from airflow_slo_provider.http.faults import TRANSIENT_STATUSES, status_reason
from airflow_slo_provider.http.json_answers import NotJSON, read_json
from airflow_slo_provider.http.retries import HttpAnswer
from airflow_slo_provider.http.settings import HttpSettings
from airflow_slo_provider.tracing.otlp import READ_ERRORS
from airflow_slo_provider.tracing.stores.protocol import SearchedStore


@dataclass(frozen=True)
class StoreAnswer:
    """The answer to a request.

    :param status: HTTP status
    :param body: parsed JSON (a list, if there is one document per line); the text if it is not JSON
    :param sent_at: the server's clock from the ``Date`` header; None if absent
    """

    status: int
    body: Any
    sent_at: datetime | None


class StoreClient:
    """HTTP client of one trace store.

    :param settings: HTTP settings, or the server's address
    :param kind: name of the kind of store in messages, e.g. ``Tempo``
    """

    def __init__(self, settings: HttpSettings | str, *, kind: str) -> None:
        self._http = HttpClient(HttpSettings(url=settings) if isinstance(settings, str) else settings)
        self._kind = kind
        self.source = self._http.settings.address

    def request(
        self,
        path: str,
        params: Mapping[str, Any] | None = None,
        *,
        body: Any = None,
        expect: tuple[int, ...] = (200,),
        query: str | None = None,
    ) -> StoreAnswer:
        """Send a GET request, or a POST request with a body; with a few quick retries after transient errors.

        :param path: path below the server's address, with a leading slash
        :param params: parameters of the query string
        :param body: value to send as JSON
        :param expect: accepted HTTP statuses; any other is an error
        :param query: the query, for the message
        :raises QueryError: when there is no complete answer with an accepted status
        """
        method = "GET" if body is None else "POST"
        try:
            answer = self._http.request(method, path, params=params, json=body, query=query)
        except QueryError as error:
            raise self.error(error.message, error.reason, query, error.http_status, transient=error.transient) from None
        if answer.status == 200 and (fault := age_fault(answer.headers)):
            raise self.error(fault, CACHED, query, 200, transient=True)
        found = StoreAnswer(answer.status, self._parse(answer, query), _parse_date(answer.headers.get("Date")))
        if answer.status not in expect:
            raise self._status_error(found, path, query)
        return found

    def _parse(self, answer: HttpAnswer, query: str | None) -> Any:
        """Return parsed JSON; a list if there is one document per line (a streamed answer); else the text."""
        for parts in ((answer.body,), [line for line in answer.body.splitlines() if line.strip()]):
            try:
                found = [
                    read_json(part, source=self.source, query=query, status=answer.status, what=self._kind) for part in parts
                ]
            except NotJSON:
                continue
            if found and found != [None]:
                return found[0] if parts == (answer.body,) else found
        return answer.body.decode("utf-8", "replace")

    def error(
        self, message: str, reason: str, query: str | None, status: int | None = None, *, transient: bool = False
    ) -> QueryError:
        """Return an error of this store.

        :param message: what happened
        :param reason: a stable slug
        :param query: the query, for the message
        :param status: HTTP status, if there was one
        :param transient: whether the same request may succeed later
        """
        return QueryError(
            f"{self._kind}: {message}", reason=reason, transient=transient, query=query, http_status=status, source=self.source
        )

    def _status_error(self, answer: StoreAnswer, path: str, query: str | None) -> QueryError:
        text = server_text(answer.body if isinstance(answer.body, str) else json.dumps(answer.body))
        status = answer.status
        if status in (401, 403):
            message = "the credentials were refused"
        elif 300 <= status < 400:
            message = "the server redirects; write the address it redirects to into the connection"
        elif status == 404:
            message = f"there is no {path}; is this the address of a {self._kind} server, with its path prefix?"
        elif status == 400:
            message = "the query was refused"
        else:
            message = "the server could not answer"
        message += f" (HTTP {status}: {text})" if text else f" (HTTP {status})"
        return self.error(message, status_reason(status), query, status, transient=status in TRANSIENT_STATUSES)


class ServerStore(SearchedStore):
    """Base class of trace stores that are servers.

    :param settings: HTTP settings, or the server's address
    """

    #: Name of the kind of store in messages, e.g. ``Tempo``.
    kind: ClassVar[str]

    def __init__(self, settings: HttpSettings | str) -> None:
        self._http = StoreClient(settings, kind=self.kind)

    @contextmanager
    def _convert_read_errors(self, query: str | None = None) -> Iterator[None]:
        """Convert any exception raised while reading a malformed answer into a QueryError of reason ``bad_answer``."""
        try:
            yield
        except (*READ_ERRORS, InvalidMeasurement) as error:
            message = f"the answer cannot be read: {type(error).__name__}: {server_text(error, limit=300)}"
            raise self._http.error(message, "bad_answer", query) from None

    def _wrong_server_error(self) -> QueryError:
        source = self._http.source
        return QueryError(f"the server at {source} is not {self.kind}", reason=f"not_{self.kind.lower()}", source=source)


def _parse_date(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        date = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
