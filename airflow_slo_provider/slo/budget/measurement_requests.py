"""Plan the measurements that an objective needs, and request them from the sources in batches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from typing import TypeVar

from airflow_slo_provider.core.slo_key import SLOKey
from airflow_slo_provider.exceptions import MeasurementError, NoData, QueryError
from airflow_slo_provider.slo.budget.deadline import Deadline
from airflow_slo_provider.slo.budget.error_budgets import BurnRateRule, burn_rates_of, default_burn_rates
from airflow_slo_provider.slo.budget.indicator_source import (
    GroupedSource,
    IndicatorSource,
    Measurement,
    MeasureRequest,
    Slices,
    deadline_of,
)
from airflow_slo_provider.slo.budget.time_slices import slice_width
from airflow_slo_provider.slo.budget.windows import WindowSpan, nominal_length, span_at
from airflow_slo_provider.slo.model import SLO, DataSource, Objective
from airflow_slo_provider.slo.policy.error_budget_policy import CURRENT, ErrorBudgetPolicy

#: Creates the source of a type of data (``Prometheus``, ``SQL``, ``Ledger``) and its DataSource document, if there is one. It
#: may raise MeasurementError: the SLOs that need the source then have an UNKNOWN status.
SourceFactory = Callable[[str, DataSource | None], IndicatorSource]
#: Identifies a source: the type of data and the name of its DataSource document.
SourceKey = tuple[str, str | None]
#: Values of labels with events.
Groups = list[Mapping[str, str]]
K = TypeVar("K")
T = TypeVar("T")


@dataclass(frozen=True)
class MeasurementPlan:
    """One objective and the measurements that it needs.

    :param name: name, unique within the service
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
    def key(self) -> SLOKey:
        """The identity of the objective, as in its report."""
        return SLOKey(self.slo.service, self.name)

    @property
    def slice_width(self) -> timedelta | None:
        """Width of a time slice; None for Occurrences."""
        return slice_width(self.slo, self.objective)

    def request(self, start: datetime) -> MeasureRequest:
        """Return the request for the time from ``start`` to the end of the window."""
        indicator = self.slo.indicator_of(self.objective)
        op, value = self.objective.op, self.objective.value
        return MeasureRequest(
            indicator, start, self.span.end, op, value,
            deadline=self.deadline, group=self.slo.group, split_window=self.slo.options.split_window,
        )  # fmt: skip

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
    burn = burn_rates_of(slo, objective).rules
    # The report shows also the windows whose rules are dropped because of the time slices, which contain their burn rates.
    shown = default_burn_rates(length, objective.target).rules
    current = [CURRENT] if length > CURRENT else []  # also if no alert rule uses it, as with a target of 90 %
    policy_windows = (rule.window.timedelta for rule in policy.rules if rule.window is not None)
    windows = sorted({*current, *chain.from_iterable((rule.short, rule.long) for rule in shown), *policy_windows})
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

    def measure(self, plans: Sequence[MeasurementPlan]) -> dict[SLOKey, ObjectiveMeasurements]:
        """Return the measurements, by the plans' keys."""
        out: dict[SLOKey, ObjectiveMeasurements] = {}
        for key, group in _grouped(plans, lambda plan: plan.source).items():
            try:
                source = self._source(key)
            except MeasurementError as error:
                out |= {plan.key: ObjectiveMeasurements(error, {}) for plan in group}
                continue
            for width, members in _grouped(group, lambda plan: plan.slice_width).items():
                out |= _measure_events(source, members) if width is None else _measure_slices(source, members, width)
        return out

    def coverage(self, plans: Sequence[MeasurementPlan]) -> dict[SLOKey, object]:
        """Return the share of each plan's window that holds data, or the error of that plan."""
        out: dict[SLOKey, object] = {}
        for key, group in _grouped(plans, lambda plan: plan.source).items():
            source = self._source(key)
            answers = _query(source, [plan.request(plan.span.start) for plan in group], source.coverage)
            out |= {plan.key: answer for plan, answer in zip(group, answers, strict=True)}
        return out

    def groups(self, plans: Sequence[MeasurementPlan]) -> dict[SLOKey, Groups | MeasurementError]:
        """Return the groups with events in each plan's window, or the error of that plan."""
        out: dict[SLOKey, Groups | MeasurementError] = {}
        for (key, labels), group in _grouped(plans, lambda plan: (plan.source, plan.slo.options.group_by)).items():
            try:
                source = _grouped_source(self._source(key), key)
            except MeasurementError as error:
                out |= {plan.key: error for plan in group}
                continue
            requests = [plan.request(plan.span.start) for plan in group]
            answers = _query(source, requests, partial(source.groups, labels=labels))
            out |= {plan.key: answer for plan, answer in zip(group, answers, strict=True)}
        return out

    def _source(self, key: SourceKey) -> IndicatorSource:
        if key not in self._sources:
            kind, name = key
            self._sources[key] = self._factory(kind, self._data_sources.get(name or ""))
        return self._sources[key]


def _grouped_source(source: IndicatorSource, key: SourceKey) -> GroupedSource:
    if not isinstance(source, GroupedSource):
        message = f"an indicator of type {key[0]} cannot be evaluated by labels; remove airflow-slo/group-by"
        raise QueryError(message, reason="group_by_unsupported")
    return source


def _query(
    source: object,
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


def _measure_events(source: IndicatorSource, plans: Sequence[MeasurementPlan]) -> dict[SLOKey, ObjectiveMeasurements]:
    starts = [(plan, plan.span.end - length) for plan in plans for length in _lengths(plan)]
    answers = iter(_query(source, [plan.request(start) for plan, start in starts], source.measure))
    out = {}
    for plan in plans:
        found = {length: next(answers) for length in _lengths(plan)}
        silence = plan.slo.options.max_silence
        recent = None if silence is None else found[silence]
        out[plan.key] = ObjectiveMeasurements(
            found[plan.span.elapsed], {window: found[window] for window in plan.windows}, recent
        )
    return out


def _lengths(plan: MeasurementPlan) -> list[timedelta]:
    """Return the lengths of the windows to measure, the SLO's own first, each once."""
    silence = plan.slo.options.max_silence
    return list(dict.fromkeys([plan.span.elapsed, *plan.windows, *([] if silence is None else [silence])]))


def _measure_slices(
    source: IndicatorSource, plans: Sequence[MeasurementPlan], width: timedelta
) -> dict[SLOKey, ObjectiveMeasurements]:
    slices = _query(source, [plan.request(plan.slices_start) for plan in plans], partial(source.slices, width=width))
    limits = [(plan, plan.span.end - limit) for plan in plans if (limit := plan.slo.options.max_silence) is not None]
    answers = _query(source, [plan.request(start) for plan, start in limits], source.measure) if limits else []
    recent = {plan.key: answer for (plan, _), answer in zip(limits, answers, strict=True)}
    return {plan.key: ObjectiveMeasurements(whole, {}, recent.get(plan.key)) for plan, whole in zip(plans, slices, strict=True)}


def _grouped(plans: Iterable[MeasurementPlan], key: Callable[[MeasurementPlan], K]) -> dict[K, list[MeasurementPlan]]:
    groups: dict[K, list[MeasurementPlan]] = defaultdict(list)
    for plan in plans:
        groups[key(plan)].append(plan)
    return groups
