"""Which report files the pages open: those that a check names, below the configured roots, and no other."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi import HTTPException
from starlette.testclient import TestClient

from airflow_slo_provider.ledger import RunKey, open_ledger
from airflow_slo_provider.plugins.slo_page import report_files
from airflow_slo_provider.results import CheckResult
from airflow_slo_provider.runtime.files.reports import write_reports
from tests.airflow.page_client import as_user, pages

KEY = RunKey("promote_model", "run", "drift")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "reports" / "deep").mkdir(parents=True)
    (tmp_path / "reports2").mkdir()
    (tmp_path / "reports" / "r.html").write_text("<h1>drift</h1><script>alert(1)</script>")
    (tmp_path / "reports" / "deep" / "r.html").write_text("deep")
    (tmp_path / "reports" / "r.json").write_text("<script>1</script>")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "reports2" / "r.html").write_text("secret")
    (tmp_path / "reports" / "link.html").symlink_to(tmp_path / "secret")
    return tmp_path / "reports"


def _status(uri: str, root: Path | str) -> int:
    try:
        report_files.read(uri, [str(root)])
    except HTTPException as error:
        return error.status_code
    return 200


@pytest.mark.parametrize("form", ["{root}/r.html", "{root}//deep/./r.html", "file://{root}/r.html", "file://{root}/deep/r.html"])
def test_report_below_root_is_read(root: Path, form: str) -> None:
    text, media = report_files.read(form.format(root=root), [str(root)])
    assert text in (b"deep", b"<h1>drift</h1><script>alert(1)</script>")
    assert media.startswith("text/html")


@pytest.mark.parametrize(
    "form",
    [
        "{root}/../secret",
        "{root}/deep/../r.html",
        "file://{root}/../secret",
        "file://{root}/%2e%2e/secret",
        "file://{root}/%252e%252e/secret",
        "file://{root}/deep%2F..%2F..%2Fsecret",
        "{root}/..\\secret",
        "{root}2/r.html",
        "{root}",
        "/etc/passwd",
        "file:///etc/passwd",
        "relative/r.html",
        "",
        "s3://{root}/r.html",
        "http://127.0.0.1/{root}/r.html",
        "{root}/r.html\x00.txt",
        "{root}/link.html",
    ],
)
def test_file_outside_root_is_rejected(root: Path, form: str) -> None:
    assert _status(form.format(root=root), root) == 403


@pytest.mark.parametrize(
    ("uri", "allowed"),
    [
        ("s3://bucket/reports/a.html", True),
        ("S3://bucket/reports/deep/a.html", True),
        ("s3://bucket/reports/../secret", False),
        ("s3://bucket/reports/%2e%2e/secret", False),
        ("s3://bucket/reports2/a.html", False),
        ("s3://other/reports/a.html", False),
        ("s3://me@bucket/reports/a.html", False),
        ("gs://bucket/reports/a.html", False),
        ("s3://bucket/reports/a.html?versionId=1", False),
        ("s3://bucket/reports", False),
    ],
)
def test_root_in_object_storage_is_read(uri: str, allowed: bool) -> None:
    assert report_files.permitted(uri, ["s3://bucket/reports"]) is allowed


def test_missing_or_oversized_report_is_rejected(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _status(f"{root}/absent.html", root) == 404
    assert _status(f"{root}/deep", root) == 404
    monkeypatch.setattr(report_files, "MOST_BYTES", 3)
    assert _status(f"{root}/r.html", root) == 413


@pytest.fixture
def client(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setenv("AIRFLOW__SLO__REPORT_ROOTS", f"/nowhere, {root}")
    with open_ledger(f"sqlite:///{tmp_path / 'l.db'}") as ledger:
        for name, evidence in {
            "good": {"report_uri": f"{root}/r.html", "report": f"{root}/r.json"},
            "bad": {"report_uri": f"{root}/../secret"},
            "none": {"note": "no report"},
        }.items():
            ledger.record(
                [CheckResult(kind="drift", name=name, verdict="pass", checked_at=datetime.now(UTC), evidence=evidence)], KEY
            )
        with pages(ledger) as made:
            yield made


def _url(name: str, more: str = "") -> str:
    return f"/slo/report?id={KEY.identity('drift', name)}{more}"


def test_report_is_served_with_restrictive_policy(client: TestClient) -> None:
    answer = client.get(_url("good"), headers=as_user("guest"))
    assert answer.status_code == 200
    assert "<h1>drift</h1>" in answer.text
    policy = answer.headers["content-security-policy"]
    assert "sandbox" in policy.split("; ")
    assert "script-src" not in policy
    assert "default-src 'none'" in policy


def test_other_files_are_not_served_as_html(client: TestClient) -> None:
    answer = client.get(_url("good", "&key=report"), headers=as_user("guest"))
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("name", "more", "status"),
    [("bad", "", 403), ("none", "", 404), ("good", "&key=note", 404), ("good", "&uri=/etc/passwd", 200)],
)
def test_file_not_in_evidence_is_not_opened(client: TestClient, name: str, more: str, status: int) -> None:
    answer = client.get(_url(name, more), headers=as_user("admin"))
    assert answer.status_code == status
    assert "secret" not in answer.text
    assert "root:" not in answer.text


def test_check_page_links_to_reports(client: TestClient) -> None:
    page = client.get(f"/slo/check?id={KEY.identity('drift', 'good')}", headers=as_user("guest")).text
    assert page.count('href="report?id=') == 2


def _write_report(base: Path, run_id: str, task_id: str = "check") -> str:
    instance = SimpleNamespace(dag_id="dag", run_id=run_id, task_id=task_id, map_index=-1)
    address = write_reports(str(base), instance, {"r.html": run_id})["r.html"].removeprefix("file://")
    assert Path(address).read_text() == run_id
    return str(Path(address).parent.relative_to(base))


@pytest.mark.parametrize(
    ("run_id", "directory"),
    [
        ("nightly-1.2+x_y", "nightly-1.2+x_y"),
        ("scheduled__2026-11-24T00:00:00+00:00", "scheduled__2026-11-24T00_00_00+00_00"),
        ("manual__2026-11-24T05:06:07.890123+00:00_aBcD", "manual__2026-11-24T05_06_07.890123+00_00_aBcD"),
    ],
)
def test_directory_of_run_is_its_id(tmp_path: Path, run_id: str, directory: str) -> None:
    assert _write_report(tmp_path, run_id) == f"dag/{directory}/check"


def test_different_run_ids_have_different_directories(tmp_path: Path) -> None:
    names = ["a:b", "a~b", "a b", "a_b", "a/b", "..", "...", "__", "___", "manual__2026-11-24T05:06:07:b", "é~", "漢 "]
    assert len({_write_report(tmp_path, name) for name in names}) == len(names)
    assert len({_write_report(tmp_path, "r", task_id=name) for name in names}) == len(names)
    assert _write_report(tmp_path, "a:b") == _write_report(tmp_path, "a:b")  # a retry writes over its own


def test_default_root_is_below_airflow_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW__SLO__REPORT_ROOTS", raising=False)
    monkeypatch.setenv("AIRFLOW_HOME", "/home/of/airflow")
    assert report_files.roots() == ["/home/of/airflow/slo_reports"]
