"""Support for operators that change Deployments: API client, idempotency keys, and known good versions from the ledger."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

    from airflow_slo_provider.ledger import Recorded

#: Maximum number of rows per kind, the ledger's own limit. With more rows the good versions cannot be determined.
MOST_ROWS = 100_000


def api_client(conn_id: str) -> ApiClient:
    """Return a client for the cluster of an Airflow connection.

    :param conn_id: the Airflow connection
    :raises DeploymentError: if the connection leads to no cluster
    """
    from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook
    from kubernetes.config import ConfigException

    from airflow_slo_provider.exceptions import DeploymentError

    try:
        return KubernetesHook(conn_id=conn_id).get_conn()
    except ConfigException as error:
        raise DeploymentError(
            f"connection {conn_id} leads to no cluster: {error}; set its kube_config or in_cluster", reason="no_cluster"
        ) from error


def plan_key(context: Mapping[str, Any]) -> str:
    """Return the common prefix of the keys of all tasks of this DAG run.

    :param context: Airflow's task context
    """
    instance = context["ti"]
    return f"{instance.dag_id}/{instance.run_id}/"


def change_key(context: Mapping[str, Any]) -> str:
    """Return the idempotency key of this task's change, the same for every try.

    :param context: Airflow's task context
    """
    instance = context["ti"]
    index = -1 if instance.map_index is None else instance.map_index
    return f"{plan_key(context)}{instance.task_id}/{index}"


def decided_at(context: Mapping[str, Any]) -> datetime | None:
    """Return when this DAG run began: its decisions are based on the state of the cluster at that time.

    :param context: Airflow's task context
    """
    started = getattr(context.get("dag_run"), "start_date", None)
    return None if started is None else min(started.astimezone(UTC), datetime.now(UTC))


def known_good_versions(checks: Collection[str] | None, look_back: timedelta) -> list[str]:
    """Return the model versions whose checks in the ledger passed.

    :param checks: names of the checks that count, as ``name`` or ``kind/name``; None for all that judge a model
    :param look_back: maximum age of the checks that count
    :raises DeploymentError: if it cannot be determined which checks are about this model, or there are too many of them
    :raises LedgerError: if the ledger cannot be read
    """
    from airflow_slo_provider.deployment.registries.known_good import ACCUSING, JUDGING, LATENCY, good_versions
    from airflow_slo_provider.runtime.recording.ledger_connection import open_default_ledger

    since = datetime.now(UTC) - look_back
    queries: list[tuple[str | None, str | None]] = [(kind, None) for kind in sorted(JUDGING)]
    if checks is not None:
        # A name may contain a slash, a kind may not. The names of latency checks contain service, span and tier.
        queries = [(LATENCY, None), *((None, check) for check in checks)]
        queries += [(check.partition("/")[0], check.partition("/")[2]) for check in checks if "/" in check]
    with open_default_ledger() as ledger:
        newest = [_below_limit(ledger.newest_of_versions(kind, name, since, MOST_ROWS), kind or name) for kind, name in queries]
        # All of them, not only the newest per version: two rollbacks to one version replaced two others.
        accusing = [_below_limit(ledger.checks(kind, since=since, limit=MOST_ROWS), kind) for kind in sorted(ACCUSING)]
    return good_versions((row.result for rows in (*newest, *accusing) for row in rows), checks=checks)


def _below_limit(rows: list[Recorded], what: str | None) -> list[Recorded]:
    """Reject rows at the limit, because a row that speaks against a version may have been cut off.

    :raises DeploymentError: at the limit
    """
    from airflow_slo_provider.exceptions import DeploymentError

    if len(rows) >= MOST_ROWS:
        raise DeploymentError(
            f"the ledger holds {MOST_ROWS} results of {what} or more within look_back, too many to determine "
            "which versions were good: shorten look_back, or set known_good=[...]",
            reason="too_many_checks",
        )
    return rows
