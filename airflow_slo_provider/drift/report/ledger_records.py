"""Convert a drift report to checks for the ledger, and to the small dict for XCom and asset events."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from airflow_slo_provider.drift.verdict.results import ColumnDrift, DriftReport
from airflow_slo_provider.drift.verdict.thresholds import State, gates_for, read_gates
from airflow_slo_provider.results import CheckResult, Verdict

KIND = "drift"
#: Number of columns listed in a summary.
MOST_WORST = 5
#: Number of skipped columns listed in the ledger.
MOST_SKIPPED = 1_000
_UNKNOWN = frozenset({State.INSUFFICIENT_DATA, State.SKIPPED, State.ERROR})
_VERDICTS = {"fail": Verdict.FAIL, "warn": Verdict.WARN, "pass": Verdict.PASS, "skip": Verdict.UNKNOWN}


def to_verdict(state: State, actions: Mapping[State, str], chosen: frozenset[str]) -> Verdict:
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
    actions: Mapping[State, str],
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
    shared: dict[str, Any] = {
        "kind": KIND,
        "interval_start": interval[0],
        "interval_end": interval[1],
        "model_version": model_version,
        "checked_at": report.created_at,
    }
    judged = [column for column in report.columns.values() if column.verdict in (State.OK, State.WARN, State.DRIFT)]
    out = [
        CheckResult(
            name=name,
            verdict=to_verdict(report.verdict, actions, chosen),
            value=report.drifted_share,
            unit="ratio",
            good=float(len([column for column in judged if column.verdict is not State.DRIFT])),
            total=float(len(judged)),
            message=report.message,
            # Skipped columns have no check of their own; listing them keeps them from being taken for ok.
            evidence={
                **summary(report, report_uri=report_uri),
                "alpha": report.alpha,
                "skipped": report.in_state(State.SKIPPED)[:MOST_SKIPPED],
            },
            **shared,
        )
    ]
    for column in report.ranked():
        if column.verdict in (State.OK, State.SKIPPED):
            continue
        measured = _headline(column)
        out.append(
            CheckResult(
                name=f"{name}.{column.name}"[:500],
                verdict=to_verdict(column.verdict, actions, chosen),
                value=measured[1] if measured else None,
                unit=measured[0] if measured else None,
                message=column.message,
                evidence={"state": column.verdict.value, **_numbers(column), "hints": list(column.hints), "report": report_uri},
                **shared,
            )
        )
    return out


def summary(report: DriftReport, *, report_uri: str | None = None) -> dict[str, Any]:
    """Return a summary small enough for XCom: the verdict, the worst columns, the report's location."""
    counts = {state.value: len(report.in_state(state)) for state in State}
    worst = [column for column in report.ranked() if column.verdict not in (State.OK, State.SKIPPED)][:MOST_WORST]
    return {
        "schema_version": 1,
        "verdict": report.verdict.value,
        "message": report.message[:500],
        "drifted": report.drifted[:20],
        "drifted_share": round(report.drifted_share, 6),
        "columns": {state: count for state, count in counts.items() if count},
        "worst": [{"column": column.name, "state": column.verdict.value, **_numbers(column)} for column in worst],
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
    base, own = read_gates(thresholds)
    out = [
        {
            "name": name,
            "column": None,
            "state": report.verdict.value,
            "success": report.verdict is State.OK,
            "expected": State.OK.value,
            "actual": report.verdict.value,
            "description": report.message,
        }
    ]
    for column in report.columns.values():
        if column.verdict is State.SKIPPED:
            continue
        gates = gates_for(column.name, base, own)
        limits = {"psi": gates.psi, "ks": gates.ks, "null_rate_change": gates.nulls}
        out.append(
            {
                "name": f"{name}.{column.name}",
                "column": column.name,
                "state": column.verdict.value,
                "success": column.verdict is State.OK,
                "expected": ", ".join(f"{test} < {limit:g}" for test, limit in limits.items() if limit is not None),
                "actual": ", ".join(f"{test} {value:g}" for test, value in _numbers(column).items()) or column.verdict.value,
                "description": column.message,
            }
        )
    return out


def _headline(column: ColumnDrift) -> tuple[str, float] | None:
    if column.ks is not None and math.isfinite(column.ks.statistic):
        return "ks", column.ks.statistic
    return ("psi", column.psi.value) if column.psi is not None and math.isfinite(column.psi.value) else None


def _numbers(column: ColumnDrift) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if column.psi is not None:
        out |= {"psi": round(column.psi.value, 6)}
    if column.ks is not None:
        out |= {"ks": round(column.ks.lower, 6), "ks_upper": round(column.ks.upper, 6)}
    if column.nulls is not None:
        out |= {"null_rate": round(column.nulls.current, 6)}
    return out
