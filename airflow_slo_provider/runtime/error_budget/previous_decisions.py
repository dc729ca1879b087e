"""Read the state that earlier decisions left: a freeze lasts beyond its run, and also across renamed objectives."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import reduce
from itertools import count
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.core import strict_json
from airflow_slo_provider.core.slo_key import SLOKey, labels_text
from airflow_slo_provider.ledger.queries import slos as slo_queries
from airflow_slo_provider.ledger.records import BACKFILL
from airflow_slo_provider.slo.budget.ledger_records import policy_state
from airflow_slo_provider.slo.budget.reports import PolicyState
from airflow_slo_provider.slo.budget.windows import nominal_length

if TYPE_CHECKING:
    from airflow_slo_provider.ledger import Ledger, RunKey
    from airflow_slo_provider.slo.model import SLO

#: Largest clock difference that is tolerated: a block from further in the future is ignored.
_AHEAD = timedelta(days=1)
#: A row that was written later than this after its evaluation timestamp, by its writer's clock, is about the past.
_AT_ONCE = timedelta(hours=1)


@dataclass(frozen=True)
class _PastState:
    """A policy state, and when the decision was made that left it.

    :param at: evaluation timestamp of the decision, by the clock of its writer
    :param number: row number in the ledger; a later row has a greater number, regardless of clocks
    :param at_once: whether the decision was recorded within an hour of its evaluation timestamp
    """

    state: PolicyState
    at: datetime
    number: int
    at_once: bool

    @property
    def blocks(self) -> bool:
        return self.state.action.blocks

    def outranks(self, other: _PastState) -> bool:
        """Return whether this state came after another, by the clocks of their writers.

        A state that does not block, whose clock is ahead, did not come after a block that was written later.
        """
        if self.blocks != other.blocks:
            block, release = (self, other) if self.blocks else (other, self)
            if block.at_once and block.number > release.number:
                return block is self
        return self.at > other.at


def _newest_of(states: Collection[_PastState]) -> _PastState | None:
    return reduce(lambda newest, state: state if state.outranks(newest) else newest, states) if states else None


def _has_other_labels(group: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    common = set(group) & set(wanted)
    return set(group) != set(wanted) and all(group[label] == wanted[label] for label in common)


@dataclass(frozen=True)
class PreviousDecisions:
    """Find the state that the last decision about each objective left.

    Only decisions strictly before the timestamp count, so that repeated evaluations give the same result in any order. Only an
    evaluation of the present also considers decisions from up to a day after it, if they block: the clock of their writer may
    be ahead, or ours behind.

    :param ledger: where decisions are recorded
    :param at: evaluation timestamp (aware)
    :param about_now: whether the timestamp is the present
    :param exclude_key: a task instance whose own rows are ignored from its ``attempt`` on
    """

    ledger: Ledger
    at: datetime
    about_now: bool
    exclude_key: RunKey | None = None

    def states(self, slos: Sequence[SLO]) -> dict[SLOKey, PolicyState]:
        """Return the states by the keys of the reports to come.

        If an SLO had one objective and now has several, or the reverse, its earlier reports had other names. A block under the
        newer of these names blocks the whole SLO.

        :param slos: the SLOs
        """
        found: dict[SLOKey, PolicyState] = {}
        for slo in slos:
            own, inherited = self._states_of(slo), self._inherited(slo)
            newest = _newest_of(own.values())
            if newest is not None:
                inherited = {
                    name: kept
                    for name, kept in inherited.items()
                    if kept.outranks(own.get(name, newest)) and not self._had_decided(slo, kept)
                }
            found.update({SLOKey(slo.service, name): kept.state for name, kept in {**own, **inherited}.items()})
        return found

    def blocked_groups(self, slos: Sequence[SLO], cool_down: Callable[[SLO], timedelta]) -> list[SLO]:
        """Return groups that are blocked and have no events any more: a block must not end because its group vanished.

        A block counts for its cool-down, and for at least one window of the SLO, from its start. Where an SLO names the groups
        that must exist, others may vanish.

        :param slos: the SLOs to evaluate, by group
        :param cool_down: returns the cool-down of an SLO's policy
        """
        evaluated = {(slo.key, labels_text(slo.group)) for slo in slos}
        bases = {slo.key: replace(slo, group={}) for slo in slos if slo.group and not slo.options.expected_groups}
        found = []
        for base in bases.values():
            length = max(nominal_length(base.window), cool_down(base))
            for group in self._recorded_groups(base):
                if (base.key, labels_text(group.group)) in evaluated or set(group.group) != set(base.options.group_by):
                    continue
                starts = [kept.state.blocked_since for kept in self._states_of_objectives(group).values() if kept.blocks]
                if any(start is not None and self.at < start + length for start in starts):
                    found.append(replace(group, group={label: group.group[label] for label in base.options.group_by}))
        return found

    def _inherited(self, slo: SLO) -> dict[str, _PastState]:
        """Return the blocks of the unnamed environment, if this one has a name: naming an environment must not lift a freeze.

        The inherited block ends with the first decision of this environment about a later timestamp, because that decision took
        the block into account. Decisions about an earlier timestamp (backfills, gates with ``at``) do not end it.
        """
        if not self.ledger.environment:
            return {}
        unnamed = PreviousDecisions(self.ledger.within(""), self.at, self.about_now)
        return {name: kept for name, kept in unnamed._states_of(slo).items() if kept.blocks}

    def _had_decided(self, slo: SLO, block: _PastState) -> bool:
        """Return whether gates of this environment had decided before a block was written; then it belongs to another Airflow."""
        names = [slo.name, *(name.removesuffix(slo.group_text) for name, _ in slo.parts())]
        return any(
            self.ledger.wrote_before(block.number, "slo", name, service=slo.service, at_once=_AT_ONCE, but_for=BACKFILL)
            for name in names
        )

    def _states_of(self, slo: SLO) -> dict[str, _PastState]:
        """Return the states of an SLO by the names of its reports; empty if no decision was ever made about it."""
        own = self._states_of_objectives(slo)
        if slo.group:
            return own or self._states_of_whole(slo)
        return self._states_of_groups(slo, own) if slo.options.group_by or not own else own

    def _states_of_whole(self, slo: SLO) -> dict[str, _PastState]:
        """Return for a group without own decisions those of the SLO before it was evaluated by these labels.

        A block of the SLO as a whole blocks each group, and one of a group of other labels each group with the same values of
        the labels that both have: adding, removing or renaming a label does not lift it.
        """
        base = replace(slo, group={})
        whole = {f"{name}{slo.group_text}": kept for name, kept in self._states_of_objectives(base).items()}
        others = [group for group in self._recorded_groups(base) if _has_other_labels(group.group, slo.group)]
        states = [kept for group in others for kept in self._states_of_objectives(group).values()]
        block = _newest_of([kept for kept in (*whole.values(), *states) if kept.blocks])
        return whole if block is None else {name: block for name, _ in slo.parts()}

    def _states_of_groups(self, slo: SLO, own: dict[str, _PastState]) -> dict[str, _PastState]:
        """Return the states of an SLO as a whole; a block of one of its groups, within one window of the SLO, blocks it."""
        groups = [kept for group in self._recorded_groups(slo) for kept in self._states_of_objectives(group).values()]
        newest, other = _newest_of(own.values()), _newest_of(groups)
        if other is None or (newest is not None and not other.outranks(newest)):
            return own
        recent = self.at - nominal_length(slo.window)
        blocking = [kept for kept in groups if kept.blocks and kept.at > recent]
        state = _newest_of(blocking) or replace(other, state=PolicyState())
        return {name: state for name, _ in slo.parts()}

    def _recorded_groups(self, slo: SLO) -> list[SLO]:
        rows = [row for name, _ in slo.parts() for row in slo_queries.newest(self.ledger, name=name)]
        keys = dict.fromkeys(SLOKey.of(row.result) for row in rows)
        return [replace(slo, group=strict_json.loads(key.labels)) for key in keys if key.labels and key.service == slo.service]

    def _states_of_objectives(self, slo: SLO) -> dict[str, _PastState]:
        """Return the states by the names of the objectives; empty if no decision was ever made about this SLO or group."""
        own = {name: kept for name, _ in slo.parts() if (kept := self._last_state(slo, name)) is not None}
        others = list(self._under_other_names(slo))
        newest, other = _newest_of(own.values()), _newest_of(others)
        if other is None or (newest is not None and not other.outranks(newest)):
            return own
        blocking = next((kept for kept in others if kept.blocks), replace(other, state=PolicyState()))
        return {name: blocking for name, _ in slo.parts()}

    def _under_other_names(self, slo: SLO) -> Iterator[_PastState]:
        if len(slo.objectives) > 1:
            kept = self._last_state(slo, slo.name)
            if kept is not None:
                yield kept
            return
        for number in count(1):
            kept = self._last_state(slo, slo.part_name(number))
            if kept is None:
                return
            yield kept

    def _last_state(self, slo: SLO, name: str) -> _PastState | None:
        """Return the state that the last decision left under a name, for the service of the SLO.

        The service is part of the key, because documents of several teams may use the same SLO name. A freeze by the SLO's own
        policy is not lifted by a decision under another policy, within one window of the SLO. A freeze by another policy blocks
        for the cool-down, without the rules of that policy.
        """
        name, service = name.removesuffix(slo.group_text), {"service": slo.service}
        by_anyone = self._newest(slo, name, service)
        by_policy = self._newest(slo, name, {**service, "policy": slo.options.error_budget_policy or ""})
        if by_policy is None or by_anyone is None or not by_anyone.outranks(by_policy):
            return by_policy or by_anyone
        if by_policy.blocks and by_policy.at > self.at - nominal_length(slo.window):
            return by_policy
        if by_anyone.blocks:
            return replace(by_anyone, state=replace(by_anyone.state, holding=()))
        return replace(by_policy, state=PolicyState()) if by_policy.blocks else by_policy

    def _newest(self, slo: SLO, name: str, evidence: dict[str, str]) -> _PastState | None:
        """Return the state of the newest decision.

        For an evaluation of the present, the decision that was written last counts if it blocks and the newest by timestamp
        does not, so that a clock that is ahead does not lift a freeze.
        """
        if not self.about_now:
            return self._before(slo, name, evidence, self.at)
        ahead = self.at + _AHEAD
        kept = self._before(slo, name, evidence, ahead)
        if kept is None or kept.blocks:
            return kept
        written = self._before(slo, name, evidence, ahead, since=kept.at - _AHEAD, written_at_once=_AT_ONCE)
        if written is not None and written.outranks(kept):
            return written
        return kept if kept.at < self.at else self._before(slo, name, evidence, self.at)

    def _before(self, slo: SLO, name: str, evidence: dict[str, str], before: datetime, **which: Any) -> _PastState | None:
        recorded = self.ledger.latest(
            "slo",
            name,
            before=before,
            exclude_key=self.exclude_key,
            evidence=evidence,
            service=evidence["service"],
            labels=slo.group,
            **which,
        )
        state = policy_state(recorded.result.evidence) if recorded is not None else None
        if recorded is None or state is None:
            return None
        since, checked_at = state.blocked_since, recorded.result.checked_at
        at_once = self.about_now and recorded.recorded_at - checked_at < _AT_ONCE
        state = replace(state, blocked_since=min(since, self.at) if since else None)
        return _PastState(state, checked_at, recorded.number, at_once)
