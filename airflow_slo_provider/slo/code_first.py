"""Define SLOs in Python instead of documents, for notebooks and model servers.

>>> config = SLOConfig(
...     name="fraud-model",
...     slis=[SLIDefinition("availability", "sum(rate(ok[{{.window}}])) / sum(rate(all[{{.window}}]))", 0.999)],
... )
>>> SLOMonitor(config, "http://prometheus:9090").should_allow_deployment()
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from fractions import Fraction
from typing import Any

from airflow_slo_provider.core.exact_numbers import Number, exact
from airflow_slo_provider.core.slo_key import SLOKey
from airflow_slo_provider.documents.durations import Duration, format_seconds
from airflow_slo_provider.slo.budget.error_budgets import budget_share
from airflow_slo_provider.slo.budget.indicator_source import IndicatorSource
from airflow_slo_provider.slo.catalog import SLOCatalog
from airflow_slo_provider.slo.model import (
    SLO,
    BudgetingMethod,
    Indicator,
    MetricSource,
    Objective,
    Options,
    RatioMetric,
    TimeWindow,
)
from airflow_slo_provider.slo.policy.error_budget_policy import Action, ErrorBudgetPolicy, PolicyRule, Signal
from airflow_slo_provider.slo.policy.overrides import expiry_error, idle_overrides
from airflow_slo_provider.slo.promql.text import has_window

_HOUR = Duration("1h", seconds=3600)


class SLIType(StrEnum):
    """The kind of an SLI, for display only."""

    AVAILABILITY = "availability"
    LATENCY = "latency"
    THROUGHPUT = "throughput"
    FRESHNESS = "freshness"
    QUALITY = "quality"


@dataclass(frozen=True)
class SLIDefinition:
    """An indicator with its target.

    :param name: name of the indicator
    :param query: PromQL of the share of good events, between 0 and 1. ``{{.window}}`` stands for the window, as in
        ``sum(increase(ok_total[{{.window}}])) / sum(increase(all_total[{{.window}}]))``. A query without it returns the share
        at one time: it is evaluated every minute of the window and averaged, so that every minute has the same weight.
    :param target: target share of good events, in (0, 1); a str, Decimal or Fraction keeps it exact
    :param slo_type: kind of the indicator, for display
    :param window_hours: length of the window in hours
    :raises ValueError: for an empty name or query, a target outside (0, 1), or a window that is not a positive whole number of
        hours
    """

    name: str
    query: str
    target: Number
    slo_type: SLIType | str = SLIType.AVAILABILITY
    window_hours: int = 720

    def __post_init__(self) -> None:
        if not self.name.strip() or not self.query.strip():
            raise ValueError("an SLI needs a name and a query")
        budget_share(self.target)
        if isinstance(self.window_hours, bool) or not isinstance(self.window_hours, int) or self.window_hours < 1:
            raise ValueError(f"SLI {self.name}: window_hours {self.window_hours!r} is not a positive whole number of hours")

    @property
    def slo_name(self) -> str:
        """The name as used in documents and rules."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-") or "sli"

    def slo(self, service: str, *, policy: str | None = None) -> SLO:
        """Return the equivalent SLO.

        :param service: name of the service
        :param policy: name of the error-budget policy; the default policy when None
        """
        text = self.query.strip()
        if not has_window(text):
            text = f"avg_over_time((\n{text}\n)[{{{{.window}}}}:1m])"
        metric = RatioMetric(raw=MetricSource("Prometheus", None, text), raw_type="success")
        seconds = self.window_hours * 3600
        return SLO(
            name=self.slo_name,
            service=service,
            indicator=Indicator(self.slo_name, metric, self.name),
            window=TimeWindow(Duration(format_seconds(seconds), seconds=seconds)),
            method=BudgetingMethod.OCCURRENCES,
            objectives=(Objective(exact(self.target, what="target"), self.name),),
            display_name=self.name,
            labels={"type": (str(self.slo_type),)},
            options=Options(error_budget_policy=policy, min_coverage=Fraction(0)),
        )


@dataclass(frozen=True)
class SLOConfig:
    """The SLOs of one service, defined in code.

    :param name: name of the service
    :param slis: its indicators
    :param error_budget_policy: the action for a spent budget: ``freeze``, ``escalate``, ``degrade``, ``reduce_experimentation``
        or ``alert``; or a whole policy
    :param alert_burn_rate: burn rate over the last hour above which the policy warns; None for the default alert rules alone
    :raises ValueError: for an unknown action, an override that is too long or has no effect, no SLI, or two SLIs with the same
        name
    """

    name: str
    slis: Sequence[SLIDefinition]
    error_budget_policy: str | Action | ErrorBudgetPolicy = Action.FREEZE
    alert_burn_rate: Number | None = None

    def __post_init__(self) -> None:
        if not self.slis:
            raise ValueError(f"SLO config {self.name}: there is no SLI")
        names = [sli.slo_name for sli in self.slis]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"SLO config {self.name}: two SLIs are named {', '.join(twice)}")
        policy, now = self.policy(), datetime.now(UTC)
        problems = [f"until {error}" for override in policy.overrides if (error := expiry_error(override.until, now))]
        problems += [
            idle.problem
            for idle in idle_overrides(policy, dict.fromkeys((SLOKey(self.name, name) for name in names), policy.name), now)
            if idle.opens
        ]
        if problems:
            raise ValueError(f"SLO config {self.name}: an override {problems[0]}")

    def policy(self) -> ErrorBudgetPolicy:
        """Return the equivalent error-budget policy.

        :raises ValueError: for an unknown action, or an ``alert_burn_rate`` that is not above 0
        """
        if isinstance(self.error_budget_policy, ErrorBudgetPolicy):
            return self.error_budget_policy
        action = Action(str(self.error_budget_policy).strip().lower())
        rules = [PolicyRule("budget-spent", action, Signal.REMAINING_BUDGET, "lte", Fraction(0), Fraction(0))]
        if self.alert_burn_rate is not None:
            level = exact(self.alert_burn_rate, what="alert_burn_rate")
            if level <= 0:
                raise ValueError(f"SLO config {self.name}: alert_burn_rate {self.alert_burn_rate} is not above 0")
            rules.append(PolicyRule("burns-fast", Action.ALERT, Signal.BURN_RATE, "gt", level, level, _HOUR))
        return ErrorBudgetPolicy(f"{self.name}-policy", tuple(rules))

    def catalog(self) -> SLOCatalog:
        """Return the equivalent catalog."""
        policy = self.policy()
        slos = tuple(sli.slo(self.name, policy=policy.name) for sli in self.slis)
        return SLOCatalog(slos, policies={policy.name: policy})


def client_source(client: Any) -> IndicatorSource | Mapping[str, IndicatorSource]:
    """Create an indicator source from a Prometheus client; see ``indicators.prometheus.client_adapters.make_source``."""
    from airflow_slo_provider.indicators.prometheus.client_adapters import make_source

    return make_source(client)
