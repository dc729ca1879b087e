"""Check freshness every hour, drift every day and the golden set every night, as defined by the documents in `slos/checks`.

**What they do.** A task reads the documents and creates one mapped task per SLO, so that adding an SLO adds a check without a
change in Python. Each check is a row in the ledger, which the documents' SLOs count: see `airflow slo status dags/slos/checks`.
The results select a branch, and update the assets that start `retraining`.

| DAG | exit | what it means |
|---|---|---|
| `hourly_freshness` | `all_fresh` | nothing is older than its document allows |
| | `data_are_stale` | data are too old, or of unknown age: the pipeline must be checked |
| | `model_is_stale` | the champion is too old, or there is none: updates the asset `churn_model_stale` |
| `daily_drift` | `no_drift` | the data have the distribution of the training data |
| | `drifted` | they do not: updates the asset `churn_drifted` |
| | `inspect_data` | drift cannot be judged: too few rows, a column added, removed or changed in type |
| `nightly_golden_set` | `good_enough` | the model reaches its threshold |
| | `model_is_worse` | it does not: decide between a rollback and a new training |
| | `inspect_golden_set` | inconclusive: an interval contains the threshold, or rows or predictions are missing |

A missing table or a database that does not respond fails the run, because nothing was checked. So does a DAG for whose kind no
document defines a check by the annotation `scheduled-checks/source`.

**Without changes** they need no server and no connection: `example_data` creates data; its parameters simulate a bad day. They
need the extras `drift` and `evaluation`.

**For production**

- parameter `slos`: your documents. A source names its connection: `{conn_id: warehouse, table: features, timestamp_column: ts}`,
  `{engine: sql, sql_conn_id: warehouse, reference: profile.json, current: features}`.
- parameter `data`: the base of relative paths, e.g. `s3://features`; delete `example_data`.
- connection `model_registry_default`: your MLflow server.
"""

from __future__ import annotations

import logging
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import Asset, Param, dag, task

from airflow_slo_provider.operators.drift import DriftOperator
from airflow_slo_provider.operators.freshness import FreshnessCheckOperator
from airflow_slo_provider.operators.golden_set import GoldenSetEvaluationOperator

SLOS = Path(__file__).resolve().parent / "slos" / "checks"
DATA = Path(os.environ.get("AIRFLOW_HOME") or "~/airflow").expanduser() / "slo_examples" / "checks"
SOURCE = "scheduled-checks/source"

# retraining.py is scheduled by these; an asset is identified by its name.
DRIFTED, STALE = Asset("churn_drifted"), Asset("churn_model_stale")

SETTINGS: dict[str, Any] = {
    "start_date": datetime(2026, 1, 1),  # noqa: DTZ001 - Airflow reads it in its own time zone
    "catchup": False,
    "max_active_runs": 1,
    "default_args": {"retries": 2, "retry_delay": timedelta(minutes=1)},
    "params": {
        "slos": Param(str(SLOS), type="string", description="SLO documents: a file or a directory"),
        "data": Param(str(DATA), type="string", description="where paths begin"),
        # Parameters of the example's day; delete them with example_data.
        "age_hours": Param(0, type="number", minimum=0, description="example: age of the data"),
        "rows": Param(5000, type="integer", minimum=1, description="example: customers of the day"),
        "shift": Param(0.0, type="number", description="example: how far amounts moved, in standard deviations"),
        "wrong": Param(0.05, type="number", minimum=0, maximum=1, description="example: share of wrong predictions"),
    },
    "tags": ["slo", "example"],
    "doc_md": __doc__,
}


