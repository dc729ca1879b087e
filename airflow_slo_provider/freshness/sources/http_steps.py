"""Describe HTTP API queries as generators that yield requests and receive replies; the caller does the I/O.

The same steps run on a worker (blocking), in a trigger (async) and in a test (neither).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.freshness.observation import Observation
from airflow_slo_provider.http.faults import TRANSIENT_STATUSES, status_reason

_HINTS = {
    401: "; check login, password and token of the connection",
    403: "; the credentials are known, but may not read this",
    404: "; check the name, and the connection's URL with its path prefix",
}


@dataclass(frozen=True)
class Call:
    """One GET request.

    :param path: quoted path below the server's URL
    :param params: parameters of the query string; a list of values repeats the parameter
    """

    path: str
    params: Mapping[str, str | Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """The server's answer to one request.

    :param body: decoded JSON; None if it is not JSON
    :param text: the beginning of the answer, for messages
    :param where: address of the server, without credentials
    """

    status: int
    body: Any
    text: str = ""
    where: str = ""


Steps = Generator[Call, Reply, Observation]


def run(steps: Steps, send: Callable[[Call], Reply]) -> Observation:
    """Run steps to their end with a blocking client."""
    try:
        call = next(steps)
        while True:
            call = steps.send(send(call))
    except StopIteration as end:
        return _observation(end)


async def run_async(steps: Steps, send: Callable[[Call], Awaitable[Reply]]) -> Observation:
    """Run steps to their end in an event loop."""
    try:
        call = next(steps)
        while True:
            call = steps.send(await send(call))
    except StopIteration as end:
        return _observation(end)


def _observation(end: StopIteration) -> Observation:
    if not isinstance(end.value, Observation):
        raise TypeError(f"steps ended with {end.value!r}")
    return end.value


def quote_segment(name: str) -> str:
    """Quote a name as one segment of a path."""
    return quote(name, safe="")


def status_error(reply: Reply, call: Call, what: str = "") -> QueryError:
    """Build the error for an answer with an unexpected status.

    :param reply: the answer
    :param call: the request
    :param what: name of the missing object, for status 404
    """
    prefix, hint = (f"{what}; ", "") if what else ("", _HINTS.get(reply.status, ""))
    return QueryError(
        f"{prefix}the server answers {reply.status} to {call.path}{hint}: {reply.text[:300]}",
        reason=status_reason(reply.status),
        transient=reply.status in TRANSIENT_STATUSES,
        http_status=reply.status,
        source=reply.where,
    )


def read_object(reply: Reply, call: Call, *, accepted: Collection[int] = (200,), missing: str = "") -> Mapping[str, Any]:
    """Return the JSON object of an answer.

    :param reply: the answer
    :param call: the request
    :param accepted: accepted HTTP statuses
    :param missing: name of the object that is missing on status 404
    :raises QueryError: for another status, or an answer that is not a JSON object
    """
    if reply.status not in accepted:
        raise status_error(reply, call, missing if reply.status == 404 else "")
    return require_object(reply.body, call, reply)


def require_object(value: Any, call: Call, reply: Reply) -> Mapping[str, Any]:
    """Check that ``value``, a part of an answer, is a JSON object, and return it.

    :raises QueryError: when it is not
    """
    if not isinstance(value, Mapping):
        raise shape_error(f"the answer to {call.path} does not match this API: {reply.text[:200]}", reply)
    return value


def shape_error(message: str, reply: Reply) -> QueryError:
    """Build the error for an answer of an unexpected shape."""
    return QueryError(message, reason="wrong_shape", http_status=reply.status, source=reply.where)
