"""What the freshness sensors and the check refuse when a DAG is read, and what they call a check."""

from __future__ import annotations

from datetime import timedelta

import pytest
from airflow.sdk import Asset, AssetAlias

from airflow_slo_provider.operators.freshness import FreshnessCheckOperator
from airflow_slo_provider.sensors.freshness import FeatureFreshnessSensor, ModelFreshnessSensor, PipelineFreshnessSensor

HOUR = timedelta(hours=1)
TABLE = {"table": "features", "timestamp_column": "ts", "conn_id": "db"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_age": -HOUR}, "negative"),
        ({"max_age": HOUR, "warn_age": 2 * HOUR}, "above max_age"),
        ({"max_age": HOUR, "warn_age": -HOUR}, "negative"),
        ({"max_age": 3600}, "not a timedelta"),
        ({"max_age": HOUR, "clock_tolerance": -HOUR}, "negative"),
    ],
)
@pytest.mark.parametrize("operator", [PipelineFreshnessSensor, FreshnessCheckOperator])
def test_invalid_limits_are_rejected(operator, arguments, message):
    with pytest.raises(ValueError, match=message):
        operator(task_id="t", asset=Asset("a"), **arguments)


@pytest.mark.parametrize(
    ("sensor", "arguments", "message"),
    [
        (PipelineFreshnessSensor, {}, "exactly one source of asset=, external_dag_id=, query=; none"),
        (PipelineFreshnessSensor, {"asset": "a", "query": "q"}, "asset and query is set"),
        (PipelineFreshnessSensor, {"asset": "a", "conn_id": "c"}, "conn_id= is not valid with asset="),
        (PipelineFreshnessSensor, {"asset": 7}, "not an asset"),
        (PipelineFreshnessSensor, {"asset": " "}, "empty"),
        (PipelineFreshnessSensor, {"asset": "a", "external_task_id": "t"}, "external_task_id= is not valid with asset="),
        (PipelineFreshnessSensor, {"query": "q", "query_gives": "seconds"}, "write timestamp or age"),
        (PipelineFreshnessSensor, {"external_dag_id": "d", "quantile": 0.9}, "there are no groups"),
        (FeatureFreshnessSensor, {"table": "t", "conn_id": "c"}, "table= needs timestamp_column="),
        (FeatureFreshnessSensor, {"table": "t", "timestamp_column": "ts"}, "table= needs conn_id="),
        (FeatureFreshnessSensor, {**TABLE, "quantile": 0.9}, "set group_by="),
        (FeatureFreshnessSensor, {**TABLE, "group_by": "e", "quantile": 1.5}, "not a share"),
        (FeatureFreshnessSensor, {**TABLE, "timezone": "Mars"}, "no IANA time zone"),
        (FeatureFreshnessSensor, {**TABLE, "which": "newest"}, "which= is not valid with table="),
        (FeatureFreshnessSensor, {"path": "/x", "which": "last"}, "write newest or oldest"),
        (FeatureFreshnessSensor, {"path": "/x", "group_by": "entity"}, "by directory only"),
        (FeatureFreshnessSensor, {"feature_view": "v"}, "feature_view= needs project="),
        (ModelFreshnessSensor, {"model": "m"}, "model= needs alias="),
        (ModelFreshnessSensor, {"deployment": "a/b", "alias": "x"}, "alias= is not valid with deployment="),
        (ModelFreshnessSensor, {"alias": "x"}, "none is set"),
    ],
)
def test_invalid_sources_are_rejected(sensor, arguments, message):
    with pytest.raises(ValueError, match=message):
        sensor(task_id="t", max_age=HOUR, **arguments)
    with pytest.raises(ValueError, match=message.replace("asset=, external_dag_id=, query=; none", ".*none")):
        FreshnessCheckOperator(task_id="t", max_age=HOUR, **arguments)


@pytest.mark.parametrize(
    ("sensor", "arguments", "name"),
    [
        (PipelineFreshnessSensor, {"asset": Asset("orders", uri="s3://b/orders")}, "asset:orders"),
        (PipelineFreshnessSensor, {"asset": Asset.ref(uri="s3://b/orders")}, "asset:s3://b/orders"),
        (PipelineFreshnessSensor, {"asset": AssetAlias("all")}, "asset:all"),
        (PipelineFreshnessSensor, {"asset": "orders"}, "asset:orders"),
        (PipelineFreshnessSensor, {"external_dag_id": "etl"}, "dag:etl"),
        (PipelineFreshnessSensor, {"external_dag_id": "etl", "external_task_id": "load"}, "dag:etl.load"),
        (PipelineFreshnessSensor, {"query": "q"}, None),
        (FeatureFreshnessSensor, TABLE, "table:features"),
        (FeatureFreshnessSensor, {"path": "s3://b/dt=*/_SUCCESS"}, "path:s3://b/dt=*/_SUCCESS"),
        (FeatureFreshnessSensor, {"feature_view": "v", "project": "p"}, "feature_view:v"),
        (FeatureFreshnessSensor, {"feature_view": ["v", "w"], "project": "p"}, "feature_view:v,w"),
        (ModelFreshnessSensor, {"model": "churn", "alias": "champion"}, "model:churn@champion"),
        (ModelFreshnessSensor, {"deployment": "serving/churn"}, "deployment:serving/churn"),
        (ModelFreshnessSensor, {"deployment": "churn"}, "deployment:default/churn"),
    ],
)
def test_check_name_defaults_to_the_source(sensor, arguments, name):
    for operator in (sensor, FreshnessCheckOperator):
        assert operator(task_id="t", max_age=HOUR, **arguments).question().default_name() == name


def test_asset_is_added_to_inlets():
    asset = Asset("orders")
    assert asset in PipelineFreshnessSensor(task_id="t", asset=asset, max_age=HOUR).inlets
    assert asset in FreshnessCheckOperator(task_id="t", asset=asset, max_age=HOUR).inlets


@pytest.mark.parametrize(
    "operator", [PipelineFreshnessSensor, FeatureFreshnessSensor, ModelFreshnessSensor, FreshnessCheckOperator]
)
def test_text_parameters_are_templates(operator):
    import inspect

    texts = {
        "asset",
        "external_dag_id",
        "external_task_id",
        "table",
        "timestamp_column",
        "query",
        "path",
        "feature_view",
        "model",
    }
    texts |= {"alias", "promotion_tag", "deployment", "group_by", "timezone", "conn_id", "name", "project"}
    taken = {name for cls in operator.__mro__ if "__init__" in vars(cls) for name in inspect.signature(cls.__init__).parameters}
    assert set(operator.template_fields) == texts & taken
    assert {"max_age", "warn_age"} <= taken
