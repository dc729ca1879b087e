"""Write the alerting rules of one objective: multi-window burn rates, the document's own conditions, missing data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction

from airflow_slo_provider.slo.budget.error_budgets import BurnRateRule
from airflow_slo_provider.slo.export.rule_file import Rule, alerting_rule, camel_case, escape_template
from airflow_slo_provider.slo.export.rule_plan import PolicyAlert, RulePlan
from airflow_slo_provider.slo.promql.text import OPERATORS, number, quote, window_text


@dataclass(frozen=True)
class Subject:
    """The objective that alerts refer to.

    :param name: unique name of the SLO or of its objective
    :param title: service and name, for display
    :param method: unit of the budget: ``events`` or ``time slices``
    :param period: the SLO's window as written in its document
    :param matchers: label matchers, in braces, that select its recorded series
    :param labels: its labels, for an alert without series
    :param by: labels that the SLO is evaluated by
    :param expected: their values that must exist
    """

    name: str
    title: str
    method: str
    period: str
    matchers: str
    labels: Mapping[str, str]
    by: tuple[str, ...] = ()
    expected: tuple[tuple[str, ...], ...] = ()

    def ratio(self, window: timedelta, group: Sequence[str] = ()) -> str:
        """Return the selector of the recorded share of bad events over a window, possibly of one group."""
        own = "".join(f", {label}={quote(value)}" for label, value in zip(self.by, group, strict=False))
        return f"slo:sli_error:ratio_rate{window_text(window)}{self.matchers[:-1]}{own}}}"

    @property
    def identity(self) -> dict[str, str]:
        """The labels that tell SLOs of one name apart, as the series have them; two alerts with the same labels are one."""
        return {name: escape_template(self.labels[name]) for name in ("slo", "slo_service")}

    @property
    def shown(self) -> str:
        """The title as a template, with the values of the labels."""
        group = ", ".join(f"{label} {{{{ $labels.{label} }}}}" for label in self.by)
        return escape_template(self.title) + (f" ({group})" if group else "")


def alert_rules(subject: Subject, plan: RulePlan, quiet: str | None) -> list[Rule]:
    """Write all alerts of one objective.

    :param subject: the objective
    :param plan: its windows and alerts
    :param quiet: expression that has a value while there are no events; None if the indicator has none
    """
    severities = list(dict.fromkeys(rule.severity for rule in plan.burn))
    found = [_burn_alert(subject, plan, severity) for severity in severities]
    found += [_policy_alert(subject, plan.budget, chosen) for chosen in plan.policy_alerts]
    return [*found, _no_data_alert(subject, plan, quiet)]


def _burn_alert(subject: Subject, plan: RulePlan, severity: str) -> Rule:
    chosen = [rule for rule in plan.burn if rule.severity == severity]
    meanings = [
        f"a burn rate of {_round(rule.factor)} for {window_text(rule.long)} spends {_percent(rule.fraction)} of it"
        for rule in chosen
    ]
    return alerting_rule(
        f"{camel_case(subject.name)}ErrorBudgetBurn",
        "\nor\n".join(_burning(subject, plan.budget, rule) for rule in chosen),
        labels={**subject.identity, "severity": escape_template(severity)},
        annotations={
            "summary": f"{subject.shown} spends its error budget too fast",
            "description": f"{_format_rate(subject)}. The budget is {_percent(plan.budget)} of {subject.method} over "
            f"{escape_template(subject.period)}; {'; '.join(meanings)}.",
        },
    )


def _format_rate(subject: Subject) -> str:
    rate, title, period = "{{ $value | humanize }}", subject.shown, escape_template(subject.period)
    return f"{title} burns its error budget at {rate} times the rate that lasts {period}"


def _burning(subject: Subject, budget: Fraction, rule: BurnRateRule) -> str:
    # Compared as a share of bad events, whose limit is an exact decimal, and divided afterwards: the alert's value is the burn
    # rate.
    limit = number(rule.factor * budget)
    return (
        f"(\n  max without (slo_window) (({subject.ratio(rule.long)} > {limit}) / {number(budget)})\n"
        f"  and\n  max without (slo_window) ({subject.ratio(rule.short)} > {limit})\n)"
    )


def _policy_alert(subject: Subject, budget: Fraction, chosen: PolicyAlert) -> Rule:
    condition = chosen.condition
    lookback = window_text(condition.lookback_window)
    limit = f"{OPERATORS[condition.op]} {number(condition.threshold * budget)}"
    rate = f"{OPERATORS[condition.op]} {_round(condition.threshold)}"
    description = f" {escape_template(condition.description)}" if condition.description else ""
    return alerting_rule(
        f"{camel_case(subject.name)}{camel_case(condition.name)}",
        f"max without (slo_window) (({subject.ratio(condition.lookback_window.timedelta)} {limit}) / {number(budget)})",
        wait=window_text(condition.alert_after) if condition.alert_after else None,
        labels={
            **subject.identity,
            "severity": escape_template(condition.severity),
            "alert_policy": escape_template(chosen.policy.name),
        },
        annotations={
            "summary": f"{subject.shown}: burn rate {rate} over {lookback}",
            "description": f"{_format_rate(subject)}, measured over {lookback}.{description}",
        },
    )


def _no_data_alert(subject: Subject, plan: RulePlan, quiet: str | None) -> Rule:
    base = window_text(plan.base)
    expression = _missing(subject, plan)
    if quiet is not None:
        # Without traffic there is no ratio either, but the counters exist, so nothing is wrong.
        expression = f"{expression}\nunless on ({', '.join(subject.by)})\n(\n  {quiet}\n)"
    return alerting_rule(
        f"{camel_case(subject.name)}NoData",
        expression,
        wait=window_text(plan.no_data_after),
        labels={**{name: escape_template(value) for name, value in subject.labels.items()}, "severity": "page"},
        annotations={
            "summary": f"{subject.shown} cannot be measured",
            "description": f"{subject.shown} has no usable data over the last {base}: series are missing, or good and all events "
            "contradict each other. Gates that use it stay closed or warn.",
        },
    )


def _missing(subject: Subject, plan: RulePlan) -> str:
    """Write an expression that has a value while the ratio, or that of a group, does not exist.

    Without expected groups a group is missing that had a ratio in the last day: it may have been retired, which only the author
    of the document can tell.
    """
    if not subject.by:
        return f"absent({subject.ratio(plan.base)})"
    if subject.expected:
        return "(\n" + "\nor\n".join(f"  absent({subject.ratio(plan.base, group)})" for group in subject.expected) + "\n)"
    ratio, by = subject.ratio(plan.base), ", ".join(subject.by)
    seen = f"group by ({by}) (present_over_time({ratio}[1d]))"
    return f"(\n  ({seen} unless on ({by}) {ratio})\n  or\n  absent({ratio})\n)"


def _percent(share: Fraction) -> str:
    return f"{_round(share * 100)} %"


def _round(value: Fraction) -> str:
    text = number(value)
    return text if len(text) <= 8 else f"{float(value):.4g}"
