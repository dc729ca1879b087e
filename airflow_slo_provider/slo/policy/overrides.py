"""Find overrides of error-budget policies that have no effect or last too long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from airflow_slo_provider.core.slo_key import SLOKey, ambiguous_name, display_names, find_keys
from airflow_slo_provider.documents.fields import did_you_mean
from airflow_slo_provider.slo.policy.error_budget_policy import Action, ErrorBudgetPolicy, Override

#: A longer override should be a rule of the policy.
LONGEST = timedelta(days=90)


class IdleOverride(NamedTuple):
    """An override without effect.

    :param number: its position in the policy, from 0
    :param problem: the problem, and what to do
    :param opens: whether it is in force, and deployments that its author wanted to block would not be blocked
    """

    number: int
    problem: str
    opens: bool


def idle_overrides(policy: ErrorBudgetPolicy, followed: Mapping[SLOKey, str | None], now: datetime) -> Iterator[IdleOverride]:
    """Yield the overrides of a policy that have no effect on an SLO they name, or on any SLO.

    :param policy: the policy
    :param followed: SLO -> name of its policy; None for the default policy
    :param now: the current time; ended overrides are ignored
    """
    for number, override in enumerate(policy.overrides):
        is_current = override.until > now
        opens = is_current and override.action is not Action.ALLOW
        for name in override.slos:
            if problem := _unreachable_reason(policy, override, name, followed):
                # An ambiguous name might lift the block of an SLO that its author did not mean.
                yield IdleOverride(number, problem, opens or (is_current and len(find_keys(name, followed)) > 1))
        if not override.slos and policy.name not in followed.values():
            yield IdleOverride(number, f"{override.action} is for all SLOs of this policy, and none of these names it", opens)


def expiry_error(until: datetime, now: datetime) -> str:
    """Return why an override ends too late; an empty text if it does not.

    :param until: end of the override
    :param now: start of the count, because an override has no start time
    """
    if until - now <= LONGEST:
        return ""
    return f"{until.isoformat()} is more than {LONGEST.days} days ahead: write an earlier end, or change the policy's rules"


def _unreachable_reason(policy: ErrorBudgetPolicy, override: Override, name: str, followed: Mapping[SLOKey, str | None]) -> str:
    found = find_keys(name, followed)
    if len(found) > 1:
        return f"{ambiguous_name(name, found)} for the override ({override.action})"
    if not found:
        names = sorted(display_names(followed).values())
        hint = did_you_mean(name, names) or f"; there are {', '.join(names[:10])}"
        what = f"names the SLO {name!r}, which is not among these documents{hint}"
        return f"{what}: for it this override ({override.action}) does nothing"
    other = followed[found[0]]
    if other == policy.name:
        return ""
    instead = f"follows the policy {other!r}" if other else "names no policy (airflow-slo/error-budget-policy)"
    return f"names the SLO {name!r}, which {instead}: for it this override does nothing"
