"""Airflow plugin with the SLO pages: an entry "SLOs" in the navigation, and tabs on a DAG, a run and a task instance.

Every worker imports this module, because Airflow loads plugins there too. The web application and its dependencies are
therefore imported only when an API server requests them.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk.plugins_manager import AirflowPlugin

#: Path of the pages, below the base URL of the API server.
PREFIX = "/slo"


class SLOPagePlugin(AirflowPlugin):
    """The plugin, registered in the entry-point group ``airflow.plugins``."""

    name = "slo"
    # Relative URLs, which the UI resolves below Airflow's base URL.
    external_views = [  # noqa: RUF012 - Airflow's own form
        {
            "name": "SLOs",
            "href": "slo/overview",
            "destination": "nav",
            "url_route": "slo",
            "nav_top_level": True,
            "icon": "slo/static/icon.svg",
            "icon_dark_mode": "slo/static/icon_dark.svg",
        },
        {"name": "SLOs", "href": "slo/dag?dag_id={DAG_ID}", "destination": "dag", "url_route": "slo-dag"},
        {"name": "SLOs", "href": "slo/run?dag_id={DAG_ID}&run_id={RUN_ID}", "destination": "dag_run", "url_route": "slo-run"},
        {
            "name": "SLOs",
            "href": "slo/run?dag_id={DAG_ID}&run_id={RUN_ID}&task_id={TASK_ID}&map_index={MAP_INDEX}",
            "destination": "task_instance",
            "url_route": "slo-task",
        },
    ]

    @property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """Return the web application; it is created once, on first access."""
        from airflow_slo_provider.plugins.slo_page.app import default_app

        return [{"app": default_app(), "url_prefix": PREFIX, "name": "SLO pages"}]
