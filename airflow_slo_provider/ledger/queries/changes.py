"""Query gate decisions, changes of the serving version (promotions, deployments, rollbacks) and failed evaluations."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate, chain
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.core.slo_key import SLOKey, ambiguous_name, find_keys
from airflow_slo_provider.ledger.mapped_task_names import LABEL
from airflow_slo_provider.ledger.records import Recorded, RunKey
from airflow_slo_provider.results import CheckResult, Verdict

if TYPE_CHECKING:
    from airflow_slo_provider.ledger.store import Ledger

DECISION, GOLDEN_SET = "decision", "golden_set"
#: Kinds that change the serving version.
CHANGES = ("deployment", "promote", "promotion", "rollback")
#: Kinds of evaluation that stop a run before its gate, or a promotion after it.
EVALUATIONS = (GOLDEN_SET, "drift")
#: Maximum number of checks recorded by an evaluation: its own, and one per metric and segment, or column.
_PARTS = 50
#: Start of what follows the name of an SLO in the name of one of its reports.
_NAME_END = re.compile(r"[\[{]")
#: Maximum number of decisions searched for those about some SLOs.
_MOST_DECISIONS = 10_000


@dataclass(frozen=True, kw_only=True)
class HistoryEntry:
    """A decision, a change of the serving version, or an evaluation that prevented one.

    :param kind: ``decision``, or one of :data:`CHANGES` or :data:`EVALUATIONS`
    :param name: the gate, ``dag.task``, or the changed object, e.g. ``churn@champion``
    :param outcome: for a decision ``allowed``, ``warning``, ``frozen`` or ``unknown``; for a change its verdict: ``pass`` when it
        was made, ``fail`` when it was refused, ``unknown`` when it was started and its result was not recorded; for an
        evaluation ``fail`` or ``unknown``
    :param version: the model version; None if nothing in the run names one
    :param before: the version that served before; None for a decision, and if there was none
    :param by: the user who made or approved it, if any
    :param why: the reasons, or a description of the change
    :param slos: status of each SLO that a decision evaluated
    :param key: the task instance that recorded it
    :param map_label: rendered ``map_index_template`` of a mapped task
    """

    at: datetime
    kind: str
    name: str
    outcome: str
    version: str | None
    before: str | None = None
    by: str | None = None
    why: str
    slos: Mapping[str, str] = field(default_factory=dict)
    key: RunKey
    map_label: str | None = None


def history_entries(
    ledger: Ledger,
    *,
    slos: Collection[str] = (),
    dag_id: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 20,
) -> list[HistoryEntry]:
    """Return decisions, changes, and evaluations that did not pass, newest first.

    :param ledger: the ledger
    :param slos: only decisions that evaluated one of these SLOs, as ``name`` or ``service/name``, and changes made by their runs;
        empty for all
    :param dag_id: only those of this DAG
    :param since: only those at or after this time (aware)
    :param until: only those before this time (aware)
    :param limit: maximum number of results
    :raises ValueError: for a limit below 1 or above 10,000, and for a name that several services use
    """
    if not 1 <= limit <= _MOST_DECISIONS:
        raise ValueError(f"limit {limit} must lie between 1 and {_MOST_DECISIONS}")
    most = _MOST_DECISIONS if slos else limit
    rows = ledger.checks(DECISION, dag_id=dag_id, since=since, until=until, limit=most)
    if slos:
        rows = _about(rows, slos)
    runs = {(row.key.dag_id, row.key.run_id) for row in rows}
    for kind in CHANGES:
        found = ledger.checks(kind, dag_id=dag_id, since=since, until=until, limit=most)
        rows += [row for row in found if not slos or (row.key.dag_id, row.key.run_id) in runs]
    for kind in EVALUATIONS:
        found = ledger.checks(kind, dag_id=dag_id, since=since, until=until, limit=min(most * _PARTS, _MOST_DECISIONS))
        rows += [row for row in _failed_evaluations(found) if not slos or (row.key.dag_id, row.key.run_id) in runs]
    rows.sort(key=lambda row: row.result.checked_at, reverse=True)
    return [_history_entry(ledger, row) for row in rows[:limit]]


def _about(rows: Sequence[Recorded], slos: Collection[str]) -> list[Recorded]:
    """Return the decisions that evaluated one of the SLOs.

    :raises ValueError: for a name without a service that several services use in these decisions
    """
    evaluated = [list(_evaluated(row.result)) for row in rows]
    for name in slos:
        found = find_keys(name, (key for keys in evaluated for key in keys if key.service))
        if len(found) > 1:
            raise ValueError(ambiguous_name(name, found))
    # A decision of an older release does not name the services: it is found by the name alone.
    wanted = {*slos, *(name.rpartition("/")[2] for name in slos)}
    return [
        row
        for row, keys in zip(rows, evaluated, strict=True)
        if any(find_keys(name, [key]) for key in keys for name in (slos if key.service else wanted))
    ]


def _evaluated(result: CheckResult) -> Iterator[SLOKey]:
    """Yield the SLOs that a decision evaluated. Each objective and group is recorded: name[1], name{model_version="v2"}, ..."""
    services = result.evidence.get("services")
    for name in _statuses(result):
        service = first_text(services, name)
        yield SLOKey(service, _NAME_END.split(name.removeprefix(f"{service}/"), maxsplit=1)[0])


def _failed_evaluations(rows: Sequence[Recorded]) -> list[Recorded]:
    """Return the evaluations that did not pass, without their parts: ``churn``, not ``churn/accuracy``."""
    names = {(row.key, row.result.name) for row in rows}

    def is_part(row: Recorded) -> bool:
        parents = accumulate(row.result.name.split("/")[:-1], "{}/{}".format)
        return any((row.key, parent) in names for parent in parents)

    return [row for row in rows if row.result.verdict not in (Verdict.PASS, Verdict.WARN) and not is_part(row)]


def changed_to(result: CheckResult) -> str:
    """Return the version that a change put into service; empty if it names none."""
    return result.model_version or first_text(result.evidence, "to_version", "version", "to_revision", "image", "to")


def changed_from(result: CheckResult) -> str:
    """Return the version that served before a change; empty if it names none."""
    return first_text(result.evidence, "from_version", "previous", "previous_version", "from_revision", "from")


def changed_by(result: CheckResult) -> str:
    """Return the user who made or approved a change; empty if it names none."""
    return first_text(result.evidence, "user", "by", "approved_by", "owner")


def first_text(source: Any, *keys: str) -> str:
    """Return the first of some entries that is a text or a number, as text; empty if there is none.

    Evidence is written by checks and may have any type: a value of a wrong type counts as missing.
    """
    for key in keys:
        value = source.get(key) if isinstance(source, Mapping) else None
        if isinstance(value, str) and value:
            return value
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return str(value)
    return ""


def _history_entry(ledger: Ledger, row: Recorded) -> HistoryEntry:
    result = row.result
    outcome, version, before, by = "", result.model_version or "", "", ""
    if result.kind == DECISION:
        outcome, version = first_text(result.evidence, "outcome"), _version_of_run(ledger, row.key)
    elif result.kind in CHANGES:
        version, before, by = changed_to(result), changed_from(result), changed_by(result)
    return HistoryEntry(
        at=result.checked_at,
        kind=result.kind,
        name=result.name,
        outcome=outcome or result.verdict.value,
        version=version or None,
        before=before or None,
        by=by or None,
        why=result.message,
        slos=_statuses(result),
        key=row.key,
        map_label=first_text(result.evidence, LABEL) or None,
    )


def _version_of_run(ledger: Ledger, key: RunKey) -> str:
    """Return the version that a gate decided about, from other tasks of its run, since the gate records no model version."""
    from airflow_slo_provider.ledger.queries.checks import of_run

    results = [row.result for row in reversed(of_run(ledger, key.dag_id, key.run_id))]
    evaluated = (result.model_version or "" for result in results if result.kind == GOLDEN_SET)
    # A run may put several versions into service, e.g. promote one and then roll it back.
    changed = (changed_to(result) for result in results if result.kind in CHANGES)
    return next(filter(None, chain(evaluated, changed)), "")


def _statuses(result: CheckResult) -> dict[str, str]:
    found = result.evidence.get("slos")
    return {str(name): str(status) for name, status in found.items()} if isinstance(found, Mapping) else {}
