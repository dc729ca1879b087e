"""Where the pages get the ledger from, and what is kept of it for the next who asks."""

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

#: What a page shows may be so old, in seconds. The small charts span days: a minute more does not show.
FRESH, CHARTS_FRESH = 5.0, 60.0
_PATIENCE = 2.0


class Desk:
    """One ledger, opened when it is first needed, and the answers of the last seconds.

    :param opener: opens the ledger; the one that Airflow's configuration names where it is not given
    """

    def __init__(self, opener: Callable[[], Ledger] | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._opener = opener
        self._clock = clock
        self._silent: tuple[float, LedgerError] | None = None
        self._ledger: Ledger | None = None
        self._lock = threading.Lock()
        self._cache = Cache()

    def ledger(self) -> Ledger:
        """The ledger.

        One that does not answer is left alone for some seconds: whoever asks meanwhile is told at once, and holds no thread of
        the API server.

        :raises LedgerError: when it cannot be opened
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
        """Ask the ledger something, and remember when it does not answer."""
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
            return open_default_ledger(to_look=True)
        except LedgerError:
            raise
        except Exception as error:  # e.g. a connection that is not there: for the page it is all the same
            log.warning("the ledger cannot be opened: %s", type(error).__name__, exc_info=True)
            raise LedgerError(f"the ledger cannot be opened ({type(error).__name__}); see the log of the API server") from None

    def place(self) -> Place:
        """Which ledger this is. It is not opened for that."""
        from airflow_slo_provider.runtime.recording.ledger_connection import unshared_ledger

        ledger, problem = self._ledger, unshared_ledger() if self._opener is None else ""
        return Place(problem=problem) if ledger is None else Place(ledger.where, ledger.environment, problem)

    def dag_ids(self) -> list[str]:
        """Every DAG that has checks."""
        found: list[str] = self._get("dags", lambda: browse.dag_ids(self.ledger()), seconds=FRESH)
        return found

    def kept(self, what: str, scope: Scope, make: Callable[[], Any]) -> Any:
        """Something that all who may see the same share for some seconds."""
        return self._get((what, scope), make, seconds=FRESH)

    def _get(self, key: Hashable, make: Callable[[], Any], *, seconds: float) -> Any:
        return self._cache.get(key, lambda: self.watched(make), seconds=seconds)

    def overview(self, scope: Scope) -> Overview:
        """Every SLO."""

        def make() -> Overview:
            sparks = self._get(("sparks", scope), lambda: sparklines(self.ledger(), scope), seconds=CHARTS_FRESH)
            return overview(self.ledger(), scope, sparks)

        found: Overview = self.kept("overview", scope, make)
        return found

    def overview_page(self, scope: Scope) -> Page:
        """The overview without filters, rendered."""

        def make() -> Page:
            found = self.overview(scope)
            nothing = {"q": "", "status": "", "service": "", "tier": ""}
            return Page.of(
                render("overview.html", found=found, chosen=found.objectives, filters=nothing, **choices(found.objectives))
            )

        page: Page = self.kept("overview page", scope, make)
        return page
