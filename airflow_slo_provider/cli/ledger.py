"""Implement ``airflow slo environment`` and ``airflow slo prune``, which manage the rows of the ledger."""

from __future__ import annotations

import json
from argparse import Namespace
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow_slo_provider.cli.commands import as_server, leave, load_documents

if TYPE_CHECKING:
    from airflow_slo_provider.documents.durations import Duration
    from airflow_slo_provider.ledger import Ledger

#: Shortest ``--keep``: a smaller value is most likely a typing error.
LEAST = timedelta(days=30)


def environments(args: Namespace) -> None:
    """Print the environments of the ledger and how many rows each has."""
    from airflow_slo_provider.core.text_columns import columns
    from airflow_slo_provider.exceptions import LedgerError
    from airflow_slo_provider.ledger.environments import environments as found_in
    from airflow_slo_provider.runtime.recording.ledger_connection import environment, open_default_ledger

    as_server()
    try:
        with open_default_ledger(for_display=True) as ledger:
            found, own, where = found_in(ledger), environment(), ledger.where
    except LedgerError as error:
        leave(2, str(error))
    if args.output == "json":
        print(json.dumps([{**asdict(one), "own": one.name == own} for one in found], indent=2))
        return
    rows = [(one.name or "(unnamed)", str(one.checks), str(one.test_runs), "yes" if one.name == own else "no") for one in found]
    print(f"Ledger: {where}\n")
    print(columns(("environment", "rows", "of tests", "this Airflow"), rows, left=(0,)))
    if own not in {one.name for one in found}:
        print(f"\nThis Airflow's environment {own or '(unnamed)'} has no rows yet.")


def adopt(args: Namespace) -> None:
    """Move the rows of the unnamed environment to a named one."""
    from airflow_slo_provider.exceptions import LedgerError
    from airflow_slo_provider.ledger import open_ledger
    from airflow_slo_provider.ledger.environments import adopt as adopt_rows
    from airflow_slo_provider.runtime.recording.ledger_connection import default_ledger_url, environment

    as_server()
    own = environment()
    if args.name != own:
        # Gates read only the rows of their own environment: under another name they would miss recorded freezes.
        leave(2, f"this Airflow's [slo] environment is {own or 'not set'}, and not {args.name}: set it to {args.name} first")
    try:
        with open_ledger(default_ledger_url(), environment=args.name) as ledger:
            moved = adopt_rows(ledger)
    except (ValueError, LedgerError) as error:
        leave(2, str(error))
    print(f"{moved.checks} rows and {moved.corrections} corrections belong to environment {args.name} now")
    if moved.left:
        print(f"{moved.left} stay unnamed: {args.name} has rows of the same task instances")


def prune(args: Namespace) -> None:
    """Remove old rows of the ledger; exit with 2 if ``--keep`` is too short."""
    from airflow_slo_provider.core.text_columns import columns
    from airflow_slo_provider.documents.durations import parse_duration
    from airflow_slo_provider.exceptions import LedgerError
    from airflow_slo_provider.ledger.pruning import prune as prune_rows
    from airflow_slo_provider.runtime.recording.ledger_connection import open_default_ledger

    needed = _windows_of_documents(args.path)
    as_server()
    try:
        asked = parse_duration(args.keep)
        if asked.is_calendar:
            raise ValueError(f"--keep {args.keep} is a calendar duration, of no fixed length; write {_enough(LEAST)}")
        keep = asked.timedelta
        with open_default_ledger() as ledger:
            for length, why in [(LEAST, "nothing younger is pruned"), *needed, *_windows_of_ledger(ledger)]:
                if keep < length:
                    raise ValueError(f"--keep {args.keep} is shorter than {_days(length)}: {why}; write {_enough(length)}")
            before = datetime.now(UTC) - keep
            found = prune_rows(ledger, before, trial=args.dry_run)
            where = f"{ledger.where}{f', environment {ledger.environment}' if ledger.environment else ''}"
    except (ValueError, LedgerError) as error:
        leave(2, str(error))
    kinds = sorted({*found.removed, *found.kept})
    rows = [(kind, str(found.removed.get(kind, 0)), str(found.kept.get(kind, 0))) for kind in kinds]
    rows.append(("(test runs)", str(found.test_runs), "0"))
    print(f"Rows before {before:%Y-%m-%d %H:%M} UTC in ledger {where}\n")
    print(columns(("kind", "would be removed" if args.dry_run else "removed", "kept"), rows, left=(0,)))
    print("\nKept is what something may still need: see docs/production.md, Old rows")


def _windows_of_documents(paths: list[str]) -> list[tuple[timedelta, str]]:
    if not paths:
        return []
    catalog = load_documents(paths, otherwise=2)
    return [
        (_longest(slo.window.duration) + slo.options.maturity_lag, f"the window of {slo.name} needs what is younger")
        for slo in catalog
    ]


def _windows_of_ledger(ledger: Ledger) -> list[tuple[timedelta, str]]:
    """Return the window length of each recorded SLO: the measured interval of its newest check, and its window as written."""
    from airflow_slo_provider.documents.durations import parse_duration
    from airflow_slo_provider.ledger.queries import slos as browse_slos

    found = []
    for row in browse_slos.newest(ledger):
        check = row.result
        # The measured interval of a calendar window grows during the period, and only the measured interval includes the
        # maturity lag. The longer of the two counts.
        lengths = [check.checked_at - check.interval_start] if check.interval_start else []
        with suppress(ValueError, OverflowError):
            lengths.append(_longest(parse_duration(str(check.evidence.get("window", "")))))
        found.append((max(lengths, default=timedelta()), f"the window of {check.name} needs what is younger"))
    return found


def _longest(duration: Duration) -> timedelta:
    """Return the longest length that a duration can have, for a calendar duration with months of 31 days."""
    return timedelta(days=31 * duration.months) if duration.is_calendar else duration.timedelta


def _enough(length: timedelta) -> str:
    return f"{-(-length // timedelta(days=1))}d or more, e.g. {max(400, 2 * (length // timedelta(days=1)))}d"


def _days(length: timedelta) -> str:
    return f"{length / timedelta(days=1):.6g} days"