@task
def documents(kind: str, params: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Return an operator's parameters for each SLO that counts checks of a kind; fail if there is none."""
    import yaml
    from airflow.sdk.exceptions import AirflowFailException

    from airflow_slo_provider import slo

    def below_data(value: Any) -> Any:
        plain = isinstance(value, str) and value.endswith((".csv", ".parquet", ".json", "/_SUCCESS"))
        return f"{params['data']}/{value}" if plain and "://" not in value and not value.startswith("/") else value

    found, left_out = [], []
    for one in slo.load(params["slos"]):
        for source in one.indicator.metric.sources[:1] if one.indicator else ():
            if source.spec.get("kind") == kind and SOURCE in one.annotations:
                wanted = {name: below_data(value) for name, value in yaml.safe_load(one.annotations[SOURCE]).items()}
                limit = one.objectives[0].value
                found.append(wanted | {"name": source.query} | ({"max_age": timedelta(seconds=float(limit))} if limit else {}))
            elif source.spec.get("kind") == kind:
                left_out.append(one.name)
    if left_out:
        logging.getLogger(__name__).warning("not checked, for want of the annotation %s: %s", SOURCE, ", ".join(left_out))
    if not found:
        raise AirflowFailException(
            f"{params['slos']}: no SLO counts checks of kind {kind} and says by the annotation {SOURCE} what to check"
            f" (without it: {', '.join(left_out) or 'none'}); add one, or pause this DAG"
        )
    return found


@dag(schedule="@hourly", **SETTINGS)
def hourly_freshness():
    asked = documents("freshness")
    checked = FreshnessCheckOperator.partial(task_id="freshness").expand_kwargs(asked)

    @task.branch
    def how_fresh(asked: list[dict[str, Any]], found: list[dict[str, Any]]) -> list[str]:
        """An unknown age counts as stale."""
        old = [one for one, check in zip(asked, found, strict=True) if check["verdict"] not in ("pass", "warn")]
        models = [one for one in old if "model" in one]
        ways = {"model_is_stale": bool(models), "data_are_stale": len(old) > len(models), "all_fresh": not old}
        return [way for way, taken in ways.items() if taken]

    example_data() >> checked
    how_fresh(asked, checked.output) >> [
        EmptyOperator(task_id="all_fresh"),
        EmptyOperator(task_id="data_are_stale"),
        EmptyOperator(task_id="model_is_stale", outlets=[STALE]),
    ]


@dag(schedule="@daily", **SETTINGS)
def daily_drift():
    checked = DriftOperator.partial(task_id="drift").expand_kwargs(documents("drift"))

    @task.branch
    def what_moved(found: list[dict[str, Any]]) -> str:
        """Any drift counts as drift; there is none only if all comparisons found none."""
        states = {check["verdict"] for check in found}
        if "drift" in states:
            return "drifted"
        return "no_drift" if states <= {"ok", "warn"} else "inspect_data"

    example_data() >> checked
    what_moved(checked.output) >> [
        EmptyOperator(task_id="no_drift"),
        EmptyOperator(task_id="drifted", outlets=[DRIFTED]),
        EmptyOperator(task_id="inspect_data"),
    ]


@dag(schedule="0 2 * * *", **SETTINGS)
def nightly_golden_set():
    # A worse model is handled by the branch below and must not fail this task.
    checked = GoldenSetEvaluationOperator.partial(task_id="golden_set", fail_on=()).expand_kwargs(documents("golden_set"))

    @task.branch
    def how_good(found: list[dict[str, Any]]) -> str:
        """A model that is worse takes precedence over inconclusive results."""
        verdicts = {check["verdict"] for check in found}
        if "fail" in verdicts:
            return "model_is_worse"
        return "good_enough" if verdicts <= {"pass", "warn"} else "inspect_golden_set"

    example_data() >> checked
    how_good(checked.output) >> [
        EmptyOperator(task_id="good_enough"),
        EmptyOperator(task_id="model_is_worse"),
        EmptyOperator(task_id="inspect_golden_set"),
    ]


# ---- Only for the example: the data ----------------------------------------------------------------------------------------


@task
def example_data(params: dict[str, Any] | None = None) -> None:
    """Write the data of the training, those of today, and a golden set with predictions."""
    import time

    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(7)

    def customers(rows: int, shift: float = 0) -> pd.DataFrame:
        amount, tenure = rng.normal(50 + 10 * shift, 10, rows).round(2), rng.poisson(24, rows)
        return pd.DataFrame({"id": np.arange(rows), "amount": amount, "tenure_months": tenure})

    def write(frame: pd.DataFrame, name: str) -> Path:
        draft = home / f".{name}.{os.getpid()}"  # the three DAGs may run at the same time
        frame.to_csv(draft, index=False)
        return draft.replace(home / name)

    home = Path(params["data"])
    home.mkdir(parents=True, exist_ok=True)
    write(customers(20_000), "training.csv")
    today = write(customers(params["rows"], params["shift"]), "today.csv")
    made = time.time() - 3600 * params["age_hours"]
    os.utime(today, (made, made))
    golden = customers(1000)
    golden["label"] = (golden["amount"] < 50).astype(int)
    golden["prediction"] = golden["label"] ^ (rng.random(1000) < params["wrong"])
    write(golden, "golden_set.csv")


hourly_freshness()
daily_drift()
nightly_golden_set()
