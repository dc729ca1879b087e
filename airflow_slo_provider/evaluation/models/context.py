"""Context of a predictor: how it opens files, resolves connections and reports progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_slo_provider.http.settings import HttpSettings


@dataclass(frozen=True, kw_only=True)
class PredictionContext:
    """Services that the caller of a predictor provides; the defaults work outside of Airflow.

    :param path: makes a path object from text; Airflow's ``ObjectStoragePath`` on a worker
    :param server: resolves a connection id to the address of a model server; None if there are no connections
    :param progress: called with (rows done, rows in total)
    """

    path: Callable[[str], Any] = Path
    server: Callable[[str], HttpSettings] | None = None
    progress: Callable[[int, int], None] = field(default=lambda done, total: None)
