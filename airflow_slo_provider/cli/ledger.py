"""Implement ``airflow slo environment`` and ``airflow slo prune``, which manage the rows of the ledger."""

from __future__ import annotations

import json
from argparse import Namespace
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow_slo_provider.cli.commands import exit_on_error, exit_with, load_documents, read_connections_from_database

if TYPE_CHECKING:
    from airflow_slo_provider.documents.durations import Duration
    from airflow_slo_provider.ledger import Ledger

#: Shortest ``--keep``: a smaller value is most likely a typing error.
MIN_KEEP = timedelta(days=30)


def environments(args: Namespace) -> None:
    """Print the environments of the ledger and how many rows each has."""
    from airflow_slo_provider.core.text_columns import columns
    from airflow_slo_provider.ledger.environments import environments as list_environments
    from airflow_slo_provider.runtime.recording.ledger_connection import environment, open_default_ledger

    read_connections_from_database()
    with exit_on_error(), open_default_ledger(for_display=True) as ledger:
        found, own, where = list_environments(ledger), environment(), ledger.where
    if args.output == "json":
        print(json.dumps([{**asdict(item), "own": item.name == own} for item in found], indent=2))
        return
    rows = [
        (item.name or "(unnamed)", str(item.checks), str(item.test_runs), "yes" if item.name == own else "no") for item in found
    ]
    print(f"Ledger: {where}\n")
    print(columns(("environment", "rows", "test runs", "this Airflow"), rows, left=(0,)))
    if own not in {item.name for item in found}:
        print(f"\nThis Airflow's environment {own or '(unnamed)'} has no rows yet.")


def adopt(args: Namespace) -> None:
    """Move the rows of the unnamed environment to a named one."""
    from airflow_slo_provider.ledger import open_ledger
    from airflow_slo_provider.ledger.environments import adopt as adopt_rows
    from airflow_slo_provider.runtime.recording.ledger_connection import default_ledger_url, environment

    read_connections_from_database()
    own = environment()
    if args.name != own:
        # Gates read only the rows of their own environment: under another name they would miss recorded freezes.
        exit_with(2, f"this Airflow's [slo] environment is {own or 'not set'}; set it to {args.name} first")
    with exit_on_error(), open_ledger(default_ledger_url(), environment=args.name) as ledger:
        moved = adopt_rows(ledger)
    print(f"{moved.checks} rows and {moved.corrections} corrections moved to environment {args.name}")
    if moved.left:
        print(f"{moved.left} rows not moved: {args.name} has rows of the same task instances")


def prune(args: Namespace) -> None:
    """Remove old rows of the ledger; exit with 2 if ``--keep`` is too short."""
    from airflow_slo_provider.core.text_columns import columns
    from airflow_slo_provider.documents.durations import parse_duration
    from airflow_slo_provider.ledger.pruning import prune as prune_rows
    from airflow_slo_provider.runtime.recording.ledger_connection import open_default_ledger

    minimums = [(MIN_KEEP, "younger rows are never pruned"), *_windows_of_documents(args.path)]
    read_connections_from_database()
    with exit_on_error():
        duration = parse_duration(args.keep)
        if duration.is_calendar:
            raise ValueError(f"--keep {args.keep} is a calendar duration, of no fixed length; write {_suggest_keep(MIN_KEEP)}")
        keep = duration.timedelta
        with open_default_ledger() as ledger:
            for length, why in [*minimums, *_windows_of_ledger(ledger)]:
                if keep < length:
                    days = f"{length / timedelta(days=1):.6g} days"
                    raise ValueError(f"--keep {args.keep} is shorter than {days}: {why}; write {_suggest_keep(length)}")
            before = datetime.now(UTC) - keep
            pruned = prune_rows(ledger, before, trial=args.dry_run)
            where = f"{ledger.where}{f', environment {ledger.environment}' if ledger.environment else ''}"
    kinds = sorted({*pruned.removed, *pruned.kept})
    rows = [(kind, str(pruned.removed.get(kind, 0)), str(pruned.kept.get(kind, 0))) for kind in kinds]
    rows.append(("(test runs)", str(pruned.test_runs), "0"))
    print(f"Rows before {before:%Y-%m-%d %H:%M} UTC in ledger {where}\n")
    print(columns(("kind", "would be removed" if args.dry_run else "removed", "kept"), rows, left=(0,)))
    print("\nRows that may still be needed are kept: see docs/production.md, Old rows")


def _windows_of_documents(paths: list[str]) -> list[tuple[timedelta, str]]:
    slos = load_documents(paths, exit_code=2) if paths else ()
    return [(_longest(slo.window.duration) + slo.options.maturity_lag, f"the window of {slo.name} is longer") for slo in slos]


def _windows_of_ledger(ledger: Ledger) -> list[tuple[timedelta, str]]:
    """Return the window length of each recorded SLO: the measured interval of its newest check, and its window as written."""
    from airflow_slo_provider.documents.durations import parse_duration
    from airflow_slo_provider.ledger.queries import slos as slo_queries

    windows = []
    for row in slo_queries.newest(ledger):
        check = row.result
        # The measured interval of a calendar window grows during the period, and only the measured interval includes the
        # maturity lag. The longer of the two counts.
        lengths = [check.checked_at - check.interval_start] if check.interval_start else []
        with suppress(ValueError, OverflowError):
            lengths.append(_longest(parse_duration(str(check.evidence.get("window", "")))))
        windows.append((max(lengths, default=timedelta()), f"the window of {check.name} is longer"))
    return windows


def _longest(duration: Duration) -> timedelta:
    """Return the longest length that a duration can have, for a calendar duration with months of 31 days."""
    return timedelta(days=31 * duration.months) if duration.is_calendar else duration.timedelta


def _suggest_keep(length: timedelta) -> str:
    return f"{-(-length // timedelta(days=1))}d or more, e.g. {max(400, 2 * (length // timedelta(days=1)))}d"
