"""What earlier decisions left behind: a freeze outlasts the run that made it, and also a change of names around it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import reduce
from itertools import count
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.ledger.records import BACKFILL
from airflow_slo_provider.slo.budget.ledger_records import policy_state
from airflow_slo_provider.slo.budget.reports import PolicyState
from airflow_slo_provider.slo.budget.windows import nominal_length

if TYPE_CHECKING:
    from airflow_slo_provider.ledger import Ledger, RunKey
    from airflow_slo_provider.slo.model import SLO

#: A clock that is wrong by more is no reason to stay frozen until then.
_AHEAD = timedelta(days=1)
#: What is written later than that after the instant that it is about, by its writer's own clock, is about the past.
_AT_ONCE = timedelta(hours=1)


@dataclass(frozen=True)
class _Kept:
    """A state, and when the decision was made that left it.

    :param at: the instant that it was about, by the clock of whoever made it
    :param number: of two rows of the ledger, the later one has the greater number, whatever clocks say
    :param at_once: whether the decision was recorded within an hour of the instant that it was about
    """

    state: PolicyState
    at: datetime
    number: int
    at_once: bool

    @property
    def blocks(self) -> bool:
        return self.state.action.blocks

    def outranks(self, other: _Kept) -> bool:
        """Whether it came after another one, by the clocks that made them; but what was decided before a block was written, by
        a clock that is ahead, did not come after it.
        """
        if self.blocks != other.blocks:
            block, past = (self, other) if self.blocks else (other, self)
            if block.at_once and block.number > past.number:
                return block is self
        return self.at > other.at


def _newest_of(kept: Iterable[_Kept]) -> _Kept | None:
    return reduce(lambda newest, one: one if one.outranks(newest) else newest, kept) if (kept := list(kept)) else None


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
            own, inherited = self._of_slo(slo), self._inherited(slo)
            newest = _newest_of(own.values())
            if newest is not None:
                inherited = {
                    name: kept
                    for name, kept in inherited.items()
                    if kept.outranks(own.get(name, newest)) and not self._had_decided(slo, kept)
                }
            found.update({name: kept.state for name, kept in {**own, **inherited}.items()})
        return found

    def _inherited(self, slo: SLO) -> dict[str, _Kept]:
        """What blocks in the unnamed environment, where this one has a name: giving an Airflow a name thaws nothing.

        The inherited block ends with the first decision of this environment about a later instant, because that decision took
        the block into account. Decisions about an earlier instant (backfills, gates with ``at``) do not end it.
        """
        if not self.ledger.environment:
            return {}
        unnamed = Memory(self.ledger.within(""), self.at, self.about_now)
        return {name: kept for name, kept in unnamed._of_slo(slo).items() if kept.blocks}

    def _had_decided(self, slo: SLO, block: _Kept) -> bool:
        """Whether gates of this environment had decided before a block was written: then it is another Airflow's."""
        names = [slo.name, *(name for name, _ in slo.parts())]
        return any(
            self.ledger.wrote_before(block.number, "slo", name, service=slo.service, at_once=_AT_ONCE, but_for=BACKFILL)
            for name in names
        )

    def _of_slo(self, slo: SLO) -> dict[str, _Kept]:
        """What is kept of an SLO by the names of its reports; nothing where nothing was ever decided about it."""
        own = {name: kept for name, _ in slo.parts() if (kept := self._of(slo, name)) is not None}
        others = list(self._under_other_names(slo))
        newest, other = _newest_of(own.values()), _newest_of(others)
        if other is None or (newest is not None and not other.outranks(newest)):
            return own
        blocking = next((kept for kept in others if kept.blocks), replace(other, state=PolicyState()))
        return {name: blocking for name, _ in slo.parts()}

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
        if by_policy is None or by_anyone is None or not by_anyone.outranks(by_policy):
            return by_policy or by_anyone
        if by_policy.blocks and by_policy.at > self.at - nominal_length(slo.window):
            return by_policy
        if by_anyone.blocks:
            return replace(by_anyone, state=replace(by_anyone.state, holding=()))
        return replace(by_policy, state=PolicyState()) if by_policy.blocks else by_policy

    def _newest(self, name: str, evidence: dict[str, str]) -> _Kept | None:
        """Return what the newest decision left. For a decision about now, that is the one which was written last where it blocks
        and the other one does not: a clock that is ahead thaws nothing.
        """
        if not self.about_now:
            return self._before(name, evidence, self.at)
        ahead = self.at + _AHEAD
        kept = self._before(name, evidence, ahead)
        if kept is None or kept.blocks:
            return kept
        written = self._before(name, evidence, ahead, since=kept.at - _AHEAD, written_at_once=_AT_ONCE)
        if written is not None and written.outranks(kept):
            return written
        return kept if kept.at < self.at else self._before(name, evidence, self.at)

    def _before(self, name: str, evidence: dict[str, str], before: datetime, **which: Any) -> _Kept | None:
        recorded = self.ledger.latest(
            "slo",
            name,
            before=before,
            exclude_key=self.exclude_key,
            evidence=evidence,
            service=evidence["service"],
            labels={},
            **which,
        )
        state = policy_state(recorded.result.evidence) if recorded is not None else None
        if recorded is None or state is None:
            return None
        since, checked_at = state.blocked_since, recorded.result.checked_at
        at_once = self.about_now and recorded.recorded_at - checked_at < _AT_ONCE
        state = replace(state, blocked_since=min(since, self.at) if since else None)
        return _Kept(state, checked_at, recorded.number, at_once)
