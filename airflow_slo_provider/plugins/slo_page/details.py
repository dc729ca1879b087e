"""Data of the pages of one check, one DAG and one run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.charts.markup import Html
from airflow_slo_provider.charts.time_series import Level, Line, chart
from airflow_slo_provider.core.timestamps import slices
from airflow_slo_provider.ledger.queries import checks as browse
from airflow_slo_provider.ledger.queries import slos as browse_slos
from airflow_slo_provider.plugins.slo_page import safe_evidence as evidence
from airflow_slo_provider.plugins.slo_page.formatting import part

if TYPE_CHECKING:
    from airflow_slo_provider.ledger import Ledger, Recorded
    from airflow_slo_provider.plugins.slo_page.access import Scope

POINTS = 160
LAST_CHECKS = 50
_ODD = (("warn", "warn"), ("fail", "bad"), ("unknown", "unknown"))


def tone(verdict: str) -> str:
    """Return the color class of a verdict."""
    return dict(_ODD).get(verdict, "mark")


@dataclass(frozen=True)
class HistoryView:
    """Data of the page with the history of a check."""

    kind: str
    name: str
    now: datetime
    last: Sequence[Recorded]
    chart: Html


def history_view(ledger: Ledger, scope: Scope, kind: str, name: str, *, now: datetime | None = None) -> HistoryView | None:
    """Read the history of a check of any kind; None if there is nothing that the user may see.

    :param ledger: the ledger
    :param scope: the DAGs that the user may see
    :param kind: kind of the check
    :param name: name of the check
    :param now: the current time (aware)
    """
    now = now or datetime.now(UTC)
    last = allowed(browse.recent(ledger, [kind], name=name, dags=scope.limit, limit=LAST_CHECKS), scope)
    if not last:
        return None
    newest = last[0].result
    end = max(now, newest.checked_at) if now - newest.checked_at < timedelta(days=30) else newest.checked_at
    rows = allowed(browse.history(ledger, kind, name, slices(end - timedelta(days=30), end, POINTS), dags=scope.limit), scope)
    drawn = chart(
        f"{kind} {name} over 30 days",
        [Line(name, [(row.result.checked_at, row.result.value) for row in rows])],
        start=end - timedelta(days=30),
        end=end,
        unit="percent" if newest.unit == "ratio" else "",
        levels=[] if newest.target is None else [Level("target", newest.target)],
    )
    return HistoryView(kind, name, now, last, drawn)


@dataclass(frozen=True)
class CheckView:
    """Data of the page of one recorded check."""

    row: Recorded
    now: datetime
    identity: str
    reports: Sequence[str]
    traces: Sequence[tuple[str, str]]


def check_view(row: Recorded) -> CheckView:
    """Return the data of the page of one check.

    :param row: the recorded check
    """
    return CheckView(row, datetime.now(UTC), identity(row), evidence.reports(row.result.evidence), traces(row.result.evidence))


def identity(row: Recorded) -> str:
    """Return the id of a row for URLs."""
    return row.identity


def traces(source: Any) -> list[tuple[str, str]]:
    """Return the trace ids in evidence, each with its URL in the trace UI; the URL is empty without ``[slo] trace_url``."""
    from airflow_slo_provider.links.urls import trace_url

    return [(one, trace_url(one)) for one in evidence.trace_ids(source)]


@dataclass(frozen=True)
class DagView:
    """Data of a DAG's tab: the newest of each of its checks."""

    dag_id: str
    now: datetime
    groups: Sequence[tuple[str, Sequence[Recorded]]]


def dag_view(ledger: Ledger, dag_id: str) -> DagView:
    """Read the newest of each check of a DAG. The caller must have checked that the user may read the DAG."""
    groups = [
        (
            kind,
            browse_slos.newest(ledger, dags=[dag_id], limit=200)
            if kind == "slo"
            else browse.newest(ledger, kind, dags=[dag_id], limit=200),
        )
        for kind in browse.all_kinds(ledger)
    ]
    return DagView(dag_id, datetime.now(UTC), [(kind, rows) for kind, rows in groups if rows])


@dataclass(frozen=True)
class RunView:
    """The checks of one run, or of one task instance."""

    dag_id: str
    run_id: str
    task_id: str | None
    map_index: int | None
    now: datetime
    rows: Sequence[Recorded]


def run_view(ledger: Ledger, dag_id: str, run_id: str, task_id: str | None, map_index: int | None) -> RunView:
    """Read the checks of a run. The caller must have checked that the user may read the DAG."""
    rows = browse.of_run(ledger, dag_id, run_id, task_id=task_id, map_index=map_index)
    return RunView(dag_id, run_id, task_id, map_index, datetime.now(UTC), rows)


def target(view: RunView, what: str) -> str:
    """Return the URL to which the button "Report" or "Trace" of a task instance leads, relative to ``run/``.

    :param view: the checks of the task instance
    :param what: ``report`` or ``trace``
    :return: the only report or trace; the page of the check if one check names several; else the page of the run
    """
    found: dict[str, tuple[Recorded, str]] = {}  # by report or trace, because checks of one task may share a report
    for row in view.rows:
        if what == "report":
            for key in evidence.reports(row.result.evidence):
                found.setdefault(row.result.evidence[key], (row, f"../report?id={identity(row)}&key={part(key)}"))
        else:
            for trace, url in traces(row.result.evidence):
                found.setdefault(trace, (row, url))
    places = list(found.values())
    if len(places) == 1 and places[0][1]:
        return places[0][1]
    if places and len({identity(row) for row, _ in places}) == 1:
        return f"../check?id={identity(places[0][0])}"
    query = {"dag_id": view.dag_id, "run_id": view.run_id, "task_id": view.task_id, "map_index": view.map_index}
    return "../run?" + "&".join(f"{key}={part(value)}" for key, value in query.items() if value is not None)


def allowed(rows: Sequence[Recorded], scope: Scope) -> list[Recorded]:
    """Return the rows that the user may see."""
    return [row for row in rows if scope.allows(row.key.dag_id)]
