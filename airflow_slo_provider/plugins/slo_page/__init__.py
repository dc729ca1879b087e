"""The SLO pages inside the Airflow UI: an entry "SLOs" in the navigation, and tabs on a DAG, a run and a task instance.

Every worker imports this module, for Airflow loads plugins there too; so the web application, and everything it needs, is
imported when an API server asks for it and not before.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk.plugins_manager import AirflowPlugin

#: Where the API server mounts the pages, below its own base URL.
PREFIX = "/slo"


class SLOPagePlugin(AirflowPlugin):
    """Registered on the entry point group ``airflow.plugins``."""

    name = "slo"
    # Without a slash at the front the UI resolves them below Airflow's own base URL.
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
        """The web application, made once and only where it is asked for."""
        from airflow_slo_provider.plugins.slo_page.app import the_app

        return [{"app": the_app(), "url_prefix": PREFIX, "name": "SLO pages"}]
