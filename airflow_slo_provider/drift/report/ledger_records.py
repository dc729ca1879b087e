"""Convert a drift report to checks for the ledger, and to the small dict for XCom and asset events."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from airflow_slo_provider.drift.verdict.results import ColumnDrift, DriftReport
from airflow_slo_provider.drift.verdict.thresholds import DriftState, gates_for, read_gates
from airflow_slo_provider.results import CheckResult, Verdict

KIND = "drift"
#: Number of columns listed in a summary.
MOST_WORST = 5
#: Number of skipped columns listed in the ledger.
MOST_SKIPPED = 1_000
_UNKNOWN = frozenset({DriftState.INSUFFICIENT_DATA, DriftState.SKIPPED, DriftState.ERROR})
_VERDICTS = {"fail": Verdict.FAIL, "warn": Verdict.WARN, "pass": Verdict.PASS, "skip": Verdict.UNKNOWN}


def verdict_of(state: DriftState, actions: Mapping[DriftState, str], chosen: frozenset[str]) -> Verdict:
    """Convert a state to a check's verdict.

    A state that could not be judged is ``unknown``, unless the user set an action for it.

    :param actions: the action for each state
    :param chosen: states for which the user set an action
    """
    if state in _UNKNOWN and state.value not in chosen:
        return Verdict.UNKNOWN
    return _VERDICTS[actions[state]]


def checks(
    report: DriftReport,
    *,
    name: str,
    actions: Mapping[DriftState, str],
    chosen: frozenset[str] = frozenset(),
    interval: tuple[datetime | None, datetime | None] = (None, None),
    model_version: str | None = None,
    report_uri: str | None = None,
) -> list[CheckResult]:
    """Return one check for the dataset, and one for each column that is neither ok nor skipped.

    :param name: name of the dataset's check; a column's check is ``name.column``
    :param actions: the action for each state
    :param chosen: states for which the user set an action
    :param interval: the data interval of the run
    :param report_uri: where the report was written
    """
    shared: dict[str, Any] = {"kind": KIND, "model_version": model_version, "checked_at": report.created_at}
    shared |= {"interval_start": interval[0], "interval_end": interval[1]}
    judged = [
        column for column in report.columns.values() if column.verdict in (DriftState.OK, DriftState.WARN, DriftState.DRIFT)
    ]
    # Skipped columns have no check of their own; listing them keeps them from being taken for ok.
    evidence = {"alpha": report.alpha, "skipped": report.in_state(DriftState.SKIPPED)[:MOST_SKIPPED]}
    out = [
        CheckResult(
            name=name,
            verdict=verdict_of(report.verdict, actions, chosen),
            value=report.drifted_share,
            unit="ratio",
            good=float(sum(column.verdict is not DriftState.DRIFT for column in judged)),
            total=float(len(judged)),
            message=report.message,
            evidence=summary(report, report_uri=report_uri) | evidence,
            **shared,
        )
    ]
    for column in report.ranked():
        if column.verdict in (DriftState.OK, DriftState.SKIPPED):
            continue
        unit, value = _headline(column)
        numbers = {"state": column.verdict.value, **_key_numbers(column)}
        out.append(
            CheckResult(
                name=f"{name}.{column.name}"[:500],
                verdict=verdict_of(column.verdict, actions, chosen),
                value=value,
                unit=unit,
                message=column.message,
                evidence={**numbers, "hints": list(column.hints), "report": report_uri},
                **shared,
            )
        )
    return out


def summary(report: DriftReport, *, report_uri: str | None = None) -> dict[str, Any]:
    """Return a summary small enough for XCom: the verdict, the worst columns, the report's location."""
    counts = {state.value: len(report.in_state(state)) for state in DriftState}
    worst = [column for column in report.ranked() if column.verdict not in (DriftState.OK, DriftState.SKIPPED)][:MOST_WORST]
    return {
        "schema_version": 1,
        "verdict": report.verdict.value,
        "message": report.message[:500],
        "drifted": report.drifted[:20],
        "drifted_share": round(report.drifted_share, 6),
        "columns": {state: count for state, count in counts.items() if count},
        "worst": [{"column": column.name, "state": column.verdict.value, **_key_numbers(column)} for column in worst],
        "reference": report.reference[:300],
        "current": report.current[:300],
        "reference_rows": report.reference_rows,
        "current_rows": report.current_rows,
        "report": report_uri,
    }


def assertions(report: DriftReport, *, name: str, thresholds: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Return one plain dict per judged column and one for the dataset, in the form of data-quality assertions.

    :param name: name of the dataset's check
    :param thresholds: the thresholds given to :func:`~airflow_slo_provider.drift.compare`
    :return: ``name``, ``column`` (None for the dataset), ``state``, ``success``, ``expected``, ``actual``, ``description``
    """
    base, by_column = read_gates(thresholds)
    out = [_assertion(name, None, report.verdict, DriftState.OK.value, report.verdict.value, report.message)]
    for column in report.columns.values():
        if column.verdict is DriftState.SKIPPED:
            continue
        gates = gates_for(column.name, base, by_column)
        limits = {"psi": gates.psi, "ks": gates.ks, "null_rate_change": gates.nulls}
        expected = ", ".join(f"{test} < {limit:g}" for test, limit in limits.items() if limit is not None)
        actual = ", ".join(f"{test} {value:g}" for test, value in _key_numbers(column).items()) or column.verdict.value
        out.append(_assertion(f"{name}.{column.name}", column.name, column.verdict, expected, actual, column.message))
    return out


def _assertion(
    name: str, column: str | None, verdict: DriftState, expected: str, actual: str, description: str
) -> dict[str, Any]:
    outcome = {"state": verdict.value, "success": verdict is DriftState.OK, "expected": expected, "actual": actual}
    return {"name": name, "column": column, **outcome, "description": description}


def _headline(column: ColumnDrift) -> tuple[str, float] | tuple[None, None]:
    """Return the name and value of the statistic that is stored as the value of the column's check."""
    if column.ks is not None and math.isfinite(column.ks.statistic):
        return "ks", column.ks.statistic
    return ("psi", column.psi.value) if column.psi is not None and math.isfinite(column.psi.value) else (None, None)


def _key_numbers(column: ColumnDrift) -> dict[str, Any]:
    out: dict[str, float] = {}
    if column.psi is not None:
        out["psi"] = column.psi.value
    if column.ks is not None:
        out |= {"ks": column.ks.lower, "ks_upper": column.ks.upper}
    if column.nulls is not None:
        out["null_rate"] = column.nulls.current
    return {name: round(value, 6) for name, value in out.items()}
