"""The face of the package: every name is there, and none costs anything before it is asked for."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from airflow_slo_provider import slo

CONTRACT = (
    "load read rules SLOCatalog ErrorBudget BurnRate BurnRateRule Status Decision SLOMonitor SLOReport SLIDefinition SLOConfig "
    "error_budget burn_rate burn_rate_rules time_to_exhaustion PrometheusEvaluator DocumentError NoData InvalidMeasurement"
)


@pytest.mark.parametrize("name", slo.__all__)
def test_every_name_is_there_and_no_module(name: str) -> None:
    assert not isinstance(getattr(slo, name), ModuleType)
    assert name in dir(slo)


def test_the_contract_is_kept() -> None:
    assert set(CONTRACT.split()) <= set(slo.__all__)


def test_editors_see_what_is_imported() -> None:
    """The imports for type checkers and the table of modules say the same."""
    tree = ast.parse(Path(slo.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == slo._MODULE_OF
    assert sorted(seen) == sorted(slo.__all__)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = slo.Nothing  # type: ignore[attr-defined]


def test_the_function_is_not_hidden_by_its_module() -> None:
    importlib.import_module("airflow_slo_provider.slo.rules")
    from airflow_slo_provider.slo.rules import rules

    assert slo.rules is rules


PROGRAM = """
import sys
import airflow_slo_provider.slo.rules, airflow_slo_provider.slo.model
from airflow_slo_provider import slo
assert callable(slo.rules), slo.rules
assert "yaml" not in sys.modules and "sqlalchemy" not in sys.modules
slo.load
assert "yaml" in sys.modules and "sqlalchemy" not in sys.modules
from airflow_slo_provider.slo import *
assert "requests" not in sys.modules and "sqlalchemy" not in sys.modules and "airflow" not in sys.modules
assert SLOMonitor is slo.SLOMonitor
"""


def test_nothing_is_loaded_before_it_is_asked_for() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
