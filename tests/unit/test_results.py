"""CheckResult: the record that every check ends in."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from airflow_slo_provider.results import SCHEMA_VERSION, CheckResult, Verdict

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)


def result(**values: object) -> CheckResult:
    return CheckResult(**{"kind": "slo", "name": "checkout", "verdict": Verdict.PASS, "checked_at": AT, **values})  # type: ignore[arg-type]


def test_result_survives_serialisation() -> None:
    whole = result(
        verdict=Verdict.FAIL, value=0.998, unit="ratio", good=998.0, total=1000.0, target=0.999, op="gte", message="spent",
        interval_start=AT - timedelta(days=1), interval_end=AT, model_version="7", evidence={"query": "up", "rows": 3},
    )  # fmt: skip
    data = whole.to_dict()
    assert json.loads(json.dumps(data)) == data
    assert CheckResult.from_dict(data) == whole
    assert (data["verdict"], data["schema_version"]) == ("fail", SCHEMA_VERSION)


def test_times_are_serialised_in_utc() -> None:
    berlin = datetime(2026, 11, 1, 13, tzinfo=timezone(timedelta(hours=1)))
    data = result(checked_at=berlin).to_dict()
    assert data["checked_at"] == "2026-11-01T12:00:00+00:00"
    assert CheckResult.from_dict(data).checked_at == berlin


def test_verdict_as_text_is_accepted() -> None:
    assert result(verdict="unknown").verdict is Verdict.UNKNOWN
    with pytest.raises(ValueError, match="'ok' is not a valid Verdict"):
        result(verdict="ok")


@pytest.mark.parametrize("field", ["value", "good", "total", "target"])
@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_infinite_or_nan_number_is_rejected(field: str, number: float) -> None:
    with pytest.raises(ValueError, match=f"CheckResult slo/checkout: {field} is .*; use None and verdict 'unknown'"):
        result(**{field: number})


@pytest.mark.parametrize("field", ["checked_at", "interval_start", "interval_end"])
def test_naive_time_is_rejected(field: str) -> None:
    with pytest.raises(ValueError, match=f"{field} 2026-11-01 00:00:00 has no time zone"):
        result(**{field: datetime(2026, 11, 1)})


def test_other_schema_version_is_rejected_with_advice() -> None:
    data = result().to_dict() | {"schema_version": SCHEMA_VERSION + 1}
    with pytest.raises(ValueError, match="upgrade airflow-slo-provider where it is read"):
        CheckResult.from_dict(data)


def test_result_is_frozen() -> None:
    with pytest.raises(AttributeError):
        result().verdict = Verdict.PASS  # type: ignore[misc]
