"""Read the firing alerts of an Alertmanager through its API v2, without blocking the event loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow_slo_provider.core.redaction import redact_value, server_text
from airflow_slo_provider.exceptions import QueryError, writable
from airflow_slo_provider.http.faults import TRANSIENT_STATUSES, status_reason
from airflow_slo_provider.http.json_answers import read_json
from airflow_slo_provider.indicators.prometheus import answers
from airflow_slo_provider.indicators.prometheus.async_client import AsyncPrometheusClient


@dataclass(frozen=True)
class Alert:
    """One firing alert.

    :param fingerprint: Alertmanager's hash of the labels
    :param labels: labels of the alert
    :param annotations: annotations of the alert
    :param starts_at: time since which it fires (aware)
    :param generator_url: URL of the rule that caused it; empty if not set
    """

    fingerprint: str
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: datetime
    generator_url: str = ""


class AsyncAlertmanagerClient(AsyncPrometheusClient):
    """Query an Alertmanager. Use it as ``async with``; the settings are those of :class:`AsyncPrometheusClient`."""

    async def alerts(self, matchers: Sequence[str]) -> list[Alert]:
        """Return the firing alerts that are neither silenced nor inhibited.

        :param matchers: matchers in Alertmanager's syntax: ``slo="checkout"``, ``severity=~"page|critical"``; all must match
        :raises QueryError: when the server returned no complete, valid answer
        """
        query = ", ".join(matchers)
        params = [("active", "true"), ("silenced", "false"), ("inhibited", "false"), *(("filter", one) for one in matchers)]
        answer = await self._http.request("GET", "/api/v2/alerts", params=params, query=query)
        answers.check_headers(answer.headers, now=answer.began, query=query, source=self.url)

        def wrong(message: str, reason: str) -> QueryError:
            passing = answer.status in TRANSIENT_STATUSES
            return QueryError(
                message, reason=reason, transient=passing, query=query, http_status=answer.status, source=self.url
            )  # fmt: skip

        if answer.status != 200:
            raise wrong(f"HTTP {answer.status}: {server_text(answer.body, limit=300)}", status_reason(answer.status))
        try:
            found = read_json(answer.body, source=self.url, query=query, status=200, what="the list of alerts")
            if not isinstance(found, list):
                raise TypeError(f"a {type(found).__name__} in its place")
            return [_alert(one) for one in found]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            said = f"this is no list of alerts ({type(error).__name__}: {error}); is it an Alertmanager with API v2?"
            raise wrong(said, "unexpected_shape") from None


def _alert(data: dict[str, Any]) -> Alert:
    starts = datetime.fromisoformat(data["startsAt"])
    if starts.tzinfo is None:
        raise ValueError(f"startsAt {data['startsAt']!r} has no time zone")
    return Alert(
        fingerprint=writable(str(data["fingerprint"])),
        labels=_texts(data["labels"]),
        annotations=_texts(data.get("annotations") or {}),
        starts_at=starts,
        generator_url=redact_value(writable(str(data.get("generatorURL") or ""))),
    )


def _texts(data: dict[str, Any]) -> dict[str, str]:
    """Return labels with secrets redacted, because labels go into events, DAG runs and the ledger."""
    texts: dict[str, str] = redact_value({writable(str(key)): writable(str(value)) for key, value in data.items()})
    return texts
