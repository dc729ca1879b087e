"""Operator that measures once how old a pipeline's result, a feature or a model is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from airflow_slo_provider.operators.freshness_parameters import MAY_BE_EMPTY, FreshnessFields
from airflow_slo_provider.runtime.freshness.assets import inlets_of
from airflow_slo_provider.runtime.recording.checks import non_retryable_errors
from airflow_slo_provider.runtime.required_parameters import require

if TYPE_CHECKING:
    from airflow.sdk import Asset, AssetAlias, Context


class FreshnessCheckOperator(FreshnessFields):
    """Measure the age of a source once and record it in the ledger; fail only with ``fail_if_stale``.

    It accepts the sources of all freshness sensors. In a scheduled DAG it produces the history of a freshness SLO: the ledger
    keeps one check of kind ``freshness`` per run, and an SLO document with a ``Ledger`` data source computes the error budget
    from them.

    .. code-block:: python

        FreshnessCheckOperator(
            task_id="model_age", model="churn", alias="champion", max_age=timedelta(hours=24), name="churn-model-age"
        )

    If the source does not answer or does not exist, the task fails in any case, because nothing was measured.

    :param max_age: the maximum age
    :param warn_age: the maximum age without a warning; no warning by default
    :param fail_if_stale: fail (without a retry) unless the source is fresh; an unknown age is not fresh
    :param asset: source: an ``Asset``, an ``AssetAlias``, or the name or URI of an asset. (templated, if it is text)
    :param external_dag_id: source: the last successful run of a DAG. (templated)
    :param external_task_id: id of one of its tasks, instead of the whole run; a mapped task succeeded when all of its instances
        did. (templated)
    :param table: source: a table, exactly as its name is in the database; needs ``timestamp_column`` and ``conn_id``. (templated)
    :param timestamp_column: column with the time at which a row was written: a timestamp, ISO 8601 text or seconds since 1970.
        (templated)
    :param query: source: PromQL or SQL, depending on the type of the connection. (templated)
    :param query_gives: whether the query returns a ``timestamp`` or an ``age`` in seconds; ``timestamp`` by default for SQL,
        required for Prometheus
    :param path: source: a file or a glob on a disk or in an object store. (templated)
    :param which: whether the ``newest`` (the default) or the ``oldest`` file of a glob counts
    :param feature_view: source: feature views of a Feast registry server; needs ``project``. (templated)
    :param project: Feast's project. (templated)
    :param model: source: a model of a registry; needs ``alias``. (templated)
    :param alias: the alias of the serving version. (templated)
    :param promotion_tag: a tag of the version that holds the time of its promotion. (templated)
    :param deployment: source: ``namespace/name`` of a Kubernetes Deployment. (templated)
    :param group_by: columns, labels, or ``directory``: one age for each group. (templated)
    :param timezone: IANA name of the time zone of naive timestamps. (templated)
    :param conn_id: the Airflow connection; by default that of the source, if it has one. (templated)
    :param quantile: the share of the groups that must be fresh, if there are groups; all by default
    :param clock_tolerance: how far a timestamp may lie in the future
    :param name: name of the check in the ledger; by default it is made from the source, e.g. ``dag:orders``. (templated)
    :raises ValueError: when the DAG file is parsed, for invalid limits or an invalid combination of parameters

    Exactly one source must be given. The sources are described in :class:`.PipelineFreshnessSensor`,
    :class:`.FeatureFreshnessSensor` and :class:`.ModelFreshnessSensor`.
    """

    template_fields: Sequence[str] = (
        "asset", "external_dag_id", "external_task_id", "table", "timestamp_column", "query", "path", "feature_view", "project",
        "model", "alias", "promotion_tag", "deployment", "group_by", "timezone", "conn_id", "name",
    )  # fmt: skip

    def __init__(
        self,
        *,
        fail_if_stale: bool = False,
        asset: Asset | AssetAlias | str | None = None,
        external_dag_id: str | None = None,
        external_task_id: str | None = None,
        table: str | None = None,
        timestamp_column: str | None = None,
        query: str | None = None,
        query_gives: str | None = None,
        path: str | None = None,
        which: str | None = None,
        feature_view: str | Sequence[str] | None = None,
        project: str | None = None,
        model: str | None = None,
        alias: str | None = None,
        promotion_tag: str | None = None,
        deployment: str | None = None,
        group_by: str | Sequence[str] | None = None,
        timezone: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.fail_if_stale = fail_if_stale
        self.asset, self.external_dag_id, self.external_task_id = asset, external_dag_id, external_task_id
        self.table, self.timestamp_column, self.path, self.which = table, timestamp_column, path, which
        self.query, self.query_gives, self.feature_view, self.project = query, query_gives, feature_view, project
        self.model, self.alias, self.promotion_tag, self.deployment = model, alias, promotion_tag, deployment
        self.group_by, self.timezone = group_by, timezone
        super().__init__(**kwargs)
        self.inlets = [*self.inlets, *inlets_of(asset)]

    def execute(self, context: Context) -> dict[str, Any]:
        """Measure, record, and return the check as a dict.

        :param context: Airflow's task context
        :raises AirflowFailException: if the source is not fresh and ``fail_if_stale`` is set, and for errors that a retry
            cannot fix
        """
        from airflow_slo_provider.runtime.freshness.checks import measure

        require(self, self._set_in_dag, may_be_empty=MAY_BE_EMPTY)
        with non_retryable_errors():
            name = self.check_name()
            found = measure(self.question(), self.limits(), name=name, context=context, log=self.log, evidence={})
        result = found.result(name).to_dict()
        if self.fail_if_stale and not found.freshness.fresh:
            context["ti"].xcom_push(key="return_value", value=result)
            raise AirflowFailException(found.message)
        return result
