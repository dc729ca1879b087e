"""What must hold for every budget, window and policy, beside what the tests of each say: clocks that change, leap days, the
ends of the calendar, histories of decisions, and states that somebody else wrote.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_slo_provider import slo as face
from airflow_slo_provider.documents.durations import parse_duration
from airflow_slo_provider.exceptions import InvalidMeasurement, MeasurementError, NoData
from airflow_slo_provider.slo.budget.indicator_source import MAX_EVENTS, Measurement
from airflow_slo_provider.slo.budget.monitor import SLOMonitor
from airflow_slo_provider.slo.budget.reports import GateOutcome, PolicyState
from airflow_slo_provider.slo.budget.windows import span_at
from airflow_slo_provider.slo.model import BudgetingMethod, TimeWindow
from airflow_slo_provider.slo.policy.decisions import decide
from airflow_slo_provider.slo.policy.error_budget_policy import Action, ErrorBudgetPolicy, OnUnknown, PolicyRule
from tests.unit.slo.monitor_builders import AT, DAY, MINUTE, MemorySource, catalog, slo, steady
from tests.unit.slo.test_decisions import EMPTY, FREEZE, LOST, events_with_left, rules, states

#: Clocks that change by an hour, by half an hour, at midnight, twice in a month (Ramadan), over the date line, and never.
ZONES = [
    "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Beirut", "Africa/Casablanca",
    "Pacific/Apia", "Asia/Kolkata", "America/Nuuk", "Antarctica/Troll", "UTC",
]  # fmt: skip
zones = st.sampled_from(ZONES)
clocks = st.times().map(lambda time: time.replace(microsecond=0))


@settings(deadline=None)
@given(zone=zones, clock=clocks, year=st.integers(1990, 2040), day=st.integers(1, 366), days=st.sampled_from([1, 7, 28, 30]))
def test_calendar_window_of_days_keeps_wall_clock_time(zone: str, clock: Any, year: int, day: int, days: int) -> None:
    window = TimeWindow(parse_duration(f"{days}d"), False, datetime.combine(datetime(1985, 1, 1), clock), zone)
    at = datetime(year, 1, 1, 12, tzinfo=UTC) + timedelta(days=day)
    span = span_at(window, at)
    assert span.start < at <= span.whole_end
    for end in (span.start, span.whole_end):
        local = end.astimezone(ZoneInfo(zone))
        # Where a clock is put forward over the time of day, the boundary is as far behind the gap as it would lie in it.
        if local.time() != clock:
            assert abs(datetime.combine(local.date(), local.time()) - datetime.combine(local.date(), clock)) <= timedelta(
                hours=24
            )
            before, after = ((end + step).astimezone(ZoneInfo(zone)).utcoffset() for step in (-DAY, DAY))
            assert before != after
    slack = timedelta(hours=24) if zone == "Pacific/Apia" else timedelta(hours=3)
    assert abs(span.length - timedelta(days=days)) <= slack
    assert span.projection >= 1


@settings(deadline=None)
@given(
    zone=zones,
    clock=clocks,
    months=st.sampled_from(["1M", "2M", "1Q", "1Y"]),
    at=st.datetimes(datetime(2001, 1, 1), datetime(2040, 1, 1)),
)
@example(zone="Europe/Berlin", clock=datetime(2024, 3, 31, 2, 30).time(), months="1M", at=datetime(2024, 3, 31, 12))
def test_windows_from_leap_day_are_consecutive(zone: str, clock: Any, months: str, at: datetime) -> None:
    window = TimeWindow(parse_duration(months), False, datetime.combine(datetime(2000, 2, 29), clock), zone)
    span = span_at(window, at.replace(tzinfo=UTC))
    after = span_at(window, span.whole_end + timedelta(microseconds=1))
    assert after.start == span.whole_end
    local = span.start.astimezone(ZoneInfo(zone))
    leap = local.year % 4 == 0 and (local.year % 100 != 0 or local.year % 400 == 0)
    last = {2: 29 if leap else 28}.get(local.month, 29)
    assert local.day in (last, last + 1, 1)  # a clock put forward over midnight moves it into the next day
    if zone == "UTC":
        assert local.day == last


@settings(max_examples=300, deadline=None)
@given(
    start=st.datetimes(), at=st.datetimes(timezones=st.just(UTC)), zone=zones,
    duration=st.sampled_from(["1s", "7h", "1d", "30d", "36525d", "1M", "1Q", "1Y", "100Y"]),
)  # fmt: skip
@example(start=datetime(1, 1, 1), at=datetime(1, 1, 1, tzinfo=UTC), zone="Asia/Kolkata", duration="1M")
@example(start=datetime(9999, 12, 31), at=datetime(9999, 12, 31, 12, tzinfo=UTC), zone="America/New_York", duration="100Y")
def test_window_at_calendar_limits_is_valid_or_raises_value_error(
    start: datetime, at: datetime, zone: str, duration: str
) -> None:
    for window in (TimeWindow(parse_duration(duration), False, start.replace(microsecond=0), zone), rolling(duration)):
        try:
            span = span_at(window, at)
        except ValueError:
            continue
        assert span.start < span.end <= span.whole_end


def rolling(duration: str) -> TimeWindow:
    kept = parse_duration(duration)
    return TimeWindow(kept if not kept.is_calendar else parse_duration("30d"))


targets = st.fractions(Fraction(1, 1000), Fraction(999_999, 1_000_000), max_denominator=10**6)
counts = st.tuples(st.integers(0, 10**9), st.integers(1, 10**9)).map(lambda pair: (min(pair), max(pair)))


@settings(deadline=None)
@given(target=targets, count=counts, more=st.integers(1, 10**6))
def test_more_failures_never_increase_remaining_budget(target: Fraction, count: tuple[int, int], more: int) -> None:
    good, total = count
    before = face.error_budget(target, good, total, "30d")
    failed, fine = (face.error_budget(target, good + added, total + more, "30d") for added in (0, more))
    assert failed.remaining <= before.remaining <= fine.remaining


@settings(deadline=None)
@given(target=targets, first=counts, second=counts)
def test_sli_of_joined_spans_lies_between_theirs(target: Fraction, first: tuple[int, int], second: tuple[int, int]) -> None:
    both = face.error_budget(target, first[0] + second[0], first[1] + second[1], "30d").remaining
    parts = [face.error_budget(target, *count, "30d").remaining for count in (first, second)]
    assert min(parts) <= both <= max(parts)


numbers = st.one_of(st.integers(-(10**400), 10**400), st.fractions(), st.sampled_from([0, 1, MAX_EVENTS, MAX_EVENTS + 1]))


@settings(deadline=None)
@given(good=numbers, total=numbers)
def test_any_counts_give_a_share_or_an_error(good: Any, total: Any) -> None:
    for make in (lambda: Measurement.of_counts(Fraction(good), Fraction(total)), lambda: Measurement.of_ratio(Fraction(good))):
        try:
            found = make()
        except (NoData, InvalidMeasurement):
            continue
        assert 0 <= found.ratio <= 1
        float(found.total or 0)


#: What is known at an instant: a share of the budget that is left, or why nothing is.
seen = st.one_of(st.fractions(-1, 1, max_denominator=20), st.sampled_from([LOST, EMPTY]))


@given(
    policy=st.lists(rules, max_size=3), looks=st.lists(seen, min_size=1, max_size=8), cool_down=st.sampled_from([0, 1, 120]),
    missing=st.sampled_from([OnUnknown.BLOCK, OnUnknown.ALLOW]),
)  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_freeze_ends_only_with_a_measurement(
    policy: list[PolicyRule], looks: list[Any], cool_down: int, missing: OnUnknown
) -> None:
    """A history of looks, each beginning from the state that the last one left behind, as the ledger keeps it."""
    unique = [FREEZE, *(replace(rule, name=f"{rule.name}{number}") for number, rule in enumerate(policy))]
    written = ErrorBudgetPolicy("p", tuple(unique), cool_down=cool_down * MINUTE, on_no_data=missing, on_error=missing)
    documents = catalog(slo(target="0.9", error_budget_policy="p"), policies=[written])
    state, frozen = PolicyState(), False
    for look in looks:
        known = not isinstance(look, MeasurementError)
        source = MemorySource(api=events_with_left(look) if known else look)
        decision = decide(SLOMonitor(documents, source).evaluate(AT), documents, previous={"api": state})
        (one,) = decision.slos
        if not known:
            assert decision.allowed is (missing is OnUnknown.ALLOW and one.outcome is not GateOutcome.FROZEN)
            assert not (frozen and decision.allowed), "thawed by what is not known"
            assert one.state == state, "what is not known is remembered as something"
        # A noData rule freezes while there is no data, and leaves nothing behind: an error after it is for onError to judge.
        frozen = one.outcome is GateOutcome.FROZEN if known else frozen
        state = PolicyState.from_dict(json.loads(json.dumps(one.state.to_dict())))
        assert state == one.state


@given(gating=st.lists(seen, min_size=1, max_size=3), informational=st.lists(seen, max_size=3))
@settings(max_examples=60, deadline=None)
def test_informational_objectives_never_change_outcome(gating: list[Any], informational: list[Any]) -> None:
    def decision(count: int) -> tuple[GateOutcome, Action]:
        names = [f"key{number}" for number in range(len(gating))] + [f"info{number}" for number in range(count)]
        slos = [slo(name, target="0.9", tier="informational" if name.startswith("info") else "key") for name in names]
        looks = [*gating, *informational][: len(names)]
        events = {
            name: look if isinstance(look, MeasurementError) else events_with_left(look)
            for name, look in zip(names, looks, strict=True)
        }
        documents = catalog(*slos)
        found = decide(SLOMonitor(documents, MemorySource(**events)).evaluate(AT), documents)
        return found.outcome, found.action

    assert decision(0) == decision(len(informational))


@settings(deadline=None)
@given(before=states)
def test_policy_state_round_trips(before: PolicyState) -> None:
    assert PolicyState.from_dict(json.loads(json.dumps(before.to_dict()))) == before


json_values: Any = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=5,
)
odd_states = st.fixed_dictionaries(
    {
        "holding": st.one_of(json_values, st.just(["a"])),
        "action": st.one_of(json_values, st.sampled_from(list(map(str, Action)))),
        "blocked_since": st.one_of(
            json_values, st.sampled_from(["2026-01-01", "2026-01-01T00:00:00", "2026-01-01T00:00:00+00:00"])
        ),
    },
    optional={"cool_down": st.one_of(json_values, st.sampled_from([0, 3600.0, 1e300, -1]))},
)


@settings(deadline=None)
@given(kept=st.one_of(odd_states, json_values))
@example(kept={"holding": ["a"], "action": "freeze", "blocked_since": "2026-01-01T00:00:00"})
def test_any_stored_policy_state_is_read_or_refused(kept: Any) -> None:
    try:
        state = PolicyState.from_dict(kept)
    except ValueError:
        return
    documents = catalog(slo(target="0.9"))
    for source in (MemorySource(api=steady(0)), MemorySource(api=steady(50)), MemorySource(api=LOST)):
        decided = decide(SLOMonitor(documents, source).evaluate(AT), documents, previous={"api": state})
        assert source.events["api"] is not LOST or not decided.allowed
        assert source.events["api"] != steady(50) or not decided.allowed


@settings(deadline=None)
@given(
    pairs=st.lists(st.one_of(st.none(), counts), min_size=1, max_size=20), target=st.fractions(Fraction(1, 10), 1),
    method=st.sampled_from([BudgetingMethod.TIMESLICES, BudgetingMethod.RATIO_TIMESLICES]),
)  # fmt: skip
def test_better_slice_never_lowers_sli(pairs: list[Any], target: Fraction, method: BudgetingMethod) -> None:
    slices = [None if pair is None else Measurement.of_counts(*map(Fraction, pair)) for pair in pairs]
    if not any(slices):
        return
    whole = face.summarise(slices, method, slice_target=target).sli
    for number, one in enumerate(slices):
        if one is not None and one.total is not None:
            better = [*slices[:number], Measurement.of_counts(one.total, one.total), *slices[number + 1 :]]
            assert face.summarise(better, method, slice_target=target).sli >= whole
