"""Implement ``airflow slo validate``, ``status`` and ``rules``. These commands write nothing to the ledger."""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from airflow_slo_provider.slo.budget.reports import SLOReport
    from airflow_slo_provider.slo.catalog import SLOCatalog


def validate(args: Namespace) -> None:
    """Print every error and warning of SLO documents; exit with 1 if there is an error."""
    from airflow_slo_provider.slo import read

    reading = read(args.path)
    for error in reading.faults:
        print(f"error: {error}")
    for warning in reading.warnings:
        print(f"warning: {warning}")
    counts = f"{_count(reading.faults, 'error')}, {_count(reading.warnings, 'warning')}"
    if reading.catalog is None:
        exit_with(1, counts)
    print(f"{_count(reading.catalog.slos, 'SLO')}, {counts}")


def status(args: Namespace) -> None:
    """Measure the SLOs and print their status; exit with 0, 1 (a budget is exhausted) or 2 (a status is unknown)."""
    from airflow_slo_provider.runtime.error_budget.evaluation_deadline import evaluation_deadline
    from airflow_slo_provider.runtime.error_budget.indicator_sources import sources
    from airflow_slo_provider.slo.budget.evaluation_time import read_evaluation_time
    from airflow_slo_provider.slo.budget.monitor import SLOMonitor
    from airflow_slo_provider.slo.budget.reports import Status
    from airflow_slo_provider.slo.budget.text_table import table

    catalog = load_documents(args.path, exit_code=2)
    read_connections_from_database()
    with exit_on_error():
        at = read_evaluation_time(args.at, what="--at") if args.at else datetime.now(UTC)
        with sources() as source:
            reports = SLOMonitor(catalog, source, deadline=evaluation_deadline()).evaluate(at, args.select)
    if args.output == "json":
        print(json.dumps({"at": at.astimezone(UTC).isoformat(), "slos": [_report_json(report) for report in reports]}, indent=2))
    else:
        print(table(reports))
        for report in reports:
            if report.status is not Status.HEALTHY:
                print(f"{report.name}: {report.error or report.message}")
    if any(report.status.is_unknown for report in reports):
        sys.exit(2)
    if any(report.remaining is not None and report.remaining <= 0 for report in reports):
        sys.exit(1)


def rules(args: Namespace) -> None:
    """Write Prometheus rules and, with ``--grafana``, a Grafana dashboard."""
    from airflow_slo_provider.slo import rules as write_rules
    from airflow_slo_provider.slo.export.grafana_dashboard import grafana_dashboard

    catalog = load_documents(args.path, exit_code=1)
    with exit_on_error(1):
        text = write_rules(catalog, select=args.select, interval=args.interval, extra_labels=_parse_labels(args.label))
        selected = replace(catalog, slos=catalog.select(args.select)) if args.select else catalog
        dashboard = grafana_dashboard(selected) if args.grafana else None
        if args.output_file:
            Path(args.output_file).write_text(text, encoding="utf-8")
        else:
            print(text, end="")
        if dashboard is not None:
            Path(args.grafana).write_text(json.dumps(dashboard, indent=2) + "\n", encoding="utf-8")


def load_documents(paths: Sequence[str], *, exit_code: int) -> SLOCatalog:
    """Read SLO documents and print warnings on standard error; exit if the documents have errors.

    :param paths: files and directories
    :param exit_code: the exit code if the documents have errors
    """
    from airflow_slo_provider.slo import read

    reading = read(paths)
    for warning in reading.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if reading.catalog is None:
        for error in reading.faults:
            print(f"error: {error}", file=sys.stderr)
        exit_with(exit_code, f"{_count(reading.faults, 'error')} in the documents; correct them first")
    return reading.catalog


def _report_json(report: SLOReport) -> dict[str, Any]:
    from airflow_slo_provider.slo.budget.ledger_records import report_dict

    error = report.error and {"reason": report.error.reason, "transient": report.error.transient, "message": str(report.error)}
    return {**report_dict(report), "error": error, "query": report.query}


def _parse_labels(texts: Sequence[str] | None) -> dict[str, str]:
    labels = {}
    for text in texts or ():
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise ValueError(f"--label {text!r} is not of the form KEY=VALUE")
        labels[key] = value
    return labels


def _count(items: Sequence[Any], noun: str) -> str:
    return f"{len(items) or 'no'} {noun}{'' if len(items) == 1 else 's'}"


def read_connections_from_database() -> None:
    """Let a command read connections from Airflow's metadata database, by declaring the process a server and not a worker."""
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")


@contextmanager
def exit_on_error(code: int = 2) -> Iterator[None]:
    """Print an error of the arguments, of a file or of the ledger on standard error, and exit.

    :param code: the exit code
    """
    from airflow_slo_provider.exceptions import LedgerError

    try:
        yield
    except (ValueError, OSError, LedgerError) as error:
        exit_with(code, str(error))


def exit_with(code: int, message: str) -> NoReturn:
    """Print a message on standard error and exit.

    :param code: the exit code
    :param message: the reason
    """
    print(message, file=sys.stderr)
    sys.exit(code)
