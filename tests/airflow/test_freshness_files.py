"""The freshness of files, seen by a sensor in Airflow's own task runner."""

from __future__ import annotations

import os
import time
from datetime import timedelta

import pytest

from airflow_slo_provider.sensors.freshness import FeatureFreshnessSensor
from tests.airflow.freshness_runs import HOUR
from tests.airflow.task_runs import run_task


def file_sensor(path, **arguments):
    return FeatureFreshnessSensor(task_id="t", path=str(path), max_age=HOUR, deferrable=True, **arguments)


def write_file(path, age):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    then = time.time() - age.total_seconds()
    os.utime(path, (then, then))


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_newest_or_oldest_file_of_a_glob_is_observed(tmp_path, ledger, scheme):
    write_file(tmp_path / "data set" / "1.parquet", HOUR / 2)
    write_file(tmp_path / "data set" / "2.parquet", 3 * HOUR)
    write_file(tmp_path / "data set" / "3.csv", timedelta(0))
    glob = f"{scheme}{tmp_path / 'data set'}/*.parquet"
    ran = run_task(file_sensor(glob))
    assert ran.state == "success"
    assert "30 min old" in ran.log
    assert "newest of 2 files" in ran.log
    oldest = run_task(file_sensor(glob, which="oldest"), run_id="oldest")
    assert oldest.state == "deferred"
    assert "3 h old" in oldest.log


def test_marker_file_is_observed(tmp_path, ledger):
    write_file(tmp_path / "dt=1" / "_SUCCESS", 5 * HOUR)
    write_file(tmp_path / "dt=2" / "part-0", timedelta(0))
    sensor = file_sensor(tmp_path / "dt=*" / "_SUCCESS")
    assert run_task(sensor).state == "deferred"
    write_file(tmp_path / "dt=2" / "_SUCCESS", timedelta(0))
    assert run_task(sensor).state == "success"


def test_directories_are_checked_separately(tmp_path, ledger):
    write_file(tmp_path / "dt=1" / "a", 5 * HOUR)
    write_file(tmp_path / "dt=2" / "a", timedelta(0))
    ran = run_task(file_sensor(tmp_path / "*" / "*", group_by="directory"))
    assert ran.state == "deferred"
    assert "dt=1 (5 h old)" in ran.log
    assert run_task(file_sensor(tmp_path / "*" / "*", group_by="directory", quantile=0.5)).state == "success"


def test_missing_file_or_plain_directory_is_unknown(tmp_path, ledger):
    for path in (tmp_path / "nothing" / "*", tmp_path / "nothing", tmp_path):
        assert run_task(file_sensor(path)).state == "deferred"
    assert {one.result.verdict for one in ledger.checks()} == {"unknown"}


@pytest.mark.parametrize("glob", ["feat/*", "fea?/*.parquet", "*/users.parquet", "feat/**", "by-date/*/*"])
def test_link_has_age_of_its_target(tmp_path, ledger, glob):
    write_file(tmp_path / "store" / "users", 5 * HOUR)
    write_file(tmp_path / "feat" / "items.parquet", timedelta(0))
    (tmp_path / "feat" / "users.parquet").symlink_to(tmp_path / "store" / "users")
    (tmp_path / "by-date").mkdir()
    (tmp_path / "by-date" / "dt=1").symlink_to(tmp_path / "feat")
    ran = run_task(file_sensor(tmp_path / glob, which="oldest"))
    assert ran.state == "deferred"
    assert "5 h old" in ran.log


def test_directory_of_links_is_observed(tmp_path, ledger):
    write_file(tmp_path / "..data" / "a", HOUR / 2)
    (tmp_path / "a.yaml").symlink_to("..data/a")
    assert run_task(file_sensor(tmp_path / "*.yaml")).state == "success"


@pytest.mark.parametrize("which", ["newest", "oldest"])
def test_broken_link_raises_in_glob_and_is_unknown_by_name(tmp_path, ledger, which):
    write_file(tmp_path / "a", timedelta(0))
    (tmp_path / "b").symlink_to("nowhere")
    for glob in ("*", "**"):
        ran = run_task(file_sensor(tmp_path / glob, which=which, retries=1))
        assert ran.state == "up_for_retry"
        assert f"{tmp_path / 'b'} is a link to a file that does not exist" in str(ran.error)
    assert run_task(file_sensor(tmp_path / "b", which=which)).state == "deferred"


def test_editor_lock_file_is_ignored(tmp_path, ledger):
    write_file(tmp_path / "a.csv", timedelta(0))
    (tmp_path / ".#a.csv").symlink_to("me@host.123")
    for glob in ("*.csv", "**"):
        assert run_task(file_sensor(tmp_path / glob)).state == "success"


def test_name_with_brackets_is_a_file_first(tmp_path, ledger):
    write_file(tmp_path / "x1.parquet", 3 * HOUR)
    sensor = file_sensor(tmp_path / "x[1].parquet")
    assert "x1.parquet" in run_task(sensor).log
    write_file(tmp_path / "x[1].parquet", timedelta(0))
    assert run_task(sensor).state == "success"


def test_missing_storage_raises(ledger):
    ran = run_task(file_sensor("nowhere://bucket/x"))
    assert ran.state == "failed"
    assert "nowhere" in str(ran.error)
