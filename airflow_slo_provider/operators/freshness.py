"""Checking once how fresh something is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.operators.freshness_parameters import MAY_BE_EMPTY, FreshnessFields
from airflow_slo_provider.runtime.freshness.assets import inlets_of
from airflow_slo_provider.runtime.recording.checks import failing_rightly
from airflow_slo_provider.runtime.required_parameters import require

if TYPE_CHECKING:
    from airflow.sdk import Asset, AssetAlias, Context


class FreshnessCheckOperator(FreshnessFields):
    """Measures once how old something is, records it in the ledger, and fails only when told to.

    It takes the source of any of the freshness sensors. On a schedule it gives a freshness SLO its history: the ledger keeps one
    check of kind ``freshness`` for each run, and an SLO document with a ``Ledger`` data source turns them into a budget.

    .. code-block:: python

        FreshnessCheckOperator(
            task_id="model_age", model="churn", alias="champion", max_age=timedelta(hours=24), name="churn-model-age"
        )

    A source that does not answer, or does not exist, fails the task in any case: nothing was measured.

    :param max_age: the oldest that is accepted
    :param warn_age: the oldest that is accepted without a warning
    :param fail_if_stale: fail (without a retry) unless it is fresh; what is not known is not fresh
    :param asset: source: an ``Asset``, an ``AssetAlias``, or the name or URI of an asset. (templated, where it is text)
    :param external_dag_id: source: the last successful run of a DAG. (templated)
    :param external_task_id: one task of it, instead of the whole run; a mapped one succeeded when all of its instances did.
        (templated)
    :param table: source: a table, exactly as its name is in the database; needs ``timestamp_column`` and ``conn_id``. (templated)
    :param timestamp_column: when a row was written: a timestamp, ISO 8601 text or seconds since 1970. (templated)
    :param query: source: PromQL or SQL, as the connection says. (templated)
    :param query_gives: whether it answers a ``timestamp`` or an ``age`` in seconds
    :param path: source: a file or a glob on a disk or in an object store. (templated)
    :param which: ``newest`` (the default) or ``oldest`` of the files of a glob
    :param feature_view: source: feature views of a Feast registry server; needs ``project``. (templated)
    :param project: Feast's project. (templated)
    :param model: source: a model of a registry; needs ``alias``. (templated)
    :param alias: the alias of the serving version. (templated)
    :param promotion_tag: a tag of the version that holds when it was promoted. (templated)
    :param deployment: source: ``namespace/name`` of a Kubernetes Deployment. (templated)
    :param group_by: columns, labels, or ``directory``: one age for each group. (templated)
    :param timezone: IANA name of the zone of timestamps that have none. (templated)
    :param conn_id: the connection; the source's default where it has one. (templated)
    :param quantile: the share of the groups that must be fresh, where there are groups; all by default
    :param clock_tolerance: how far a timestamp may lie in the future
    :param name: name of the check in the ledger; made of the source by default, e.g. ``dag:orders``. (templated)
    :raises ValueError: when the DAG is read, for limits or a combination of parameters that cannot be meant

    Exactly one source is given. What each of them measures: :class:`.PipelineFreshnessSensor`,
    :class:`.FeatureFreshnessSensor`, :class:`.ModelFreshnessSensor`.
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
        self.asset = asset
        self.external_dag_id, self.external_task_id = external_dag_id, external_task_id
        self.table, self.timestamp_column = table, timestamp_column
        self.query, self.query_gives = query, query_gives
        self.path, self.which = path, which
        self.feature_view, self.project = feature_view, project
        self.model, self.alias, self.promotion_tag = model, alias, promotion_tag
        self.deployment = deployment
        self.group_by, self.timezone = group_by, timezone
        super().__init__(**kwargs)
        self.inlets = [*self.inlets, *inlets_of(asset)]

    def execute(self, context: Context) -> dict[str, Any]:
        """Look, record, and return the check."""
        from airflow.sdk.exceptions import AirflowFailException

        from airflow_slo_provider.runtime.freshness.checks import measure

        require(self, self._given, may_be_empty=MAY_BE_EMPTY)
        with failing_rightly():
            name = self.check_name()
            found = measure(self.question(), self.limits(), name=name, context=context, log=self.log, evidence={})
        result = found.result(name).to_dict()
        if self.fail_if_stale and not found.freshness.fresh:
            context["ti"].xcom_push(key="return_value", value=result)
            raise AirflowFailException(found.message)
        return result
