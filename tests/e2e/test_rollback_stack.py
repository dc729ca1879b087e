"""A rollback on real Airflow components: it waits in the triggerer, survives its restart, and is done once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.kube_states import released
from tests.services.kube_world import NAME, World, emulated

pytestmark = pytest.mark.e2e


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    yield from emulated(tmp_path)


def test_deferred_rollback_completes_after_a_triggerer_restart(airflow_stack, world: World):
    client = airflow_stack.client
    client.wait_for_dag("e2e_rollback")
    client.add_connection("e2e_cluster", "kubernetes", extra=f'{{"kube_config_path": "{world.kubeconfig}"}}')
    client.unpause("e2e_rollback")
    released(world, 1, 2)
    run_id = client.trigger("e2e_rollback", conf={"name": NAME, "namespace": world.namespace, "to": "previous"})
    assert client.wait_for_task("e2e_rollback", run_id, "roll_back", states=("deferred", "failed", "success")) == "deferred"
    assert world.images() == ["registry.local/model-server:v1"]
    airflow_stack.restart_component("triggerer")
    world.complete()
    assert client.wait_for_run("e2e_rollback", run_id) == "success"
    done = client.xcom("e2e_rollback", run_id, "roll_back")
    assert (done["changed"], done["from_revision"], done["to_revision"], done["progress"]) == (True, 2, 1, "done")
    assert "successfully rolled out" in client.log("e2e_rollback", run_id, "roll_back")
    client.clear("e2e_rollback", run_id, "roll_back")
    assert client.wait_for_run("e2e_rollback", run_id) == "success"
    assert client.xcom("e2e_rollback", run_id, "roll_back")["changed"] is False
    assert (world.emulator.writes(), world.images()) == (1, ["registry.local/model-server:v1"])
