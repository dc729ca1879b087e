"""The check ``drift``: compare two datasets, or a dataset and a stored profile, next to the data.

The spec::

    {"reference": "/data/training.profile.json",   # files, or a stored profile
     "current": "/data/day=2026-11-24/*.parquet",
     "name": "churn features",                     # optional; of the dataset's check
     "report": "/reports/drift.html",              # optional
     "ignore": ["customer_id"], "thresholds": {"psi": 0.2}}   # and all else that drift.compare takes
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from airflow_slo_provider.checks.kinds import check_keys
from airflow_slo_provider.results import CheckResult

_OPTIONS = frozenset(
    {"columns", "ignore", "categorical", "tests", "thresholds", "alpha", "bins", "exact", "min_rows", "critical"}
    | {"max_share", "weights", "prediction", "label", "where", "reference_where"}
)
_OWN = frozenset({"reference", "current", "name", "report", "states", "model_version"})


def run(spec: Mapping[str, Any]) -> Iterable[CheckResult]:
    """Compare the datasets; return a check for the dataset and one for each column that did not pass.

    :param spec: the spec, see the module
    :raises CheckError: for an invalid spec
    :raises QueryError: when data cannot be read
    """
    from airflow_slo_provider.drift import compare, save_report
    from airflow_slo_provider.drift.report.ledger_records import checks
    from airflow_slo_provider.drift.verdict.thresholds import actions

    check_keys("drift", spec, known=_OWN | _OPTIONS, required=("reference", "current"))
    states = spec.get("states") or {}
    meaning = actions(states)
    options = {key: value for key, value in spec.items() if key in _OPTIONS}
    for key in ("where", "reference_where"):
        if options.get(key):
            options[key] = [tuple(item) for item in options[key]]
    report = compare(spec["reference"], spec["current"], **options)
    uri = save_report(report, spec["report"]) if spec.get("report") else None
    return checks(
        report,
        name=spec.get("name") or "drift",
        actions=meaning,
        chosen=frozenset(states),
        model_version=spec.get("model_version"),
        report_uri=uri,
    )
