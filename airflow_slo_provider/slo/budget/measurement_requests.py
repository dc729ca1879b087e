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
from airflow_slo_provider.slo.budget.windows import Span, nominal_length, span_at
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
class Part:
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
    span: Span
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
class Answers:
    """The measurements of one objective.

    :param whole: the SLO's window: its events, or its slices
    :param windows: the burn-rate windows (Occurrences only; the slices contain them)
    :param lately: the end of the window, as long as the SLO's ``max_silence``; None without such a limit
    """

    whole: Measurement | Slices | MeasurementError
    windows: Mapping[timedelta, Measurement | MeasurementError]
    lately: Measurement | MeasurementError | None = None


def part_of(
    name: str,
    slo: SLO,
    objective: Objective,
    policy: ErrorBudgetPolicy,
    at: datetime,
    source: SourceKey,
    deadline: Deadline | None = None,
) -> Part:
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
    return Part(name, slo, objective, policy, at, span, burn, tuple(windows), source, deadline)


class Asker:
    """Request the measurements of all objectives, source by source.

    :param factory: creates the sources; each is created once and reused
    :param data_sources: DataSource documents by name
    """

    def __init__(self, factory: SourceFactory, data_sources: Mapping[str, DataSource]) -> None:
        self._factory = factory
        self._data_sources = data_sources
        self._sources: dict[SourceKey, IndicatorSource] = {}

    def ask(self, parts: Sequence[Part]) -> dict[str, Answers]:
        """Return the answers of the sources, by the parts' names."""
        out: dict[str, Answers] = {}
        for key, group in _grouped(parts, lambda part: part.source).items():
            try:
                source = self._source(key)
            except MeasurementError as error:
                out |= {part.name: Answers(error, {}) for part in group}
                continue
            out |= _ask_events(source, [part for part in group if part.slice_width is None])
            sliced = [part for part in group if part.slice_width is not None]
            for width, members in _grouped(sliced, lambda part: part.slice_width).items():
                assert width is not None
                requests = [part.request(part.slices_start) for part in members]
                found = _asked(source, requests, partial(source.slices, width=width))
                lately = _lately(source, members)
                for part, answer in zip(members, found, strict=True):
                    out[part.name] = Answers(answer, {}, lately.get(part.name))
        return out

    def coverage(self, parts: Sequence[Part]) -> dict[str, object]:
        """Return the share of each part's window that holds data, or the error of that part."""
        out: dict[str, object] = {}
        for key, group in _grouped(parts, lambda part: part.source).items():
            source = self._source(key)
            found = _asked(source, [part.request(part.span.start) for part in group], source.coverage)
            out |= {part.name: answer for part, answer in zip(group, found, strict=True)}
        return out

    def _source(self, key: SourceKey) -> IndicatorSource:
        if key not in self._sources:
            kind, name = key
            document = self._data_sources.get(name) if name is not None else None
            self._sources[key] = self._factory(kind, document)
        return self._sources[key]


def _asked(
    source: IndicatorSource,
    requests: Sequence[MeasureRequest],
    ask: Callable[[Sequence[MeasureRequest]], list[T | MeasurementError]],
) -> list[T | MeasurementError]:
    """Query a source, unless it did not answer in time before or the deadline has passed.

    Custom sources therefore need not observe the deadline themselves.
    """
    deadline = deadline_of(requests)
    if deadline is None:
        return ask(requests)
    refusal = deadline.refusal(source)
    if refusal is not None:
        return [refusal] * len(requests)
    answers = ask(requests)
    deadline.note(source, answers)
    return answers


def _ask_events(source: IndicatorSource, parts: Sequence[Part]) -> dict[str, Answers]:
    if not parts:
        return {}
    starts = [(part, start) for part in parts for start in (part.span.start, *(part.span.end - w for w in _lengths(part)))]
    answers = iter(_asked(source, [part.request(start) for part, start in starts], source.measure))
    out = {}
    for part in parts:
        whole, found = next(answers), {length: next(answers) for length in _lengths(part)}
        silence = part.slo.options.max_silence
        out[part.name] = Answers(
            whole, {window: found[window] for window in part.windows}, None if silence is None else found[silence]
        )
    return out


def _lengths(part: Part) -> list[timedelta]:
    """Return the lengths of the windows to measure, each once."""
    silence = part.slo.options.max_silence
    return list(part.windows) if silence is None else list(dict.fromkeys([*part.windows, silence]))


def _lately(source: IndicatorSource, parts: Sequence[Part]) -> dict[str, Measurement | MeasurementError]:
    asked = [(part, part.span.end - silence) for part in parts if (silence := part.slo.options.max_silence) is not None]
    if not asked:
        return {}
    answers = _asked(source, [part.request(start) for part, start in asked], source.measure)
    return {part.name: answer for (part, _), answer in zip(asked, answers, strict=True)}


def _grouped(parts: Iterable[Part], key: Callable[[Part], K]) -> dict[K, list[Part]]:
    groups: dict[K, list[Part]] = defaultdict(list)
    for part in parts:
        groups[key(part)].append(part)
    return groups
