"""Detection of cached answers."""

from __future__ import annotations

import pytest

from airflow_slo_provider.http.caches import MAX_AGE, age_fault


@pytest.mark.parametrize("headers", [{}, {"Age": "0"}, {"Age": str(MAX_AGE)}, {"Age": "0, 1"}, {"Warning": '199 - "misc"'}])
def test_age_fault_fresh_answer_is_none(headers: dict[str, str]) -> None:
    assert age_fault(headers) is None


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Age": str(MAX_AGE + 1)}, "6 s old"),
        ({"Age": "0, 3600"}, "3600 s old"),
        ({"Age": "-1"}, "invalid Age header"),
        ({"Age": "soon"}, "invalid Age header"),
        ({"Age": ""}, "invalid Age header"),
        ({"Age": "9" * 30}, "invalid Age header"),
        ({"Warning": '110 proxy "Response is Stale"'}, "stale"),
        ({"Warning": '199 - "misc", 111 - "Revalidation Failed"'}, "stale"),
    ],
)
def test_age_fault_cached_answer_is_described(headers: dict[str, str], expected: str) -> None:
    assert expected in (age_fault(headers) or "")
