"""Keep import paths of the previous release working, with a warning that names the new path."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_ROOT = __name__.partition(".")[0]

#: New path of each module that the documentation of 0.1.0 named, and the module to import its public names from.
MOVED: Mapping[str, tuple[str, str]] = {
    "deployment.registry_directory": ("deployment.registries.directory", "deployment"),
    "drift.comparison": ("drift.verdict.comparison", "drift"),
    "drift.kolmogorov": ("drift.statistics.kolmogorov", "drift"),
    "drift.results": ("drift.verdict.results", "drift"),
    "evaluation.comparing": ("evaluation.verdict.comparison", "evaluation"),
    "evaluation.estimates": ("evaluation", "evaluation"),
    "evaluation.evaluating": ("evaluation.intervals.metric_estimates", "evaluation"),
    "evaluation.predictors": ("evaluation.models.predictors", "operators.golden_set"),
    "evaluation.worker_models": ("evaluation.models.worker_models", "operators.golden_set"),
    "freshness.judging": ("freshness.age_verdict", "freshness"),
    "hooks.outcomes": ("runtime.recording.checks", "runtime"),
    "incidents.model": ("incidents", "incidents"),
    "operators.drift_data": ("operators.drift.data_parameters", "operators.drift"),
    "operators.incident_checks": ("operators.incident.checks", "operators.incident"),
    "operators.incident_group": ("operators.incident.playbook_group", "operators.incident"),
    "report_style": ("charts.report_page", "charts"),
    "slo.arithmetic": ("slo.budget.error_budgets", "slo"),
    "slo.decisions": ("slo.policy.decisions", "slo"),
    "slo.loading": ("slo.documents.document_files", "slo"),
    "slo.monitor": ("slo.budget.monitor", "slo"),
    "slo.reports": ("slo.budget.reports", "slo"),
    "slo.rules": ("slo.export.prometheus_rules", "slo"),
    "tracing.asgi": ("tracing.recording.asgi", "tracing"),
    "tracing.breakdown": ("tracing.analysis.breakdown", "tracing"),
    "tracing.comparison": ("tracing.analysis.comparison", "tracing"),
    "tracing.configuration": ("tracing.recording.configuration", "tracing"),
    "tracing.exemplars": ("tracing.recording.exemplars", "tracing"),
    "tracing.request": ("tracing.recording.request_tracer", "tracing"),
}


class MovedModules(MetaPathFinder):
    """Find a module under its old name. Python tries it last, so an existing module is found without it."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the spec of a stand-in for a module that has moved; None for every other name."""
        root, _, name = fullname.partition(".")
        if root != _ROOT or name not in MOVED:
            return None
        new, public = MOVED[name]
        warnings.warn(
            f"{fullname} has moved, and its old path will be removed in the next release; import its names from {_ROOT}.{public}",
            DeprecationWarning,
            stacklevel=2,
        )
        return ModuleSpec(fullname, _StandIn(f"{_ROOT}.{new}", f"{_ROOT}.{public}"))


class _StandIn(Loader):
    def __init__(self, new: str, public: str) -> None:
        self._new, self._public = new, public

    def exec_module(self, module: ModuleType) -> None:
        def load(name: str) -> Any:
            home = import_module(self._new)
            # The public package also knows names that were changed.
            return getattr(home, name) if hasattr(home, name) else getattr(import_module(self._public), name)

        module.__dict__.update(__getattr__=load, __doc__=f"Moved to {self._new}.")


def install() -> None:
    """Install the import finder for modules that have moved."""
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(MovedModules())
