"""Assess the freshness of an observation: a single age, or a quantile of the ages of its groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import Any

from airflow_slo_provider.core.duration_text import format_duration
from airflow_slo_provider.freshness.age_verdict import Freshness, Reason, judge
from airflow_slo_provider.freshness.limits import CLOCK_TOLERANCE, check_limits, read_quantile
from airflow_slo_provider.freshness.observation import Observation
from airflow_slo_provider.results import CheckResult, Verdict

#: Maximum number of the worst groups to report.
MOST_NAMED = 50


@dataclass(frozen=True)
class Limits:
    """The limits of an age.

    :param max_age: maximum age
    :param warn_age: maximum age without a warning; None for no warning
    :param quantile: share of the groups that must be within the limits, above 0 and up to 1: ``0.99`` is 99 % of them; None for
        all
    :param tolerance: how far a timestamp may lie in the future
    :raises ValueError: for invalid limits
    """

    max_age: timedelta
    warn_age: timedelta | None = None
    quantile: float | str | Decimal | Fraction | None = None
    tolerance: timedelta = CLOCK_TOLERANCE

    def __post_init__(self) -> None:
        check_limits(self.max_age, self.warn_age, self.tolerance)
        _ = self.share

    @property
    def share(self) -> Fraction:
        """The quantile as an exact fraction; 1 (every group) if none is set."""
        return read_quantile(self.quantile)

    def judge(self, observed_at: datetime | None, now: datetime) -> Freshness:
        """Judge one timestamp; see :func:`~airflow_slo_provider.freshness.age_verdict.judge`."""
        return judge(observed_at, now, self.max_age, self.warn_age, tolerance=self.tolerance)


@dataclass(frozen=True)
class Assessment:
    """The freshness assessment of an observation.

    :param freshness: the verdict with its age: the observation's, or the quantile over the groups
    :param message: one sentence: subject, age, limit, source
    :param counts: number of fresh groups and of all groups; None without groups
    :param worst: the groups that are not fresh, worst first: name and age (None if unknown)
    """

    observation: Observation
    freshness: Freshness
    message: str
    at: datetime
    limits: Limits
    counts: tuple[int, int] | None = None
    worst: tuple[tuple[str, timedelta | None], ...] = ()

    def result(self, name: str, evidence: Mapping[str, Any] | None = None) -> CheckResult:
        """Build the check result. Its value is the age in seconds; None if there is no meaningful age.

        :param name: name of the check in the ledger
        :param evidence: further evidence
        """
        observation, freshness = self.observation, self.freshness
        # A timestamp in the future has no meaningful age: a negative age would count as very fresh.
        value = None if freshness.reason is Reason.CLOCK_SKEW else _to_seconds(freshness.age)
        good, total = self.counts or (None, None)
        worst = [[group, _to_seconds(age)] for group, age in self.worst[:MOST_NAMED]]
        all_evidence = {
            "reason": freshness.reason.value,
            "what": observation.what,
            "source": observation.source,
            "observed_at": None if observation.observed_at is None else observation.observed_at.isoformat(),
            **({"worst": worst} if worst else {}),
            **observation.evidence,
            **(evidence or {}),
        }
        return CheckResult(
            kind="freshness", name=name, verdict=freshness.verdict, value=value, unit="seconds", good=good, total=total,
            target=self.limits.max_age.total_seconds(), op="lte", message=self.message, checked_at=self.at,
            model_version=observation.model_version, evidence=all_evidence,
        )  # fmt: skip


def assess(observation: Observation, now: datetime, limits: Limits) -> Assessment:
    """Assess an observation against limits.

    :param observation: the observation to assess
    :param now: current time, aware
    :param limits: maximum ages, and the quantile of groups
    """
    if observation.groups is not None:
        return _assess_groups(observation, observation.groups, now, limits)
    what, observed_at, note, limit = observation.what, observation.observed_at, observation.note, format_duration(limits.max_age)
    freshness, in_brackets = limits.judge(observed_at, now), f" ({note})" if note else ""
    if freshness.age is None or observed_at is None:
        text = f"{what}: age unknown, limit {limit}: {note or 'no timestamp'}"
    elif freshness.reason is Reason.CLOCK_SKEW:
        future = f"last fresh at {observed_at.isoformat()}, {format_duration(-freshness.age)} in the future{in_brackets}"
        text = f"{what}: {future}: clock_skew, the clocks of writer and reader differ"
    else:
        age = f"{format_duration(freshness.age)} old, since {observed_at.isoformat()}{in_brackets}"
        text = f"{what}: {age}, limit {limit}: {freshness.reason.value}"
    return Assessment(observation, freshness, f"{text}; from {observation.source}", now, limits)


def _assess_groups(observation: Observation, groups: Mapping[str, datetime | None], now: datetime, limits: Limits) -> Assessment:
    what, source = observation.what, observation.source
    if not groups:
        freshness = Freshness(None, Verdict.UNKNOWN, Reason.UNKNOWN)
        text = f"{what}: there is no group, so no age; {observation.note or 'no rows'}; from {source}"
        return Assessment(observation, freshness, text, now, limits, (0, 0))
    judged = {name: limits.judge(timestamp, now) for name, timestamp in groups.items()}
    reasons = {group.reason for group in judged.values()}
    # A group with an unknown age, or a timestamp in the future, ranks as older than any other: it is not fresh.
    ages = sorted(group.age for group in judged.values() if group.age is not None and group.reason is not Reason.CLOCK_SKEW)
    bad = sorted(
        ((name, group) for name, group in judged.items() if not group.fresh), key=lambda item: (_rank_staleness(item[1]), item[0])
    )
    needed = ceil(limits.share * len(judged))
    # The nearest-rank quantile: the smallest age that a share of at least `quantile` of the groups does not exceed.
    age = ages[needed - 1] if needed <= len(ages) else None
    good = len(judged) - len(bad)
    if good >= needed:
        warns = limits.warn_age is not None and age is not None and age > limits.warn_age
        freshness = Freshness(age, Verdict.WARN if warns else Verdict.PASS, Reason.AGEING if warns else Reason.FRESH)
    elif Reason.CLOCK_SKEW in reasons and len(ages) < needed:
        freshness = Freshness(None, Verdict.FAIL, Reason.CLOCK_SKEW)
    elif reasons == {Reason.UNKNOWN}:
        freshness = Freshness(None, Verdict.UNKNOWN, Reason.UNKNOWN)
    else:
        freshness = Freshness(age, Verdict.FAIL, Reason.STALE)
    required = f"{needed} are needed ({float(limits.share) * 100:.6g} %)"
    text = f"{what}: {good} of {len(judged)} groups are at most {format_duration(limits.max_age)} old, {required}"
    text += f": {freshness.reason.value}; from {source}"
    if bad:
        named = ", ".join(f"{name} ({_format_group_age(group)})" for name, group in bad[:MOST_NAMED])
        text += f"; worst: {named}" + (f" and {len(bad) - MOST_NAMED} more" if len(bad) > MOST_NAMED else "")
    worst = tuple((name, group.age) for name, group in bad)
    return Assessment(observation, freshness, text, now, limits, (good, len(judged)), worst)


def _rank_staleness(group: Freshness) -> tuple[int, float]:
    """Return the sort key: unknown ages first, then timestamps in the future, then the oldest."""
    if group.age is None:
        return (0, 0.0)
    return (1, group.age.total_seconds()) if group.reason is Reason.CLOCK_SKEW else (2, -group.age.total_seconds())


def _format_group_age(group: Freshness) -> str:
    if group.age is None:
        return "no timestamp"
    age = format_duration(abs(group.age))
    return f"{age} in the future" if group.reason is Reason.CLOCK_SKEW else f"{age} old"


def _to_seconds(age: timedelta | None) -> float | None:
    return None if age is None else age.total_seconds()
