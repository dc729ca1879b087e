"""Run promtool on generated rules, and write its tests: input series, expected samples and alerts."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import yaml

from tests.support import need

OK = 'http_request_duration_seconds_count{job="myservice",code="200"}'
FAILED = 'http_request_duration_seconds_count{job="myservice",code="500"}'
LABELS = {"slo": "requests-availability", "slo_service": "myservice", "slo_objective": "0.999"}
PERIOD = "slo:sli_error:ratio_rate30d"
BURN = "RequestsAvailabilityErrorBudgetBurn"
NO_DATA = "RequestsAvailabilityNoData"


def check(*paths: Path) -> str:
    """Check rule files; what the linter finds, such as two alerts with the same labels, is an error."""
    done = subprocess.run(
        [need("promtool"), "check", "rules", "--lint-fatal", *map(str, paths)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run(tmp_path: Path, text: str, *tests: dict[str, Any], every: str = "1m", more: tuple[Path, ...] = ()) -> None:
    """Run promtool's test of the rules; fail with its output."""
    promtool = need("promtool")
    (tmp_path / "rules.yml").write_text(text)
    check(tmp_path / "rules.yml")
    # Without it promtool takes the groups in any order, and a rule may read what another recorded two minutes ago.
    order = [group["name"] for group in yaml.safe_load(text)["groups"]]
    document = {
        "rule_files": ["rules.yml", *map(str, more)],
        "evaluation_interval": every,
        "group_eval_order": order,
        "tests": list(tests),
    }
    (tmp_path / "rules.test.yml").write_text(yaml.safe_dump(document, sort_keys=False))
    done = subprocess.run(
        [promtool, "test", "rules", "rules.test.yml"], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr


def series(**values: str) -> list[dict[str, str]]:
    names = {"ok": OK, "failed": FAILED}
    return [{"series": names.get(name, name), "values": text} for name, text in values.items()]


def equals(expression: str, value: float | Fraction, at: str) -> dict[str, Any]:
    """Expect one sample, equal except for the last digits."""
    return {
        "expr": f"count(abs({expression} - {float(value)!r}) <= 1e-9 * {max(1.0, abs(float(value)))})",
        "eval_time": at,
        "exp_samples": [{"labels": "{}", "value": 1}],
    }


def nothing(expression: str, at: str) -> dict[str, Any]:
    return {"expr": expression, "eval_time": at, "exp_samples": []}


def fires(name: str, at: str, *expected: tuple[dict[str, str], dict[str, str]]) -> dict[str, Any]:
    alerts = [{"exp_labels": labels, "exp_annotations": annotations} for labels, annotations in expected]
    return {"eval_time": at, "alertname": name, "exp_alerts": alerts}


def burns(severity: str, rate: str, labels: dict[str, str] = LABELS) -> tuple[dict[str, str], dict[str, str]]:
    meaning = {
        "page": "a burn rate of 14.4 for 1h spends 2 % of it; a burn rate of 6 for 6h spends 5 % of it",
        "ticket": "a burn rate of 3 for 1d spends 10 % of it; a burn rate of 1 for 3d spends 10 % of it",
    }[severity]
    return labels | {"severity": severity}, {
        "summary": "myservice requests-availability spends its error budget too fast",
        "description": f"myservice requests-availability burns its error budget at {rate} times the rate that lasts 30d. "
        f"The budget is 0.1 % of events over 30d; {meaning}.",
    }


def no_data(labels: dict[str, str] = LABELS) -> tuple[dict[str, str], dict[str, str]]:
    return labels | {"severity": "page"}, {
        "summary": "myservice requests-availability cannot be measured",
        "description": "myservice requests-availability has no usable data over the last 5m: series are missing, or good and all "
        "events contradict each other. Gates that use it stay closed or warn.",
    }
