"""Poll SLOs for a trigger: evaluate the burn rates and decide which SLOs burn."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.incidents.incident_state import BurnState, PollResult, severity_rank

if TYPE_CHECKING:
    from airflow_slo_provider.slo.budget.monitor import SLOMonitor
    from airflow_slo_provider.slo.budget.reports import SLOReport

#: Seconds after which documents and connections are read again.
RELOAD_SECONDS = 60.0


class BurnWatch:
    """Evaluate SLOs repeatedly. All SLOs of a server share a few queries.

    Documents and connections are read once a minute. Polls run one after the other, in a thread; :meth:`close` may be called
    while one runs.

    :param slos: the documents, as :func:`~airflow_slo_provider.slo.load` accepts them
    """

    def __init__(self, slos: Any) -> None:
        self._slos = slos
        self._open = ExitStack()
        self._monitor: SLOMonitor | None = None
        self._read_at = 0.0
        self._polling = threading.Lock()
        self._closed = False

    def poll(self, at: datetime | None = None) -> list[SLOReport]:
        """Evaluate every SLO.

        :param at: evaluation timestamp (aware); now by default
        :raises DocumentError: for documents with errors
        :raises MeasurementError, LedgerError: if a source cannot be opened
        """
        try:
            with self._polling:
                return self._evaluate(at)
        finally:
            if self._closed:
                self.close()

    def close(self) -> None:
        """Close the connections without waiting; if a poll is running, it closes them when it ends."""
        # Set before the lock is tried: a poll that still holds the lock sees the flag when it ends.
        self._closed = True
        if self._polling.acquire(blocking=False):
            try:
                self._release()
            finally:
                self._polling.release()

    def _evaluate(self, at: datetime | None) -> list[SLOReport]:
        from airflow_slo_provider.slo.budget.reports import Status

        if self._monitor is None or time.monotonic() - self._read_at > RELOAD_SECONDS:
            self._monitor = self._read()
        reports = self._monitor.evaluate(at or datetime.now(UTC))
        if any(report.status is Status.QUERY_ERROR for report in reports):
            self._read_at = -RELOAD_SECONDS  # the connection may have been changed
        return reports

    def _release(self) -> None:
        self._monitor = None
        self._open.close()

    def _read(self) -> SLOMonitor:
        from airflow_slo_provider.runtime.error_budget.decision import read_documents
        from airflow_slo_provider.runtime.error_budget.indicator_sources import sources
        from airflow_slo_provider.slo.budget.monitor import SLOMonitor

        self._release()
        catalog = read_documents(self._slos)
        self._open = ExitStack()
        self._read_at = time.monotonic()
        return SLOMonitor(catalog, self._open.enter_context(sources()))


def selected_reports(reports: Sequence[SLOReport], select: Collection[str] | None) -> list[SLOReport]:
    """Return the reports that names select: of SLOs or objectives, with or without the service.

    :param reports: the evaluated SLOs
    :param select: the names; None for all
    :raises ValueError: for a name that is unknown or used by several services
    """
    from airflow_slo_provider.core.slo_key import SLOKey, ambiguous_name, display_names, find_keys

    if select is None:
        return list(reports)
    names = {key: (key, report.slo.key) for report in reports if (key := report.key)}
    chosen: set[SLOKey] = set()
    for name in select:
        slos = {slo for key, slo in names.values() if find_keys(name, (key, slo))}
        if len(slos) > 1:
            raise ValueError(ambiguous_name(name, slos))
        if not slos:
            known = sorted({*display_names(names).values(), *display_names(slo for _, slo in names.values()).values()})
            raise ValueError(f"there is no SLO {name!r} in the documents, only {', '.join(known)}")
        chosen |= {key for key, slo in names.values() if find_keys(name, (key, slo))}
    return [report for report in reports if report.key in chosen]


def poll_result(report: SLOReport, *, severity: str, rearm: Fraction) -> PollResult:
    """Return whether an SLO burns, is calm, is in between, or is unknown.

    It burns while a multi-window rule of at least ``severity`` fires. It is calm if the burn rate of each short window is at or
    below ``rearm`` times the rule's factor. With too few events it is in between. A retired group is calm.

    :param report: the evaluated SLO
    :param severity: lowest severity that counts: ``page`` or ``ticket``
    :param rearm: share of a rule's factor
    """
    from airflow_slo_provider.slo.budget.error_budgets import burn_rates_of
    from airflow_slo_provider.slo.budget.reports import Status

    evidence = evidence_of(report)
    if report.retired:
        return PollResult(report.name, BurnState.CALM, message=report.message, evidence=evidence)
    if report.status.is_unknown:
        return PollResult(report.name, BurnState.UNKNOWN, message=f"{report.status}: {report.message}", evidence=evidence)
    if report.status is Status.LOW_TRAFFIC:
        return PollResult(report.name, BurnState.BETWEEN, message=report.message, evidence=evidence)
    firing = [rule for rule in report.firing if severity_rank(rule.severity) >= severity_rank(severity)]
    if firing:
        worst = max(firing, key=lambda rule: severity_rank(rule.severity))
        return PollResult(report.name, BurnState.BURNING, severity=worst.severity, message=report.message, evidence=evidence)
    if any(severity_rank(rule.severity) >= severity_rank(severity) for rule in report.uncertain):
        return PollResult(report.name, BurnState.UNKNOWN, message=report.message, evidence=evidence)
    for rule in burn_rates_of(report.slo, report.objective).rules:
        if severity_rank(rule.severity) < severity_rank(severity):
            continue
        short = report.burn_rate(rule.short)
        if short is None or short.value is None or short.value > rearm * rule.factor:
            return PollResult(report.name, BurnState.BETWEEN, message=report.message, evidence=evidence)
    return PollResult(report.name, BurnState.CALM, message=report.message, evidence=evidence)


def evidence_of(report: SLOReport) -> dict[str, Any]:
    """Return the evidence about an SLO for an incident, as a small JSON-able dict.

    :param report: the evaluated SLO
    """
    from airflow_slo_provider.documents.durations import format_seconds
    from airflow_slo_provider.slo.budget.ledger_records import report_dict

    def text(length: timedelta) -> str:
        return format_seconds(int(length.total_seconds()))

    values = {**report_dict(report), "slo_service": report.slo.service}
    names = (
        "service",
        "slo_service",
        "status",
        "objective",
        "window",
        "sli",
        "remaining",
        "burn_rate",
        "time_to_exhaustion_seconds",
    )
    rates = {text(rate.window): None if rate.value is None else round(float(rate.value), 4) for rate in report.burn_rates}
    rules = [
        {"severity": rule.severity, "short": text(rule.short), "long": text(rule.long), "factor": float(rule.factor)}
        for rule in report.firing
    ]
    return {
        "slo": report.name,
        **{name: values[name] for name in names},
        "burn_rates": rates,
        "rules": rules,
        "at": report.at.isoformat(),
        "query": report.query[:500],
    }
