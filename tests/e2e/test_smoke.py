"""The Airflow components themselves work."""

from __future__ import annotations

import pytest

from demo.airflow_client import AirflowAPIError, AirflowClient

pytestmark = pytest.mark.e2e


def test_trivial_dag_runs_on_real_components(airflow_stack, run_dag):
    run_id, state = run_dag("e2e_smoke")
    client = airflow_stack.client
    assert state == "success"
    assert client.task_states("e2e_smoke", run_id) == {"add": "success", "double": "success"}
    assert client.xcom("e2e_smoke", run_id, "double") == 6
    assert "adding one and two" in client.log("e2e_smoke", run_id, "add")


def test_dag_files_have_no_import_errors(airflow_stack):
    airflow_stack.client.wait_for_dag("e2e_smoke")
    airflow_stack.client.wait_for_dag("gated_model_promotion")
    assert airflow_stack.client.import_errors() == []


def test_api_without_login_is_refused(airflow_stack):
    stranger = AirflowClient(airflow_stack.url, "demo", "not the password")
    with pytest.raises(AirflowAPIError) as caught:
        stranger.import_errors()
    assert caught.value.status == 401


def test_killed_triggerer_recovers(airflow_stack):
    before = airflow_stack.running["triggerer"].pid
    airflow_stack.restart_component("triggerer")
    assert airflow_stack.running["triggerer"].pid != before
    airflow_stack.wait_until_healthy(timeout=240)
