"""Implement ``airflow slo report``, ``decisions`` and ``backfill``, which read and write the ledger."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections import defaultdict
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.cli.commands import as_server, leave, load_documents

if TYPE_CHECKING:
    from airflow_slo_provider.ledger import Ledger, RunKey
    from airflow_slo_provider.ledger.queries.changes import Happening
    from airflow_slo_provider.results import CheckResult

#: Limit of ``backfill``: more than a year of hourly evaluations; a larger number is most likely a typing error.
MOST_INSTANTS = 10_000
_HEAD = ("when (UTC)", "what", "outcome", "version", "DAG run", "why")


def report(args: Namespace) -> None:
    """Print the history of error budgets from the recorded checks; exit with 2 if an SLO has no recorded check."""
    from airflow_slo_provider.core.slo_key import SLOKey
    from airflow_slo_provider.exceptions import LedgerError
    from airflow_slo_provider.ledger.queries import checks as browse
    from airflow_slo_provider.runtime.recording.ledger_connection import open_default_ledger
    from airflow_slo_provider.slo.budget.history import format_history_table, summarise_history

    catalog = load_documents(args.path, otherwise=2)
    as_server()
    try:
        until = _instant(args.until) or datetime.now(UTC)
        since = _instant(args.since) or until - timedelta(days=30)
        slos = {SLOKey(slo.service, name) for slo in catalog.select(args.select) for name, _ in slo.parts()}
        checks = []
        with open_default_ledger(to_look=True) as opened:
            ledger, place = opened.seen_by_tests() if args.test_runs else opened, _place(opened)
            elsewhere = _elsewhere(ledger)
            for slo in slos:
                found = browse.every(ledger, "slo", slo.name, since=since, until=until)
                # An SLO of another service may have the same name.
                checks += [_small(one.result) for one in found if SLOKey.of(one.result) == slo]
    except (ValueError, LedgerError) as error:
        leave(2, str(error))
    histories = summarise_history(checks)
    if args.output == "json":
        print(json.dumps([asdict(one) for one in histories], indent=2, default=lambda moment: moment.isoformat()))
    else:
        of_tests = ", tests included" if args.test_runs else ""
        print(f"Error budgets from {since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC, as recorded{of_tests}")
        print(f"{place}\n")
        print(format_history_table(histories))
    missing = sorted({slo.name for slo in slos} - {one.name for one in histories})
    if missing:
        leave(2, f"never recorded in that time: {', '.join(missing)} ({place}){elsewhere}")


def _small(check: CheckResult) -> CheckResult:
    """Return a check without the evidence that a history does not use, because years of checks may be in memory at once."""
    kept = ("service", "status", "remaining", "outcome")
    return replace(check, message="", evidence={key: check.evidence[key] for key in kept if key in check.evidence})


def decisions(args: Namespace) -> None:
    """Print gate decisions, promotions, deployments and rollbacks; exit with 2 if none is recorded."""
    from airflow_slo_provider.core.text_columns import columns
    from airflow_slo_provider.exceptions import LedgerError
    from airflow_slo_provider.ledger.queries.changes import happenings
    from airflow_slo_provider.runtime.recording.ledger_connection import open_default_ledger

    as_server()
    try:
        since, until = _instant(args.since), _instant(args.until)
        with open_default_ledger(to_look=True) as opened:
            ledger, place = opened.seen_by_tests() if args.test_runs else opened, _place(opened)
            found = happenings(ledger, slos=args.select or (), dag_id=args.dag, since=since, until=until, limit=args.limit)
            elsewhere = "" if found else _elsewhere(ledger)
    except (ValueError, LedgerError) as error:
        leave(2, str(error))
    if args.output == "json":
        print(json.dumps([_plain(one) for one in found], indent=2))
    elif found:
        print(columns(_HEAD, [_row(one) for one in found], left=range(len(_HEAD))))
    print(place, file=sys.stderr)
    if not found:
        leave(2, f"nothing of that kind was recorded{elsewhere}")


def _elsewhere(ledger: Ledger) -> str:
    """Return a hint where rows exist if this environment shows none: in test runs or in other environments."""
    from airflow_slo_provider.ledger.environments import environments

    if ledger.checks(limit=1):
        return ""
    found = {one.name: one for one in environments(ledger)}
    if ledger.environment in found:
        return "; only test runs have recorded anything: see --test-runs"
    names = ", ".join(name or "(unnamed)" for name in found)
    return f"; this environment has no rows, others have: {names}" if names else ""


def _plain(one: Happening) -> dict[str, Any]:
    told = asdict(one)
    where = told.pop("key")
    names = ("dag_id", "run_id", "task_id", "map_index", "try_number", "attempt", "test_run")
    return {**told, "at": one.at.isoformat(), **{name: where[name] for name in names}}


def _row(one: Happening) -> tuple[str, ...]:
    from airflow_slo_provider.core.text_columns import printable
    from airflow_slo_provider.ledger.mapped_task_names import LABEL, index_text

    version = f"{one.before} -> {one.version}" if one.before and one.version else one.version or "-"
    by = f" (by {one.by})" if one.by else ""
    index = index_text(one.key, {LABEL: one.map_label})
    own = one.name == f"{one.key.dag_id}.{one.key.task_id}"
    what = f"{one.kind} {one.name}{index if own else ''}"
    run = f"{one.key.dag_id} / {one.key.run_id}{'' if own else index}{_which(one.key)}"
    cells = (f"{one.at:%Y-%m-%d %H:%M}", what, one.outcome, version, run, f"{one.why}{by}")
    # Versions and messages may contain terminal escape sequences.
    return tuple(printable(cell, " ") for cell in cells)


def _which(key: RunKey) -> str:
    """Return the attempt and "test run", to tell several decisions of one task instance apart."""
    words = [f"attempt {key.attempt + 1}"] if key.attempt else []
    words += ["test run"] if key.test_run else []
    return f" ({', '.join(words)})" if words else ""


def _place(ledger: Ledger) -> str:
    """Return the ledger and environment that were read, with a warning if workers do not share the ledger."""
    from airflow_slo_provider.runtime.recording.ledger_connection import unshared_ledger

    name = f", environment {ledger.environment}" if ledger.environment else ""
    problem = unshared_ledger()
    return f"ledger: {ledger.where}{name}" + (f"\nwarning: {problem}" if problem else "")


def backfill(args: Namespace) -> None:
    """Evaluate SLOs at past timestamps and record the results; exit with 2 if one of them could not be measured."""
    from airflow_slo_provider.core.slo_key import SLOKey
    from airflow_slo_provider.exceptions import LedgerError
    from airflow_slo_provider.ledger import RunKey
    from airflow_slo_provider.ledger.records import BACKFILL
    from airflow_slo_provider.runtime.error_budget.decision import evaluate
    from airflow_slo_provider.runtime.recording.ledger_connection import open_default_ledger
    from airflow_slo_provider.slo.budget.ledger_records import slo_checks

    catalog = load_documents(args.path, otherwise=2)
    as_server()
    unknown = 0
    try:
        instants = _instants(args)
        with open_default_ledger() as ledger:
            for at in instants:
                decision = evaluate(catalog, ledger=ledger, select=args.select, at=at)
                by_service: dict[str, list[CheckResult]] = defaultdict(list)
                for check in slo_checks(decision):
                    by_service[SLOKey.of(check).service].append(check)
                for service, checks in by_service.items():
                    # One key per service and timestamp: a second run replaces the same rows, even if the documents contain
                    # other services by then. SLOs of different services may have the same name.
                    task_id = f"backfill-{sha256(service.encode()).hexdigest()[:12]}"
                    ledger.record(checks, RunKey(BACKFILL, at.isoformat(), task_id))
                states = ", ".join(f"{one.name} {one.status}" for one in decision.reports)
                print(f"{at:%Y-%m-%d %H:%M} UTC  {states}", flush=True)
                unknown += any(one.status.is_unknown for one in decision.reports)
    except (ValueError, LedgerError) as error:
        leave(2, str(error))
    print(f"{len(instants)} instants recorded, {unknown} of them with something that could not be measured")
    if unknown:
        leave(2, "what could not be measured is recorded as unknown, and counts as nothing else")


def _instants(args: Namespace) -> list[datetime]:
    from airflow_slo_provider.documents.durations import parse_duration

    now = datetime.now(UTC)
    start, end = _instant(args.since), _instant(args.until) or now
    if start is None:
        raise ValueError("--since is required: where to begin, e.g. 2026-10-01T00:00:00+00:00")
    for option, moment in (("--since", start), ("--until", end)):
        if moment > now:
            # A recorded future check would hide all checks until then.
            raise ValueError(f"{option} {moment.isoformat()} lies in the future, of which nothing can be measured; end at now")
    every = parse_duration(args.every).timedelta
    count = (end - start) // every + 1
    if count < 1:
        raise ValueError(f"--since {start.isoformat()} lies after --until {end.isoformat()}")
    if count > MOST_INSTANTS:
        raise ValueError(f"{count} instants are more than {MOST_INSTANTS}; use a longer --every")
    return [start + every * number for number in range(count)]


def _instant(text: str | None) -> datetime | None:
    from airflow_slo_provider.slo.budget.evaluation_time import parse_timestamp

    return parse_timestamp(text, what="time").astimezone(UTC) if text else None
