"""Measure freshness on a worker from any source, and log and record the result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.core.text_lists import text_list
from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.freshness import Assessment, Limits, Observation, assess
from airflow_slo_provider.results import CheckResult, Verdict
from airflow_slo_provider.runtime.freshness.source_parameters import FreshnessSource, namespaced
from airflow_slo_provider.runtime.recording.checks import record_unknown_on_error
from airflow_slo_provider.runtime.recording.observations import record_observations

if TYPE_CHECKING:
    from airflow_slo_provider.freshness.sources.http_steps import Steps
    from airflow_slo_provider.freshness.sources.prometheus import PrometheusQuery

#: Path at which Airflow's API issues a token for login and password.
TOKEN_PATH = "/auth/token"  # noqa: S105 - a path


def measure(
    source: FreshnessSource, limits: Limits, *, name: str, context: Mapping[str, Any], log: Any, evidence: Mapping[str, Any]
) -> Assessment:
    """Measure once, log the result and record it in the ledger; a failed measurement is recorded as ``unknown``.

    Every source is measured at the present, regardless of the run. If another run of the task has measured it since this run
    was due, the result is recorded as repeated and not counted again.

    :param source: the source
    :param limits: the freshness limits
    :param name: name of the check in the ledger
    :param context: Airflow's task context
    :param log: the task's logger
    :param evidence: further evidence for the ledger
    :raises MeasurementError: if the age cannot be measured
    """

    def write(results: Iterable[CheckResult], context: Mapping[str, Any]) -> None:
        record_observations(results, context, log)

    with record_unknown_on_error(context, lambda: _unknown(name, limits, evidence), write=write):
        found = assess(observe(source, context), datetime.now(UTC), limits)
    log.info("Freshness of %s", found.message)
    record_observations([found.result(name, evidence)], context, log)
    return found


def _unknown(name: str, limits: Limits, evidence: Mapping[str, Any]) -> CheckResult:
    limit = limits.max_age.total_seconds()
    return CheckResult(
        kind="freshness", name=name, verdict=Verdict.UNKNOWN, unit="seconds", target=limit, op="lte", evidence=evidence
    )


def observe(source: FreshnessSource, context: Mapping[str, Any] | None = None) -> Observation:
    """Measure a source.

    :param source: the source
    :param context: Airflow's task context; required for assets
    :raises MeasurementError: if the source does not answer, or its answer is invalid
    """
    if source.kind == "asset":
        from airflow_slo_provider.runtime.freshness.assets import last_event

        return last_event(source.arguments["asset"], context or {})
    if source.kind == "path":
        return _files(source)
    if source.kind == "deployment":
        from airflow_slo_provider.runtime.freshness.kubernetes import rollout

        return rollout(source.conn_id, *namespaced(source.arguments["deployment"]))
    if is_directory(source):
        from airflow_slo_provider.runtime.freshness.model_registry import version_of_alias

        more = source.arguments
        promoted = more.get("promotion_tag") is not None
        return version_of_alias(str(source.conn_id), more["model"], more["alias"], promoted=promoted)
    if source.kind in ("table", "query"):
        return _prometheus(source) if is_prometheus(source) else _sql(source)
    return _http(source)


def is_prometheus(source: FreshnessSource) -> bool:
    """Return whether a query is PromQL, by the type of its connection."""
    from airflow.sdk import BaseHook

    return source.kind == "query" and BaseHook.get_connection(str(source.conn_id)).conn_type == "prometheus"


def is_directory(source: FreshnessSource) -> bool:
    """Return whether a model is read from a registry in a directory, by its connection."""
    from airflow_slo_provider.runtime.freshness import model_registry as freshness_registry

    return source.kind == "model" and freshness_registry.is_directory(str(source.conn_id))


def can_poll_in_trigger(source: FreshnessSource) -> bool:
    """Return whether a trigger can poll this source itself, with asynchronous I/O."""
    if is_directory(source):
        return False
    return source.kind in ("external_dag_id", "model", "feature_view") or is_prometheus(source)


def prometheus_query(source: FreshnessSource) -> PrometheusQuery:
    """Return the domain object for a PromQL query.

    :param source: the source
    :raises QueryError: if ``query_gives`` is missing, ``timezone`` is set, or the query may return a number without a series
    """
    from airflow_slo_provider.freshness.sources.prometheus import PrometheusQuery
    from airflow_slo_provider.indicators.prometheus.queries import check_value

    more = source.arguments
    if more.get("query_gives") is None or more.get("timezone"):
        problem = "the connection is a Prometheus server: set query_gives= to what the query returns, a timestamp or an age"
        if more.get("timezone"):
            problem = "timezone= is not valid for a Prometheus query: its numbers are seconds since 1970 or an age"
        raise QueryError(problem, reason="bad_query", query=more["query"])
    check_value(str(more["query"]), f"connection {source.conn_id}")
    return PrometheusQuery(query=more["query"], gives=more["query_gives"], group_by=text_list(more.get("group_by")))


def http_steps(source: FreshnessSource) -> Steps:
    """Return the requests for a source with an HTTP API.

    :param source: the source
    """
    more = source.arguments
    if source.kind == "external_dag_id":
        from airflow_slo_provider.freshness.sources.airflow_api import last_success

        return last_success(more["external_dag_id"], more.get("external_task_id"))
    if source.kind == "model":
        from airflow_slo_provider.freshness.sources.mlflow_registry import version_of_alias

        return version_of_alias(more["model"], more["alias"], promotion_tag=more.get("promotion_tag"))
    from airflow_slo_provider.freshness.sources.feast_registry import last_materialisation

    return last_materialisation(more["project"], text_list(more["feature_view"]))


def token_path(source: FreshnessSource) -> str | None:
    """Return the path at which the API of a source issues tokens; None if it does not.

    :param source: the source
    """
    return TOKEN_PATH if source.kind == "external_dag_id" else None


def _http(source: FreshnessSource) -> Observation:
    from airflow_slo_provider.freshness.sources.http_client import ApiClient
    from airflow_slo_provider.freshness.sources.http_steps import run
    from airflow_slo_provider.runtime.connections.http import api_settings

    with ApiClient(api_settings(str(source.conn_id), token_path=token_path(source))) as client:
        return run(http_steps(source), client.send)


def _prometheus(source: FreshnessSource) -> Observation:
    from airflow_slo_provider.hooks.prometheus import PrometheusHook

    query, now = prometheus_query(source), datetime.now(UTC)
    samples = PrometheusHook(str(source.conn_id)).query(query.query, at=now)
    return query.read(samples, at=now, where=f"connection {source.conn_id}")


def _sql(source: FreshnessSource) -> Observation:
    from airflow_slo_provider.core.database_faults import database_error
    from airflow_slo_provider.core.timestamps import read_zone
    from airflow_slo_provider.freshness.sources.sql import CustomQuery, TableQuery
    from airflow_slo_provider.runtime.connections.sql import HookRunner

    more, where = source.arguments, f"connection {source.conn_id}"
    groups = text_list(more.get("group_by"))
    runner = HookRunner(str(source.conn_id), windowed=False)
    try:
        zone = read_zone(more.get("timezone"))
        if source.kind == "table":
            table = TableQuery(table=more["table"], timestamp_column=more["timestamp_column"], group_by=groups, zone=zone)
            return table.observe(runner, dialect=runner.dialect, where=where)
        query = CustomQuery(query=more["query"], gives=more.get("query_gives", "timestamp"), group_by=groups, zone=zone)
        return query.observe(runner, now=datetime.now(UTC), where=where)
    except Exception as error:
        raise database_error(error, source=where) from None


def _files(source: FreshnessSource) -> Observation:
    from airflow_slo_provider.freshness.sources.files import FileQuery
    from airflow_slo_provider.runtime.files.object_storage import ObjectStorage

    more = source.arguments
    files = FileQuery(path=more["path"], which=more.get("which", "newest"), by_directory=more.get("group_by") == "directory")
    return files.observe(ObjectStorage(conn_id=source.conn_id))
