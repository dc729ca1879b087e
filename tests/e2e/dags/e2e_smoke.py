"""The smallest DAG: shows that scheduler, worker, API server and logs work together."""

from __future__ import annotations

import logging

from airflow.sdk import dag, task


@dag(schedule=None, tags=["e2e"])
def e2e_smoke():
    @task
    def add(params: dict | None = None) -> int:
        logging.getLogger(__name__).info("adding one and two")
        return 1 + 2

    @task
    def double(number: int) -> int:
        return 2 * number

    double(add())


e2e_smoke()
