"""Public names of the package: each exists, and each is imported on first access."""

from __future__ import annotations

import subprocess
import sys

from airflow_slo_provider import slo

CONTRACT = (
    "load read rules SLOCatalog ErrorBudget BurnRate BurnRateRule Status Decision SLOMonitor SLOReport SLIDefinition SLOConfig "
    "error_budget burn_rate burn_rate_rules time_to_exhaustion PrometheusEvaluator DocumentError NoData InvalidMeasurement"
)


def test_public_names_are_importable() -> None:
    assert set(CONTRACT.split()) <= set(slo.__all__)


PROGRAM = """
import sys
import airflow_slo_provider.slo.export.prometheus_rules, airflow_slo_provider.slo.model
from airflow_slo_provider import slo
assert callable(slo.rules), slo.rules
assert "yaml" not in sys.modules and "sqlalchemy" not in sys.modules
slo.load
assert "yaml" in sys.modules and "sqlalchemy" not in sys.modules
from airflow_slo_provider.slo import *
assert "requests" not in sys.modules and "sqlalchemy" not in sys.modules and "airflow" not in sys.modules
assert SLOMonitor is slo.SLOMonitor
"""


def test_import_of_slo_loads_no_submodule() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
