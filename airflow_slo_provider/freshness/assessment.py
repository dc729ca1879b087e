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
from airflow_slo_provider.freshness.limits import CLOCK_TOLERANCE, check_limits, share_of
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
        return share_of(self.quantile)


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
        age = self.freshness.age
        # A timestamp in the future has no meaningful age: a negative age would count as very fresh.
        meaningful = age is not None and self.freshness.reason is not Reason.CLOCK_SKEW
        found = self.observation
        return CheckResult(
            kind="freshness",
            name=name,
            verdict=self.freshness.verdict,
            value=age.total_seconds() if age is not None and meaningful else None,
            unit="seconds",
            good=None if self.counts is None else self.counts[0],
            total=None if self.counts is None else self.counts[1],
            target=self.limits.max_age.total_seconds(),
            op="lte",
            message=self.message,
            checked_at=self.at,
            model_version=found.model_version,
            evidence={
                "reason": self.freshness.reason.value,
                "what": found.what,
                "source": found.source,
                "observed_at": None if found.observed_at is None else found.observed_at.isoformat(),
                **({"worst": [[group, _seconds(age)] for group, age in self.worst[:MOST_NAMED]]} if self.worst else {}),
                **found.evidence,
                **(evidence or {}),
            },
        )


def assess(observation: Observation, now: datetime, limits: Limits) -> Assessment:
    """Assess an observation against limits.

    :param observation: the observation to assess
    :param now: current time, aware
    :param limits: maximum ages, and the quantile of groups
    """
    if observation.groups is None:
        return _assess_one(observation, now, limits)
    return _assess_groups(observation, observation.groups, now, limits)


def _assess_one(found: Observation, now: datetime, limits: Limits) -> Assessment:
    freshness = judge(found.observed_at, now, limits.max_age, limits.warn_age, tolerance=limits.tolerance)
    how = f" ({found.note})" if found.note else ""
    if freshness.age is None or found.observed_at is None:
        limit = format_duration(limits.max_age)
        text = f"{found.what}: age unknown, limit {limit}: {found.note or 'no timestamp'}; from {found.source}"
    elif freshness.reason is Reason.CLOCK_SKEW:
        text = (
            f"{found.what}: last fresh at {found.observed_at.isoformat()}, {format_duration(-freshness.age)} in the future{how}: "
            f"clock_skew, the clocks of writer and reader differ; from {found.source}"
        )
    else:
        text = (
            f"{found.what}: {format_duration(freshness.age)} old, since {found.observed_at.isoformat()}{how}, "
            f"limit {format_duration(limits.max_age)}: {freshness.reason.value}; from {found.source}"
        )
    return Assessment(found, freshness, text, now, limits)


def _assess_groups(found: Observation, groups: Mapping[str, datetime | None], now: datetime, limits: Limits) -> Assessment:
    if not groups:
        freshness = Freshness(None, Verdict.UNKNOWN, Reason.UNKNOWN)
        text = f"{found.what}: there is no group, so no age; {found.note or 'no rows'}; from {found.source}"
        return Assessment(found, freshness, text, now, limits, (0, 0))
    judged = {
        name: judge(moment, now, limits.max_age, limits.warn_age, tolerance=limits.tolerance) for name, moment in groups.items()
    }
    # A group with an unknown age, or a timestamp in the future, ranks as older than any other: it is not fresh.
    ages = sorted(one.age for one in judged.values() if one.age is not None and one.reason is not Reason.CLOCK_SKEW)
    bad = sorted(((name, one) for name, one in judged.items() if not one.fresh), key=lambda item: (_badness(item[1]), item[0]))
    needed = ceil(limits.share * len(judged))
    # The nearest-rank quantile: the smallest age that a share of at least `quantile` of the groups does not exceed.
    age = ages[needed - 1] if needed <= len(ages) else None
    good = len(judged) - len(bad)
    if good >= needed:
        warns = limits.warn_age is not None and age is not None and age > limits.warn_age
        freshness = Freshness(age, Verdict.WARN if warns else Verdict.PASS, Reason.AGEING if warns else Reason.FRESH)
    elif any(one.reason is Reason.CLOCK_SKEW for _, one in bad) and len(ages) < needed:
        freshness = Freshness(None, Verdict.FAIL, Reason.CLOCK_SKEW)
    elif all(one.reason is Reason.UNKNOWN for one in judged.values()):
        freshness = Freshness(None, Verdict.UNKNOWN, Reason.UNKNOWN)
    else:
        freshness = Freshness(age, Verdict.FAIL, Reason.STALE)
    worst = tuple((name, one.age) for name, one in bad)
    text = (
        f"{found.what}: {good} of {len(judged)} groups are at most {format_duration(limits.max_age)} old, "
        f"{needed} are needed ({float(limits.share) * 100:.6g} %): {freshness.reason.value}; from {found.source}"
    )
    if bad:
        named = ", ".join(f"{name} ({_group_in_words(one)})" for name, one in bad[:MOST_NAMED])
        more = f" and {len(bad) - MOST_NAMED} more" if len(bad) > MOST_NAMED else ""
        text += f"; worst: {named}{more}"
    return Assessment(found, freshness, text, now, limits, (good, len(judged)), worst)


def _badness(one: Freshness) -> tuple[int, float]:
    """Return the sort key: unknown ages first, then timestamps in the future, then the oldest."""
    if one.age is None:
        return (0, 0.0)
    if one.reason is Reason.CLOCK_SKEW:
        return (1, one.age.total_seconds())
    return (2, -one.age.total_seconds())


def _group_in_words(one: Freshness) -> str:
    if one.age is None:
        return "no timestamp"
    if one.reason is Reason.CLOCK_SKEW:
        return f"{format_duration(-one.age)} in the future"
    return f"{format_duration(one.age)} old"


def _seconds(age: timedelta | None) -> float | None:
    return None if age is None else age.total_seconds()
