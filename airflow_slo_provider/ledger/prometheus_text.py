"""Export the newest check results as Prometheus metrics in the text format, version 0.0.4.

============================================  ============================================================
``airflow_slo_sli_ratio``                     share of good events, by ``slo`` and ``service``
``airflow_slo_objective_ratio``               the objective of the SLO
``airflow_slo_error_budget_remaining_ratio``  share of the budget that is left; negative when overspent
``airflow_slo_burn_rate``                     burn rate, also by ``window``
``airflow_slo_check_verdict``                 1 for the verdict of the newest check, 0 for the others
``airflow_slo_check_value``                   the measured value, also by ``unit``
``airflow_slo_check_timestamp_seconds``       time of the check: alert on ``time() - ...``
============================================  ============================================================

The last three have the labels ``kind`` and ``name``; those of an SLO also ``service``, as SLOs of several services may share a
name. Metrics of one group have the group's labels in the label ``labels``, as JSON.
A check with a time more than a day in the future is ignored.
An SLO that could not be measured has no ratio (never 0): only its verdict and its time are exported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.core.exposition_format import format_gauge
from airflow_slo_provider.core.slo_key import SLOKey, labels_text
from airflow_slo_provider.core.text_lists import text_list
from airflow_slo_provider.ledger.queries import checks, slos
from airflow_slo_provider.results import Verdict

if TYPE_CHECKING:
    from airflow_slo_provider.ledger.records import Recorded
    from airflow_slo_provider.ledger.store import Ledger

_HELP = {
    "airflow_slo_sli_ratio": "Share of good events or time, as the newest check measured it.",
    "airflow_slo_objective_ratio": "The objective.",
    "airflow_slo_error_budget_remaining_ratio": "Share of the error budget that is left; negative when overspent.",
    "airflow_slo_burn_rate": "How fast the error budget burned over a window; 1 spends it exactly within the SLO's window.",
    "airflow_slo_check_verdict": "1 for the verdict of the newest check, 0 for the others.",
    "airflow_slo_check_value": "The value that the newest check measured.",
    "airflow_slo_check_timestamp_seconds": "Time of the newest check, in seconds since 1970.",
}


def newest_checks(ledger: Ledger, kinds: Sequence[str] | None = None, *, dags: Iterable[str] | None = None) -> list[Recorded]:
    """Return the newest check of every kind and name; for SLOs, of every service and name.

    Rows of test runs are never included, even in a test run, since metrics are shared.

    :param ledger: the ledger
    :param kinds: only these kinds; None for all except decisions
    :param dags: only checks of these DAGs; None for all
    """
    ledger = ledger.seen_by_tests(False)
    wanted = [kind for kind in checks.all_kinds(ledger) if kind != "decision"] if kinds is None else text_list(kinds)
    limit = None if dags is None else list(dags)
    rows: list[Recorded] = []
    for kind in wanted:
        rows += slos.newest(ledger, dags=limit) if kind == "slo" else checks.newest(ledger, kind, dags=limit)
    return rows


def exposition(rows: Iterable[Recorded]) -> str:
    """Format checks as Prometheus text.

    :param rows: the newest checks, from :func:`newest_checks`
    """
    samples: dict[str, list[tuple[Mapping[str, str], Any]]] = {name: [] for name in _HELP}
    for row in rows:
        result = row.result
        service = {"service": SLOKey.of(result).service} if result.kind == "slo" else {}
        if result.labels:  # each group of an SLO is a separate series
            service["labels"] = labels_text(result.labels)
        check = {"kind": result.kind, "name": result.name} | service
        samples["airflow_slo_check_timestamp_seconds"].append((check, result.checked_at.timestamp()))
        for verdict in Verdict:
            samples["airflow_slo_check_verdict"].append((check | {"verdict": verdict.value}, int(verdict is result.verdict)))
        if result.kind != "slo":
            samples["airflow_slo_check_value"].append((check | {"unit": result.unit or ""}, result.value))
            continue
        slo = {"slo": result.name} | service
        samples["airflow_slo_sli_ratio"].append((slo, result.value))
        samples["airflow_slo_objective_ratio"].append((slo, result.target))
        samples["airflow_slo_error_budget_remaining_ratio"].append((slo, result.evidence.get("remaining")))
        rates = result.evidence.get("burn_rates")
        for window, rate in rates.items() if isinstance(rates, Mapping) else ():
            samples["airflow_slo_burn_rate"].append((slo | {"window": str(window)}, rate))
    return "".join(format_gauge(name, samples[name], help_text=text) for name, text in _HELP.items())
