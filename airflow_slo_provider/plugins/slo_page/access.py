"""Authorization of the SLO pages: a user may see the checks of the DAGs that Airflow lets the user read."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_slo_provider.ledger import Recorded


@dataclass(frozen=True)
class ReadableDags:
    """The DAGs whose checks a user may see.

    :param ids: their ids
    :param complete: whether these are all DAGs in the ledger, so that queries need no filter
    """

    ids: frozenset[str]
    complete: bool

    @property
    def query_filter(self) -> Collection[str] | None:
        """Return the filter for the ledger's queries: the DAG ids, or None for all."""
        return None if self.complete else sorted(self.ids)

    def allows(self, dag_id: str) -> bool:
        """Return whether checks of a DAG may be shown.

        :param dag_id: id of the DAG
        """
        return dag_id in self.ids

    def filter(self, rows: Iterable[Recorded]) -> list[Recorded]:
        """Return the rows that the user may see. Rows of a query are filtered again: a DAG may be newer than this list.

        :param rows: the result of a query
        """
        return [row for row in rows if row.key.dag_id in self.ids]


def readable_dags(user: Any, dag_ids: Collection[str]) -> ReadableDags:
    """Return which of some DAGs a user may read.

    :param user: as Airflow's ``get_user`` returns it
    :param dag_ids: every DAG id in the ledger. Ids that Airflow does not know (removed DAGs, checks from the command line) are
        checked by name too
    """
    ids = frozenset(_filter_authorized(user, dag_ids))
    return ReadableDags(ids, complete=len(ids) == len(frozenset(dag_ids)))


def may_read(user: Any, dag_id: str) -> bool:
    """Return whether a user may read a DAG.

    :param user: as Airflow's ``get_user`` returns it
    :param dag_id: id of the DAG
    """
    return bool(_filter_authorized(user, [dag_id]))


def _filter_authorized(user: Any, dag_ids: Collection[str]) -> set[str]:
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.sdk import conf

    manager = get_auth_manager()
    if conf.getboolean("core", "multi_team", fallback=False):
        # A DAG belongs to the team of its bundle, which only Airflow knows. A DAG that Airflow no longer knows belongs to no
        # team.
        return set(dag_ids) & set(manager.get_authorized_dag_ids(user=user, method="GET"))
    return set(manager.filter_authorized_dag_ids(dag_ids=set(dag_ids), user=user, method="GET"))
