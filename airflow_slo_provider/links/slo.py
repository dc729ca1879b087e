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


class SLOLink(BaseOperatorLink):
    """Link to the page with the checks and decisions of this task instance."""

    name = "SLO"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the URL of the page of the task instance.

        :param operator: the operator; not used
        :param ti_key: key of the task instance
        """
        return page_url("run", **_key(ti_key))


class ReportLink(BaseOperatorLink):
    """Link to the report of this task instance, or to the list of its reports if there are several."""

    name = "Report"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the URL that redirects to the report.

        :param operator: the operator; not used
        :param ti_key: key of the task instance
        """
        return page_url("run/report", **_key(ti_key))


class TraceLink(BaseOperatorLink):
    """Link to the task instance's trace in the trace store's UI (``[slo] trace_url``), or to the page that lists its traces."""

    name = "Trace"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the URL that redirects to the trace.

        :param operator: the operator; not used
        :param ti_key: key of the task instance
        """
        return page_url("run/trace", **_key(ti_key))


def _key(ti_key: TaskInstanceKey) -> dict[str, object]:
    index = ti_key.map_index
    return {
        "dag_id": ti_key.dag_id,
        "run_id": ti_key.run_id,
        "task_id": ti_key.task_id,
        "map_index": -1 if index is None else index,
    }
