"""An Alertmanager's firing alerts, through its API v2, without blocking the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow_slo_provider.core import strict_json
from airflow_slo_provider.core.redaction import redacted, server_text
from airflow_slo_provider.exceptions import QueryError, writable
from airflow_slo_provider.indicators.prometheus import answers
from airflow_slo_provider.indicators.prometheus.async_client import AsyncPrometheusClient, _explain


@dataclass(frozen=True)
class Alert:
    """One firing alert.

    :param fingerprint: Alertmanager's name for its labels
    :param labels: its labels
    :param annotations: its annotations
    :param starts_at: since when it fires
    :param generator_url: where it came from
    """

    fingerprint: str
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: datetime
    generator_url: str = ""


class AsyncAlertmanagerClient(AsyncPrometheusClient):
    """Asks an Alertmanager. Use it as ``async with``; settings as for Prometheus."""

    async def alerts(self, matchers: Sequence[str]) -> list[Alert]:
        """Return the alerts that fire, are not silenced and not inhibited.

        :param matchers: as Alertmanager takes them: ``slo="checkout"``, ``severity=~"page|critical"``; all must hold
        :raises QueryError: when it did not answer the question, whole and well
        """
        import httpx

        if self._http is None:
            raise RuntimeError("use AsyncAlertmanagerClient as `async with`")
        settings, query = self.settings, ", ".join(matchers)
        parameters: list[tuple[str, str | int | float | bool | None]] = [
            ("active", "true"),
            ("silenced", "false"),
            ("inhibited", "false"),
            *(("filter", one) for one in matchers),
        ]
        try:
            async with asyncio.timeout(settings.timeout[0] + settings.timeout[1] + settings.max_seconds):
                async with self._http.stream("GET", f"{self.url}/api/v2/alerts", params=parameters) as response:
                    answers.check_headers(response.headers, query=query, source=self.url)
                    body = await self._read(response, query)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            message, reason, transient = _explain(error)
            raise QueryError(message, reason=reason, transient=transient, query=query, source=self.url) from None
        status = response.status_code
        if status != 200:
            said = server_text(body, limit=300)
            reason = "unauthorized" if status in (401, 403) else "bad_query" if status == 400 else "http_error"
            raise QueryError(
                f"HTTP {status}: {said}", reason=reason, transient=status >= 500 or status == 429, query=query,
                http_status=status, source=self.url,
            )  # fmt: skip
        try:
            found = strict_json.loads(body)
            if not isinstance(found, list):
                raise TypeError(f"a {type(found).__name__} in its place")
            return [_alert(one) for one in found]
        except strict_json.JSONContradiction as error:
            raise QueryError(
                f"the list of alerts has no single meaning: {error}", reason=error.reason, query=query, http_status=status,
                source=self.url,
            ) from None  # fmt: skip
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise QueryError(
                f"this is no list of alerts ({type(error).__name__}: {error}); is it an Alertmanager with API v2?",
                reason="unexpected_shape", query=query, http_status=status, source=self.url,
            ) from None  # fmt: skip


def _alert(data: dict[str, Any]) -> Alert:
    starts = datetime.fromisoformat(data["startsAt"])
    if starts.tzinfo is None:
        raise ValueError(f"startsAt {data['startsAt']!r} has no time zone")
    return Alert(
        fingerprint=writable(str(data["fingerprint"])),
        labels=_texts(data["labels"]),
        annotations=_texts(data.get("annotations") or {}),
        starts_at=starts,
        generator_url=redacted(writable(str(data.get("generatorURL") or ""))),
    )


def _texts(data: dict[str, Any]) -> dict[str, str]:
    """Labels go into events, runs and the ledger: what is secret in them goes no further than here."""
    texts: dict[str, str] = redacted({writable(str(key)): writable(str(value)) for key, value in data.items()})
    return texts
