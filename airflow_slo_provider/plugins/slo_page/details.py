"""Data of the pages of one check, one DAG and one run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.charts.markup import Html
from airflow_slo_provider.charts.time_series import Level, Line, chart
from airflow_slo_provider.core.timestamps import slices
from airflow_slo_provider.ledger.queries import checks as check_queries
from airflow_slo_provider.ledger.queries import slos as slo_queries
from airflow_slo_provider.plugins.slo_page import safe_evidence
from airflow_slo_provider.plugins.slo_page.formatting import quote_url_part

if TYPE_CHECKING:
    from airflow_slo_provider.ledger import Ledger, Recorded
    from airflow_slo_provider.plugins.slo_page.access import ReadableDags

POINTS = 160
LAST_CHECKS = 50
HISTORY = timedelta(days=30)


def mark_color(verdict: str) -> str:
    """Return the color class of a verdict on a chart."""
    return {"warn": "warn", "fail": "bad", "unknown": "unknown"}.get(verdict, "mark")


@dataclass(frozen=True)
class CheckHistory:
    """Data of the page with the history of a check."""

    kind: str
    name: str
    now: datetime
    last: Sequence[Recorded]
    chart: Html


def read_history(
    ledger: Ledger, readable: ReadableDags, kind: str, name: str, *, now: datetime | None = None
) -> CheckHistory | None:
    """Read the history of a check of any kind; None if there is nothing that the user may see.

    :param ledger: the ledger
    :param readable: the DAGs that the user may read
    :param kind: kind of the check
    :param name: name of the check
    :param now: the current time (aware)
    """
    now, dags = now or datetime.now(UTC), readable.query_filter
    last = readable.filter(check_queries.recent(ledger, [kind], name=name, dags=dags, limit=LAST_CHECKS))
    if not last:
        return None
    newest = last[0].result
    end = max(now, newest.checked_at) if now - newest.checked_at < HISTORY else newest.checked_at
    rows = readable.filter(check_queries.history(ledger, kind, name, slices(end - HISTORY, end, POINTS), dags=dags))
    drawn = chart(
        f"{kind} {name} over 30 days",
        [Line(name, [(row.result.checked_at, row.result.value) for row in rows])],
        start=end - HISTORY,
        end=end,
        unit="percent" if newest.unit == "ratio" else "",
        levels=[] if newest.target is None else [Level("target", newest.target)],
    )
    return CheckHistory(kind, name, now, last, drawn)


def trace_urls(evidence: Any) -> list[tuple[str, str]]:
    """Return the trace ids in evidence, each with its URL in the trace UI; the URL is empty without ``[slo] trace_url``."""
    from airflow_slo_provider.links.urls import trace_url

    return [(trace, trace_url(trace)) for trace in safe_evidence.trace_ids(evidence)]


def read_dag_checks(ledger: Ledger, dag_id: str) -> list[tuple[str, Sequence[Recorded]]]:
    """Read the newest of each check of a DAG, by kind. The caller must have checked that the user may read the DAG."""

    def newest(kind: str) -> Sequence[Recorded]:
        if kind == "slo":
            return slo_queries.newest(ledger, dags=[dag_id], limit=200)
        return check_queries.newest(ledger, kind, dags=[dag_id], limit=200)

    return [(kind, rows) for kind in check_queries.all_kinds(ledger) if (rows := newest(kind))]


@dataclass(frozen=True)
class RunChecks:
    """The checks of one run, or of one task instance."""

    dag_id: str
    run_id: str
    task_id: str | None
    map_index: int | None
    now: datetime
    rows: Sequence[Recorded]


def read_run_checks(ledger: Ledger, dag_id: str, run_id: str, task_id: str | None, map_index: int | None) -> RunChecks:
    """Read the checks of a run. The caller must have checked that the user may read the DAG."""
    rows = check_queries.of_run(ledger, dag_id, run_id, task_id=task_id, map_index=map_index)
    return RunChecks(dag_id, run_id, task_id, map_index, datetime.now(UTC), rows)


def button_url(checks: RunChecks, button: str) -> str:
    """Return the URL to which the button "Report" or "Trace" of a task instance leads, relative to ``run/``.

    :param checks: the checks of the task instance
    :param button: ``report`` or ``trace``
    :return: the only report or trace; the page of the check if one check names several; else the page of the run
    """
    found: dict[str, tuple[Recorded, str]] = {}  # by report or trace, because checks of one task may share a report
    for row in checks.rows:
        if button == "report":
            for key in safe_evidence.report_keys(row.result.evidence):
                url = f"../report?id={row.identity}&key={quote_url_part(key)}"
                found.setdefault(row.result.evidence[key], (row, url))
        else:
            for trace, url in trace_urls(row.result.evidence):
                found.setdefault(trace, (row, url))
    targets = list(found.values())
    if len(targets) == 1 and targets[0][1]:
        return targets[0][1]
    if len({row.identity for row, _ in targets}) == 1:
        return f"../check?id={targets[0][0].identity}"
    query = {"dag_id": checks.dag_id, "run_id": checks.run_id, "task_id": checks.task_id, "map_index": checks.map_index}
    return "../run?" + "&".join(f"{key}={quote_url_part(value)}" for key, value in query.items() if value is not None)
