"""What ``airflow slo validate|status|rules`` do. They write nothing into the ledger."""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from airflow_slo_provider.slo.budget.reports import SLOReport
    from airflow_slo_provider.slo.catalog import SLOCatalog


def validate(args: Namespace) -> None:
    """List every fault and warning; exit with 1 when there is a fault."""
    from airflow_slo_provider.slo import read

    reading = read(args.path)
    for fault in reading.faults:
        print(f"fault: {fault}")
    for warning in reading.warnings:
        print(f"warning: {warning}")
    if reading.catalog is None:
        leave(1, f"{_count(reading.faults, 'fault')}, {_count(reading.warnings, 'warning')}")
    catalog = reading.catalog
    print(f"{_count(catalog.slos, 'SLO')}, no fault, {_count(reading.warnings, 'warning')}")


def status(args: Namespace) -> None:
    """Measure and print; exit with 0, 1 (exhausted) or 2 (not known)."""
    from airflow_slo_provider.runtime.error_budget.evaluation_deadline import evaluation_deadline
    from airflow_slo_provider.runtime.error_budget.indicator_sources import sources
    from airflow_slo_provider.slo.budget.evaluation_time import read_instant
    from airflow_slo_provider.slo.budget.monitor import SLOMonitor
    from airflow_slo_provider.slo.budget.reports import Status
    from airflow_slo_provider.slo.budget.text_table import table

    catalog = load_documents(args.path, otherwise=2)
    as_server()
    try:
        at = read_instant(args.at, what="--at") if args.at else datetime.now(UTC)
        with sources() as source:
            reports = SLOMonitor(catalog, source, deadline=evaluation_deadline()).evaluate(at, args.select)
    except ValueError as error:
        leave(2, str(error))
    if args.output == "json":
        print(json.dumps({"at": at.astimezone(UTC).isoformat(), "slos": [_plain(report) for report in reports]}, indent=2))
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
    """Write Prometheus rules, and a dashboard where one is asked for."""
    from airflow_slo_provider.slo import rules as write_rules
    from airflow_slo_provider.slo.export.grafana_dashboard import grafana_dashboard

    catalog = load_documents(args.path, otherwise=1)
    try:
        text = write_rules(catalog, select=args.select, interval=args.interval, extra_labels=_labels(args.label))
        drawn = replace(catalog, slos=catalog.select(args.select)) if args.select else catalog
        dashboard = grafana_dashboard(drawn) if args.grafana else None
        if args.output_file:
            Path(args.output_file).write_text(text, encoding="utf-8")
        else:
            print(text, end="")
        if dashboard is not None:
            Path(args.grafana).write_text(json.dumps(dashboard, indent=2) + "\n", encoding="utf-8")
    except (ValueError, OSError) as error:
        leave(1, str(error))


def load_documents(paths: Sequence[str], *, otherwise: int) -> SLOCatalog:
    """Read documents, with warnings on standard error; leave with an exit code when they have faults."""
    from airflow_slo_provider.slo import read

    reading = read(paths)
    for warning in reading.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if reading.catalog is None:
        for fault in reading.faults:
            print(f"fault: {fault}", file=sys.stderr)
        leave(otherwise, f"{_count(reading.faults, 'fault')}: nothing is done")
    return reading.catalog


def _plain(report: SLOReport) -> dict[str, Any]:
    from airflow_slo_provider.slo.budget.ledger_records import report_dict

    error = report.error
    told = {"reason": error.reason, "transient": error.transient, "message": str(error)} if error is not None else None
    return {**report_dict(report), "error": told, "query": report.query}


def _labels(texts: Sequence[str] | None) -> dict[str, str]:
    found = {}
    for text in texts or ():
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise ValueError(f"--label {text!r} is not of the form KEY=VALUE")
        found[key] = value
    return found


def _count(things: Sequence[Any], word: str) -> str:
    return f"{len(things) or 'no'} {word}{'' if len(things) == 1 else 's'}"


def as_server() -> None:
    """Let a command read Airflow's own database of connections: it is no task, and says that it is not on a worker."""
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")


def leave(code: int, message: str) -> NoReturn:
    """Say why on standard error, and end with an exit code."""
    print(message, file=sys.stderr)
    sys.exit(code)
