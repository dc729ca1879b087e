"""Freshness of a registered model, asked of a real MLflow server."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from airflow_slo_provider.exceptions import InvalidMeasurement, QueryError
from airflow_slo_provider.operators.model_registry import PromoteModelOperator
from airflow_slo_provider.runtime.freshness.checks import observe
from airflow_slo_provider.runtime.freshness.source_parameters import read_source
from airflow_slo_provider.sensors.freshness import ModelFreshnessSensor
from tests.airflow.task_runs import run_task
from tests.services.mlflow_server import call, make_model, mlflow

__all__ = ["mlflow"]


@pytest.fixture(scope="module")
def registry(mlflow):
    """Two versions of a model; the alias is on the first."""
    make_model(mlflow, "churn rate", versions=1)
    call(mlflow, "model-versions/create", {"name": "churn rate", "source": "s3://b/x"})
    return mlflow


@pytest.fixture(autouse=True)
def connected(registry, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_MODEL_REGISTRY_DEFAULT", json.dumps({"conn_type": "model_registry", "host": registry}))


def ask(model="churn rate", alias="champion", **more):
    return observe(read_source({"model": model, "alias": alias, **more}))


def test_moved_alias_has_age_of_its_version(registry):
    first = ask()
    assert first.model_version == "1"
    assert timedelta(0) < datetime.now(UTC) - first.observed_at < timedelta(minutes=3)
    call(registry, "registered-models/alias", {"name": "churn rate", "alias": "champion", "version": "2"})
    second = ask()
    assert second.model_version == "2"
    assert second.observed_at > first.observed_at
    call(registry, "registered-models/alias", {"name": "churn rate", "alias": "champion", "version": "1"})
    assert ask().observed_at == first.observed_at  # moving it back makes nothing younger


def test_promotion_tag_is_observed(registry):
    assert ask(promotion_tag="promoted_at").observed_at is None
    tag = {"name": "churn rate", "version": "1", "key": "promoted_at", "value": "2026-11-24T11:00:00+01:00"}
    call(registry, "model-versions/set-tag", tag)
    assert ask(promotion_tag="promoted_at").observed_at == datetime(2026, 11, 24, 10, tzinfo=UTC)


def test_naive_promotion_tag_is_rejected(registry):
    call(registry, "model-versions/set-tag", {"name": "churn rate", "version": "1", "key": "naive", "value": "2026-11-24 11:00"})
    with pytest.raises(InvalidMeasurement, match="no time zone"):
        ask(promotion_tag="naive")


def test_promotion_by_operator_is_observed(registry, ledger):
    promote = PromoteModelOperator(task_id="promote", model="churn rate", version="2")
    ran = run_task(promote, connections={"model_registry_default": {"conn_type": "model_registry", "host": registry}})
    assert ran.state == "success", ran.error
    found = ask(promotion_tag="airflow-slo.promoted_at")
    assert found.model_version == "2"
    assert timedelta(0) <= datetime.now(UTC) - found.observed_at < timedelta(minutes=1)
    assert found.observed_at > ask().observed_at  # promoted after it was made
    call(registry, "registered-models/alias", {"name": "churn rate", "alias": "champion", "version": "1"})


def test_missing_alias_is_unknown_and_missing_model_raises(registry):
    missing = ask(alias="challenger")
    assert missing.observed_at is None
    assert "there is no alias challenger" in missing.note
    with pytest.raises(QueryError, match="there is no model nope") as caught:
        ask(model="nope")
    assert not caught.value.transient


def test_sensor_of_a_model_succeeds_when_fresh(registry, ledger):
    connections = {"model_registry_default": {"conn_type": "model_registry", "host": registry}}

    def run(alias):
        sensor = ModelFreshnessSensor(task_id="t", model="churn rate", alias=alias, max_age=timedelta(hours=24), deferrable=True)
        return run_task(sensor, connections=connections)

    assert run("champion").state == "success"
    (found,) = ledger.checks()
    assert (found.result.name, found.result.model_version) == ("model:churn rate@champion", "1")
    ran = run("challenger")
    assert (ran.state, ran.deferral.classpath) == ("deferred", "airflow_slo_provider.triggers.freshness.FreshnessTrigger")
