"""Event triggers for an ``AssetWatcher`` that start a DAG when an error budget burns too fast."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator, Hashable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

from airflow.triggers.base import TriggerEvent

from airflow_slo_provider.core.redaction import server_text
from airflow_slo_provider.core.text_lists import text_list
from airflow_slo_provider.incidents.incident_state import BurnState, PollResult, severity_rank
from airflow_slo_provider.triggers.incident_watch import IncidentWatchTrigger, WatchPoll, in_thread, poll_in_thread

#: Timeout of a poll in seconds; afterwards the SLOs are unknown.
POLL_TIMEOUT = 15.0


class BurnRateTrigger(IncidentWatchTrigger):
    """Fire when the error budget of an SLO starts to burn too fast, once per incident.

    An SLO burns while one of its multi-window burn-rate rules fires, with the same computation as in the gates. The incident is
    over when the burn rates of all short windows have been at or below ``rearm`` times the factor of their rule for the whole
    ``cool_down``; a rule that fires again before that belongs to the same incident. If the severity rises from ``ticket`` to
    ``page``, a new incident starts.
    While no measurement is available (no data, a server that is down or hangs) no incident starts or ends; after
    ``blind_after`` one event of kind ``blind`` reports it.

    The event's payload is an :class:`~airflow_slo_provider.incidents.Incident` as a dict: ``id``, ``kind`` (``burning`` or
    ``blind``), ``subject`` (the SLO), ``severity``, ``started_at``, ``message`` and ``evidence`` (burn rates, rules, budget).

    Triggers with the same documents and interval share their polls, on Airflow 3.3 and later.

    .. code-block:: python

        burning = Asset("budget_burning", watchers=[AssetWatcher(name="burn", trigger=BurnRateTrigger(slos="/opt/slos"))])


        @dag(schedule=[burning])
        def roll_back(): ...

    :param slos: SLO documents: absolute path of a file or a directory (on the triggerer), a URI such as ``s3://bucket/slos``, the
        text itself, or a list of paths
    :param select: names of SLOs, ``service/name`` where services share a name; all by default
    :param severity: the lowest severity that starts an incident: ``page`` or ``ticket``
    :param poll_interval: seconds between two polls
    :param rearm: share of a rule's factor, from 0 to 1, at or below which a burn rate is calm
    :param cool_down: seconds for which it must be calm before the incident is over
    :param blind_after: seconds without a measurement before an event of kind ``blind`` is sent
    :param name: name of the trigger's state in the ledger; by default made from ``slos``, ``select`` and ``severity``. Set it
        if the documents are passed as text that changes.
    :raises ValueError: when the DAG file is parsed, for invalid numbers, an unknown severity, or relative paths
    """

    def __init__(
        self,
        *,
        slos: str | Sequence[str],
        select: Sequence[str] | str | None = None,
        severity: str = "page",
        poll_interval: float = 30.0,
        rearm: str | float = 0.5,
        cool_down: float = 900.0,
        blind_after: float = 300.0,
        name: str | None = None,
    ) -> None:
        from airflow_slo_provider.runtime.files.documents import is_relative_path

        self.slos = [os.fspath(path) for path in slos] if isinstance(slos, list | tuple) else os.fspath(slos)
        self.select = None if select is None else list(text_list(select))
        self.severity, self.rearm, self.name_argument = severity, rearm, name
        if not self.slos:
            raise ValueError("slos is empty; name a file, a directory or write the documents themselves")
        relative = [path for path in text_list(self.slos) if is_relative_path(path)]
        if relative:
            raise ValueError(
                f"slos={relative[0]!r} is relative, and a triggerer has no DAG file: write an absolute path or a URI"
            )
        if severity not in ("page", "ticket"):
            raise ValueError(f"severity={severity!r}; write page or ticket")
        if not 0 <= Fraction(str(rearm)) <= 1:
            raise ValueError(f"rearm={rearm!r} is not a share; write a number from 0 to 1")
        super().__init__(
            name=name or _state_name("burn", [self.slos, self.select, severity]),
            poll_interval=poll_interval,
            cool_down=cool_down,
            blind_after=blind_after,
        )

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments of this trigger."""
        names = ("slos", "select", "severity", "poll_interval", "rearm", "cool_down", "blind_after")
        kwargs = {**{name: getattr(self, name) for name in names}, "name": self.name_argument}
        return "airflow_slo_provider.triggers.burn_rate.BurnRateTrigger", kwargs

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll the SLOs and yield an event for each incident."""
        async with aclosing(self.filter_shared_stream(self.open_shared_stream(self.serialize()[1]))) as events:
            async for event in events:
                yield event

    def shared_stream_key(self) -> Hashable | None:
        """Return the key that triggers with the same polls have in common."""
        return ("airflow-slo burn rates", json.dumps(self.slos), float(self.poll_interval))

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncIterator[Any]:
        """Poll all SLOs of the documents; yield the timestamp and the reports, or the exception of a failed poll.

        :param kwargs: the arguments of one of the triggers that share the stream
        """
        from airflow_slo_provider.runtime.error_budget.burn_watch import BurnWatch

        watch, interval = BurnWatch(kwargs["slos"]), float(kwargs["poll_interval"])
        try:
            async with aclosing(poll_in_thread(watch.poll, interval, max(POLL_TIMEOUT, interval))) as polls:
                async for poll in polls:
                    yield poll
        finally:
            await asyncio.shield(in_thread(watch.close))

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        """Convert the shared polls to the events of this trigger.

        :param shared_stream: the polls of :meth:`open_shared_stream`
        """
        async with aclosing(self.events(self._polls(shared_stream))) as events:
            async for event in events:
                yield event

    async def _polls(self, stream: AsyncIterator[Any]) -> AsyncIterator[WatchPoll]:
        from airflow_slo_provider.core.slo_key import display_names
        from airflow_slo_provider.runtime.error_budget.burn_watch import poll_result, selected_reports

        rearm = Fraction(str(self.rearm))
        async for at, found in stream:
            if isinstance(found, Exception):
                yield WatchPoll(at, problem=f"{type(found).__name__}: {server_text(found, limit=1000)}")
                continue
            try:
                selected = selected_reports(found, self.select)
            except ValueError as error:
                yield WatchPoll(at, problem=str(error)[:1000])
                continue
            subjects = display_names(report.key for report in found)
            results = []
            for report in selected:
                subject, names = subjects[report.key], {report.key.name, report.key.qualified}
                result = poll_result(report, severity=self.severity, rearm=rearm)
                results.append(replace(result, subject=subject, earlier_subjects=tuple(names - {subject})))
            yield WatchPoll(at, results)


class AlertmanagerTrigger(IncidentWatchTrigger):
    """Fire when alerts start to fire in an Alertmanager, once per incident; for teams that already have alert rules.

    Alerts with the same values of the ``group_by`` labels are one incident; alerts about SLOs of different services are not, also
    if the SLOs have one name. It is over when none of them has fired for the whole ``cool_down``. The alerts that ``airflow slo
    rules`` writes have the burn-rate rules of the gates, see :func:`~airflow_slo_provider.slo.burn_rate_rules`. An Alertmanager
    that does not answer is not treated as "no alert fires": after ``blind_after`` an event of kind ``blind`` reports it.

    The event's payload is that of :class:`BurnRateTrigger`; ``evidence`` holds the labels and annotations of the alerts.

    .. code-block:: python

        AlertmanagerTrigger(matchers=['severity="page"', 'team="ml"'], poll_interval=10)

    :param matchers: Alertmanager matchers, e.g. ``slo="checkout"``, ``severity=~"page|critical"``; all must match
    :param alertmanager_conn_id: Airflow connection: host is the URL, the other fields as in a ``prometheus`` connection
    :param group_by: labels whose values identify an incident
    :param slo_label: label that holds the name of the SLO
    :param severity_label: label that holds the severity
    :param poll_interval: seconds between two polls
    :param cool_down: seconds without a firing alert before the incident is over
    :param blind_after: seconds without an answer before an event of kind ``blind`` is sent
    :param name: name of the trigger's state in the ledger; by default made from connection, matchers and ``group_by``
    :raises ValueError: when the DAG file is parsed, for invalid numbers, and for empty ``matchers`` or ``group_by``
    """

    def __init__(
        self,
        *,
        matchers: Sequence[str] | str,
        alertmanager_conn_id: str = "alertmanager_default",
        group_by: Sequence[str] = ("alertname", "slo"),
        slo_label: str = "slo",
        severity_label: str = "severity",
        poll_interval: float = 15.0,
        cool_down: float = 900.0,
        blind_after: float = 300.0,
        name: str | None = None,
    ) -> None:
        self.matchers, self.alertmanager_conn_id = list(text_list(matchers)), alertmanager_conn_id
        self.group_by, self.slo_label, self.severity_label = list(text_list(group_by)), slo_label, severity_label
        self.name_argument = name
        if not self.matchers or not all(isinstance(matcher, str) and matcher.strip() for matcher in self.matchers):
            raise ValueError("matchers is empty, so every alert would start a run; write e.g. ['severity=\"page\"']")
        if not self.group_by:
            raise ValueError("group_by is empty, so all alerts would be one incident")
        super().__init__(
            name=name or _state_name("alerts", [alertmanager_conn_id, self.matchers, self.group_by]),
            poll_interval=poll_interval,
            cool_down=cool_down,
            blind_after=blind_after,
        )

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments of this trigger."""
        names = (
            "matchers", "alertmanager_conn_id", "group_by", "slo_label", "severity_label", "poll_interval", "cool_down",
            "blind_after",
        )  # fmt: skip
        kwargs = {**{name: getattr(self, name) for name in names}, "name": self.name_argument}
        return "airflow_slo_provider.triggers.burn_rate.AlertmanagerTrigger", kwargs

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll the Alertmanager and yield an event for each incident."""
        async with aclosing(self.events(self._polls())) as events:
            async for event in events:
                yield event

    async def _polls(self) -> AsyncIterator[WatchPoll]:
        from airflow.sdk import BaseHook

        from airflow_slo_provider.hooks.connection_forms.prometheus import client_settings
        from airflow_slo_provider.indicators.alertmanager import AsyncAlertmanagerClient

        while True:
            try:
                # The connection is read at each poll, so that a corrected connection takes effect without a restart.
                async with asyncio.timeout(max(POLL_TIMEOUT, self.poll_interval)):
                    settings = client_settings(await BaseHook.aget_connection(self.alertmanager_conn_id))
                    async with AsyncAlertmanagerClient(**settings) as client:
                        alerts = await client.alerts(self.matchers)
                yield WatchPoll(datetime.now(UTC), self._sightings(alerts))
            except Exception as error:
                yield WatchPoll(datetime.now(UTC), problem=f"{type(error).__name__}: {server_text(error, limit=1000)}")
            await asyncio.sleep(self.poll_interval)

    def _sightings(self, alerts: Sequence[Any]) -> list[PollResult]:
        groups: dict[tuple[str, ...], list[Any]] = {}
        for alert in alerts:
            groups.setdefault((*self._group(alert.labels), self._service(alert.labels)), []).append(alert)
        found = []
        for (*values, service), members in groups.items():
            worst = max(members, key=lambda alert: severity_rank(alert.labels.get(self.severity_label, "")))
            slo = worst.labels.get(self.slo_label) or worst.labels.get("sloth_slo", "")
            message = (
                worst.annotations.get("summary") or worst.annotations.get("description") or worst.labels.get("alertname", "")
            )
            found.append(
                PollResult(
                    subject="/".join(value for value in (*values, service) if value) or worst.fingerprint,
                    earlier_subjects=("/".join(value for value in values if value),) if service else (),
                    state=BurnState.BURNING,
                    severity=worst.labels.get(self.severity_label, ""),
                    message=message[:500],
                    since=min(alert.starts_at for alert in members),
                    evidence={
                        **({"slo": slo} if slo else {}),
                        **({"slo_service": service} if slo and service else {}),
                        **{name: worst.labels[name] for name in ("service", "model_version") if name in worst.labels},
                        "labels": worst.labels,
                        "annotations": worst.annotations,
                        "alerts": len(members),
                        "generator_url": worst.generator_url,
                    },
                )
            )
        return found

    def _group(self, labels: Mapping[str, str]) -> tuple[str, ...]:
        return tuple(labels.get(label, "") for label in self.group_by)

    def _service(self, labels: Mapping[str, str]) -> str:
        """Return the service of an alert's SLO; empty if alerts are not grouped by SLO, or already by service."""
        names = ("slo_service", "sloth_service")
        if not {self.slo_label, "sloth_slo"} & set(self.group_by) or set(names) & set(self.group_by):
            return ""
        return next((labels[name] for name in names if labels.get(name)), "")


def _state_name(kind: str, parts: Any) -> str:
    return f"{kind}-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]}"
