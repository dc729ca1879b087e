"""How good a model is on a golden set, how sure we are of it, and whether it is better than the one that serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_slo_provider.evaluation.comparing import compare
    from airflow_slo_provider.evaluation.estimates import Comparison, Estimate, Outcome
    from airflow_slo_provider.evaluation.evaluating import evaluate

__all__ = ["Comparison", "Estimate", "Outcome", "compare", "evaluate"]

#: Imported when asked for: the operator in a DAG file needs none of the arithmetic.
_HOMES = {
    "Comparison": "estimates",
    "Estimate": "estimates",
    "Outcome": "estimates",
    "compare": "comparing",
    "evaluate": "evaluating",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return list(__all__)
