"""Who may see what: Airflow's own users, and for each check the permission to read the DAG that made it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Scope:
    """The DAGs whose checks a person may see.

    :param dags: their ids
    :param everything: whether these are all that the ledger knows; queries then need not name them
    """

    dags: frozenset[str]
    everything: bool

    @property
    def limit(self) -> Collection[str] | None:
        """What to hand to the ledger's queries."""
        return None if self.everything else sorted(self.dags)

    def allows(self, dag_id: str) -> bool:
        """Whether checks of a DAG may be shown. Also asked of every row: a DAG may have come since the scope was made."""
        return dag_id in self.dags


def scope_of(user: Any, dag_ids: Collection[str]) -> Scope:
    """Say which of some DAGs a user may read.

    :param user: as Airflow's ``get_user`` returns it
    :param dag_ids: every DAG id in the ledger; those that Airflow does not know (removed, or checks made from the command
        line) are asked about by their name too
    """
    dags = frozenset(_readable(user, dag_ids))
    return Scope(dags, everything=len(dags) == len(frozenset(dag_ids)))


def may_read(user: Any, dag_id: str) -> bool:
    """Whether a user may read a DAG."""
    return bool(_readable(user, [dag_id]))


def _readable(user: Any, dag_ids: Collection[str]) -> set[str]:
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.sdk import conf

    manager = get_auth_manager()
    if conf.getboolean("core", "multi_team", fallback=False):
        # A DAG belongs to its bundle's team; only Airflow knows which. One that it does not know any more is nobody's.
        return set(dag_ids) & set(manager.get_authorized_dag_ids(user=user, method="GET"))
    return set(manager.filter_authorized_dag_ids(dag_ids=set(dag_ids), user=user, method="GET"))
