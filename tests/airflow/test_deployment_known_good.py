"""Rolling back to what the ledger knows to have been good."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from airflow_slo_provider.exceptions import DeploymentError
from airflow_slo_provider.ledger import Ledger
from airflow_slo_provider.operators.kubernetes import (
    DeploymentRollbackOperator,
)
from airflow_slo_provider.results import Verdict
from airflow_slo_provider.runtime import kubernetes_deployments as deployments
from airflow_slo_provider.runtime.kubernetes_deployments import known_good_versions
from tests.airflow.deployments import SOON, V1, V2, complete_when_patched, connected, judged, last, own_ledger, rollback
from tests.airflow.task_runs import run_task
from tests.services.kube_states import released, stray
from tests.services.kube_world import NAME, World


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    yield from connected(tmp_path, monkeypatch)


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    return own_ledger(tmp_path, monkeypatch)


class TestLastKnownGood:
    def test_default_target_is_last_known_good_of_ledger(self, world: World, ledger: Ledger) -> None:
        released(world, 1, 2)
        stray(world, "stray", "1", "registry.local/evil:1")
        complete_when_patched(world)
        judged(ledger, "1", "pass")
        judged(ledger, "2", "pass", minutes=60)
        judged(ledger, "2", "fail")
        ran = run_task(DeploymentRollbackOperator(task_id="t", name=NAME, namespace=world.namespace, **SOON))
        assert (ran.state, world.images()) == ("success", [V1])
        assert "Known to be good, by the ledger: 1" in ran.log

    @pytest.mark.parametrize(
        ("judgements", "reason"),
        [
            ([], "no check of it has passed"),
            ([("1", "fail")], "no check of it has passed"),
            ([("1", "unknown")], "no check of it has passed"),
            ([("1", "warn")], "no check of it has passed"),
            ([("7", "pass")], "no earlier revision that is known to be good"),
            ([("2", "pass")], "is the current one"),
        ],
    )
    def test_no_known_good_version_fails(
        self, world: World, ledger: Ledger, judgements: list[tuple[str, str]], reason: str
    ) -> None:
        released(world, 1, 2)
        for version, verdict in judgements:
            judged(ledger, version, verdict)
        ran = run_task(rollback(world, to="last_known_good"))
        assert (ran.state, world.images(), world.emulator.writes()) == ("failed", [V2], 0)
        assert reason in str(ran.error)
        assert last(ledger, world).verdict is Verdict.FAIL

    def test_checks_select_model_in_shared_ledger(self, world: World, ledger: Ledger) -> None:
        released(world, 1, 2)
        complete_when_patched(world)
        judged(ledger, "1", "pass", name="checkout")
        judged(ledger, "1", "fail", name="search")
        ran = run_task(rollback(world, to="last_known_good"))
        assert ran.state == "failed"
        assert "golden_set checks checkout, search" in str(ran.error)
        for checks in (["search"], ["golden_set/search"]):
            assert "no check of it has passed" in str(run_task(rollback(world, to="last_known_good", checks=checks)).error)
        assert run_task(rollback(world, to="last_known_good", checks=["golden_set/checkout"])).state == "success"

    def test_check_name_with_slash_is_found(self, world: World, ledger: Ledger) -> None:
        released(world, 1, 2)
        complete_when_patched(world)
        judged(ledger, "1", "pass", name="shop/checkout")
        judged(ledger, "1", "fail", name="checkout", kind="shop")
        operator = rollback(world, to="last_known_good", checks=["golden_set/shop/checkout"])
        assert "no check of it has passed" not in str(run_task(operator).error)
        assert world.images() == [V1]

    @pytest.mark.parametrize("checks", [None, ["checkout"]])
    def test_version_replaced_by_rollback_is_not_good(self, world: World, ledger: Ledger, checks: list[str] | None) -> None:
        """Rolled back to 1 from 2 and later from 3: both burned, and the later row must not hide the earlier."""
        for version in "123":
            judged(ledger, version, "pass")
        for minutes, left in ((4, "2"), (2, "3")):
            found = {"from": left, "to": "1", "now": "1"}
            judged(ledger, "1", "pass", kind="rollback", name="m@champion", minutes=minutes, evidence=found)
        assert known_good_versions(checks, timedelta(days=1)) == ["1"]

    def test_old_known_good_version_is_found_among_many_checks(
        self, world: World, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(deployments, "MOST_ROWS", 5)
        judged(ledger, "2", "fail", minutes=60)
        judged(ledger, "2", "pass", kind="latency", name="model-server/predict/p99")
        judged(ledger, "1", "pass", minutes=50)
        for minutes in range(20):
            judged(ledger, "1", "pass", minutes=minutes, kind="latency", name="model-server/predict/p99")
            judged(ledger, None, "pass", minutes=minutes, kind="slo", name="availability")
        assert known_good_versions(None, timedelta(days=1)) == ["1"]
        assert known_good_versions(["latency/model-server"], timedelta(days=1)) == ["2", "1"]
        for version in "345":
            judged(ledger, version, "pass")
        with pytest.raises(DeploymentError, match="5 results of golden_set or more within look_back"):
            known_good_versions(None, timedelta(days=1))

    def test_known_good_parameter_is_used(self, world: World, ledger: Ledger) -> None:
        released(world, 1, 2, 3)
        complete_when_patched(world)
        operator = rollback(world, to="last_known_good", known_good=["{{ dag_run.conf['good'] }}"])
        assert run_task(operator, conf={"good": "1"}).state == "success"
        assert world.images() == [V1]

    def test_unreadable_ledger_fails_rollback(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        released(world, 1, 2)
        monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", "postgresql://nobody@127.0.0.1:1/nothing")
        ran = run_task(rollback(world, to="last_known_good"))
        assert (ran.state, world.images()) == ("up_for_retry", [V2])
