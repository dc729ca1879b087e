"""The time of an evaluation is aware, and not in the future."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_slo_provider.slo.budget.evaluation_time import parse_timestamp, read_evaluation_time

PAST = datetime(2026, 11, 24, 5, tzinfo=UTC)


@pytest.mark.parametrize("at", [PAST, "2026-11-24T05:00:00+00:00", " 2026-11-24T07:00:00+02:00 ", "2026-11-24T05:00:00Z"])
def test_timestamp_is_read(at: datetime | str) -> None:
    assert read_evaluation_time(at) == parse_timestamp(at) == PAST


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ("yesterday", "since='yesterday' is not a timestamp; write ISO 8601"),
        (7, "since=7 is a int, not a timestamp"),
        (None, "since=None is a NoneType, not a timestamp"),
        ("2026-11-24T05:00:00", "has no time zone; write one"),
        (datetime(2026, 11, 24), "has no time zone; write one"),
    ],
)
def test_what_is_no_aware_timestamp_is_refused(at: Any, message: str) -> None:
    for read in (read_evaluation_time, parse_timestamp):
        with pytest.raises(ValueError, match=message):
            read(at, what="since")


def test_future_is_refused_with_the_name_of_the_time() -> None:
    later = datetime.now(UTC) + timedelta(days=1)
    assert parse_timestamp(later) == later
    with pytest.raises(ValueError, match=r"since .* lies in the future"):
        read_evaluation_time(later, what="since")
