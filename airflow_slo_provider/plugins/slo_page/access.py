"""Authorization of the SLO pages: a user may see the checks of the DAGs that Airflow lets the user read."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Scope:
    """The DAGs whose checks a user may see.

    :param dags: their ids
    :param everything: whether these are all DAGs in the ledger, so that queries need no filter
    """

    dags: frozenset[str]
    everything: bool

    @property
    def limit(self) -> Collection[str] | None:
        """Return the filter for the ledger's queries: the DAG ids, or None for all."""
        return None if self.everything else sorted(self.dags)

    def allows(self, dag_id: str) -> bool:
        """Return whether checks of a DAG may be shown. Every row is checked, because a DAG may be newer than the scope.

        :param dag_id: id of the DAG
        """
        return dag_id in self.dags


def scope_of(user: Any, dag_ids: Collection[str]) -> Scope:
    """Return which of some DAGs a user may read.

    :param user: as Airflow's ``get_user`` returns it
    :param dag_ids: every DAG id in the ledger. Ids that Airflow does not know (removed DAGs, checks from the command line) are
        checked by name too
    """
    dags = frozenset(_readable(user, dag_ids))
    return Scope(dags, everything=len(dags) == len(frozenset(dag_ids)))


def may_read(user: Any, dag_id: str) -> bool:
    """Return whether a user may read a DAG.

    :param user: as Airflow's ``get_user`` returns it
    :param dag_id: id of the DAG
    """
    return bool(_readable(user, [dag_id]))


def _readable(user: Any, dag_ids: Collection[str]) -> set[str]:
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.sdk import conf

    manager = get_auth_manager()
    if conf.getboolean("core", "multi_team", fallback=False):
        # A DAG belongs to the team of its bundle, which only Airflow knows. A DAG that Airflow no longer knows belongs to no
        # team.
        return set(dag_ids) & set(manager.get_authorized_dag_ids(user=user, method="GET"))
    return set(manager.filter_authorized_dag_ids(dag_ids=set(dag_ids), user=user, method="GET"))
