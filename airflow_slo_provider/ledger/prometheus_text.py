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

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.core.slo_key import SLOKey, labels_text
from airflow_slo_provider.core.text_lists import text_list
from airflow_slo_provider.ledger.queries import checks as browse
from airflow_slo_provider.ledger.queries import slos as browse_slos
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
    "airflow_slo_check_value": "What the newest check measured.",
    "airflow_slo_check_timestamp_seconds": "When the newest check was made, in seconds since 1970.",
}


def newest_checks(ledger: Ledger, kinds: Sequence[str] | None = None, *, dags: Iterable[str] | None = None) -> list[Recorded]:
    """Return the newest check of every kind and name; for SLOs, of every service and name.

    Rows of test runs are never included, even in a test run, since metrics are shared.

    :param ledger: the ledger
    :param kinds: only these kinds; None for all except decisions
    :param dags: only checks of these DAGs; None for all
    """
    ledger = ledger.seen_by_tests(False)
    wanted = [kind for kind in browse.all_kinds(ledger) if kind != "decision"] if kinds is None else text_list(kinds)
    limit = None if dags is None else list(dags)
    rows: list[Recorded] = []
    for kind in wanted:
        rows += browse_slos.newest(ledger, dags=limit) if kind == "slo" else browse.newest(ledger, kind, dags=limit)
    return rows


def exposition(rows: Iterable[Recorded]) -> str:
    """Format checks as Prometheus text.

    :param rows: the newest checks, from :func:`newest_checks`
    """
    samples: dict[str, list[str]] = {name: [] for name in _HELP}

    def add(name: str, labels: Mapping[str, str], value: Any) -> None:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            inner = ",".join(f'{key}="{_escape(label)}"' for key, label in labels.items())
            samples[name].append(f"{name}{{{inner}}} {float(value)!r}")

    for row in rows:
        result = row.result
        check = {"kind": result.kind, "name": result.name}
        service = {"service": SLOKey.of(row.result).service} if result.kind == "slo" else {}
        if result.labels:  # each group of an SLO is a separate series
            service["labels"] = labels_text(result.labels)
        check |= service
        add("airflow_slo_check_timestamp_seconds", check, result.checked_at.timestamp())
        for verdict in Verdict:
            add("airflow_slo_check_verdict", check | {"verdict": verdict.value}, float(verdict is result.verdict))
        if result.kind != "slo":
            add("airflow_slo_check_value", check | {"unit": result.unit or ""}, result.value)
            continue
        slo = {"slo": result.name} | service
        add("airflow_slo_sli_ratio", slo, result.value)
        add("airflow_slo_objective_ratio", slo, result.target)
        add("airflow_slo_error_budget_remaining_ratio", slo, result.evidence.get("remaining"))
        rates = result.evidence.get("burn_rates")
        for window, rate in rates.items() if isinstance(rates, Mapping) else ():
            add("airflow_slo_burn_rate", slo | {"window": str(window)}, rate)
    blocks = [
        f"# HELP {name} {_HELP[name]}\n# TYPE {name} gauge\n" + "\n".join(lines) for name, lines in samples.items() if lines
    ]
    return "\n".join(blocks) + "\n" if blocks else ""


def _escape(label: str) -> str:
    """Escape a label's value [Prometheus, exposition formats, "Comments, help text, and type information"]."""
    return label.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
