"""Records of SLO documents: plain frozen dataclasses with exact numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from fractions import Fraction
from typing import Any

from airflow_slo_provider.core.slo_key import SLOKey, group_text
from airflow_slo_provider.documents.durations import Duration


class BudgetingMethod(StrEnum):
    """How good and bad events add up over a window [OpenSLO v1, ``budgetingMethod``]."""

    OCCURRENCES = "Occurrences"
    TIMESLICES = "Timeslices"
    RATIO_TIMESLICES = "RatioTimeslices"


class MissingSlices(StrEnum):
    """How a time slice without data counts."""

    GOOD = "good"
    BAD = "bad"
    IGNORE = "ignore"


class CalendarDenominator(StrEnum):
    """The denominator of a calendar window's budget: events so far, events projected, or the whole window's slices."""

    ELAPSED = "elapsed"
    PROJECTED = "projected"
    WHOLE = "whole"


@dataclass(frozen=True)
class Location:
    """Location of a document, or of a field in it.

    :param file: the file that contains it
    :param line: 1-based line
    :param document: kind and name of the document, e.g. ``SLO/checkout``; set for a field
    :param path: path of the field within the document
    """

    file: str = "<text>"
    line: int = 0
    document: str = ""
    path: str = ""


@dataclass(frozen=True)
class DataSource:
    """A data source.

    :param name: name that other documents refer to
    :param type: ``Prometheus``, ``SQL`` or ``Ledger``; other types can be read but not measured
    :param connection_details: non-secret details; ``airflowConnId`` names the Airflow connection
    :param location: file and line of the document
    """

    name: str
    type: str
    connection_details: Mapping[str, Any] = field(default_factory=dict)
    location: Location = field(default_factory=Location, compare=False)

    @property
    def conn_id(self) -> str | None:
        """The id of the Airflow connection, if the document names one."""
        value = self.connection_details.get("airflowConnId")
        return str(value) if value is not None else None


@dataclass(frozen=True)
class MetricSource:
    """One query of an indicator.

    :param type: type of data source, e.g. ``Prometheus``
    :param ref: name of the DataSource, None for the only one of that type
    :param query: query text; may hold ``{{.window}}`` (Prometheus) or ``:date_from``, ``:date_to`` (SQL)
    :param spec: the whole ``metricSource.spec`` mapping
    :param location: file, line and path of the query
    """

    type: str
    ref: str | None
    query: str
    spec: Mapping[str, Any] = field(default_factory=dict)
    location: Location = field(default_factory=Location, compare=False)


@dataclass(frozen=True)
class RatioMetric:
    """The share of good (or bad) events in all events, or a ratio that the source computes itself (``raw``).

    Exactly one of ``good`` with ``total``, ``bad`` with ``total``, or ``raw`` with ``raw_type`` is set. A SQL source may return
    ``good`` and ``total`` in one row: then both are the same query.

    :param good: query for good events
    :param bad: query for bad events
    :param total: query for all events
    :param raw: query for a ratio
    :param counter: True when the queries read monotonic counters, False for values that are counts themselves
    :param raw_type: whether the raw ratio is the share of ``success`` or of ``failure``
    :param declares_events: whether the author declares that queries that cannot be parsed count events
    """

    good: MetricSource | None = None
    bad: MetricSource | None = None
    total: MetricSource | None = None
    raw: MetricSource | None = None
    raw_type: str | None = None
    counter: bool = False
    declares_events: bool = False

    @property
    def by_role(self) -> Mapping[str, MetricSource]:
        """The queries that are set, by role."""
        return {role: source for role in ("good", "bad", "total", "raw") if (source := getattr(self, role)) is not None}

    @property
    def sources(self) -> tuple[MetricSource, ...]:
        """The queries that are set."""
        return tuple(self.by_role.values())


@dataclass(frozen=True)
class ThresholdMetric:
    """A value that an objective compares with a threshold, ``op value``; each point is good or bad.

    :param source: the query of the value
    """

    source: MetricSource

    @property
    def sources(self) -> tuple[MetricSource, ...]:
        """The query, as a tuple."""
        return (self.source,)


@dataclass(frozen=True)
class Indicator:
    """An SLI: the metric to measure.

    :param name: unique name
    :param metric: the metric and its queries
    :param display_name: name for display
    :param description: description
    """

    name: str
    metric: RatioMetric | ThresholdMetric
    display_name: str = ""
    description: str = ""

    @property
    def source_type(self) -> str:
        """Type of the data source of all its queries."""
        return self.metric.sources[0].type

    @property
    def source_ref(self) -> str | None:
        """Name of the data source of all its queries."""
        return self.metric.sources[0].ref


@dataclass(frozen=True)
class Objective:
    """A target for an indicator.

    :param target: target share of good events, an exact rational in (0, 1)
    :param op: ``lt``, ``lte``, ``gt`` or ``gte``: comparison of a threshold metric's points with ``value``
    :param value: the threshold, exact
    :param time_slice_target: minimum share of good events of a good slice (Timeslices)
    :param time_slice_window: width of a slice (Timeslices, RatioTimeslices)
    :param indicator: the objective's own indicator, for a composite SLO
    :param display_name: name for display
    :param composite_weight: weight in a composite SLO, as written; not used
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
    """The time window of an SLO.

    :param duration: its length
    :param rolling: True for the last ``duration``; False for calendar windows counted from ``start``
    :param start: naive local start of the first calendar window
    :param zone: IANA name of the time zone of ``start``
    """

    duration: Duration
    rolling: bool = True
    start: datetime | None = None
    zone: str | None = None


