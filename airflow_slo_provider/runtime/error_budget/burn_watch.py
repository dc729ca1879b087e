"""What a trigger sees when it looks at SLOs: the monitor's own arithmetic, in a thread, so that the event loop stays free."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.incidents.incident_state import Seen, Sighting, rank

if TYPE_CHECKING:
    from airflow_slo_provider.slo.budget.monitor import SLOMonitor
    from airflow_slo_provider.slo.budget.reports import SLOReport

#: Seconds after which documents and connections are read again.
READ_AGAIN = 60.0


class BurnWatch:
    """Looks at SLOs again and again. All SLOs of a server are asked in the same few queries.

    Documents and connections are read once a minute. Looks come one after the other; :meth:`close` may come during one.

    :param slos: the documents, as :func:`~airflow_slo_provider.slo.load` takes them
    """

    def __init__(self, slos: Any) -> None:
        self._slos = slos
        self._open = ExitStack()
        self._monitor: SLOMonitor | None = None
        self._read_at = 0.0
        self._looking = threading.Lock()
        self._closed = False

    def look(self, at: datetime | None = None) -> list[SLOReport]:
        """Evaluate every SLO.

        :raises DocumentError: for documents with faults
        :raises MeasurementError, LedgerError: when a source cannot be opened
        """
        try:
            with self._looking:
                return self._look(at)
        finally:
            if self._closed:
                self.close()

    def close(self) -> None:
        """Give connections back, without waiting: where a look hangs just now, that look does it when it ends."""
        # In this order: a look that still holds the lock here will see it afterwards.
        self._closed = True
        if self._looking.acquire(blocking=False):
            try:
                self._give_back()
            finally:
                self._looking.release()

    def _look(self, at: datetime | None) -> list[SLOReport]:
        from airflow_slo_provider.slo.budget.reports import Status

        if self._monitor is None or time.monotonic() - self._read_at > READ_AGAIN:
            self._monitor = self._read()
        reports = self._monitor.evaluate(at or datetime.now(UTC))
        if any(report.status is Status.QUERY_ERROR for report in reports):
            self._read_at = -READ_AGAIN  # perhaps a connection has changed
        return reports

    def _give_back(self) -> None:
        self._monitor = None
        self._open.close()

    def _read(self) -> SLOMonitor:
        from airflow_slo_provider.runtime.error_budget.decision import read_documents
        from airflow_slo_provider.runtime.error_budget.indicator_sources import sources
        from airflow_slo_provider.slo.budget.monitor import SLOMonitor

        self._give_back()
        catalog = read_documents(self._slos)
        self._open = ExitStack()
        self._read_at = time.monotonic()
        return SLOMonitor(catalog, self._open.enter_context(sources()))


def sighting(report: SLOReport, *, severity: str, rearm: Fraction) -> Sighting:
    """Say whether an SLO burns.

    It burns while a multi-window rule of at least ``severity`` fires; it is calm when the burn rate of each short window lies at
    or below ``rearm`` times the rule's factor (or 1, where that is more). Too few events tell neither.

    :param severity: ``page`` or ``ticket``
    :param rearm: share of a rule's factor
    """
    from airflow_slo_provider.slo.budget.error_budgets import burn_rate_rules
    from airflow_slo_provider.slo.budget.reports import Status
    from airflow_slo_provider.slo.budget.windows import nominal_length

    evidence = evidence_of(report)
    if report.status.is_unknown:
        return Sighting(report.name, Seen.UNKNOWN, message=f"{report.status}: {report.message}", evidence=evidence)
    if report.status is Status.LOW_TRAFFIC:
        return Sighting(report.name, Seen.BETWEEN, message=report.message, evidence=evidence)
    firing = [rule for rule in report.firing if rank(rule.severity) >= rank(severity)]
    if firing:
        worst = max(firing, key=lambda rule: rank(rule.severity))
        return Sighting(report.name, Seen.BURNING, severity=worst.severity, message=report.message, evidence=evidence)
    wanted = burn_rate_rules(nominal_length(report.slo.window), target=report.objective.target)
    for rule in (one for one in wanted if rank(one.severity) >= rank(severity)):
        short = report.burn_rate(rule.short)
        if short is None or short.value is None or short.value > rearm * max(rule.factor, Fraction(1)):
            return Sighting(report.name, Seen.BETWEEN, message=report.message, evidence=evidence)
    return Sighting(report.name, Seen.CALM, message=report.message, evidence=evidence)


def evidence_of(report: SLOReport) -> dict[str, Any]:
    """Return what an incident tells of an SLO: a small JSON-able dict."""
    from airflow_slo_provider.documents.durations import format_seconds
    from airflow_slo_provider.slo.budget.ledger_records import report_dict

    told = report_dict(report)
    names = ("service", "status", "objective", "window", "sli", "remaining", "burn_rate", "time_to_exhaustion_seconds")
    rates: Mapping[str, Any] = {
        _text(rate.window, format_seconds): None if rate.value is None else round(float(rate.value), 4)
        for rate in report.burn_rates
    }
    return {
        "slo": report.name,
        **{name: told[name] for name in names},
        "burn_rates": dict(rates),
        "rules": [
            {
                "severity": rule.severity,
                "short": _text(rule.short, format_seconds),
                "long": _text(rule.long, format_seconds),
                "factor": float(rule.factor),
            }
            for rule in report.firing
        ],
        "at": report.at.isoformat(),
        "query": report.query[:500],
    }


def _text(length: timedelta, form: Any) -> str:
    return str(form(int(length.total_seconds())))
