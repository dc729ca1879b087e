"""The check ``slo``: evaluate the error budgets of SLO documents without Airflow connections.

The spec::

    {"documents": "/etc/slos",                     # path, paths, or the YAML text
     "select": ["checkout-availability"],          # optional
     "at": "2026-11-24T05:00:00+00:00",            # optional; now by default
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

from airflow_slo_provider.exceptions import CheckError, LedgerError, QueryError
from airflow_slo_provider.results import CheckResult, Verdict

if TYPE_CHECKING:
    from airflow_slo_provider.slo.budget.indicator_source import IndicatorSource
    from airflow_slo_provider.slo.budget.reports import SLODecision
    from airflow_slo_provider.slo.model import DataSource

#: Not ``slo``: a gate reads the newest record of that kind as its own last decision.
KIND = "error_budget"
_STRICTER = (Verdict.PASS, Verdict.WARN, Verdict.UNKNOWN, Verdict.FAIL)
_KEYS = frozenset({"documents", "select", "at", "sources"})
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

    unknown = sorted(spec.keys() - _KEYS)
    if unknown or not spec.get("documents"):
        what = f"unknown key {unknown[0]!r}" if unknown else "no documents"
        raise CheckError(f"check slo: {what}; a spec has {', '.join(sorted(_KEYS))}", reason="bad_spec")
    at = datetime.fromisoformat(spec["at"]) if spec.get("at") else None
    catalog = load(spec["documents"])
    settings = {name: _filled_in(value) for name, value in (spec.get("sources") or {}).items()}
    with ExitStack() as stack:
        opened: dict[str, IndicatorSource] = {}

        def source(kind: str, document: DataSource | None) -> IndicatorSource:
            names = [document.name, kind] if document else [kind]
            name = next((one for one in names if one in settings), None)
            if name is None:
                raise QueryError(f"no source is named {' or '.join(names)} in the spec's sources", reason="unknown_source")
            if name not in opened:
                opened[name] = _open(kind, name, settings[name], stack)
            return opened[name]

        reports = SLOMonitor(catalog, source).evaluate(at, spec.get("select"))
    decision = decide(reports, catalog)
    return [_by_policy(check, one) for check, one in zip(slo_checks(decision), decision.slos, strict=True)]


def _by_policy(check: CheckResult, one: SLODecision) -> CheckResult:
    """Apply the policy's decision if it is stricter: a policy may freeze long before the budget is spent."""
    from airflow_slo_provider.slo.budget.ledger_records import OUTCOMES

    decided = OUTCOMES[one.outcome] if one.gates else check.verdict
    if _STRICTER.index(decided) <= _STRICTER.index(check.verdict):
        return replace(check, kind=KIND)
    return replace(check, kind=KIND, verdict=decided, message="; ".join(dict.fromkeys([check.message, *one.reasons])))


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
        raise QueryError(f"source {name} knows nothing of {', '.join(sorted(options))}, only url", reason="bad_source")
    if kind == "SQL":
        return _database(name, settings["url"], stack)
    if kind == "Ledger":
        from airflow_slo_provider.indicators.ledger import LedgerSource
        from airflow_slo_provider.ledger import open_ledger

        try:
            return LedgerSource(stack.enter_context(open_ledger(settings["url"], environment=environment)))
        except LedgerError as error:
            raise QueryError(error.message, reason=error.reason, transient=error.transient) from error
    raise QueryError(f"data of type {kind!r} cannot be measured, only Prometheus, SQL and Ledger", reason="unknown_source")


def _database(name: str, url: str, stack: ExitStack) -> IndicatorSource:
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


def _filled_in(value: Any) -> Any:
    """Replace ``${NAME}`` by the environment variable's value, anywhere in a setting."""
    if isinstance(value, Mapping):
        return {key: _filled_in(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled_in(item) for item in value]
    if not isinstance(value, str):
        return value

    def look_up(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            raise CheckError(f"the spec names ${{{match[1]}}}, and the environment has no {match[1]}", reason="bad_spec")
        return os.environ[match[1]]

    return _VARIABLE.sub(look_up, value)
