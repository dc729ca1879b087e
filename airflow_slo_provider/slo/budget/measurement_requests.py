"""Plan the measurements that an objective needs, and request them from the sources in batches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from typing import TypeVar

from airflow_slo_provider.exceptions import MeasurementError, NoData
from airflow_slo_provider.slo.budget.deadline import Deadline
from airflow_slo_provider.slo.budget.error_budgets import BurnRateRule, burn_rate_rules
from airflow_slo_provider.slo.budget.indicator_source import IndicatorSource, Measurement, MeasureRequest, Slices, deadline_of
from airflow_slo_provider.slo.budget.windows import WindowSpan, nominal_length, span_at
from airflow_slo_provider.slo.model import SLO, BudgetingMethod, DataSource, Objective
from airflow_slo_provider.slo.policy.error_budget_policy import ErrorBudgetPolicy

#: Creates the source of a type of data (``Prometheus``, ``SQL``, ``Ledger``) and its DataSource document, if there is one. It
#: may raise MeasurementError: the SLOs that need the source then have an UNKNOWN status.
SourceFactory = Callable[[str, DataSource | None], IndicatorSource]
#: Identifies a source: the type of data and the name of its DataSource document.
SourceKey = tuple[str, str | None]
K = TypeVar("K")
T = TypeVar("T")

#: The window of "the current rate", always measured: long enough to be meaningful, short enough to be current.
CURRENT = timedelta(hours=1)


@dataclass(frozen=True)
class MeasurementPlan:
    """One objective and the measurements that it needs.

    :param name: unique name
    :param slo: the SLO
    :param objective: the objective
    :param policy: the policy of the SLO
    :param at: time of the evaluation (UTC)
    :param span: the SLO's window at that time
    :param burn: the multi-window alert rules of its window
    :param windows: windows whose burn rate is needed, shortest first
    :param source: the source of its numbers
    :param deadline: deadline of the evaluation
    """

    name: str
    slo: SLO
    objective: Objective
    policy: ErrorBudgetPolicy
    at: datetime
    span: WindowSpan
    burn: tuple[BurnRateRule, ...]
    windows: tuple[timedelta, ...]
    source: SourceKey
    deadline: Deadline | None = field(default=None, compare=False, repr=False)

    @property
    def slice_width(self) -> timedelta | None:
        """Width of a time slice; None for Occurrences."""
        if self.slo.method is BudgetingMethod.OCCURRENCES or self.objective.time_slice_window is None:
            return None
        return self.objective.time_slice_window.timedelta

    def request(self, start: datetime) -> MeasureRequest:
        """Return the request for the time from ``start`` to the end of the window."""
        indicator = self.slo.indicator_of(self.objective)
        op, value = self.objective.op, self.objective.value
        return MeasureRequest(indicator, start, self.span.end, op, value, deadline=self.deadline)

    @property
    def slices_start(self) -> datetime:
        """Start of the slices: that of the window, or as many whole slices earlier as the burn rates need."""
        width = self.slice_width
        assert width is not None
        earlier = max((window - self.span.elapsed for window in self.windows), default=timedelta(0))
        return self.span.start - width * max(0, -(-earlier // width))


@dataclass(frozen=True)
class ObjectiveMeasurements:
    """The measurements of one objective.

    :param whole: the SLO's window: its events, or its slices
    :param windows: the burn-rate windows (Occurrences only; the slices contain them)
    :param recent: the end of the window, as long as the SLO's ``max_silence``; None without such a limit
    """

    whole: Measurement | Slices | MeasurementError
    windows: Mapping[timedelta, Measurement | MeasurementError]
    recent: Measurement | MeasurementError | None = None


def plan_measurements(
    name: str, slo: SLO, objective: Objective, policy: ErrorBudgetPolicy, at: datetime, source: SourceKey, deadline: Deadline
) -> MeasurementPlan:
    """Plan the measurements of an objective.

    :param name: unique name
    :param slo: the SLO
    :param objective: the objective
    :param policy: the policy of the SLO
    :param at: time of the evaluation (UTC)
    :param source: the source of its numbers
    :param deadline: deadline of the evaluation
    :raises NoData: when the time lies before the first calendar window
    """
    try:
        span = span_at(slo.window, at - slo.options.maturity_lag)
    except ValueError as error:
        raise NoData(str(error), reason="before_first_window") from None
    length = nominal_length(slo.window)
    burn = tuple(burn_rate_rules(length, target=objective.target))
    current = [CURRENT] if length > CURRENT else []  # also if no alert rule uses it, as with a target of 90 %
    policy_windows = (rule.window.timedelta for rule in policy.rules if rule.window is not None)
    windows = sorted({*current, *chain.from_iterable((rule.short, rule.long) for rule in burn), *policy_windows})
    return MeasurementPlan(name, slo, objective, policy, at, span, burn, tuple(windows), source, deadline)


class SourcePool:
    """The indicator sources of a catalog. Measures all objectives of one source together.

    :param factory: creates the sources; each is created once and reused
    :param data_sources: DataSource documents by name
    """

    def __init__(self, factory: SourceFactory, data_sources: Mapping[str, DataSource]) -> None:
        self._factory = factory
        self._data_sources = data_sources
        self._sources: dict[SourceKey, IndicatorSource] = {}

    def measure(self, plans: Sequence[MeasurementPlan]) -> dict[str, ObjectiveMeasurements]:
        """Return the measurements, by the plans' names."""
        out: dict[str, ObjectiveMeasurements] = {}
        for key, group in _grouped(plans, lambda plan: plan.source).items():
            try:
                source = self._source(key)
            except MeasurementError as error:
                out |= {plan.name: ObjectiveMeasurements(error, {}) for plan in group}
                continue
            for width, members in _grouped(group, lambda plan: plan.slice_width).items():
                out |= _measure_events(source, members) if width is None else _measure_slices(source, members, width)
        return out

    def coverage(self, plans: Sequence[MeasurementPlan]) -> dict[str, object]:
        """Return the share of each plan's window that holds data, or the error of that plan."""
        out: dict[str, object] = {}
        for key, group in _grouped(plans, lambda plan: plan.source).items():
            source = self._source(key)
            answers = _query(source, [plan.request(plan.span.start) for plan in group], source.coverage)
            out |= {plan.name: answer for plan, answer in zip(group, answers, strict=True)}
        return out

    def _source(self, key: SourceKey) -> IndicatorSource:
        if key not in self._sources:
            kind, name = key
            self._sources[key] = self._factory(kind, self._data_sources.get(name or ""))
        return self._sources[key]


