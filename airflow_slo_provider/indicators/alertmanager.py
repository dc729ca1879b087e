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
from airflow_slo_provider.indicators.prometheus.answer_checks import check_headers
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
        params = [
            ("active", "true"),
            ("silenced", "false"),
            ("inhibited", "false"),
            *(("filter", matcher) for matcher in matchers),
        ]
        answer = await self._http.request("GET", "/api/v2/alerts", params=params, query=query)
        check_headers(answer.headers, now=answer.began, query=query, source=self.url)

        def error(message: str, reason: str) -> QueryError:
            transient = answer.status in TRANSIENT_STATUSES
            return QueryError(
                message, reason=reason, transient=transient, query=query, http_status=answer.status, source=self.url
            )  # fmt: skip

        if answer.status != 200:
            raise error(f"HTTP {answer.status}: {server_text(answer.body, limit=300)}", status_reason(answer.status))
        try:
            alerts = read_json(answer.body, source=self.url, query=query, status=200, what="the list of alerts")
            if not isinstance(alerts, list):
                raise TypeError(f"found {type(alerts).__name__}")
            return [_read_alert(alert) for alert in alerts]
        except (ValueError, KeyError, TypeError, AttributeError) as cause:
            message = f"not a list of alerts ({type(cause).__name__}: {cause}); is this an Alertmanager with API v2?"
            raise error(message, "unexpected_shape") from None


def _read_alert(data: dict[str, Any]) -> Alert:
    starts_at = datetime.fromisoformat(data["startsAt"])
    if starts_at.tzinfo is None:
        raise ValueError(f"startsAt {data['startsAt']!r} has no time zone")
    return Alert(
        fingerprint=writable(str(data["fingerprint"])),
        labels=_read_labels(data["labels"]),
        annotations=_read_labels(data.get("annotations") or {}),
        starts_at=starts_at,
        generator_url=redact_value(writable(str(data.get("generatorURL") or ""))),
    )


def _read_labels(data: dict[str, Any]) -> dict[str, str]:
    """Return labels with secrets redacted, because labels go into events, DAG runs and the ledger."""
    texts: dict[str, str] = redact_value({writable(str(key)): writable(str(value)) for key, value in data.items()})
    return texts
