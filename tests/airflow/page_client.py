"""The SLO pages, mounted as in the API server, with test users."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from airflow.api_fastapi.app import _AuthManagerState
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from fastapi import FastAPI
from jwt import InvalidTokenError
from starlette.testclient import TestClient

from airflow_slo_provider.ledger import Ledger
from airflow_slo_provider.plugins.slo_page import PREFIX
from airflow_slo_provider.plugins.slo_page.app import create_app
from airflow_slo_provider.plugins.slo_page.cached_ledger import CachedLedger

#: DAGs that a user may not read; None for all. The token of a user is the name.
HIDDEN = {"admin": set(), "guest": {"secret_dag"}, "nobody": None}


class Manager(SimpleAuthManager):
    """Airflow's simple auth manager, with a permission for each DAG, and names as tokens."""

    async def get_user_from_token(self, token: str) -> SimpleAuthManagerUser:  # type: ignore[override]
        if token not in HIDDEN:
            raise InvalidTokenError("no such user")
        return SimpleAuthManagerUser(username=token, role="viewer")

    def is_authorized_dag(self, *, method: str, user: Any, access_entity: Any = None, details: Any = None) -> bool:  # type: ignore[override]
        hidden = HIDDEN[user.username]
        return method == "GET" and hidden is not None and (details is None or details.id not in hidden)


@contextmanager
def pages(ledger: Ledger | None, *, source: CachedLedger | None = None) -> Iterator[TestClient]:
    """Yield a client of the pages, mounted as in Airflow. It follows no redirects and is not logged in."""
    before, _AuthManagerState.instance = _AuthManagerState.instance, Manager()
    try:
        server = FastAPI()
        server.mount(PREFIX, create_app(source or CachedLedger(lambda: ledger)))
        with TestClient(server, base_url="http://airflow.example", follow_redirects=False) as client:
            yield client
    finally:
        _AuthManagerState.instance = before


def as_user(name: str) -> dict[str, str]:
    """Return the headers of a user's browser."""
    return {"Authorization": f"Bearer {name}", "Accept": "text/html"}