def _query(
    source: IndicatorSource,
    requests: Sequence[MeasureRequest],
    method: Callable[[Sequence[MeasureRequest]], list[T | MeasurementError]],
) -> list[T | MeasurementError]:
    """Query a source, unless it did not answer in time before or the deadline has passed.

    Custom sources therefore need not observe the deadline themselves.
    """
    deadline = deadline_of(requests)
    if deadline is None:
        return method(requests)
    refusal = deadline.refusal(source)
    if refusal is not None:
        return [refusal] * len(requests)
    answers = method(requests)
    deadline.note(source, answers)
    return answers


def _measure_events(source: IndicatorSource, plans: Sequence[MeasurementPlan]) -> dict[str, ObjectiveMeasurements]:
    starts = [(plan, plan.span.end - length) for plan in plans for length in _lengths(plan)]
    answers = iter(_query(source, [plan.request(start) for plan, start in starts], source.measure))
    out = {}
    for plan in plans:
        found = {length: next(answers) for length in _lengths(plan)}
        silence = plan.slo.options.max_silence
        recent = None if silence is None else found[silence]
        out[plan.name] = ObjectiveMeasurements(
            found[plan.span.elapsed], {window: found[window] for window in plan.windows}, recent
        )
    return out


def _lengths(plan: MeasurementPlan) -> list[timedelta]:
    """Return the lengths of the windows to measure, the SLO's own first, each once."""
    silence = plan.slo.options.max_silence
    return list(dict.fromkeys([plan.span.elapsed, *plan.windows, *([] if silence is None else [silence])]))


def _measure_slices(
    source: IndicatorSource, plans: Sequence[MeasurementPlan], width: timedelta
) -> dict[str, ObjectiveMeasurements]:
    slices = _query(source, [plan.request(plan.slices_start) for plan in plans], partial(source.slices, width=width))
    limits = [(plan, plan.span.end - limit) for plan in plans if (limit := plan.slo.options.max_silence) is not None]
    answers = _query(source, [plan.request(start) for plan, start in limits], source.measure) if limits else []
    recent = {plan.name: answer for (plan, _), answer in zip(limits, answers, strict=True)}
    return {plan.name: ObjectiveMeasurements(whole, {}, recent.get(plan.name)) for plan, whole in zip(plans, slices, strict=True)}


def _grouped(plans: Iterable[MeasurementPlan], key: Callable[[MeasurementPlan], K]) -> dict[K, list[MeasurementPlan]]:
    groups: dict[K, list[MeasurementPlan]] = defaultdict(list)
    for plan in plans:
        groups[key(plan)].append(plan)
    return groups
