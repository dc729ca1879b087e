"""What the number of a PromQL query means; real servers are in tests/services."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest

from airflow_slo_provider.exceptions import InvalidMeasurement, QueryError
from airflow_slo_provider.freshness.sources.prometheus import PrometheusQuery
from airflow_slo_provider.indicators.prometheus.answers import Sample

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def sample(value, **labels):
    return Sample(labels, None if isinstance(value, str) else Fraction(value), str(value))


def read(*samples, gives="timestamp", **arguments):
    return PrometheusQuery(query="q", gives=gives, **arguments).read(samples, at=NOW, where="prom")


def test_timestamp_or_age_is_observed():
    assert read(sample(NOW.timestamp() - 60)).observed_at == NOW - timedelta(minutes=1)
    assert read(sample(60), gives="age").observed_at == NOW - timedelta(minutes=1)


def test_age_out_of_range_is_invalid():
    with pytest.raises(InvalidMeasurement, match="an age of 90000000000 seconds") as caught:
        read(sample(90_000_000_000), gives="age")
    assert (caught.value.reason, caught.value.query) == ("bad_timestamp", "q")


def test_age_read_as_timestamp_is_never_fresh():
    assert NOW - read(sample(60)).observed_at > timedelta(days=10_000)
    assert NOW - read(sample(NOW.timestamp()), gives="age").observed_at > timedelta(days=10_000)


@pytest.mark.parametrize("gives", [None, "", "seconds", "Age"])
def test_query_gives_is_required(gives):
    with pytest.raises(ValueError, match=r"write timestamp .* or age"):
        PrometheusQuery(query="q", gives=gives)


@pytest.mark.parametrize(("samples", "note"), [((), "no series"), ((sample("NaN"),), "NaN"), ((sample("+Inf"),), "Inf")])
def test_sample_without_number_is_unknown(samples, note):
    for gives in ("timestamp", "age"):
        found = read(*samples, gives=gives)
        assert found.observed_at is None
        assert note in found.note


def test_two_series_raise():
    with pytest.raises(QueryError, match="2 series where one is expected"):
        read(sample(1, a="x"), sample(2, a="y"))


def test_series_are_grouped_by_label():
    found = read(sample(1, a="x"), sample("NaN", a="y"), group_by=("a",))
    assert found.groups == {"x": datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), "y": None}
    with pytest.raises(QueryError, match="two series belong to the group x"):
        read(sample(1, a="x", b="1"), sample(2, a="x", b="2"), group_by=("a",))
    assert read(group_by=("a",)).groups == {}
    found = read(sample(1, a="x/y", b="z"), sample(2, a="x", b="y/z"), sample(3, b="z"), group_by=("a", "b"))
    assert {name: moment.timestamp() for name, moment in found.groups.items()} == {"'x/y'/'z'": 1, "'x'/'y/z'": 2, "/z": 3}


def test_milliseconds_are_invalid():
    with pytest.raises(InvalidMeasurement, match="milliseconds"):
        read(sample(NOW.timestamp() * 1000))
