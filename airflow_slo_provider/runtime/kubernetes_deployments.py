"""What operators that change Deployments need of Airflow: a client, a key that every try shares, and what the ledger knows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

    from airflow_slo_provider.ledger import Recorded

#: Rows of a kind beyond which it is not told what was good. As many as the ledger gives at once.
MOST_ROWS = 100_000


def api_client(conn_id: str) -> ApiClient:
    """Return a client for the cluster of an Airflow connection.

    :raises DeploymentError: when the connection leads to no cluster
    """
    from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook
    from kubernetes.config import ConfigException

    from airflow_slo_provider.exceptions import DeploymentError

    try:
        return KubernetesHook(conn_id=conn_id).get_conn()
    except ConfigException as error:
        raise DeploymentError(
            f"connection {conn_id} leads to no cluster: {error}; give it a kube_config or in_cluster", reason="no_cluster"
        ) from error


def plan_key(context: Mapping[str, Any]) -> str:
    """How the keys of all tasks of this DAG run begin."""
    instance = context["ti"]
    return f"{instance.dag_id}/{instance.run_id}/"


def change_key(context: Mapping[str, Any]) -> str:
    """The key under which this task changes something, the same for every try."""
    instance = context["ti"]
    index = -1 if instance.map_index is None else instance.map_index
    return f"{plan_key(context)}{instance.task_id}/{index}"


def decided_at(context: Mapping[str, Any]) -> datetime | None:
    """When this DAG run began: what it decides is decided for the state of that moment."""
    started = getattr(context.get("dag_run"), "start_date", None)
    return None if started is None else min(started.astimezone(UTC), datetime.now(UTC))


def known_good_versions(checks: Collection[str] | None, look_back: timedelta) -> list[str]:
    """Return the model versions whose checks in the ledger passed.

    :param checks: names of the checks that count, as ``name`` or ``kind/name``; None for all that judge a model
    :param look_back: only checks made since then count
    :raises DeploymentError: when it cannot be told which checks are about this model, or there are too many to read them all
    :raises LedgerError: when the ledger cannot be read
    """
    from airflow_slo_provider.deployment.registries.known_good import ACCUSING, JUDGING, LATENCY, good_versions
    from airflow_slo_provider.runtime.recording.ledger_connection import open_default_ledger

    since = datetime.now(UTC) - look_back
    places: list[tuple[str | None, str | None]] = [(kind, None) for kind in sorted(JUDGING)]
    if checks is not None:
        # A name may hold a slash, a kind does not. A service's latency checks are named after it, and after a span and a tier.
        places = [(LATENCY, None), *((None, one) for one in checks)]
        places += [(one.partition("/")[0], one.partition("/")[2]) for one in checks if "/" in one]
    with open_default_ledger() as ledger:
        newest = [_all(ledger.newest_of_versions(kind, name, since, MOST_ROWS), kind or name) for kind, name in places]
        # Not the newest only: two rollbacks to one version took the alias away from two.
        accusing = [_all(ledger.checks(kind, since=since, limit=MOST_ROWS), kind) for kind in sorted(ACCUSING)]
    return good_versions((one.result for rows in (*newest, *accusing) for one in rows), checks=checks)


def _all(rows: list[Recorded], what: str | None) -> list[Recorded]:
    """Refuse rows that may not be all there: the one that speaks against a version may be among those that were cut off.

    :raises DeploymentError: always at the limit
    """
    from airflow_slo_provider.exceptions import DeploymentError

    if len(rows) >= MOST_ROWS:
        raise DeploymentError(
            f"the ledger holds {MOST_ROWS} results of {what} or more within look_back, too many to tell which versions were "
            "good: shorten look_back, or say known_good=[...]",
            reason="too_many_checks",
        )
    return rows
