"""The bound of a bucket is found in every version of Prometheus."""

from __future__ import annotations

import pytest

from airflow_slo_provider.slo.promql.bucket_bounds import bound_matcher, bound_spellings, narrow_bounds, with_all_spellings


@pytest.mark.parametrize(
    ("bound", "spellings"),
    [
        ("1", ("1", "1.0")),
        ("1.0", ("1", "1.0")),
        ("0.50", ("0.5",)),
        ("5e-1", ("0.5",)),
        ("0", ("0", "0.0")),
        ("-1", ("-1", "-1.0")),
        ("100000", ("100000", "100000.0")),
        ("1000000", ("1e+06",)),
        ("1234567", ("1.234567e+06",)),
        ("0.0001", ("0.0001",)),
        ("0.00001", ("1e-05",)),
    ],
)
def test_spellings_are_those_of_prometheus_2_and_3(bound: str, spellings: tuple[str, ...]) -> None:
    assert bound_spellings(bound) == spellings


@pytest.mark.parametrize("bound", ["", "+Inf", "NaN", "fast", "1e999", "0x1"])
def test_text_that_is_no_finite_number_is_refused(bound: str) -> None:
    with pytest.raises(ValueError, match="is not a number"):
        bound_spellings(bound)


def test_matcher_of_one_and_of_two_spellings() -> None:
    assert bound_matcher("0.50") == 'le="0.5"'
    assert bound_matcher("1") == 'le=~"1|1\\\\.0"'


@pytest.mark.parametrize(
    ("query", "complete"),
    [
        ('x{le="1"}', 'x{le=~"1|1\\\\.0"}'),
        ("x{a='b',le = '1.0'}", "x{a='b',le=~\"1\\\\.0|1\"}"),
        ('x{le="0.50"}', 'x{le=~"0\\\\.50|0\\\\.5"}'),
        ('x{"le"="1"}', 'x{le=~"1|1\\\\.0"}'),
    ],
)
def test_written_bound_matches_every_spelling(query: str, complete: str) -> None:
    assert with_all_spellings(query) == complete
    assert [replacement in complete for _, replacement in narrow_bounds(query)] == [True]


@pytest.mark.parametrize(
    "query",
    [
        'x{le="0.5"}',
        'x{le="+Inf"}',
        'x{le=~"1|1\\\\.0"}',
        'x{file="1",handle="1"}',
        'x{a="le=\\"1\\""}',
        "x{a='le=\"1\"'}",
        'x # le="1"',
        'x{le!="1"}',
        'x{le=""}',
    ],
)
def test_other_text_stays_as_written(query: str) -> None:
    assert with_all_spellings(query) == query
    assert list(narrow_bounds(query)) == []