@dataclass(frozen=True)
class AlertCondition:
    """A burn-rate condition of an AlertPolicy.

    :param name: unique name
    :param severity: severity, as written in the document
    :param op: comparison of the burn rate with ``threshold``: ``lt``, ``lte``, ``gt`` or ``gte``
    :param threshold: the burn rate
    :param lookback_window: window of the burn rate
    :param alert_after: time that the condition must hold before it alerts; None for no delay
    :param description: description
    """

    name: str
    severity: str
    op: str
    threshold: Fraction
    lookback_window: Duration
    alert_after: Duration | None = None
    description: str = ""


@dataclass(frozen=True)
class AlertPolicy:
    """An alert policy: its conditions and its notification targets.

    :param name: unique name
    :param conditions: the conditions
    :param alert_when_breaching: notify when a condition starts to hold
    :param alert_when_resolved: notify when it stops
    :param alert_when_no_data: notify when there is no data
    :param notification_targets: names of the notification targets
    """

    name: str
    conditions: tuple[AlertCondition, ...] = ()
    alert_when_breaching: bool = False
    alert_when_resolved: bool = False
    alert_when_no_data: bool = False
    notification_targets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Options:
    """Extensions to OpenSLO, written as annotations ``airflow-slo/<key>``.

    :param min_events: below this many events the status is LOW_TRAFFIC
    :param min_failures: with fewer failures than this, neither burn rate nor budget may alert: the status is LOW_TRAFFIC
    :param missing_slices: how a slice without data counts
    :param min_coverage: share of the window that must hold data before its budget may freeze deployments
    :param calendar_denominator: denominator of a calendar window's budget
    :param maturity_lag: delay with which data arrives; windows end this much earlier
    :param max_silence: without an event for longer than this at the window's end the status is NO_DATA; None for no limit
    :param split_window: windows longer than this are measured in parts; None to measure every window at once
    :param error_budget_policy: name of the ErrorBudgetPolicy document
    :param tier: an ``informational`` SLO is reported but never blocks; every other tier can block
    :param group_by: labels; the SLO is evaluated separately for each combination of their values
    :param expected_groups: the combinations that must exist, as values of ``group_by``; without them, every combination with
        events in the window must still exist
    :param max_groups: maximum number of combinations; more of them are an error
    :param counts: ``events`` declares that Prometheus queries that cannot be parsed (MetricsQL) count events; None otherwise
    """

    min_events: int = 0
    min_failures: int = 0
    missing_slices: MissingSlices = MissingSlices.BAD
    min_coverage: Fraction = Fraction(1, 10)
    calendar_denominator: CalendarDenominator = CalendarDenominator.ELAPSED
    maturity_lag: timedelta = timedelta(0)
    max_silence: timedelta | None = None
    split_window: timedelta | None = None
    error_budget_policy: str | None = None
    tier: str = "key"
    group_by: tuple[str, ...] = ()
    expected_groups: tuple[tuple[str, ...], ...] = ()
    max_groups: int = 50
    counts: str | None = None

    @property
    def gates(self) -> bool:
        """Whether this SLO may block a deployment."""
        return self.tier != "informational"


@dataclass(frozen=True)
class SLO:
    """A service level objective. Service and name identify it: the name alone may be used by several services.

    :param name: its name
    :param service: name of the service that it measures
    :param indicator: the indicator; None if every objective has its own
    :param window: the time window
    :param method: how good and bad events add up
    :param objectives: the targets; each gets its own report
    :param display_name: name for display
    :param description: description
    :param alert_policies: the alert policies
    :param labels: labels, each with one or more values
    :param annotations: annotations
    :param options: this provider's options, read from the annotations
    :param location: file and line of the document
    :param group: the values of ``options.group_by`` that it is evaluated for; empty for the SLO as its document describes it
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
    group: Mapping[str, str] = field(default_factory=dict)

    @property
    def group_text(self) -> str:
        """The group as a suffix of names, e.g. ``{model_version="v2"}``; empty without a group."""
        return group_text(self.group)

    @property
    def key(self) -> SLOKey:
        """The identity of the SLO: its service and its name."""
        return SLOKey(self.service, self.name)

    def indicator_of(self, objective: Objective) -> Indicator:
        """Return the indicator of an objective: its own, or that of the SLO.

        :param objective: one of the SLO's objectives
        :raises ValueError: when there is none
        """
        indicator = objective.indicator or self.indicator
        if indicator is None:
            raise ValueError(f"SLO {self.name}: objective {objective.display_name!r} has no indicator")
        return indicator

    def parts(self) -> Iterator[tuple[str, Objective]]:
        """Yield ``(unique name, objective)``; the name is the SLO's own if there is only one objective and no group."""
        for number, objective in enumerate(self.objectives, start=1):
            name = self.name if len(self.objectives) == 1 else self.part_name(number)
            yield name + self.group_text, objective

    def part_name(self, number: int) -> str:
        """Return the unique name of an objective of several, counted from 1, without a group.

        :param number: position of the objective, from 1
        """
        return f"{self.name}[{number}]"
