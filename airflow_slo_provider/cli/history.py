"""Implement ``airflow slo report``, ``decisions`` and ``backfill``, which read and write the ledger."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.cli.commands import exit_on_error, exit_with, load_documents, read_connections_from_database

if TYPE_CHECKING:
    from airflow_slo_provider.core.slo_key import SLOKey
    from airflow_slo_provider.ledger import Ledger, RunKey
    from airflow_slo_provider.ledger.queries.changes import HistoryEntry
    from airflow_slo_provider.results import CheckResult

#: Limit of ``backfill``: more than a year of hourly evaluations; a larger number is most likely a typing error.
MAX_EVALUATIONS = 10_000
_COLUMN_NAMES = ("when (UTC)", "what", "outcome", "version", "DAG run", "why")


def report(args: Namespace) -> None:
    """Print the history of error budgets from the recorded checks; exit with 2 if an SLO has no recorded check."""
    from airflow_slo_provider.core.slo_key import SLOKey, display_names
    from airflow_slo_provider.ledger.queries import checks as check_queries
    from airflow_slo_provider.slo.budget.history import format_history_table, summarise_history

    catalog = load_documents(args.path, exit_code=2)
    checks = []
    with _open_ledger(args) as ledger:
        until = _read_time(args.until) or datetime.now(UTC)
        since = _read_time(args.since) or until - timedelta(days=30)
        parts = [(SLOKey(slo.service, name), slo) for slo in catalog.select(args.select) for name, _ in slo.parts()]
        slos = dict(parts)
        source, hint = _describe(ledger), _other_rows(ledger)
        for slo, document in slos.items():
            rows = check_queries.stream(ledger, "slo", slo.name, since=since, until=until)
            # An SLO of another service may have the same name.
            grouped = bool(document.options.group_by)
            checks += [_without_unused_evidence(row.result) for row in rows if _is_about(row.result, slo, grouped=grouped)]
    histories = summarise_history(checks)
    if args.output == "json":
        print(json.dumps([asdict(history) for history in histories], indent=2, default=datetime.isoformat))
    else:
        suffix = ", including test runs" if args.test_runs else ""
        print(f"Error budgets from {since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC, as recorded{suffix}")
        print(f"{source}\n")
        print(format_history_table(histories))
    shown = display_names(slos)
    recorded = {SLOKey.of(check)._replace(labels="") for check in checks}
    missing = sorted(shown[slo] for slo in slos.keys() - recorded)
    if missing:
        exit_with(2, f"no check recorded in this time range: {', '.join(missing)} ({source}){hint}")


@contextmanager
def _open_ledger(args: Namespace) -> Iterator[Ledger]:
    """Open the ledger for reading, with ``--test-runs`` as test runs see it; exit with 2 if the ledger or an argument fails."""
    from airflow_slo_provider.runtime.recording.ledger_connection import open_default_ledger

    read_connections_from_database()
    with exit_on_error(), open_default_ledger(for_display=True) as ledger:
        yield ledger.seen_by_tests() if args.test_runs else ledger


def _is_about(check: CheckResult, slo: SLOKey, *, grouped: bool) -> bool:
    """Return whether a check is about an SLO, or one of its groups."""
    key = type(slo).of(check)
    return (key._replace(labels="") if grouped else key) == slo


def _without_unused_evidence(check: CheckResult) -> CheckResult:
    """Return a check without the evidence that a history does not use, because years of checks may be in memory at once."""
    used = ("service", "status", "remaining", "outcome")
    return replace(check, message="", evidence={key: check.evidence[key] for key in used if key in check.evidence})


def decisions(args: Namespace) -> None:
    """Print gate decisions, promotions, deployments and rollbacks; exit with 2 if none is recorded."""
    from airflow_slo_provider.core.text_columns import columns
    from airflow_slo_provider.ledger.queries.changes import history_entries

    with _open_ledger(args) as ledger:
        since, until = _read_time(args.since), _read_time(args.until)
        found = history_entries(ledger, slos=args.select or (), dag_id=args.dag, since=since, until=until, limit=args.limit)
        source, hint = _describe(ledger), "" if found else _other_rows(ledger)
    if args.output == "json":
        print(json.dumps([_decision_json(item) for item in found], indent=2))
    elif found:
        print(columns(_COLUMN_NAMES, [_table_row(item) for item in found], left=range(len(_COLUMN_NAMES))))
    print(source, file=sys.stderr)
    if not found:
        exit_with(2, f"no matching record{hint}")


def _other_rows(ledger: Ledger) -> str:
    """Return a hint where rows exist if this environment shows none: in test runs or in other environments."""
    from airflow_slo_provider.ledger.environments import environments

    if ledger.checks(limit=1):
        return ""
    names = [environment.name for environment in environments(ledger)]
    if ledger.environment in names:
        return "; only test runs have recorded anything: see --test-runs"
    listed = ", ".join(name or "(unnamed)" for name in names)
    return f"; this environment has no rows, others have: {listed}" if names else ""


def _decision_json(item: HistoryEntry) -> dict[str, Any]:
    values = asdict(item)
    key = values.pop("key")
    names = ("dag_id", "run_id", "task_id", "map_index", "try_number", "attempt", "test_run")
    return {**values, "at": item.at.isoformat(), **{name: key[name] for name in names}}


def _table_row(item: HistoryEntry) -> tuple[str, ...]:
    from airflow_slo_provider.core.text_columns import replace_unprintable
    from airflow_slo_provider.ledger.mapped_task_names import LABEL, index_text

    version = f"{item.before} -> {item.version}" if item.before and item.version else item.version or "-"
    by = f" (by {item.by})" if item.by else ""
    index = index_text(item.key, {LABEL: item.map_label})
    own = item.name == f"{item.key.dag_id}.{item.key.task_id}"
    what = f"{item.kind} {item.name}{index if own else ''}"
    run = f"{item.key.dag_id} / {item.key.run_id}{'' if own else index}{_key_suffix(item.key)}"
    cells = (f"{item.at:%Y-%m-%d %H:%M}", what, item.outcome, version, run, f"{item.why}{by}")
    # Versions and messages may contain terminal escape sequences.
    return tuple(replace_unprintable(cell, " ") for cell in cells)


def _key_suffix(key: RunKey) -> str:
    """Return the attempt and "test run", to distinguish several decisions of one task instance."""
    parts = [f"attempt {key.attempt + 1}"] if key.attempt else []
    parts += ["test run"] if key.test_run else []
    return f" ({', '.join(parts)})" if parts else ""


def _describe(ledger: Ledger) -> str:
    """Return the ledger and environment that were read, with a warning if workers do not share the ledger."""
    from airflow_slo_provider.runtime.recording.ledger_connection import unshared_ledger

    name = f", environment {ledger.environment}" if ledger.environment else ""
    problem = unshared_ledger()
    return f"ledger: {ledger.where}{name}" + (f"\nwarning: {problem}" if problem else "")


def backfill(args: Namespace) -> None:
    """Evaluate SLOs at past timestamps and record the results; exit with 2 if one of them could not be measured."""
    from airflow_slo_provider.core.slo_key import SLOKey
    from airflow_slo_provider.ledger import RunKey
    from airflow_slo_provider.ledger.records import BACKFILL
    from airflow_slo_provider.runtime.error_budget.decision import evaluate
    from airflow_slo_provider.runtime.recording.ledger_connection import open_default_ledger
    from airflow_slo_provider.slo.budget.ledger_records import slo_checks
    from airflow_slo_provider.slo.budget.reports import report_titles

    catalog = load_documents(args.path, exit_code=2)
    read_connections_from_database()
    unknown = 0
    with exit_on_error():
        times = _read_times(args)
        with open_default_ledger() as ledger:
            for at in times:
                decision = evaluate(catalog, ledger=ledger, select=args.select, at=at)
                by_service: dict[str, list[CheckResult]] = defaultdict(list)
                for check in slo_checks(decision):
                    by_service[SLOKey.of(check).service].append(check)
                for service, checks in by_service.items():
                    # One key per service and time: a second run replaces the same rows, even if the documents contain other
                    # services by then. SLOs of different services may have the same name.
                    task_id = f"backfill-{sha256(service.encode()).hexdigest()[:12]}"
                    ledger.record(checks, RunKey(BACKFILL, at.isoformat(), task_id))
                found = zip(report_titles(decision.reports), decision.reports, strict=True)
                statuses = ", ".join(f"{title} {report.status}" for title, report in found)
                print(f"{at:%Y-%m-%d %H:%M} UTC  {statuses}", flush=True)
                unknown += any(report.status.is_unknown for report in decision.reports)
    print(f"{len(times)} times recorded, {unknown} of them with an SLO that could not be measured")
    if unknown:
        exit_with(2, "SLOs that could not be measured are recorded as unknown")


def _read_times(args: Namespace) -> list[datetime]:
    from airflow_slo_provider.documents.durations import parse_duration

    now = datetime.now(UTC)
    start, end = _read_time(args.since), _read_time(args.until) or now
    if start is None:
        raise ValueError("--since is required: the start of the time range, e.g. 2026-10-01T00:00:00+00:00")
    for option, at in (("--since", start), ("--until", end)):
        if at > now:
            # A recorded future check would hide all checks until then.
            raise ValueError(f"{option} {at.isoformat()} lies in the future; backfill ends at the current time")
    every = parse_duration(args.every).timedelta
    count = (end - start) // every + 1
    if count < 1:
        raise ValueError(f"--since {start.isoformat()} lies after --until {end.isoformat()}")
    if count > MAX_EVALUATIONS:
        raise ValueError(f"{count} evaluations are more than {MAX_EVALUATIONS}; use a longer --every")
    return [start + every * number for number in range(count)]


def _read_time(text: str | None) -> datetime | None:
    from airflow_slo_provider.slo.budget.evaluation_time import parse_timestamp

    return parse_timestamp(text, what="time").astimezone(UTC) if text else None
