"""What earlier decisions left behind: a freeze outlasts the run that made it, and also a change of names around it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING

from airflow_slo_provider.slo.checks import policy_state
from airflow_slo_provider.slo.reports import PolicyState
from airflow_slo_provider.slo.windows import nominal_length

if TYPE_CHECKING:
    from airflow_slo_provider.ledger import Ledger, RunKey
    from airflow_slo_provider.slo.model import SLO

#: A clock that is wrong by more is no reason to stay frozen until then.
_AHEAD = timedelta(days=1)


@dataclass(frozen=True)
class _Kept:
    """A state, and when the decision was made that left it."""

    state: PolicyState
    at: datetime

    @property
    def blocks(self) -> bool:
        return self.state.action.blocks


@dataclass(frozen=True)
class Memory:
    """Finds what the last decision about each objective left behind.

    Strictly before the instant: the same question asked twice, in whatever order, gets the same answer. Only a decision about
    now also sees one from up to a day after it, if that blocks: the clock of whoever made it is ahead of ours, or ours is behind.

    :param ledger: where decisions are recorded
    :param at: the instant that is decided about (aware)
    :param about_now: whether the instant is this very moment
    :param exclude_key: a task instance whose own rows are not the past from its ``attempt`` on
    """

    ledger: Ledger
    at: datetime
    about_now: bool
    exclude_key: RunKey | None = None

    def states(self, slos: Sequence[SLO]) -> dict[str, PolicyState]:
        """Return the states by the names of the reports to come.

        An SLO that had one objective and now has several, or the other way round, had reports of other names: what blocked
        under the newer of them blocks all of it.
        """
        found: dict[str, PolicyState] = {}
        for slo in slos:
            own = self._of_slo(slo)
            found.update({name: kept.state for name, kept in (self._inherited(slo) if own is None else own).items()})
        return found

    def _inherited(self, slo: SLO) -> dict[str, _Kept]:
        """What blocks in the unnamed environment, where this one has a name and has decided nothing about the SLO yet: giving an
        Airflow a name thaws nothing.
        """
        if not self.ledger.environment:
            return {}
        unnamed = Memory(self.ledger.within(""), self.at, self.about_now)
        return {name: kept for name, kept in (unnamed._of_slo(slo) or {}).items() if kept.blocks}

    def _of_slo(self, slo: SLO) -> dict[str, _Kept] | None:
        """What is kept of an SLO by the names of its reports; None where nothing was ever decided about it."""
        own = {name: kept for name, _ in slo.parts() if (kept := self._of(slo, name)) is not None}
        others = list(self._under_other_names(slo))
        if not own and not others:
            return None
        newest = max((kept.at for kept in own.values()), default=self._never)
        if max((kept.at for kept in others), default=self._never) > newest:
            blocking = next((kept for kept in others if kept.blocks), None)
            return {name: blocking for name, _ in slo.parts()} if blocking else {}
        return own

    @property
    def _never(self) -> datetime:
        return datetime.min.replace(tzinfo=self.at.tzinfo)

    def _under_other_names(self, slo: SLO) -> Iterator[_Kept]:
        if len(slo.objectives) > 1:
            kept = self._of(slo, slo.name)
            if kept is not None:
                yield kept
            return
        for number in count(1):
            kept = self._of(slo, slo.part_name(number))
            if kept is None:
                return
            yield kept

    def _of(self, slo: SLO, name: str) -> _Kept | None:
        """What the last decision left behind under a name. Documents of several teams may use one name for an SLO, so its
        service belongs to it.

        What the SLO's own policy froze, no decision under another policy thaws, within one window of the SLO. What another
        policy froze blocks for the cool-down; its rules are its own.
        """
        service = {"service": slo.service}
        by_anyone = self._newest(name, service)
        by_policy = self._newest(name, {**service, "policy": slo.options.error_budget_policy or ""})
        if by_policy is None or by_anyone is None or by_anyone.at <= by_policy.at:
            return by_policy or by_anyone
        if by_policy.blocks and by_policy.at > self.at - nominal_length(slo.window):
            return by_policy
        if by_anyone.blocks:
            return replace(by_anyone, state=replace(by_anyone.state, holding=()))
        return replace(by_policy, state=PolicyState()) if by_policy.blocks else by_policy

    def _newest(self, name: str, evidence: dict[str, str]) -> _Kept | None:
        kept = self._before(name, evidence, self.at + _AHEAD if self.about_now else self.at)
        if kept is not None and kept.at >= self.at and not kept.blocks:
            kept = self._before(name, evidence, self.at)
        return kept

    def _before(self, name: str, evidence: dict[str, str], before: datetime | None) -> _Kept | None:
        recorded = self.ledger.latest(
            "slo",
            name,
            before=before,
            exclude_key=self.exclude_key,
            evidence=evidence,
            service=evidence["service"],
            labels={},
        )
        state = policy_state(recorded.result.evidence) if recorded is not None else None
        if recorded is None or state is None:
            return None
        since = state.blocked_since
        return _Kept(replace(state, blocked_since=min(since, self.at) if since else None), recorded.result.checked_at)
