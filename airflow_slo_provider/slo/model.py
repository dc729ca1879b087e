"""What an SLO document says, once read: plain frozen records with exact numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from fractions import Fraction
from typing import Any

from airflow_slo_provider.documents.durations import Duration


class BudgetingMethod(StrEnum):
    """How good and bad add up over a window [OpenSLO v1, ``budgetingMethod``]."""

    OCCURRENCES = "Occurrences"
    TIMESLICES = "Timeslices"
    RATIO_TIMESLICES = "RatioTimeslices"


class MissingSlices(StrEnum):
    """What a time slice without data counts as."""

    GOOD = "good"
    BAD = "bad"
    IGNORE = "ignore"


class CalendarDenominator(StrEnum):
    """What a calendar window's budget is a share of: events so far, events projected, or the whole window's slices."""

    ELAPSED = "elapsed"
    PROJECTED = "projected"
    WHOLE = "whole"


@dataclass(frozen=True)
class Location:
    """Where a document stood: file and 1-based line."""

    file: str = "<text>"
    line: int = 0


@dataclass(frozen=True)
class DataSource:
    """A place numbers come from.

    :param name: name other documents refer to it by
    :param type: ``Prometheus``, ``SQL`` or ``Ledger``; other types are read and refused when measured
    :param connection_details: non-secret details; ``airflowConnId`` names the Airflow connection
    """

    name: str
    type: str
    connection_details: Mapping[str, Any] = field(default_factory=dict)
    location: Location = field(default_factory=Location, compare=False)

    @property
    def conn_id(self) -> str | None:
        """The Airflow connection, where one is named."""
        value = self.connection_details.get("airflowConnId")
        return str(value) if value is not None else None


@dataclass(frozen=True)
class MetricSource:
    """One query of an indicator.

    :param type: type of data source, e.g. ``Prometheus``
    :param ref: name of the DataSource, or None for the only one of that type
    :param query: query text; may hold ``{{.window}}`` (Prometheus) or ``:date_from``, ``:date_to`` (SQL)
    :param spec: the whole ``metricSource.spec`` mapping
    """

    type: str
    ref: str | None
    query: str
    spec: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RatioMetric:
    """Good (or bad) events over all events, or a ratio that the source computes itself (``raw``).

    Exactly one of ``good`` with ``total``, ``bad`` with ``total``, or ``raw`` with ``raw_type`` is set. A SQL source may
    answer ``good`` and ``total`` in one row: then ``good`` and ``total`` are the same query.

    :param counter: True when the queries read monotonic counters, False for values that are counts themselves
    :param raw_type: ``success`` or ``failure``: what share the raw ratio is
    """

    good: MetricSource | None = None
    bad: MetricSource | None = None
    total: MetricSource | None = None
    raw: MetricSource | None = None
    raw_type: str | None = None
    counter: bool = False

    @property
    def sources(self) -> tuple[MetricSource, ...]:
        """The queries that are set."""
        return tuple(source for source in (self.good, self.bad, self.total, self.raw) if source is not None)


@dataclass(frozen=True)
class ThresholdMetric:
    """A value that an objective holds against ``op value``; every point either keeps it or does not."""

    source: MetricSource

    @property
    def sources(self) -> tuple[MetricSource, ...]:
        """The one query."""
        return (self.source,)


@dataclass(frozen=True)
class Indicator:
    """An SLI: what is measured."""

    name: str
    metric: RatioMetric | ThresholdMetric
    display_name: str = ""
    description: str = ""

    @property
    def source_type(self) -> str:
        """Type of data source all its queries use."""
        return self.metric.sources[0].type

    @property
    def source_ref(self) -> str | None:
        """Name of the data source all its queries use."""
        return self.metric.sources[0].ref


@dataclass(frozen=True)
class Objective:
    """What is promised about an indicator.

    :param target: share of good, an exact rational in (0, 1)
    :param op: ``lt``, ``lte``, ``gt`` or ``gte``: how a threshold metric's points are held against ``value``
    :param value: the threshold, exact
    :param time_slice_target: share of good a slice needs (Timeslices)
    :param time_slice_window: width of a slice (Timeslices, RatioTimeslices)
    :param indicator: an indicator of its own, where the SLO is a composite
    """

    target: Fraction
    display_name: str = ""
    op: str | None = None
    value: Fraction | None = None
    time_slice_target: Fraction | None = None
    time_slice_window: Duration | None = None
    indicator: Indicator | None = None
    composite_weight: Fraction | None = None


@dataclass(frozen=True)
class TimeWindow:
    """Over which time the promise holds.

    :param duration: its length
    :param rolling: True for the last ``duration``; False for calendar windows counted from ``start``
    :param start: naive local start of the first calendar window
    :param zone: IANA name of the zone ``start`` is in
    """

    duration: Duration
    rolling: bool = True
    start: datetime | None = None
    zone: str | None = None


@dataclass(frozen=True)
class AlertCondition:
    """A burn-rate condition of an AlertPolicy."""

    name: str
    severity: str
    op: str
    threshold: Fraction
    lookback_window: Duration
    alert_after: Duration | None = None
    description: str = ""


@dataclass(frozen=True)
class AlertPolicy:
    """When to tell whom about an SLO."""

    name: str
    conditions: tuple[AlertCondition, ...] = ()
    alert_when_breaching: bool = False
    alert_when_resolved: bool = False
    alert_when_no_data: bool = False
    notification_targets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Options:
    """Our extensions, written as annotations ``airflow-slo/<key>``.

    :param min_events: below this many events the status is LOW_TRAFFIC
    :param min_failures: with fewer failures than this, neither burn nor budget may alarm: LOW_TRAFFIC
    :param missing_slices: what a slice without data counts as
    :param min_coverage: share of the window that must hold data before its budget may freeze anything
    :param calendar_denominator: what a calendar window's budget is a share of
    :param maturity_lag: how late data arrives; windows end this much earlier
    :param max_silence: without an event for longer than this at the window's end, nothing is known; None for no limit
    :param error_budget_policy: name of the ErrorBudgetPolicy document
    :param tier: ``informational`` is reported and never gates; everything else gates
    """

    min_events: int = 0
    min_failures: int = 0
    missing_slices: MissingSlices = MissingSlices.BAD
    min_coverage: Fraction = Fraction(1, 10)
    calendar_denominator: CalendarDenominator = CalendarDenominator.ELAPSED
    maturity_lag: timedelta = timedelta(0)
    max_silence: timedelta | None = None
    error_budget_policy: str | None = None
    tier: str = "key"

    @property
    def gates(self) -> bool:
        """Whether this SLO may stop a deployment."""
        return self.tier != "informational"


@dataclass(frozen=True)
class SLO:
    """A service level objective.

    :param name: its name
    :param service: name of the service it is about
    :param indicator: what is measured; None when every objective brings its own
    :param window: over which time
    :param method: how good and bad add up
    :param objectives: what is promised; each gets a report of its own
    """

    name: str
    service: str
    indicator: Indicator | None
    window: TimeWindow
    method: BudgetingMethod
    objectives: tuple[Objective, ...]
    display_name: str = ""
    description: str = ""
    alert_policies: tuple[AlertPolicy, ...] = ()
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    options: Options = field(default_factory=Options)
    location: Location = field(default_factory=Location, compare=False)

    def indicator_of(self, objective: Objective) -> Indicator:
        """The indicator an objective is about."""
        indicator = objective.indicator or self.indicator
        if indicator is None:
            raise ValueError(f"SLO {self.name}: objective {objective.display_name!r} has no indicator")
        return indicator

    def parts(self) -> Iterator[tuple[str, Objective]]:
        """Yield ``(unique name, objective)``; the name is the SLO's own where there is one objective."""
        for number, objective in enumerate(self.objectives, start=1):
            yield (self.name if len(self.objectives) == 1 else self.part_name(number)), objective

    def part_name(self, number: int) -> str:
        """Return what an objective is called, counted from 1, where there are several."""
        return f"{self.name}[{number}]"
