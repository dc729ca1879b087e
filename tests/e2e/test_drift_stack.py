"""The example of drift on real Airflow components: the profile, the branch, the event."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize(("shift", "followed"), [(1.0, "retrain"), (0.0, "keep")])
def test_the_example_dag(run_dag, airflow_stack, shift, followed) -> None:
    run_id, state = run_dag("example_drift", conf={"shift": shift}, timeout=180)
    assert state == "success"
    states = airflow_stack.client.task_states("example_drift", run_id)
    assert {name for name in ("retrain", "keep", "investigate") if states[name] == "success"} == {followed}
    found = airflow_stack.client.xcom("example_drift", run_id, "drifted", key="drift")
    assert found["verdict"] == ("drift" if shift else "ok")
