"""Sensors that wait until a pipeline, a feature or a model is fresh."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.runtime.freshness.assets import inlets_of
from airflow_slo_provider.sensors.freshness_base import FreshnessSensor

if TYPE_CHECKING:
    from airflow.sdk import Asset, AssetAlias


class PipelineFreshnessSensor(FreshnessSensor):
    """Wait until a pipeline's last success is at most ``max_age`` old.

    There are three sources: the events of an asset (no credentials needed; scheduled, manual and asset-triggered runs all
    create them), the last successful run of a DAG in this or another Airflow through its REST API, or a query.

    .. code-block:: python

        PipelineFreshnessSensor(task_id="orders_loaded", asset=Asset("orders"), max_age=timedelta(hours=4), deferrable=True)

    :param asset: an ``Asset``, an ``AssetAlias``, or the name or URI of an asset. (templated, if it is text)
    :param external_dag_id: id of a DAG. (templated)
    :param external_task_id: id of one of its tasks, instead of the whole run; a mapped task succeeded when all of its instances
        did. (templated)
    :param query: PromQL or SQL, depending on the type of the connection. (templated)
    :param query_gives: whether the query returns a ``timestamp`` or an ``age`` in seconds; ``timestamp`` by default for SQL,
        required for Prometheus
    :param timezone: IANA name of the time zone of naive timestamps of an SQL query. (templated)
    :param conn_id: connection of the Airflow API (``airflow_default``: URL, and a token in the extra or login and password), of
        the Prometheus server (``prometheus_default``) or of the database. (templated)

    ``max_age`` and all else: :class:`.FreshnessSensor` (``airflow_slo_provider.sensors.freshness_base``).
    """

    template_fields: Sequence[str] = ("asset", "external_dag_id", "external_task_id", "query", "timezone", "conn_id", "name")

    def __init__(
        self,
        *,
        asset: Asset | AssetAlias | str | None = None,
        external_dag_id: str | None = None,
        external_task_id: str | None = None,
        query: str | None = None,
        query_gives: str | None = None,
        timezone: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.asset, self.external_dag_id, self.external_task_id = asset, external_dag_id, external_task_id
        self.query, self.query_gives, self.timezone = query, query_gives, timezone
        super().__init__(**kwargs)
        self.inlets = [*self.inlets, *inlets_of(asset)]


class FeatureFreshnessSensor(FreshnessSensor):
    """Wait until features are at most ``max_age`` old: all of them, or a share of their groups.

    The newest row of a table does not show whether other rows were left behind. With ``group_by`` one age is measured for each
    group (an entity, a partition), ``quantile`` is the share of the groups that must be fresh, and the message names the
    oldest.

    .. code-block:: python

        FeatureFreshnessSensor(
            task_id="features_fresh",
            conn_id="warehouse",
            table="features",
            timestamp_column="updated_at",
            group_by="customer_id",
            quantile=0.99,
            max_age=timedelta(hours=1),
        )

    :param table: a table, exactly as its name is in the database, with a schema where needed; needs ``timestamp_column`` and
        ``conn_id``. (templated)
    :param timestamp_column: column with the time at which a row was written: a timestamp, ISO 8601 text or seconds since 1970.
        (templated)
    :param query: SQL or PromQL. (templated)
    :param query_gives: whether the query returns a ``timestamp`` or an ``age`` in seconds; ``timestamp`` by default for SQL,
        required for Prometheus
    :param path: a file or a glob on a disk or in an object store, also of marker files: ``s3://b/dt=*/_SUCCESS``. (templated)
    :param which: whether the ``newest`` (the default) or the ``oldest`` file of a glob counts
    :param feature_view: one or several feature views of a Feast registry server (``feast serve_registry --rest-api``); needs
        ``project``. The age of the last materialisation is measured, not the age of the data. (templated)
    :param project: Feast's project. (templated)
    :param group_by: columns of the table or the query, labels of a Prometheus query, or ``directory`` for files. (templated)
    :param quantile: the share of the groups that must be fresh, e.g. ``0.99``; every group by default
    :param timezone: IANA name of the time zone of naive timestamps; without it they are an error. (templated)
    :param conn_id: the connection; ``prometheus_default`` for a query, ``feast_default`` for feature views. (templated)

    ``max_age`` and all else: :class:`.FreshnessSensor` (``airflow_slo_provider.sensors.freshness_base``).
    """

    template_fields: Sequence[str] = (
        "table", "timestamp_column", "query", "path", "feature_view", "project", "group_by", "timezone", "conn_id", "name",
    )  # fmt: skip

    def __init__(
        self,
        *,
        table: str | None = None,
        timestamp_column: str | None = None,
        query: str | None = None,
        query_gives: str | None = None,
        path: str | None = None,
        which: str | None = None,
        feature_view: str | Sequence[str] | None = None,
        project: str | None = None,
        group_by: str | Sequence[str] | None = None,
        timezone: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.table, self.timestamp_column, self.path, self.which = table, timestamp_column, path, which
        self.query, self.query_gives, self.feature_view, self.project = query, query_gives, feature_view, project
        self.group_by, self.timezone = group_by, timezone
        super().__init__(**kwargs)


class ModelFreshnessSensor(FreshnessSensor):
    """Wait until the serving model is at most ``max_age`` old.

    .. code-block:: python

        ModelFreshnessSensor(task_id="model_fresh", model="churn", alias="champion", max_age=timedelta(hours=24))

    :param model: a model of a model registry (an MLflow server, or a directory); needs ``alias``. Its age is that of the
        version with the alias, because MLflow does not record when an alias was moved. (templated)
    :param alias: the alias of the serving version. (templated)
    :param promotion_tag: a tag of the version that holds the time of its promotion; it is used instead of the time of
        registration. ``PromoteModelOperator`` writes ``airflow-slo.promoted_at``. A directory records promotions itself.
        (templated)
    :param deployment: ``namespace/name`` of a Kubernetes Deployment: the age of its current, complete rollout; unknown while no
        pod is available. (templated)
    :param query: PromQL or SQL, depending on the type of the connection. (templated)
    :param query_gives: whether the query returns a ``timestamp`` or an ``age`` in seconds; ``timestamp`` by default for SQL,
        required for Prometheus
    :param timezone: IANA name of the time zone of naive timestamps of an SQL query. (templated)
    :param conn_id: the connection; ``model_registry_default``, ``kubernetes_default`` or ``prometheus_default``. (templated)

    ``max_age`` and all else: :class:`.FreshnessSensor` (``airflow_slo_provider.sensors.freshness_base``).
    """

    template_fields: Sequence[str] = ("model", "alias", "promotion_tag", "deployment", "query", "timezone", "conn_id", "name")

    def __init__(
        self,
        *,
        model: str | None = None,
        alias: str | None = None,
        promotion_tag: str | None = None,
        deployment: str | None = None,
        query: str | None = None,
        query_gives: str | None = None,
        timezone: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.model, self.alias, self.promotion_tag, self.deployment = model, alias, promotion_tag, deployment
        self.query, self.query_gives, self.timezone = query, query_gives, timezone
        super().__init__(**kwargs)
