"""Open the ledger for the SLO pages and cache its data for some seconds."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.exceptions import LedgerError
from airflow_slo_provider.ledger.queries import checks as check_queries
from airflow_slo_provider.plugins.slo_page.cache import Cache
from airflow_slo_provider.plugins.slo_page.responses import LedgerInfo, Page, render
from airflow_slo_provider.plugins.slo_page.slo_summaries import Overview, overview_values, read_overview, read_sparklines

if TYPE_CHECKING:
    from airflow_slo_provider.ledger import Ledger
    from airflow_slo_provider.plugins.slo_page.access import ReadableDags

log = logging.getLogger(__name__)

#: Maximum age in seconds of the data on a page, and of its sparklines, which span days.
MAX_AGE, SPARKLINES_MAX_AGE = 5.0, 60.0
_OPEN_TIMEOUT = 2.0


class CachedLedger:
    """Open the ledger on first use, and cache the data of the last seconds.

    :param opener: opens the ledger; by default the configured one
    :param clock: returns seconds, monotonic
    """

    def __init__(self, opener: Callable[[], Ledger] | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._opener = opener
        self._clock = clock
        self._failure: tuple[float, LedgerError] | None = None
        self._ledger: Ledger | None = None
        self._lock = threading.Lock()
        self._cache = Cache()

    def ledger(self) -> Ledger:
        """Return the ledger.

        If the ledger does not answer, it is not queried again for some seconds: further callers get the error at once and block
        no thread of the API server.

        :raises LedgerError: if it cannot be opened
        """
        self._raise_recent_failure()
        if self._ledger is not None:
            return self._ledger
        if not self._lock.acquire(timeout=_OPEN_TIMEOUT):
            raise LedgerError("the ledger is being opened and has not answered yet; try again", reason="opening", transient=True)
        try:
            self._raise_recent_failure()
            if self._ledger is None:
                self._ledger = self._remember_failure(self._open)
            return self._ledger
        finally:
            self._lock.release()

    def _raise_recent_failure(self) -> None:
        failure = self._failure
        if failure is not None and self._clock() < failure[0]:
            raise failure[1]

    def _remember_failure(self, query: Callable[[], Any]) -> Any:
        try:
            return query()
        except LedgerError as error:
            if error.transient:
                self._failure = (self._clock() + MAX_AGE, error)
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

    def info(self) -> LedgerInfo:
        """Return which ledger the pages show, without opening it."""
        from airflow_slo_provider.runtime.recording.ledger_connection import unshared_ledger

        ledger, problem = self._ledger, unshared_ledger() if self._opener is None else ""
        return LedgerInfo(problem=problem) if ledger is None else LedgerInfo(ledger.where, ledger.environment, problem)

    def dag_ids(self) -> list[str]:
        """Return the ids of all DAGs that have checks."""
        ids: list[str] = self._get("dags", lambda: check_queries.dag_ids(self.ledger()))
        return ids

    def cached(self, name: str, readable: ReadableDags, create: Callable[[], Any]) -> Any:
        """Return a value that users who may read the same DAGs share for some seconds.

        :param name: name of the value
        :param readable: the DAGs that the user may read
        :param create: creates the value
        """
        return self._get((name, readable), create)

    def _get(self, key: Hashable, create: Callable[[], Any], *, seconds: float = MAX_AGE) -> Any:
        return self._cache.get(key, lambda: self._remember_failure(create), seconds=seconds)

    def overview(self, readable: ReadableDags) -> Overview:
        """Return all SLOs of the DAGs that a user may read.

        :param readable: the DAGs that the user may read
        """

        def create() -> Overview:
            ledger = self.ledger()
            key = ("sparklines", readable)
            sparklines = self._get(key, lambda: read_sparklines(ledger, readable), seconds=SPARKLINES_MAX_AGE)
            return read_overview(ledger, readable, sparklines)

        overview: Overview = self.cached("overview", readable, create)
        return overview

    def overview_page(self, readable: ReadableDags) -> Page:
        """Return the rendered overview page without filters.

        :param readable: the DAGs that the user may read
        """

        def create() -> Page:
            return Page.from_html(render("overview.html", **overview_values(self.overview(readable))))

        page: Page = self.cached("overview page", readable, create)
        return page
