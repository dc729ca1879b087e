"""A ledger as a month of use leaves it, for tests of the pages: every kind of check, and names that are an attack."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_slo_provider.ledger import Ledger, RunKey
from airflow_slo_provider.results import CheckResult

HOSTILE = "<img src=x onerror=alert(1)>\"'&"
STATUSES = {
    "page-checkout": ("EXHAUSTED", "fail", -0.12, 0.9989),
    "page-search": ("BURNING", "warn", 0.31, 0.9993),
    "page-ranking": ("QUERY_ERROR", "unknown", None, None),
    "page-embedding": ("NO_DATA", "unknown", None, None),
    "page-signup": ("WARNING", "warn", 0.18, 0.99918),
    "page-quiet": ("LOW_TRAFFIC", "warn", 1.0, 1.0),
    "page-predictions": ("HEALTHY", "pass", 0.87, 0.99987),
}


def slo_check(
    name: str, status: str, verdict: str, remaining: float | None, sli: float | None, at: datetime, **more: Any
) -> CheckResult:
    """A check of kind ``slo`` with the evidence that the gate writes."""
    burn = None if remaining is None else round(max(0.0, 2.5 - 2 * remaining), 3)
    evidence = {
        "service": "models" if name in ("page-ranking", "page-embedding", "page-predictions") else "shop",
        "status": status,
        "objective": 0.999,
        "window": "30d",
        "sli": sli,
        "remaining": remaining,
        "remaining_seconds": None if remaining is None else remaining * 2592,
        "burn_rate": burn,
        "time_to_exhaustion_seconds": None if not burn or remaining is None else max(0, remaining * 2592000 / burn),
        "burn_rates": {
            window: None if burn is None else burn * factor
            for window, factor in (("5m", 1.4), ("1h", 1.2), ("6h", 1.1), ("1d", 1.0), ("3d", 0.9))
        },
        "method": "Occurrences",
        "tier": "1" if name in ("page-checkout", "page-search") else "2",
        "outcome": "frozen" if status == "EXHAUSTED" else "unknown" if verdict == "unknown" else "allowed",
        "action": "freeze" if status == "EXHAUSTED" else "allow",
        "policy_state": {"holding": ["budget-spent"] if status == "EXHAUSTED" else [], "action": "allow", "blocked_since": None},
        "query": f'sum(rate(requests_total{{service="{name}"}}[30d]))',
        **more,
    }
    return CheckResult(
        kind="slo",
        name=name,
        verdict=verdict,
        value=sli,
        unit="ratio",
        target=0.999,
        op="gte",
        checked_at=at,
        message=f"{name} is {status}",
        evidence=evidence,
    )


def fill(ledger: Ledger, *, now: datetime | None = None, hostile: bool = True, report: str = "") -> None:
    """Write the month.

    :param hostile: also a DAG and checks whose every text is an attack
    :param report: the URI of a report that the drift check names
    """
    now = now or datetime.now(UTC)
    for step in range(31):
        at = now - timedelta(days=30 - step) - timedelta(minutes=2)
        rows = []
        for name, (status, verdict, remaining, sli) in STATUSES.items():
            last = step == 30
            if remaining is None and step < 29:
                rows.append(slo_check(name, "HEALTHY", "pass", 0.9, 0.9999, at))
            elif last or remaining is None:
                rows.append(slo_check(name, status, verdict, remaining, sli, at))
            else:
                left = 1 - (1 - remaining) * step / 30
                worst = "EXHAUSTED" if left <= 0 else "HEALTHY"
                rows.append(slo_check(name, worst, "fail" if left <= 0 else "pass", left, 1 - 0.001 * (1 - left), at))
        ledger.record(rows, RunKey("promote_model", f"scheduled__{step}", "gate"))
    _others(ledger, now, report)
    if hostile:
        _hostile(ledger, now)
    ledger.record([slo_check("page-payroll", "HEALTHY", "pass", 0.5, 0.9995, now)], RunKey("secret_dag", "run", "gate"))
    ledger.record(
        [CheckResult(kind="freshness", name="salaries", verdict="pass", value=5.0, unit="seconds", checked_at=now)],
        RunKey("secret_dag", "run", "fresh"),
    )


def _others(ledger: Ledger, now: datetime, report: str) -> None:
    def key(run: str, task: str) -> RunKey:
        return RunKey("promote_model", run, task)

    def check(kind: str, name: str, verdict: str, **more: Any) -> CheckResult:
        more.setdefault("checked_at", now - timedelta(hours=1))
        return CheckResult(kind=kind, name=name, verdict=verdict, **more)

    ledger.record(
        [
            check(
                "freshness",
                "orders table",
                "pass",
                value=3600.0,
                target=14400.0,
                op="lte",
                unit="seconds",
                message="orders is 1h old",
            ),
            check(
                "freshness",
                "features",
                "fail",
                value=90000.0,
                target=86400.0,
                op="lte",
                unit="seconds",
                message="features are 1d 1h old",
            ),
            check("latency", "predict", "pass", value=0.043, unit="seconds", evidence={"slowest_trace_id": "ab" * 16}),
            check("something_new", "unheard of", "warn", value=3.0, unit="events", message="a kind that came later"),
            check(
                "decision",
                "gate",
                "fail",
                message="page-checkout has spent its budget",
                evidence={
                    "outcome": "frozen",
                    "action": "freeze",
                    "slos": {"page-checkout": "EXHAUSTED", "page-search": "BURNING"},
                },
            ),
        ],
        key("scheduled__30", "checks"),
    )
    for day in range(10):
        at = now - timedelta(days=day)
        features = {
            f"feature_{n}": {
                "verdict": "fail" if n == 2 and day < 3 else "pass",
                "effect": 0.01 * n + (0.3 if n == 2 and day < 3 else 0),
            }
            for n in range(6)
        }
        more = {"report_uri": report} if report else {}
        ledger.record(
            [
                check(
                    "drift",
                    "training vs today",
                    "fail" if day < 3 else "pass",
                    value=0.3,
                    unit="psi",
                    target=0.2,
                    op="lte",
                    checked_at=at,
                    evidence={"columns": features, **more},
                )
            ],
            key(f"drift {day}", "drift"),
        )
    for version in range(1, 6):
        at = now - timedelta(days=25 - 4 * version)
        value = 0.9 + 0.005 * version
        metrics = {
            name: {"value": value - shift, "low": value - shift - 0.02, "high": value - shift + 0.015}
            for name, shift in (("auc", 0.0), ("recall", 0.07))
        }
        ledger.record(
            [
                check(
                    "golden_set",
                    "churn",
                    "pass",
                    value=value,
                    target=0.88,
                    op="gte",
                    model_version=str(version),
                    checked_at=at,
                    evidence={"metric": "auc", "metrics": metrics},
                )
            ],
            key(f"golden {version}", "golden"),
        )
        ledger.record(
            [
                check(
                    "promotion" if version != 4 else "rollback",
                    "churn",
                    "pass",
                    model_version=str(version),
                    checked_at=at,
                    message=f"champion is {version}",
                    evidence={"previous": str(version - 1), "user": "mia"},
                )
            ],
            key(f"golden {version}", "promote"),
        )
    ledger.record(
        [
            check(
                "incident",
                "checkout burns",
                "fail",
                message="sev 1: checkout burns",
                checked_at=now - timedelta(days=2),
                evidence={
                    "severity": "SEV1",
                    "steps": [{"action": "freeze deployments", "state": "done"}, {"action": "roll back", "state": "running"}],
                    "timeline": [{"at": "2026-11-22 10:00", "what": "alert"}],
                    "owner": "on call",
                },
            )
        ],
        key("incident 1", "notify"),
    )


def _hostile(ledger: Ledger, now: datetime) -> None:
    key = RunKey(HOSTILE, HOSTILE, HOSTILE)
    rows = [
        slo_check(
            HOSTILE,
            HOSTILE,
            "fail",
            0.5,
            0.5,
            now - timedelta(minutes=1),
            service=HOSTILE,
            tier=HOSTILE,
            window=HOSTILE,
            query=HOSTILE,
            burn_rates={HOSTILE: 1.0},
        )
    ]
    for kind in ("drift", "golden_set", "freshness", "promotion", "rollback", "decision", "incident", HOSTILE[:100]):
        rows.append(
            CheckResult(
                kind=kind,
                name=HOSTILE,
                verdict="fail",
                value=1.0,
                unit=HOSTILE,
                target=1.0,
                op="lte",
                message=HOSTILE,
                model_version=HOSTILE,
                checked_at=now - timedelta(minutes=1),
                evidence={
                    "report_uri": HOSTILE,
                    "trace_id": HOSTILE,
                    "severity": HOSTILE,
                    "outcome": HOSTILE,
                    HOSTILE: HOSTILE,
                    "user": HOSTILE,
                    "previous": HOSTILE,
                    "columns": {HOSTILE: {"verdict": HOSTILE, "effect": 1.0}},
                    "metrics": {HOSTILE: {"value": 1.0, "low": 0.5, "high": 1.5, "verdict": HOSTILE}},
                    "steps": [{"action": HOSTILE, "state": HOSTILE}],
                    "timeline": [{"at": HOSTILE, "what": HOSTILE}],
                    "slos": {HOSTILE: HOSTILE},
                },
            )
        )
    ledger.record(rows, key)
    odd = {
        "status": ["x"],
        "remaining": "much",
        "burn_rates": [1],
        "columns": 7,
        "metrics": "none",
        "steps": {"a": 1},
        "timeline": 3,
        "slos": ["a"],
        "policy_state": "?",
        "window": 5,
    }
    for kind in ("slo", "drift", "golden_set", "decision", "incident", "promotion"):
        ledger.record(
            [CheckResult(kind=kind, name="odd evidence", verdict="unknown", evidence=odd, checked_at=now)],
            RunKey("promote_model", "odd", kind),
        )
