"""Overrides of error-budget policies that do not do what their author wants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from airflow_slo_provider.documents.fields import did_you_mean
from airflow_slo_provider.slo.policy.error_budget_policy import Action, ErrorBudgetPolicy, Override

#: What lasts longer is no exception from a rule but another rule.
LONGEST = timedelta(days=90)


class Idle(NamedTuple):
    """An override that does nothing.

    :param number: its position in the policy, from 0
    :param why: what is wrong, and what to do
    :param opens: whether it is in force and asks for more than the policy's rules: what its author stopped is not stopped
    """

    number: int
    why: str
    opens: bool


def idle_overrides(policy: ErrorBudgetPolicy, followed: Mapping[str, str | None], now: datetime) -> Iterator[Idle]:
    """Yield the overrides of a policy that do nothing for an SLO they name, or for any SLO.

    :param policy: the policy
    :param followed: by the name of each SLO, the name of the policy it follows; None for the default one
    :param now: an override that has ended by then is harmless
    """
    for number, override in enumerate(policy.overrides):
        opens = override.until > now and override.action is not Action.ALLOW
        for name in override.slos:
            why = _out_of_reach(policy, override, name, followed)
            if why:
                yield Idle(number, why, opens)
        if not override.slos and policy.name not in followed.values():
            yield Idle(number, f"{override.action} holds for all SLOs that follow this policy, and none of these does", opens)


def too_long(until: datetime, now: datetime) -> str:
    """Say why an override ends too late; nothing when it does not.

    :param until: when it ends
    :param now: from when on it is counted: nobody writes down when an override begins
    """
    if until - now <= LONGEST:
        return ""
    return (
        f"{until.isoformat()} is more than {LONGEST.days} days ahead: write an earlier end and renew it, "
        "or change the policy's rules where it is to stay"
    )


def _out_of_reach(policy: ErrorBudgetPolicy, override: Override, name: str, followed: Mapping[str, str | None]) -> str:
    if name not in followed:
        hint = did_you_mean(name, followed) or f"; there are {', '.join(sorted(followed)[:10])}"
        what = f"names the SLO {name!r}, which is not among these documents{hint}"
        return f"{what}: for it this override ({override.action}) does nothing"
    other = followed[name]
    if other == policy.name:
        return ""
    rather = f"follows the policy {other!r}" if other else "names no policy (airflow-slo/error-budget-policy)"
    return f"names the SLO {name!r}, which {rather}: for it this override does nothing"
