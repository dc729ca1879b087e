"""Fill a ledger with a month of checks for tests of the pages: every kind of check, and hostile names."""

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
    """Return a check of kind ``slo`` with the evidence that the gate writes."""
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
    """Write the checks of a month.

    :param hostile: whether to add a DAG and checks in which every text is hostile
    :param report: URI of the report of the drift check
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
        drifted = [{"column": "feature_2", "state": "drift", "psi": 0.41, "ks": 0.33}] if day < 3 else []
        worst = [*drifted, {"column": "feature_5", "state": "warn", "psi": 0.12}]
        more = {"report": report} if report else {}
        verdict = "fail" if drifted else "warn"
        found = {"columns": {"ok": 5, "warn": 1}, "worst": worst, "drifted": ["feature_2"], **more}
        shared: dict[str, Any] = {"checked_at": at, "unit": "ratio"}
        ledger.record(
            [
                check(
                    "drift",
                    "training vs today",
                    verdict,
                    value=len(drifted) / 7,
                    message="1 of 7 drifted",
                    evidence=found,
                    **shared,
                ),
                check("drift", "training vs today.feature_5", "warn", value=0.12, evidence={"state": "warn"}, **shared),
            ],
            key(f"drift {day}", "drift"),
        )
    for version in range(1, 6):
        made: dict[str, Any] = {"model_version": str(version), "checked_at": now - timedelta(days=25 - 4 * version)}
        value = 0.9 + 0.005 * version
        metrics = {
            name: {"value": value - shift, "low": value - shift - 0.02, "high": value - shift + 0.015}
            for name, shift in (("auc", 0.0), ("recall", 0.07))
        }
        ledger.record(
            [
                check("golden_set", "churn", "pass", evidence={"outcome": "pass", "metrics": metrics}, **made),
                check("golden_set", "churn/auc", "pass", value=value, target=0.88, op="gte", evidence=metrics["auc"], **made),
            ],
            key(f"golden {version}", "golden"),
        )
        moved = {"from": str(version - 1), "to": str(version), "by": "mia"}
        kind = "rollback" if version == 4 else "promote"
        ledger.record(
            [check(kind, "churn@champion", "pass", message=f"champion is {version}", evidence=moved, **made)],
            key(f"golden {version}", "promote"),
        )
    began = now - timedelta(days=2)
    incident = {"slo": "page-checkout", "kind": "burn", "severity": "SEV1", "state": "open", "owner": "on call"}
    ledger.record(
        [check("incident", "checkout-1a2b", "unknown", message="page-checkout burns", checked_at=began, evidence=incident)],
        key("incident 1", "open"),
    )
    for number, (action, state) in enumerate((("freeze deployments", "done"), ("roll back", "running"))):
        step = {"incident": "checkout-1a2b", "step": str(number), "phase": "mitigation", "action": action, "state": state}
        at = began + timedelta(minutes=number + 1)
        row = check(
            "incident_step",
            f"checkout-1a2b/{number}",
            "pass",
            message=f"{action}: {state}",
            checked_at=at,
            interval_start=at,
            evidence=step,
        )
        ledger.record([row], key("incident 1", f"step_{number}"))


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
    for kind in (
        "drift",
        "golden_set",
        "freshness",
        "promote",
        "rollback",
        "decision",
        "incident",
        "incident_step",
        HOSTILE[:100],
    ):
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
                    "worst": [{"column": HOSTILE, "state": HOSTILE, "psi": 1.0}],
                    "incident": HOSTILE,
                    "action": HOSTILE,
                    "state": HOSTILE,
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
        "worst": 7,
        "metrics": "none",
        "steps": {"a": 1},
        "timeline": 3,
        "slos": ["a"],
        "policy_state": "?",
        "window": 5,
    }
    for kind in ("slo", "drift", "golden_set", "decision", "incident", "promote"):
        ledger.record(
            [CheckResult(kind=kind, name="odd evidence", verdict="unknown", evidence=odd, checked_at=now)],
            RunKey("promote_model", "odd", kind),
        )
