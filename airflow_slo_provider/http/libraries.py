"""Import the libraries that requests need, in one thread at a time.

requests imports itself in circles: threads that import it for the first time at the same moment see half of its modules, and
fail with an ImportError.
"""

from __future__ import annotations

import threading

#: Held while a library that imports requests is imported for the first time.
IMPORT_LOCK = threading.RLock()


def import_libraries() -> None:
    """Import requests and tenacity, unless they are imported already."""
    with IMPORT_LOCK:
        import tenacity  # noqa: F401

        from airflow_slo_provider.http import sessions  # noqa: F401
