"""Measure freshness on a worker from any source, and log and record the result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.freshness import Assessment, Limits, Observation, assess
from airflow_slo_provider.results import CheckResult, Verdict
from airflow_slo_provider.runtime.freshness.source_parameters import Question, names, namespaced
from airflow_slo_provider.runtime.recording.checks import record_unknown_on_error
from airflow_slo_provider.runtime.recording.observations import record_observations

if TYPE_CHECKING:
    from airflow_slo_provider.freshness.sources.http_steps import Steps
    from airflow_slo_provider.freshness.sources.prometheus import PrometheusQuery

#: Path at which Airflow's API issues a token for login and password.
TOKEN_PATH = "/auth/token"  # noqa: S105 - a path


def measure(
    question: Question, limits: Limits, *, name: str, context: Mapping[str, Any], log: Any, evidence: Mapping[str, Any]
) -> Assessment:
    """Measure once, log the result and record it in the ledger; a failed measurement is recorded as ``unknown``.

    Every source is measured at the present, regardless of the run. If another run of the task has measured it since this run
    was due, the result is recorded as repeated and not counted again.

    :param question: the source
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
        found = assess(look(question, context), datetime.now(UTC), limits)
    log.info("Freshness of %s", found.message)
    record_observations([found.result(name, evidence)], context, log)
    return found


def _unknown(name: str, limits: Limits, evidence: Mapping[str, Any]) -> CheckResult:
    return CheckResult(
        kind="freshness",
        name=name,
        verdict=Verdict.UNKNOWN,
        unit="seconds",
        target=limits.max_age.total_seconds(),
        op="lte",
        evidence=evidence,
    )


def look(question: Question, context: Mapping[str, Any] | None = None) -> Observation:
    """Measure a source.

    :param question: the source
    :param context: Airflow's task context; required for assets
    :raises MeasurementError: if the source does not answer, or its answer is invalid
    """
    if question.kind == "asset":
        from airflow_slo_provider.runtime.freshness.assets import last_event

        return last_event(question.arguments["asset"], context or {})
    if question.kind == "path":
        return _files(question)
    if question.kind == "deployment":
        from airflow_slo_provider.runtime.freshness.kubernetes import rollout

        return rollout(question.conn_id, *namespaced(question.arguments["deployment"]))
    if is_directory(question):
        from airflow_slo_provider.runtime.freshness.model_registry import version_of_alias

        more = question.arguments
        promoted = more.get("promotion_tag") is not None
        return version_of_alias(str(question.conn_id), more["model"], more["alias"], promoted=promoted)
    if question.kind in ("table", "query"):
        return _prometheus(question) if is_prometheus(question) else _sql(question)
    return _http(question)


def is_prometheus(question: Question) -> bool:
    """Return whether a query is PromQL, by the type of its connection."""
    from airflow.sdk import BaseHook

    return question.kind == "query" and BaseHook.get_connection(str(question.conn_id)).conn_type == "prometheus"


def is_directory(question: Question) -> bool:
    """Return whether a model is read from a registry in a directory, by its connection."""
    from airflow_slo_provider.runtime.freshness import model_registry as freshness_registry

    return question.kind == "model" and freshness_registry.is_directory(str(question.conn_id))


def in_a_trigger(question: Question) -> bool:
    """Return whether a trigger can poll this source itself, with asynchronous I/O."""
    if is_directory(question):
        return False
    return question.kind in ("external_dag_id", "model", "feature_view") or is_prometheus(question)


def prometheus_question(question: Question) -> PrometheusQuery:
    """Return the domain object for a PromQL query.

    :param question: the source
    :raises QueryError: if ``query_gives`` is missing or ``timezone`` is set
    """
    from airflow_slo_provider.freshness.sources.prometheus import PrometheusQuery

    more = question.arguments
    if more.get("query_gives") is None or more.get("timezone"):
        problem = "the connection is a Prometheus server: say whether the query answers a timestamp or an age with query_gives="
        if more.get("timezone"):
            problem = "timezone= means nothing for a Prometheus query: its numbers are seconds since 1970 or an age"
        raise QueryError(problem, reason="bad_query", query=more["query"])
    return PrometheusQuery(query=more["query"], gives=more["query_gives"], group_by=names(more.get("group_by")))


def http_steps(question: Question) -> Steps:
    """Return the requests for a source with an HTTP API.

    :param question: the source
    """
    more = question.arguments
    if question.kind == "external_dag_id":
        from airflow_slo_provider.freshness.sources.airflow_api import last_success

        return last_success(more["external_dag_id"], more.get("external_task_id"))
    if question.kind == "model":
        from airflow_slo_provider.freshness.sources.mlflow_registry import version_of_alias

        return version_of_alias(more["model"], more["alias"], promotion_tag=more.get("promotion_tag"))
    from airflow_slo_provider.freshness.sources.feast_registry import last_materialisation

    return last_materialisation(more["project"], names(more["feature_view"]))


def token_path(question: Question) -> str | None:
    """Return the path at which the API of a source issues tokens; None if it does not.

    :param question: the source
    """
    return TOKEN_PATH if question.kind == "external_dag_id" else None


def _http(question: Question) -> Observation:
    from airflow_slo_provider.freshness.sources.http_client import ApiClient
    from airflow_slo_provider.freshness.sources.http_steps import run
    from airflow_slo_provider.runtime.connections.http import api_settings

    with ApiClient(api_settings(str(question.conn_id), token_path=token_path(question))) as client:
        return run(http_steps(question), client.send)


def _prometheus(question: Question) -> Observation:
    from airflow_slo_provider.hooks.prometheus import PrometheusHook

    asked = prometheus_question(question)
    now = datetime.now(UTC)
    samples = PrometheusHook(str(question.conn_id)).query(asked.query, at=now)
    return asked.read(samples, at=now, where=f"connection {question.conn_id}")


def _sql(question: Question) -> Observation:
    from airflow_slo_provider.core.database_faults import query_error
    from airflow_slo_provider.core.timestamps import read_zone
    from airflow_slo_provider.freshness.sources.sql import CustomQuery, TableQuery
    from airflow_slo_provider.runtime.connections.sql import HookRunner

    more, where = question.arguments, f"connection {question.conn_id}"
    groups = names(more.get("group_by"))
    runner = HookRunner(str(question.conn_id), windowed=False)
    try:
        zone = read_zone(more.get("timezone"))
        if question.kind == "table":
            table = TableQuery(table=more["table"], timestamp_column=more["timestamp_column"], group_by=groups, zone=zone)
            return table.observe(runner, dialect=runner.dialect, where=where)
        query = CustomQuery(query=more["query"], gives=more.get("query_gives", "timestamp"), group_by=groups, zone=zone)
        return query.observe(runner, now=datetime.now(UTC), where=where)
    except Exception as error:
        raise query_error(error, source=where) from None


def _files(question: Question) -> Observation:
    from airflow_slo_provider.freshness.sources.files import FileQuery
    from airflow_slo_provider.runtime.files.object_storage import ObjectStorage

    more = question.arguments
    asked = FileQuery(path=more["path"], which=more.get("which", "newest"), by_directory=more.get("group_by") == "directory")
    return asked.observe(ObjectStorage(conn_id=question.conn_id))
