"""Implement ``airflow slo drift REF CUR``: compare two datasets from a shell."""

from __future__ import annotations

import sys
from argparse import Namespace

from airflow.cli.cli_config import ActionCommand, Arg, lazy_load_command

ARG_REFERENCE = Arg(
    ("reference",), metavar="REF", help="The reference: a file, glob, directory or URI, or a stored profile (.json)"
)
ARG_CURRENT = Arg(("current",), metavar="CUR", help="The current data, in the same forms")
ARG_COLUMN = Arg(("--column",), metavar="NAME", action="append", help="Only this column; may be set several times")
ARG_IGNORE = Arg(
    ("--ignore",), metavar="PATTERN", action="append", help="Ignore columns of this name or pattern; may be set several times"
)
ARG_CATEGORICAL = Arg(
    ("--categorical",), metavar="NAME", action="append", help="A column whose numbers are codes; may be set several times"
)
ARG_EXACT = Arg(("--exact",), action="store_true", help="Compute every Kolmogorov-Smirnov statistic exactly")
ARG_OUTPUT = Arg(("-o", "--output"), choices=("table", "json"), default="table", help="Output format (default: table)")
ARG_REPORT = Arg(("--report",), metavar="FILE", help="Also write a report: HTML if the name ends in .html, else JSON")
ARG_SAVE_PROFILE = Arg(("--save-profile",), metavar="FILE", help="Also store the profile of REF, for later comparisons")

_INPUTS = (ARG_REFERENCE, ARG_CURRENT, ARG_COLUMN, ARG_IGNORE, ARG_CATEGORICAL)

DRIFT_COMMAND = ActionCommand(
    name="drift",
    help="Compare two datasets, column by column",
    description=(
        "Compares CUR with REF by population stability index and Kolmogorov-Smirnov statistic, and prints a verdict for each "
        "column, worst first. Nothing is recorded. Exits with 0 if no drift was found, with 1 on drift, and with 2 if the data "
        "could not be judged (too few rows, changed types, unreadable data)."
    ),
    func=lazy_load_command("airflow_slo_provider.cli.drift.drift"),
    args=(*_INPUTS, ARG_EXACT, ARG_OUTPUT, ARG_REPORT, ARG_SAVE_PROFILE),
)


def drift(args: Namespace) -> None:
    """Compare two datasets and print the report; exit with 0 (no drift), 1 (drift) or 2 (unknown)."""
    from airflow_slo_provider.drift import compare, profile, save_report
    from airflow_slo_provider.drift.report.text import table
    from airflow_slo_provider.exceptions import SLOProviderError

    progress = _ProgressBar()
    try:
        reference = args.reference
        if args.save_profile:
            reference = profile(reference, categorical=args.categorical or ())
            reference.save(args.save_profile)
        report = compare(
            reference,
            args.current,
            columns=args.column,
            ignore=args.ignore or (),
            categorical=args.categorical or (),
            exact=args.exact,
            progress=progress,
        )
        progress.clear()
        if args.report:
            save_report(report, args.report)
    except (SLOProviderError, ValueError, OSError) as error:
        progress.clear()
        print(error, file=sys.stderr)
        sys.exit(2)
    print(report.to_json() if args.output == "json" else table(report))
    if report.verdict not in ("ok", "warn"):
        sys.exit(1 if report.verdict == "drift" else 2)


class _ProgressBar:
    """A progress bar on standard error; silent if standard error is not a terminal."""

    width = 40

    def __init__(self) -> None:
        self._shown = -1

    def __call__(self, done: int, total: int) -> None:
        filled = self.width * done // max(1, total)
        if sys.stderr.isatty() and filled != self._shown:
            self._shown = filled
            bar = f"\r[{'#' * filled}{'.' * (self.width - filled)}] {100 * done // max(1, total):3d}%"
            print(bar, end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Remove the bar from the terminal."""
        if self._shown >= 0:
            print("\r" + " " * (self.width + 8) + "\r", end="", file=sys.stderr, flush=True)
            self._shown = -1
