"""Add advice to the error of a query that asks for more than the server reads at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.indicators.prometheus.query_batches import Query, Replies, Rows

#: What Prometheus, Thanos, Mimir and VictoriaMetrics write about a query that exceeds a limit of theirs.
_TOO_LARGE = re.compile(
    r"too many (?:samples|points|series|chunks)|maximum (?:resolution|number of (?:samples|points|series|chunks))"
    r"|exceed\w* (?:the )?(?:samples|series|chunks) limit|max-(?:chunks|series|samples|query-length|total-query-length)"
    r"|search\.max(?:SamplesPer|PointsPer|PointsSubqueryPer|UniqueTimeseries|QueryLen|MemoryPerQuery)",
    re.IGNORECASE,
)
#: What Prometheus writes about a query that it stopped after its ``timeout``.
_TIMED_OUT = re.compile(r"query timed out", re.IGNORECASE)
#: The window, in milliseconds, from which a timeout may be due to its length.
_LONG = timedelta(days=1) // timedelta(milliseconds=1)
_ADVICE = (
    "the query is too large for the server; query recorded rates (`airflow slo rules` writes recording rules), measure the "
    'window in parts with the annotation airflow-slo/split-window, e.g. "1d", or raise the limit of the server'
)


def with_advice(replies: Replies, window: int) -> Replies:
    """Return the replies to queries, with advice in the errors about their size.

    :param replies: the replies
    :param window: window of the queries in milliseconds
    """
    advised: Mapping[Query, Rows | QueryError] = {
        query: _advised(reply) if isinstance(reply, QueryError) and _is_too_large(reply, window) else reply
        for query, reply in replies.items()
    }
    return dict(advised)


def _is_too_large(error: QueryError, window: int) -> bool:
    if _TOO_LARGE.search(error.message):
        return True
    return window >= _LONG and (error.reason == "timeout" or _TIMED_OUT.search(error.message) is not None)


def _advised(error: QueryError) -> QueryError:
    may_be = "" if _TOO_LARGE.search(error.message) else "if this is the usual answer, "
    return QueryError(
        f"{error.message}; {may_be}{_ADVICE}",
        reason=error.reason, transient=error.transient, query=error.query, http_status=error.http_status, source=error.source,
    )  # fmt: skip
