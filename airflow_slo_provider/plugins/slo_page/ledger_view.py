"""Open the ledger for the SLO pages and cache its data for some seconds."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.exceptions import LedgerError
from airflow_slo_provider.ledger.queries import checks as browse
from airflow_slo_provider.plugins.slo_page.cache import Cache
from airflow_slo_provider.plugins.slo_page.objectives import Overview, choices, overview, sparklines
from airflow_slo_provider.plugins.slo_page.responses import Page, Place, render

if TYPE_CHECKING:
    from airflow_slo_provider.ledger import Ledger
    from airflow_slo_provider.plugins.slo_page.access import Scope

log = logging.getLogger(__name__)

#: Maximum age of the data on a page in seconds. The sparklines span days, so a minute is not visible there.
FRESH, CHARTS_FRESH = 5.0, 60.0
_PATIENCE = 2.0


class Desk:
    """Open the ledger on first use, and cache the answers of the last seconds.

    :param opener: opens the ledger; by default the configured one
    :param clock: returns seconds, monotonic
    """

    def __init__(self, opener: Callable[[], Ledger] | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._opener = opener
        self._clock = clock
        self._silent: tuple[float, LedgerError] | None = None
        self._ledger: Ledger | None = None
        self._lock = threading.Lock()
        self._cache = Cache()

    def ledger(self) -> Ledger:
        """Return the ledger.

        If the ledger does not answer, it is not queried again for some seconds: further callers get the error at once and block
        no thread of the API server.

        :raises LedgerError: if it cannot be opened
        """
        self._refuse_while_silent()
        if self._ledger is not None:
            return self._ledger
        if not self._lock.acquire(timeout=_PATIENCE):
            raise LedgerError("the ledger is being opened and has not answered yet; try again", reason="opening", transient=True)
        try:
            self._refuse_while_silent()
            if self._ledger is None:
                self._ledger = self.watched(self._open)
            return self._ledger
        finally:
            self._lock.release()

    def _refuse_while_silent(self) -> None:
        silent = self._silent
        if silent is not None and self._clock() < silent[0]:
            raise silent[1]

    def watched(self, ask: Callable[[], Any]) -> Any:
        """Call a function that queries the ledger, and remember if the ledger does not answer.

        :param ask: the function
        :raises LedgerError: that of the function
        """
        try:
            return ask()
        except LedgerError as error:
            if error.transient:
                self._silent = (self._clock() + FRESH, error)
            raise

    def _open(self) -> Ledger:
        if self._opener is not None:
            return self._opener()
        from airflow_slo_provider.runtime.recording.ledger_connection import open_default_ledger

        try:
            return open_default_ledger(for_display=True)
        except LedgerError:
            raise
        except Exception as error:  # e.g. a missing connection, which the page handles like any other error
            log.warning("the ledger cannot be opened: %s", type(error).__name__, exc_info=True)
            raise LedgerError(f"the ledger cannot be opened ({type(error).__name__}); see the log of the API server") from None

    def place(self) -> Place:
        """Return which ledger the pages show, without opening it."""
        from airflow_slo_provider.runtime.recording.ledger_connection import unshared_ledger

        ledger, problem = self._ledger, unshared_ledger() if self._opener is None else ""
        return Place(problem=problem) if ledger is None else Place(ledger.where, ledger.environment, problem)

    def dag_ids(self) -> list[str]:
        """Return the ids of all DAGs that have checks."""
        found: list[str] = self._get("dags", lambda: browse.dag_ids(self.ledger()), seconds=FRESH)
        return found

    def kept(self, what: str, scope: Scope, make: Callable[[], Any]) -> Any:
        """Return a value that users with the same scope share for some seconds.

        :param what: name of the value
        :param scope: the DAGs that the user may see
        :param make: creates the value
        """
        return self._get((what, scope), make, seconds=FRESH)

    def _get(self, key: Hashable, make: Callable[[], Any], *, seconds: float) -> Any:
        return self._cache.get(key, lambda: self.watched(make), seconds=seconds)

    def overview(self, scope: Scope) -> Overview:
        """Return all SLOs of a scope.

        :param scope: the DAGs that the user may see
        """

        def make() -> Overview:
            sparks = self._get(("sparks", scope), lambda: sparklines(self.ledger(), scope), seconds=CHARTS_FRESH)
            return overview(self.ledger(), scope, sparks)

        found: Overview = self.kept("overview", scope, make)
        return found

    def overview_page(self, scope: Scope) -> Page:
        """Return the rendered overview page without filters.

        :param scope: the DAGs that the user may see
        """

        def make() -> Page:
            found = self.overview(scope)
            nothing = {"q": "", "status": "", "service": "", "tier": ""}
            return Page.of(
                render("overview.html", found=found, chosen=found.objectives, filters=nothing, **choices(found.objectives))
            )

        page: Page = self.kept("overview page", scope, make)
        return page
