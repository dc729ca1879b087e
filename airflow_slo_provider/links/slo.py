"""Operator extra links "SLO", "Report" and "Trace" of a task instance.

An operator declares its links: ``operator_extra_links = (SLOLink(),)``. Airflow stores a link when the task ends, and a browser
opens it later. The link therefore holds only the key of the task instance; the page reads the results from the ledger.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseOperatorLink

from airflow_slo_provider.links.urls import page_url

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class _TaskLink(BaseOperatorLink):
    """Base class of links to a page of the task instance."""

    page = ""

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the URL of the page.

        :param operator: the operator; not used
        :param ti_key: key of the task instance
        """
        index = -1 if ti_key.map_index is None else ti_key.map_index
        return page_url(self.page, dag_id=ti_key.dag_id, run_id=ti_key.run_id, task_id=ti_key.task_id, map_index=index)


class SLOLink(_TaskLink):
    """Link to the page with the checks and decisions of this task instance."""

    name = "SLO"
    page = "run"


class ReportLink(_TaskLink):
    """Link to the report of this task instance, or to the list of its reports if there are several."""

    name = "Report"
    page = "run/report"


class TraceLink(_TaskLink):
    """Link to the task instance's trace in the trace store's UI (``[slo] trace_url``), or to the page that lists its traces."""

    name = "Trace"
    page = "run/trace"
