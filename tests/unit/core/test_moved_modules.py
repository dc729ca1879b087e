"""Import paths of the previous release work, with a warning that names the new path."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

from airflow_slo_provider.core.moved_modules import MOVED
from tests.support import REPO

PACKAGE = "airflow_slo_provider"


@pytest.fixture(autouse=True)
def forgotten():
    """A module that was imported is not looked for again, and warns no more."""
    for old in MOVED:
        sys.modules.pop(f"{PACKAGE}.{old}", None)


@pytest.mark.parametrize("old", sorted(MOVED))
def test_old_path_imports_the_same_names_with_a_warning(old: str) -> None:
    new, public = MOVED[old]
    home = pytest.importorskip(f"{PACKAGE}.{new}", exc_type=ImportError) if old.startswith("operators") else None
    with pytest.warns(DeprecationWarning, match=rf"{PACKAGE}\.{old} has moved.*import its names from {PACKAGE}\.{public}$"):
        found = import_module(f"{PACKAGE}.{old}")
    home = home or import_module(f"{PACKAGE}.{new}")
    shared = [name for name in dir(import_module(f"{PACKAGE}.{public}")) if hasattr(home, name) and not name.startswith("_")]
    assert shared, "the public module has none of its names"
    assert all(getattr(found, name) is getattr(home, name) for name in shared)
    with pytest.raises(AttributeError):
        found.no_such_name  # noqa: B018


def test_old_path_warning_names_the_importing_line(tmp_path) -> None:
    file = tmp_path / "old_dag.py"
    file.write_text("x = 1\nfrom airflow_slo_provider.slo.loading import load\n")
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import old_dag"
    command = [sys.executable, "-W", "error::DeprecationWarning:old_dag", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=REPO)
    assert done.returncode == 1
    assert 'old_dag.py", line 2' in done.stderr


def test_old_module_does_not_hide_function_of_same_name() -> None:
    from airflow_slo_provider import slo

    with pytest.warns(DeprecationWarning, match="has moved"):
        import_module("airflow_slo_provider.slo.rules")
    assert slo.rules is import_module("airflow_slo_provider.slo.export.prometheus_rules").rules


def test_old_path_unknown_module_is_not_found() -> None:
    with pytest.raises(ModuleNotFoundError):
        import_module("airflow_slo_provider.slo.no_such_module")


def test_old_path_modules_that_became_packages_keep_their_names() -> None:
    from airflow_slo_provider import deployment, drift, tracing
    from airflow_slo_provider.deployment.kubernetes import rollback
    from airflow_slo_provider.drift.profiles import DatasetProfile, load_profile
    from airflow_slo_provider.drift.statistics import psi
    from airflow_slo_provider.tracing.prediction_log import PredictionLog

    assert (psi, DatasetProfile, load_profile) == (drift.psi, drift.DatasetProfile, drift.load_profile)
    assert rollback.__module__ == f"{deployment.__name__}.kubernetes.undo"
    assert PredictionLog is tracing.prediction_log.PredictionLog
