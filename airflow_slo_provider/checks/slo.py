"""The check ``slo``: evaluate the error budgets of SLO documents without Airflow connections.

The spec::

    {"documents": "/etc/slos",                     # path, paths, or the YAML text
     "select": ["checkout-availability"],          # optional
     "at": "2026-11-24T05:00:00+00:00",            # optional; now by default
     "sloth_period": "28d",                        # optional; time window of sloth's SLOs, 30d by default
     "sources": {"Prometheus": {"url": "http://prometheus:9090", "bearer": "${PROM_TOKEN}"},
                 "requests-db": {"url": "postgresql+psycopg://slo:${DB_PASSWORD}@db/requests"},
                 "Ledger": {"url": "${LEDGER_URL}", "environment": "production"}}}

From a ledger the rows of ``environment`` are read, as named by ``[slo] environment``; by default those of the unnamed one.
A source is named by its DataSource document or by its type. ``${NAME}`` is replaced by the environment variable: a spec is part
of the pod's arguments, which must not contain secrets.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.checks.kinds import check_keys
from airflow_slo_provider.exceptions import CheckError, LedgerError, QueryError
from airflow_slo_provider.results import CheckResult, Verdict

if TYPE_CHECKING:
    from airflow_slo_provider.slo.budget.indicator_source import IndicatorSource
    from airflow_slo_provider.slo.budget.reports import SLODecision
    from airflow_slo_provider.slo.model import DataSource

#: Not ``slo``: a gate reads the newest record of that kind as its own last decision.
KIND = "error_budget"
_SEVERITY = (Verdict.PASS, Verdict.WARN, Verdict.UNKNOWN, Verdict.FAIL)
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def run(spec: Mapping[str, Any]) -> Iterable[CheckResult]:
    """Evaluate the SLOs of documents.

    :param spec: the spec, see the module
    :raises DocumentError: for documents with errors
    :raises CheckError: for an invalid spec
    :raises ValueError: for a selection that matches nothing, or a naive timestamp
    """
    from airflow_slo_provider.slo import load
    from airflow_slo_provider.slo.budget.ledger_records import slo_checks
    from airflow_slo_provider.slo.budget.monitor import SLOMonitor
    from airflow_slo_provider.slo.policy.decisions import decide

    check_keys("slo", spec, known=("documents", "select", "at", "sources", "sloth_period"), required=("documents",))
    at = datetime.fromisoformat(spec["at"]) if spec.get("at") else None
    catalog = load(spec["documents"], sloth_period=spec.get("sloth_period"))
    settings = {name: _expand_variables(value) for name, value in (spec.get("sources") or {}).items()}
    with ExitStack() as stack:
        opened: dict[str, IndicatorSource] = {}

        def source(kind: str, document: DataSource | None) -> IndicatorSource:
            names = [document.name, kind] if document else [kind]
            name = next((name for name in names if name in settings), None)
            if name is None:
                raise QueryError(f"no source is named {' or '.join(names)} in the spec's sources", reason="unknown_source")
            if name not in opened:
                opened[name] = _open(kind, name, settings[name], stack)
            return opened[name]

        reports = SLOMonitor(catalog, source).evaluate(at, spec.get("select"))
    decision = decide(reports, catalog)
    return [
        _apply_policy(check, slo)
        for check, slo in zip(slo_checks(decision), decision.slos, strict=True)
        if not slo.report.retired
    ]


def _apply_policy(check: CheckResult, slo: SLODecision) -> CheckResult:
    """Apply the policy's decision if it is stricter: a policy may freeze long before the budget is spent."""
    from airflow_slo_provider.slo.budget.ledger_records import OUTCOMES

    decided = OUTCOMES[slo.outcome] if slo.gates else check.verdict
    if _SEVERITY.index(decided) <= _SEVERITY.index(check.verdict):
        return replace(check, kind=KIND)
    return replace(check, kind=KIND, verdict=decided, message="; ".join(dict.fromkeys([check.message, *slo.reasons])))


def _open(kind: str, name: str, settings: Mapping[str, Any], stack: ExitStack) -> IndicatorSource:
    if not isinstance(settings, Mapping) or not settings.get("url"):
        raise QueryError(f"source {name} needs a url", reason="bad_source")
    options = {key: value for key, value in settings.items() if key != "url"}
    environment = str(options.pop("environment", "") or "") if kind == "Ledger" else ""
    if kind == "Prometheus":
        from airflow_slo_provider.indicators.prometheus.client import PrometheusClient
        from airflow_slo_provider.indicators.prometheus.source import PrometheusSource

        try:
            client = PrometheusClient(settings["url"], **options)
        except (TypeError, ValueError) as error:
            raise QueryError(f"source {name}: {error}", reason="bad_source") from error
        stack.callback(client.close)
        return PrometheusSource(client, name=name)
    if options:
        raise QueryError(f"source {name} does not support {', '.join(sorted(options))}, only url", reason="bad_source")
    if kind == "SQL":
        return _open_database(name, settings["url"], stack)
    if kind == "Ledger":
        from airflow_slo_provider.indicators.ledger import LedgerSource
        from airflow_slo_provider.ledger import open_ledger

        try:
            return LedgerSource(stack.enter_context(open_ledger(settings["url"], environment=environment)))
        except LedgerError as error:
            raise QueryError(error.message, reason=error.reason, transient=error.transient) from error
    raise QueryError(f"data of type {kind!r} cannot be measured, only Prometheus, SQL and Ledger", reason="unknown_source")


def _open_database(name: str, url: str, stack: ExitStack) -> IndicatorSource:
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    from airflow_slo_provider.core.database_faults import classify_connect_error
    from airflow_slo_provider.core.redaction import collect_secrets
    from airflow_slo_provider.indicators.sql.source import SQLSource, dbapi_runner

    collect_secrets(url=url)
    try:
        engine = create_engine(url, poolclass=NullPool)
        connection = engine.raw_connection()
    except Exception as error:
        fault = classify_connect_error(error)
        # Neither chained nor quoted: a driver's error may contain the whole URL.
        message = f"source {name} cannot be opened ({type(error).__name__})"
        raise QueryError(message, reason=fault.reason, transient=fault.transient) from None
    stack.callback(connection.close)
    return SQLSource(dbapi_runner(connection.driver_connection, dialect=engine.dialect.name), name=name)


def _expand_variables(value: Any) -> Any:
    """Replace ``${NAME}`` by the environment variable's value, anywhere in a setting."""
    if isinstance(value, Mapping):
        return {key: _expand_variables(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand_variables(item) for item in value]
    if not isinstance(value, str):
        return value

    missing = next((name for name in _VARIABLE.findall(value) if name not in os.environ), None)
    if missing:
        raise CheckError(f"the spec names ${{{missing}}}, but there is no environment variable {missing}", reason="bad_spec")
    return _VARIABLE.sub(lambda match: os.environ[match[1]], value)
