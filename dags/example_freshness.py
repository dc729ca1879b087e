"""Wait for a fresh pipeline, fresh features and a fresh model before features are built and customers are scored.

Runs without setup: the pipeline is an asset that another DAG here updates, features and models are two tables in a SQLite file.
The comment of each source shows the settings of a larger deployment. ``example_freshness_checks`` measures the same three every
hour, whether a sensor waits for them or not: ``demo/slos_freshness`` defines SLOs over its records.

Trigger ``example_ingest`` first: it simulates the upstream pipeline.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from airflow.sdk import Asset, chain, dag, task

from airflow_slo_provider.deadlines import freshness_deadline
from airflow_slo_provider.operators.freshness import FreshnessCheckOperator
from airflow_slo_provider.sensors.freshness import FeatureFreshnessSensor, ModelFreshnessSensor, PipelineFreshnessSensor

HOME = Path(os.environ.get("SLO_DEMO_HOME") or Path(os.environ.get("AIRFLOW_HOME", ".")) / "example_freshness")
# The connection of the feature store, here the SQLite file of this example; a deployment defines it in Airflow.
os.environ.setdefault("AIRFLOW_CONN_EXAMPLE_FEATURES", f'{{"conn_type": "sqlite", "host": "{HOME / "features.db"}"}}')

EVENTS = Asset("example_events")
MODEL_MAX_AGE, FEATURES_MAX_AGE, PIPELINE_MAX_AGE = timedelta(hours=24), timedelta(hours=1), timedelta(hours=4)

# The three sources, as parameters of the sensors and the hourly checks.
PIPELINE = {"asset": EVENTS}  # elsewhere: external_dag_id="ingest", conn_id="other_airflow"
FEATURES = {
    "conn_id": "example_features",
    "table": "features",
    "timestamp_column": "updated_at",
    "group_by": "customer",
    "quantile": 0.99,
}  # with Feast: feature_view="customer_features", project="shop"
MODEL = {
    "conn_id": "example_features",
    "query": "SELECT MAX(made_at) FROM models",
}  # with MLflow: model="churn", alias="champion"; on Kubernetes: deployment="serving/churn"


# A run that takes longer than four hours cannot keep the pipeline fresh: a notification is sent, even if no sensor waits for it.
@dag(schedule=None, deadline=freshness_deadline(PIPELINE_MAX_AGE, name="pipeline-fresh"), tags=["slo", "freshness"])
def example_ingest():
    @task(outlets=[EVENTS])
    def ingest() -> int:
        """Write features of a thousand customers, and a model if there is none; the task updates the asset."""
        import sqlite3
        from contextlib import closing
        from datetime import UTC, datetime

        now = datetime.now(UTC).isoformat()
        HOME.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(HOME / "features.db")) as connection, connection:
            connection.execute("CREATE TABLE IF NOT EXISTS features (customer TEXT PRIMARY KEY, spend REAL, updated_at TEXT)")
            rows = [(f"customer-{number}", float(number), now) for number in range(1000)]
            connection.executemany("INSERT OR REPLACE INTO features VALUES (?, ?, ?)", rows)
            connection.execute("CREATE TABLE IF NOT EXISTS models (version INTEGER PRIMARY KEY, made_at TEXT)")
            connection.execute("INSERT OR IGNORE INTO models VALUES (1, ?)", [now])
        return len(rows)

    ingest()


@dag(
    schedule=None,
    tags=["slo", "freshness"],
    # A retry does not restart a sensor's timeout.
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    doc_md=__doc__,
)
def example_freshness():
    waiting = {"deferrable": True, "poke_interval": timedelta(minutes=1), "timeout": timedelta(hours=2)}

    pipeline_fresh = PipelineFreshnessSensor(task_id="pipeline_fresh", max_age=PIPELINE_MAX_AGE, **PIPELINE, **waiting)
    features_fresh = FeatureFreshnessSensor(task_id="features_fresh", max_age=FEATURES_MAX_AGE, **FEATURES, **waiting)
    model_fresh = ModelFreshnessSensor(
        task_id="model_fresh", max_age=MODEL_MAX_AGE, warn_age=timedelta(hours=20), **MODEL, **waiting
    )

    @task
    def build_features() -> str:
        """Simulate the feature pipeline."""
        return "features built on fresh events"

    @task
    def score() -> str:
        """Simulate the scoring job."""
        return "scored with a fresh model on fresh features"

    chain(pipeline_fresh, build_features(), [features_fresh, model_fresh], score())


@dag(schedule="@hourly", catchup=False, tags=["slo", "freshness"])
def example_freshness_checks():
    """Measure every hour, so that the SLOs of demo/slos_freshness have a history. A stale source does not fail the task."""
    FreshnessCheckOperator(task_id="pipeline", name="tumour-classifier/pipeline", max_age=PIPELINE_MAX_AGE, **PIPELINE)
    FreshnessCheckOperator(task_id="features", name="tumour-classifier/features", max_age=FEATURES_MAX_AGE, **FEATURES)
    FreshnessCheckOperator(task_id="model", name="tumour-classifier/model", max_age=MODEL_MAX_AGE, **MODEL)


example_ingest()
example_freshness()
example_freshness_checks()
