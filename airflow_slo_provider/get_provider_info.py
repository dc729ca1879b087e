"""Describe this provider to Airflow: the entry point ``apache_airflow_provider``.

Airflow calls it while it reads its configuration, before ``airflow.sdk`` can be imported: this module must not import Airflow.
"""

from __future__ import annotations

from typing import Any

from airflow_slo_provider.hooks.connection_forms.model_registry import connection_type as model_registry_type
from airflow_slo_provider.hooks.connection_forms.prometheus import connection_type
from airflow_slo_provider.hooks.connection_forms.trace_store import trace_store_connection_type

_NAME = "Service level objectives"


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description in the form of ``airflow/provider_info.schema.json``."""
    return {
        "package-name": "airflow-slo-provider",
        "name": _NAME,
        "description": "Service level objectives and error budgets for machine-learning systems: gates, sensors and a ledger.",
        "integrations": [
            {"integration-name": _NAME, "external-doc-url": "https://openslo.com/", "tags": ["software"]},
            {"integration-name": "Prometheus", "external-doc-url": "https://prometheus.io/docs/", "tags": ["service"]},
            {"integration-name": "Kubernetes", "external-doc-url": "https://kubernetes.io/docs/", "tags": ["service"]},
            {"integration-name": "Model registry", "external-doc-url": "https://mlflow.org/docs/latest/ml/", "tags": ["service"]},
            {"integration-name": "Trace store", "external-doc-url": "https://opentelemetry.io/docs/", "tags": ["service"]},
        ],
        "operators": [
            _modules(_NAME, "operators", "drift", "error_budget", "freshness", "golden_set", "metrics"),
            _modules(_NAME, "operators", "incident", "policy_actions"),
            _modules("Kubernetes", "operators", "kubernetes", "pod"),
            _modules("Model registry", "operators", "model_registry"),
            _modules("Trace store", "operators", "latency"),
        ],
        "sensors": [_modules(_NAME, "sensors", "error_budget", "freshness")],
        "hooks": [
            _modules("Prometheus", "hooks", "prometheus"),
            _modules("Model registry", "hooks", "model_registry"),
            _modules("Trace store", "hooks", "trace_store"),
        ],
        # The error budget sensor uses the standard provider's DateTimeTrigger.
        "triggers": [_modules(_NAME, "triggers", "burn_rate", "freshness"), _modules("Kubernetes", "triggers", "rollout")],
        "notifications": ["airflow_slo_provider.notifications.incident.IncidentNotifier"],
        "connection-types": [connection_type(), model_registry_type(), trace_store_connection_type()],
        "extra-links": [f"airflow_slo_provider.links.slo.{name}" for name in ("SLOLink", "ReportLink", "TraceLink")],
        "cli": ["airflow_slo_provider.cli.definition.get_slo_cli_commands"],
        "config": {
            "slo": {
                "description": "Where the SLO provider keeps its ledger: every check and every decision.",
                "options": {
                    "ledger_conn_id": _option(
                        "Airflow connection of the database that holds the ledger. Wins over ``ledger_url``. With neither set, "
                        "the ledger is the SQLite file ``slo_ledger.db`` in ``AIRFLOW_HOME``, which tasks refuse where the "
                        "executor may run them on several machines.",
                        example="slo_ledger",
                    ),
                    "ledger_url": _option(
                        "SQLAlchemy URL of the database that holds the ledger. "
                        "A URL with a password belongs into a connection: use ``ledger_conn_id`` for that.",
                        example="sqlite:////srv/airflow/slo_ledger.db",
                        sensitive=True,
                    ),
                    "evaluation_deadline": _option(
                        "Seconds that one evaluation of error budgets may take, over all its data sources. The limits of "
                        "single queries shrink to what is left; what is not measured by then is unknown. A task with an "
                        "``execution_timeout`` takes at most nine tenths of that.",
                        type="float",
                        example="120",
                        default="300",
                    ),
                    "sloth_period": _option(
                        "Time window of the SLOs in sloth's documents, as sloth's ``--default-slo-period``: a fixed duration. "
                        "Gates, sensors, triggers and commands use it; with none set it is 30 days, as in sloth.",
                        example="28d",
                    ),
                    "environment": _option(
                        "Name of this Airflow where several share a ledger, e.g. production and staging: each reads and "
                        "writes its own rows only. Letters, digits and ``._-``, at most 100. "
                        "``airflow slo environment adopt`` moves the existing unnamed rows to the name.",
                        example="production",
                    ),
                    "report_roots": _option(
                        "Where report files may lie that the SLO pages open: directories or object-storage URIs, divided by "
                        "commas. With none set it is the directory ``slo_reports`` in ``AIRFLOW_HOME``.",
                        example="/srv/airflow/reports,s3://ml-reports/drift",
                    ),
                    "trace_url": _option(
                        "Address of a trace in the trace store's own UI; ``{trace_id}`` stands for its id.",
                        example="https://jaeger.example.com/trace/{trace_id}",
                    ),
                },
            }
        },
    }


def _option(description: str, **schema: Any) -> dict[str, Any]:
    return {"description": description, "version_added": "0.1.0", "type": "string", "default": "", **schema}


def _modules(integration: str, package: str, *names: str) -> dict[str, Any]:
    return {"integration-name": integration, "python-modules": [f"airflow_slo_provider.{package}.{name}" for name in names]}
