"""Pipelines, and sensors that wait for them, for the tests of freshness on real components.

The sensors of ``external_dag_id`` query this Airflow's own API through the connection ``e2e_airflow``.
"""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

from airflow.sdk import Asset, Param, dag, task

from airflow_slo_provider.deadlines import freshness_deadline
from airflow_slo_provider.operators.freshness import FreshnessCheckOperator
from airflow_slo_provider.sensors.freshness import FeatureFreshnessSensor, PipelineFreshnessSensor

MADE, FOLLOWED, NEVER = Asset("e2e_made"), Asset("e2e_followed"), Asset("e2e_never")
LONG = timedelta(hours=4)


@dag(schedule=None, params={"fail": False})
def e2e_pipeline():
    @task(outlets=[MADE])
    def load(params: dict | None = None) -> None:
        if params["fail"]:
            raise RuntimeError("told to fail")

    load()


@dag(schedule=[MADE])
def e2e_follower():
    """Runs after the pipeline; asset-triggered runs have no logical date."""

    @task(outlets=[FOLLOWED])
    def follow() -> None: ...

    follow()


@dag(schedule=timedelta(days=1), start_date=None, catchup=False)
def e2e_scheduled():
    @task
    def work() -> None: ...

    work()


@dag(schedule=None)
def e2e_freshness_checks():
    FreshnessCheckOperator(task_id="made", asset=MADE, max_age=LONG)
    FreshnessCheckOperator(task_id="followed", asset=FOLLOWED, max_age=LONG)
    FreshnessCheckOperator(task_id="never", asset=NEVER, max_age=LONG)
    FreshnessCheckOperator(task_id="by_name", asset="e2e_made", max_age=LONG)
    for dag_id in ("e2e_pipeline", "e2e_follower", "e2e_scheduled"):
        FreshnessCheckOperator(task_id=dag_id, external_dag_id=dag_id, conn_id="e2e_airflow", max_age=LONG)
    FreshnessCheckOperator(
        task_id="one_task", external_dag_id="e2e_pipeline", external_task_id="load", conn_id="e2e_airflow", max_age=LONG
    )


@dag(schedule=None, params={"fails": -1})
def e2e_expanded():
    @task
    def part(number: int, params: dict | None = None) -> None:
        if number == params["fails"]:
            raise RuntimeError("told to fail")

    part.expand(number=[0, 1, 2])


@dag(schedule=None)
def e2e_freshness_of_expanded():
    FreshnessCheckOperator(
        task_id="part", external_dag_id="e2e_expanded", external_task_id="part", conn_id="e2e_airflow", max_age=LONG
    )


@dag(schedule=None, default_args={"retries": 3, "retry_delay": timedelta(seconds=1)})
def e2e_freshness_refusals():
    """Each of these must fail at once, because a retry cannot fix it."""
    PipelineFreshnessSensor(task_id="unknown_asset", asset="e2e_nobody_knows", max_age=LONG)
    PipelineFreshnessSensor(
        task_id="unknown_dag", external_dag_id="e2e_nobody", conn_id="e2e_airflow", max_age=LONG, deferrable=True
    )
    PipelineFreshnessSensor(
        task_id="unknown_task", external_dag_id="e2e_pipeline", external_task_id="no", conn_id="e2e_airflow", max_age=LONG
    )
    PipelineFreshnessSensor(task_id="wrong_password", external_dag_id="e2e_pipeline", conn_id="e2e_stranger", max_age=LONG)


WAITING = {"max_age": LONG, "deferrable": True, "poke_interval": 1}


@dag(
    schedule=None,
    params={
        "dag": Param("e2e_never_ran", type="string"),
        "path": Param("/nowhere", type="string"),
    },
)
def e2e_freshness_waits():
    """One sensor is deferred, the other one rescheduled; both wait until the test creates the file."""
    PipelineFreshnessSensor(
        task_id="in_the_triggerer", external_dag_id="{{ params.dag }}", conn_id="e2e_airflow", timeout=600, **WAITING
    )
    FeatureFreshnessSensor(task_id="on_workers", path="{{ params.path }}", timeout=600, **WAITING)


@dag(schedule=None)
def e2e_never_ran():
    @task
    def work() -> None: ...

    work()


@dag(schedule=None, default_args={"retries": 2, "retry_delay": timedelta(seconds=1)})
def e2e_freshness_timeouts():
    waiting = {**WAITING, "timeout": 15}
    PipelineFreshnessSensor(task_id="in_the_triggerer", external_dag_id="e2e_idle", conn_id="e2e_airflow", **waiting)
    FeatureFreshnessSensor(task_id="on_workers", path="/nowhere/at/all", **{**waiting, "timeout": 25})
    FeatureFreshnessSensor(task_id="skips", path="/nowhere/at/all", soft_fail=True, **{**waiting, "timeout": 2})
    FeatureFreshnessSensor(
        task_id="rescheduled", path="/nowhere/at/all", max_age=LONG, mode="reschedule", poke_interval=10, timeout=15
    )


@dag(schedule=None)
def e2e_idle():
    @task
    def work() -> None: ...

    work()


class BrokenOnce(FeatureFreshnessSensor):
    """Fails on its first try, some seconds after its first check."""

    def poke(self, context):
        found = super().poke(context)
        if context["ti"].try_number == 1:
            time.sleep(6)
            raise ConnectionError("broken once")
        return found


@dag(schedule=None, params={"path": Param("/nowhere/at/all", type="string")})
def e2e_freshness_retried():
    BrokenOnce(
        task_id="retried", path="{{ params.path }}", max_age=LONG, timeout=10, poke_interval=1, retries=2,
        retry_delay=timedelta(seconds=1),
    )  # fmt: skip


@dag(schedule=None, deadline=freshness_deadline(timedelta(seconds=5), name="e2e-fresh"), params={"mark": "/tmp/none"})
def e2e_late():
    """Takes longer than its deadline."""

    @task
    def work(params: dict | None = None) -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until and not Path(params["mark"]).exists():
            time.sleep(0.5)

    work()


for make in (
    e2e_pipeline, e2e_follower, e2e_scheduled, e2e_freshness_checks, e2e_freshness_refusals, e2e_freshness_waits, e2e_never_ran,
    e2e_freshness_timeouts, e2e_idle, e2e_freshness_retried, e2e_late, e2e_expanded,
    e2e_freshness_of_expanded,
):  # fmt: skip
    make()
