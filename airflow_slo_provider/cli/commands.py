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
    from airflow_slo_provider.cli.server_check import ServerReport
    from airflow_slo_provider.slo.budget.reports import SLOReport
    from airflow_slo_provider.slo.catalog import SLOCatalog
    from airflow_slo_provider.slo.documents.document_files import Reading


def validate(args: Namespace) -> None:
    """Print every error and warning of SLO documents; exit with 1 if there is an error, with 2 if the server fails."""
    reading = _read(args.path, args.sloth_period, exit_code=1)
    errors, warnings = reading.faults, reading.warnings
    if args.against and reading.catalog is not None:
        on_server = _check_on_server(reading.catalog, args.against)
        print("\n".join(on_server.lines))
        errors, warnings = [*errors, *on_server.errors], [*warnings, *on_server.warnings]
    for error in errors:
        print(f"error: {error}")
    for warning in warnings:
        print(f"warning: {warning}")
    counts = f"{_count(errors, 'error')}, {_count(warnings, 'warning')}"
    if reading.catalog is None or errors:
        exit_with(1, counts)
    print(f"{_count(reading.catalog.slos, 'SLO')}, {counts}")


def _check_on_server(catalog: SLOCatalog, conn_id: str) -> ServerReport:
    """Check the Prometheus queries on the server of a connection; exit with 2 if the server or the connection fails."""
    from airflow_slo_provider.cli.server_check import check_on_server
    from airflow_slo_provider.exceptions import MeasurementError
    from airflow_slo_provider.indicators.prometheus.source import PrometheusSource
    from airflow_slo_provider.runtime.error_budget.indicator_sources import source_for
    from airflow_slo_provider.slo.model import DataSource

    read_connections_from_database()
    try:
        source = source_for("Prometheus", DataSource("--against", "Prometheus", {"airflowConnId": conn_id}))
        assert isinstance(source, PrometheusSource)
        return check_on_server(catalog, source, datetime.now(UTC))
    except MeasurementError as error:
        exit_with(2, str(error))


def status(args: Namespace) -> None:
    """Measure the SLOs and print their status; exit with 0, 1 (a budget is exhausted) or 2 (a status is unknown)."""
    from airflow_slo_provider.runtime.error_budget.evaluation_deadline import evaluation_deadline
    from airflow_slo_provider.runtime.error_budget.indicator_sources import sources
    from airflow_slo_provider.slo.budget.evaluation_time import read_evaluation_time
    from airflow_slo_provider.slo.budget.monitor import SLOMonitor
    from airflow_slo_provider.slo.budget.reports import Status, report_titles
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
        for title, report in zip(report_titles(reports), reports, strict=True):
            if report.status is not Status.HEALTHY or report.declaration:
                print(f"{title}: {report.error or report.message}")
    if any(report.status.is_unknown for report in reports):
        sys.exit(2)
    if any(report.remaining is not None and report.remaining <= 0 for report in reports):
        sys.exit(1)


def rules(args: Namespace) -> None:
    """Write Prometheus rules and, with ``--grafana``, a Grafana dashboard."""
    from airflow_slo_provider.slo import rules as write_rules
    from airflow_slo_provider.slo.export.grafana_dashboard import grafana_dashboard

    catalog = load_documents(args.path, exit_code=1, sloth_period=args.sloth_period)
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


def load_documents(paths: Sequence[str], *, exit_code: int, sloth_period: str | None = None) -> SLOCatalog:
    """Read SLO documents and print warnings on standard error; exit if the documents have errors.

    :param paths: files and directories
    :param exit_code: the exit code if the documents have errors
    :param sloth_period: time window of sloth's SLOs; ``[slo] sloth_period`` by default
    """
    reading = _read(paths, sloth_period, exit_code=exit_code)
    for warning in reading.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if reading.catalog is None:
        for error in reading.faults:
            print(f"error: {error}", file=sys.stderr)
        exit_with(exit_code, f"{_count(reading.faults, 'error')} in the documents; correct them first")
    return reading.catalog


def _read(paths: Sequence[str], sloth_period: str | None, *, exit_code: int) -> Reading:
    from airflow_slo_provider.runtime.error_budget.sloth_period import configured_sloth_period
    from airflow_slo_provider.slo import read

    with exit_on_error(exit_code):
        return read(paths, sloth_period=sloth_period or configured_sloth_period())


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
