"""How far two datasets differ: profiles, population stability index, Kolmogorov-Smirnov, verdicts, reports.

The names below are imported when they are first used: naming the package in a DAG file costs nothing.
"""

from __future__ import annotations

from typing import Any

_HOMES = {
    "PSI": "statistics",
    "psi": "statistics",
    "KS": "kolmogorov",
    "ks": "kolmogorov",
    "ChiSquare": "distances",
    "benjamini_hochberg": "distances",
    "chi_square": "distances",
    "js_distance": "distances",
    "quantile_edges": "distances",
    "quantiles": "distances",
    "total_variation": "distances",
    "wasserstein1": "distances",
    "ColumnProfile": "columns",
    "DatasetProfile": "profiles",
    "load_profile": "profiles",
    "profile": "engines.local",
    "compare": "comparison",
    "compare_segments": "segments",
    "SQLData": "engines.sql",
    "ColumnDrift": "results",
    "DriftReport": "results",
    "Gates": "gates",
    "State": "gates",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return list(__all__)
