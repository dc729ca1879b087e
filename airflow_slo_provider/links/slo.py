"""The buttons "SLO", "Report" and "Trace" on a task instance. Operators name theirs: ``operator_extra_links = (SLOLink(),)``.

A link is stored when the task ends and read by a browser later, so it names the task instance and nothing it found: the page
looks that up in the ledger.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseOperatorLink

from airflow_slo_provider.links.urls import page_url

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class SLOLink(BaseOperatorLink):
    """What this task instance checked and decided."""

    name = "SLO"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address of the page of the task instance."""
        return page_url("run", **_key(ti_key))


class ReportLink(BaseOperatorLink):
    """The report that this task instance wrote; where there are several, the list of them."""

    name = "Report"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address that leads to the report."""
        return page_url("run/report", **_key(ti_key))


class TraceLink(BaseOperatorLink):
    """The trace that this task instance names, in the trace store's own UI (``[slo] trace_url``); else the page that lists it."""

    name = "Trace"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address that leads to the trace."""
        return page_url("run/trace", **_key(ti_key))


def _key(ti_key: TaskInstanceKey) -> dict[str, object]:
    index = ti_key.map_index
    return {
        "dag_id": ti_key.dag_id,
        "run_id": ti_key.run_id,
        "task_id": ti_key.task_id,
        "map_index": -1 if index is None else index,
    }
