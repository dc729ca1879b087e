"""Files as a storage describes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from airflow_slo_provider.exceptions import InvalidMeasurement, QueryError
from airflow_slo_provider.freshness.sources.files import FileQuery

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Storage:
    def __init__(self, **files):
        self._files = files

    def files(self, pattern):
        return self._files.items()


def observe(files, **arguments):
    return FileQuery(path="p", **arguments).observe(Storage(**files))


def test_newest_or_oldest_file_is_observed():
    files = {"d/a": NOW - HOUR, "d/b": NOW - 3 * HOUR, "d/c": (NOW - 2 * HOUR).timestamp()}
    newest, oldest = observe(files), observe(files, which="oldest")
    assert (newest.observed_at, newest.note) == (NOW - HOUR, "file d/a")
    assert (oldest.observed_at, oldest.note) == (NOW - 3 * HOUR, "file d/b")
    assert newest.evidence["files"] == 3


def test_files_by_directory_are_groups():
    files = {"d/1/a": NOW - HOUR, "d/1/b": NOW, "d/2/a": NOW - 5 * HOUR}
    assert observe(files, by_directory=True).groups == {"d/1": NOW, "d/2": NOW - 5 * HOUR}
    assert observe(files, by_directory=True, which="oldest").groups == {"d/1": NOW - HOUR, "d/2": NOW - 5 * HOUR}


def test_no_matching_file_is_unknown():
    assert observe({}).observed_at is None
    assert observe({}, by_directory=True).groups == {}


@pytest.mark.parametrize("changed", [None, 0, "yesterday", True])
def test_storage_without_times_raises(changed):
    with pytest.raises(QueryError, match="has no time of its last change"):
        observe({"a": NOW, "b": changed})


@pytest.mark.parametrize("changed", [datetime(9999, 12, 31, 23, tzinfo=timezone(-HOUR)), 1e300, float("inf"), float("nan")])
def test_modification_time_out_of_range_is_invalid(changed):
    with pytest.raises((InvalidMeasurement, QueryError), match="a: "):
        observe({"a": changed})


def test_naive_modification_time_is_invalid():
    with pytest.raises(InvalidMeasurement, match="without a time zone"):
        observe({"a": datetime(2026, 1, 1)})


def test_invalid_which_is_rejected():
    with pytest.raises(ValueError, match="newest or oldest"):
        FileQuery(path="p", which="biggest")
